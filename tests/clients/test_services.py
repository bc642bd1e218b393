"""What clients ask the server for: disco, ping, version, time, vCard, private storage, last activity."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import pytest
from slixmpp.exceptions import IqError

import msgd
from tests.clients.conftest import People
from tests.clients.person import Person
from tests.clients.test_talk import become_contacts
from tests.harness import Msgd

_PLUGINS = ("xep_0012", "xep_0049", "xep_0054", "xep_0092", "xep_0202")


def _ask(person: Person, type: str, payload: Element) -> Any:
    """An IQ without an address, for the own account."""
    iq = person.xmpp.make_iq(itype=type)
    iq.append(payload)
    return iq.send(timeout=30)


def test_what_the_server_says_of_itself(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with Person(server, people("romeo") + "/orchard", plugins=_PLUGINS) as romeo:
            plugin = romeo.xmpp.plugin
            info = (await plugin["xep_0030"].get_info("localhost"))["disco_info"]
            assert ("server", "im", None, "msgd") in info["identities"]
            assert {"urn:xmpp:ping", "jabber:iq:version", "urn:xmpp:time"} <= set(info["features"])
            own = (await plugin["xep_0030"].get_info(romeo.bare))["disco_info"]
            identities = {identity[:2] for identity in own["identities"]}
            assert identities == {("account", "registered"), ("pubsub", "pep")}
            items = (await plugin["xep_0030"].get_items("localhost"))["disco_items"]
            assert not items["items"]
            assert await plugin["xep_0199"].ping("localhost") >= 0
            assert await plugin["xep_0199"].ping() >= 0  # the own account
            version = (await plugin["xep_0092"].get_version("localhost"))["software_version"]
            assert (version["name"], version["version"]) == ("msgd", msgd.__version__)
            time = await plugin["xep_0202"].get_entity_time("localhost")
            utc = datetime.fromisoformat(time.xml.findtext(".//{urn:xmpp:time}utc"))
            assert abs(datetime.now(UTC) - utc) < timedelta(seconds=30)
            uptime = (await plugin["xep_0012"].get_last_activity("localhost"))["last_activity"]
            assert int(uptime["seconds"]) >= 0

    asyncio.run(scene())


def test_clients_ask_each_other(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with (
            Person(server, people("romeo") + "/orchard", plugins=_PLUGINS) as romeo,
            Person(server, people("juliet") + "/balcony", plugins=_PLUGINS) as juliet,
        ):
            assert await romeo.xmpp.plugin["xep_0199"].ping(juliet.jid) >= 0
            juliet.xmpp.plugin["xep_0092"].software_name = "Balcony"
            answer = await romeo.xmpp.plugin["xep_0092"].get_version(juliet.jid)
            assert answer["from"] == juliet.jid
            assert answer["software_version"]["name"] == "Balcony"
            with pytest.raises(IqError) as refused:
                await romeo.xmpp.plugin["xep_0092"].get_version(people("juliet") + "/moon")
            assert refused.value.condition == "service-unavailable"

    asyncio.run(scene())


def test_a_vcard_is_published_and_read_by_others(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with (
            Person(server, people("romeo") + "/orchard", plugins=_PLUGINS) as romeo,
            Person(server, people("juliet") + "/balcony", plugins=_PLUGINS) as juliet,
        ):
            cards = juliet.xmpp.plugin["xep_0054"]
            card = cards.make_vcard()
            card["FN"] = "Juliet Capulet, 🌹"
            await cards.publish_vcard(card)
            seen = await romeo.xmpp.plugin["xep_0054"].get_vcard(juliet.bare)
            assert seen["vcard_temp"]["FN"] == "Juliet Capulet, 🌹"
            assert (await cards.get_vcard(cached=False))["vcard_temp"]["FN"] == "Juliet Capulet, 🌹"

    asyncio.run(scene())


def test_private_storage_is_for_all_clients_of_one_account(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with (
            Person(server, people("romeo") + "/orchard") as romeo,
            Person(server, people("romeo") + "/garden") as garden,
        ):
            kept = Element("{jabber:iq:private}query")
            bookmarks = SubElement(kept, "{storage:bookmarks}storage")
            SubElement(bookmarks, "{storage:bookmarks}conference", {"jid": "balcony@rooms.example"})
            await _ask(romeo, "set", kept)
            wanted = Element("{jabber:iq:private}query")
            SubElement(wanted, "{storage:bookmarks}storage")
            answer = await _ask(garden, "get", wanted)
            found = answer.xml.find(".//{storage:bookmarks}conference")
            assert found is not None and found.get("jid") == "balcony@rooms.example"

    asyncio.run(scene())


def test_since_when_somebody_is_away(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with Person(server, people("romeo") + "/orchard", plugins=_PLUGINS) as romeo:
            ask = romeo.xmpp.plugin["xep_0012"].get_last_activity
            async with Person(server, people("juliet") + "/balcony") as juliet:
                with pytest.raises(IqError) as refused:
                    await ask(juliet.bare)
                assert refused.value.condition == "forbidden"
                await become_contacts(romeo, juliet)
                assert int((await ask(juliet.bare))["last_activity"]["seconds"]) == 0
                juliet.xmpp.send_presence(ptype="unavailable", pstatus="To the friar")
                await romeo.until(lambda: not romeo.sees(juliet.bare))
            answer = (await ask(people("juliet")))["last_activity"]
            assert int(answer["seconds"]) >= 0

    asyncio.run(scene())
