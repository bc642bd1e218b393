"""The archive as clients read it: preferences, pages, metadata, and what was missed (XEP-0313)."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.clients.conftest import People
from tests.clients.person import PATIENCE, Person
from tests.harness import Msgd

_PLUGINS = ("xep_0313", "xep_0441", "xep_0198", "xep_0424")


async def _archive(person: Person, **asked: Any) -> list[tuple[str, str, str]]:
    """Everything that is asked for, page by page: id, sender, text."""
    found = []
    async with asyncio.timeout(PATIENCE):
        async for message in person.xmpp.plugin["xep_0313"].iterate(**asked):
            result = message["mam_result"]
            inner = result["forwarded"]["stanza"]
            found.append((result["id"], inner["from"].bare, inner["body"]))
    return found


def test_an_archive_from_both_sides_page_by_page(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with (
            Person(server, people("romeo") + "/orchard", plugins=_PLUGINS) as romeo,
            Person(server, people("nurse") + "/chamber", plugins=_PLUGINS) as nurse,
            Person(server, people("juliet") + "/balcony", plugins=_PLUGINS) as juliet,
        ):
            preferences = juliet.xmpp.plugin["xep_0441"]
            assert (await preferences.get_preferences(timeout=PATIENCE))[0] == "never"
            await preferences.set_preferences("always", never=[], always=[], timeout=PATIENCE)
            heard = []
            for number in range(25):
                if number % 5 == 4:
                    juliet.say(romeo.bare, f"text {number}")
                    heard.append(await romeo.hear())
                else:
                    (nurse if number % 5 == 2 else romeo).say(juliet.bare, f"text {number}")
                    heard.append(await juliet.hear())
            found = await _archive(juliet, rsm={"max": 4})
            assert [text for _, _, text in found] == [f"text {number}" for number in range(25)]
            live = [each["stanza_id"]["id"] for each in heard if each["to"].bare == juliet.bare]
            assert [id for id, sender, _ in found if sender != juliet.bare] == live
            assert [text for _, _, text in await _archive(juliet, with_jid=nurse.bare)] == [
                f"text {number}" for number in range(2, 25, 5)
            ]
            newest = await _archive(juliet, reverse=True, total=3, rsm={"max": 3})
            assert [text for _, _, text in newest] == ["text 24", "text 23", "text 22"]
            ends = (await juliet.xmpp.plugin["xep_0313"].get_archive_metadata(timeout=PATIENCE))[
                "mam_metadata"
            ]
            assert (ends["start"]["id"], ends["end"]["id"]) == (found[0][0], found[-1][0])
            fields = (await juliet.xmpp.plugin["xep_0313"].get_fields(timeout=PATIENCE)).get_fields()
            assert {"with", "start", "end", "before-id", "after-id", "ids"} <= set(fields)
            assert await _archive(romeo) == []

    asyncio.run(scene())


def test_who_reads_what_was_missed_gets_it_once(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with Person(server, people("romeo") + "/orchard", plugins=_PLUGINS) as romeo:
            async with Person(server, people("juliet") + "/balcony", plugins=_PLUGINS) as juliet:
                await juliet.xmpp.plugin["xep_0441"].set_preferences("always", timeout=PATIENCE)
            for number in range(30):
                romeo.say(people("juliet"), f"text {number}")
            await romeo.acknowledged()
            juliet = Person(server, people("juliet") + "/balcony", plugins=_PLUGINS)
            await juliet.connect()
            missed = await _archive(juliet)
            assert [text for _, _, text in missed] == [f"text {number}" for number in range(30)]
            await juliet.announce()
            romeo.say(juliet.bare, "the last")
            assert (await juliet.hear())["body"] == "the last"
            await juliet.leave()

    asyncio.run(scene())


def test_what_is_taken_back_is_gone_for_all_devices(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with (
            Person(server, people("romeo") + "/orchard", plugins=_PLUGINS) as romeo,
            Person(server, people("juliet") + "/balcony", plugins=_PLUGINS) as juliet,
        ):
            await juliet.xmpp.plugin["xep_0441"].set_preferences("always", timeout=PATIENCE)
            said = romeo.say(juliet.bare, "By yonder blessed moon I swear")
            await juliet.hear()
            romeo.xmpp.plugin["xep_0424"].send_retraction(juliet.bare, said["id"])
            await juliet.hear()
            texts = [text for _, _, text in await _archive(juliet)]
            assert texts[0] == "" and len(texts) == 2

    asyncio.run(scene())
