"""Profile, bookmarks, read marks: clients of different ages show the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final, cast

from slixmpp.exceptions import IqError
from slixmpp.plugins.xep_0048.stanza import Bookmarks
from slixmpp.plugins.xep_0054.stanza import VCardTemp
from slixmpp.plugins.xep_0118.stanza import UserTune
from slixmpp.plugins.xep_0333.stanza import Displayed
from slixmpp.plugins.xep_0402.stanza import Conference
from slixmpp.plugins.xep_0490.stanza import Displayed as Mark
from slixmpp.xmlstream import ET

from tests.clients.conftest import People
from tests.clients.person import PATIENCE, Person
from tests.clients.test_talk import become_contacts
from tests.harness import Msgd

_IMAGE: Final = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
_ROOM: Final = "play@rooms.example"


async def answer(request: Any) -> Any:
    """The answer to a request, in time."""
    return await asyncio.wait_for(cast(Awaitable[Any], request), PATIENCE)


def news(person: Person, event: str) -> asyncio.Future[Any]:
    """The next event of this name, waited for from now on."""
    found: asyncio.Future[Any] = asyncio.ensure_future(person.xmpp.wait_until(event, PATIENCE))
    return found


async def features(person: Person) -> set[str]:
    """What the account says that it can do."""
    found = await answer(person.xmpp.plugin["xep_0030"].get_info(jid=person.bare))
    return set(found["disco_info"]["features"])


def test_an_avatar_is_seen_by_clients_of_both_kinds(server: Msgd, people: People) -> None:
    async def scene() -> None:
        modern, old = ("xep_0084", "xep_0163"), ("xep_0054", "xep_0153")
        async with (
            Person(server, people("romeo") + "/orchard", plugins=modern) as romeo,
            Person(server, people("juliet") + "/balcony", plugins=modern) as juliet,
            Person(server, people("nurse") + "/chamber", plugins=old) as nurse,
        ):
            assert "urn:xmpp:pep-vcard-conversion:0" in await features(romeo)
            await become_contacts(romeo, juliet)
            await become_contacts(romeo, nurse)
            avatars = romeo.xmpp.plugin["xep_0084"]
            hash = avatars.generate_id(_IMAGE)
            told, shown = news(juliet, "avatar_metadata_publish"), news(nurse, "vcard_avatar_update")
            await answer(avatars.publish_avatar(_IMAGE))
            info = {"id": hash, "bytes": len(_IMAGE), "type": "image/png"}
            await answer(avatars.publish_avatar_metadata([info]))
            await told
            assert (await shown)["vcard_temp_update"]["photo"] == hash
            item = await answer(juliet.xmpp.plugin["xep_0084"].retrieve_avatar(romeo.bare, hash))
            assert item["pubsub"]["items"]["item"]["avatar_data"]["value"] == _IMAGE
            card = await answer(nurse.xmpp.plugin["xep_0054"].get_vcard(romeo.bare))
            assert card["vcard_temp"]["PHOTO"]["BINVAL"] == _IMAGE

    asyncio.run(scene())


def test_the_photo_of_a_vcard_is_an_avatar(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with (
            Person(server, people("romeo") + "/orchard", plugins=("xep_0054", "xep_0153")) as romeo,
            Person(server, people("juliet") + "/balcony", plugins=("xep_0084", "xep_0163")) as juliet,
        ):
            await become_contacts(romeo, juliet)
            card = VCardTemp()
            card["FN"] = "Romeo Montague"
            await answer(romeo.xmpp.plugin["xep_0054"].publish_vcard(vcard=card))
            told = news(juliet, "avatar_metadata_publish")
            await answer(romeo.xmpp.plugin["xep_0153"].set_avatar(avatar=_IMAGE, mtype="image/png"))
            message = await told
            hash = message["pubsub_event"]["items"]["item"]["avatar_metadata"]["info"]["id"]
            item = await answer(juliet.xmpp.plugin["xep_0084"].retrieve_avatar(romeo.bare, hash))
            assert item["pubsub"]["items"]["item"]["avatar_data"]["value"] == _IMAGE

    asyncio.run(scene())


def test_a_card_in_both_forms(server: Msgd, people: People) -> None:
    async def scene() -> None:
        plugins = ("xep_0054", "xep_0060", "xep_0163", "xep_0292")
        async with (
            Person(server, people("romeo") + "/orchard", plugins=plugins) as romeo,
            Person(server, people("juliet") + "/balcony", plugins=plugins) as juliet,
        ):
            await become_contacts(romeo, juliet)
            vcard4 = romeo.xmpp.plugin["xep_0292"]
            await answer(vcard4.publish_vcard("Romeo Montague", nickname="Romeo", node="urn:xmpp:vcard4"))
            card = await answer(juliet.xmpp.plugin["xep_0054"].get_vcard(romeo.bare))
            assert card["vcard_temp"]["FN"] == "Romeo Montague"
            assert "<NICKNAME>Romeo</NICKNAME>" in str(card)
            old = VCardTemp()
            old["FN"] = "New baptised"
            await answer(romeo.xmpp.plugin["xep_0054"].publish_vcard(vcard=old))
            item = await answer(juliet.xmpp.plugin["xep_0060"].get_items(romeo.bare, "urn:xmpp:vcard4"))
            assert "New baptised" in str(item["pubsub"]["items"])

    asyncio.run(scene())


def test_bookmarks_are_one_list(server: Msgd, people: People) -> None:
    async def scene() -> None:
        plugins = ("xep_0048", "xep_0049", "xep_0060", "xep_0163", "xep_0223", "xep_0402")
        async with (
            Person(server, people("romeo") + "/orchard", plugins=plugins) as romeo,
            Person(server, people("romeo") + "/pocket", plugins=plugins) as phone,
        ):
            assert {"urn:xmpp:bookmarks:1#compat", "urn:xmpp:bookmarks:1#compat-pep"} <= await features(romeo)
            conference = Conference()
            conference["name"], conference["autojoin"], conference["nick"] = "The Play", True, "JC"
            node = "urn:xmpp:bookmarks:1"
            await answer(romeo.xmpp.plugin["xep_0223"].store(conference, node=node, id=_ROOM))
            for method in ("xep_0049", "xep_0223"):
                found = await answer(phone.xmpp.plugin["xep_0048"].get_bookmarks(method=method))
                marks = (
                    found["private"]["bookmarks"]
                    if method == "xep_0049"
                    else found["pubsub"]["items"]["item"]["bookmarks"]
                )
                assert [(each["jid"], each["nick"]) for each in marks["conferences"]] == [(_ROOM, "JC")]
            old: Any = Bookmarks()
            old.add_conference("orchard@rooms.example", "Romeo", name="Orchard")
            await answer(phone.xmpp.plugin["xep_0048"].set_bookmarks(old, method="xep_0049"))
            items = await answer(romeo.xmpp.plugin["xep_0060"].get_items(romeo.bare, node))
            assert [item["id"] for item in items["pubsub"]["items"]] == ["orchard@rooms.example"]

    asyncio.run(scene())


def test_what_one_device_displayed_the_other_knows(server: Msgd, people: People) -> None:
    async def scene() -> None:
        plugins = ("xep_0163", "xep_0223", "xep_0333", "xep_0490")
        async with (
            Person(server, people("juliet") + "/balcony", plugins=plugins) as juliet,
            Person(server, people("juliet") + "/pocket", plugins=plugins) as phone,
            Person(server, people("romeo") + "/orchard", plugins=("xep_0333",)) as romeo,
        ):
            assert "urn:xmpp:mds:server-assist:0" in await features(juliet)
            romeo.say(juliet.bare, "Good night")
            id = (await juliet.hear())["stanza_id"]["id"]
            seen = news(romeo, "marker_displayed")
            # By the client itself, then with the server's help.
            for assisted in (False, True):
                told = news(phone, "message_displayed_synchronization_publish")
                if assisted:
                    message = juliet.xmpp.make_message(romeo.bare, mtype="chat")
                    message.append(
                        Displayed(xml=ET.Element("{urn:xmpp:chat-markers:0}displayed", {"id": "1"}))
                    )
                    mark = Mark()
                    mark["stanza_id"]["id"], mark["stanza_id"]["by"] = id, juliet.bare
                    message.append(mark)
                    message.send()
                else:
                    await answer(juliet.xmpp.plugin["xep_0490"].flag_chat(romeo.bare, id))
                item = (await told)["pubsub_event"]["items"]["item"]
                assert item["id"] == romeo.bare
                assert item["displayed"]["stanza_id"]["id"] == id
            assert b"mds" not in ET.tostring((await seen).xml)

    asyncio.run(scene())


def test_a_tune_for_those_who_want_to_hear(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with (
            Person(server, people("romeo") + "/orchard", plugins=("xep_0118", "xep_0163")) as romeo,
            Person(server, people("juliet") + "/balcony", plugins=("xep_0118", "xep_0163")) as juliet,
        ):
            await become_contacts(romeo, juliet)
            told = news(juliet, "user_tune_publish")
            await answer(romeo.xmpp.plugin["xep_0118"].publish_tune(title="Salve Regina"))
            assert (await told)["pubsub_event"]["items"]["item"]["tune"]["title"] == "Salve Regina"
        # Who comes later gets the last one.
        async with Person(server, people("romeo") + "/orchard"):
            juliet = Person(server, people("juliet") + "/balcony", plugins=("xep_0118", "xep_0163"))
            told = news(juliet, "user_tune_publish")
            async with juliet:
                assert (await told)["pubsub_event"]["items"]["item"]["tune"]["title"] == "Salve Regina"

    assert UserTune.namespace == "http://jabber.org/protocol/tune"
    asyncio.run(scene())


def test_two_devices_that_want_opposite_things_of_one_node(server: Msgd, people: People) -> None:
    """At the same time, on two connections: whoever is first decides, and the other is told."""

    async def scene() -> None:
        plugins = ("xep_0060", "xep_0118")
        async with (
            Person(server, people("romeo") + "/orchard", plugins=plugins) as romeo,
            Person(server, people("romeo") + "/pocket", plugins=plugins) as phone,
        ):
            for number in range(20):
                asked = []
                for device, access in ((romeo, "open"), (phone, "whitelist")):
                    form = device.xmpp.plugin["xep_0004"].make_form("submit")
                    kind = "http://jabber.org/protocol/pubsub#publish-options"
                    form.add_field("FORM_TYPE", "hidden", value=kind)
                    form.add_field("pubsub#access_model", value=access)
                    tune = UserTune()
                    tune["title"] = access
                    publish = device.xmpp.plugin["xep_0060"].publish
                    asked.append(
                        answer(publish(romeo.bare, f"urn:n{number}", payload=tune.xml, options=form))
                    )
                done = await asyncio.gather(*asked, return_exceptions=True)
                refused = [each for each in done if isinstance(each, IqError)]
                assert len(refused) == 1 and "precondition-not-met" in str(refused[0].iq), done

    asyncio.run(scene())
