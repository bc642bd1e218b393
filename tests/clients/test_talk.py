"""Roster, subscription and chat between people, as their clients see it; and mail for the absent."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

from tests.clients.conftest import People
from tests.clients.person import Person
from tests.harness import Msgd

_TEXTS = ("Wherefore art thou?", "Kde jsi? שלום 👩‍❤️‍👨", "<b>&amp;</b>\n  two lines", "x" * 50_000)


async def become_contacts(one: Person, other: Person) -> None:
    """Both ask, both agree."""
    for asking, answering in ((one, other), (other, one)):
        asking.xmpp.send_presence_subscription(answering.bare)
        assert await answering.asked() == asking.bare
        answering.xmpp.send_presence_subscription(asking.bare, ptype="subscribed")
    for person, contact in ((one, other), (other, one)):
        await person.until(partial(_are_contacts, person, contact.bare))


def _are_contacts(person: Person, contact: str) -> bool:
    return person.subscription(contact) == "both" and bool(person.sees(contact))


def test_subscription_both_ways_and_its_end(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with (
            Person(server, people("romeo") + "/orchard") as romeo,
            Person(server, people("juliet") + "/balcony") as juliet,
        ):
            assert await romeo.roster() == {}
            await become_contacts(romeo, juliet)
            # The client knows the newest version: there is nothing to fetch.
            assert (await romeo.xmpp.get_roster(timeout=30))["roster"]["items"] == {}
            assert await romeo.roster() == {juliet.bare: "both"}
            assert await juliet.roster() == {romeo.bare: "both"}

            await juliet.announce(pshow="away", pstatus="Asleep", ppriority=5)
            await romeo.until(
                lambda: (
                    romeo.sees(juliet.bare)
                    == {"balcony": {"show": "away", "status": "Asleep", "priority": 5}}
                )
            )
            romeo.xmpp.update_roster(juliet.bare, name="My love", groups=["Capulets"])
            await romeo.until(lambda: romeo.xmpp.client_roster[juliet.bare]["name"] == "My love")
            assert (await romeo.roster())[juliet.bare] == "both"

            romeo.xmpp.del_roster_item(juliet.bare)
            await romeo.until(lambda: romeo.subscription(juliet.bare) in ("", "none"))
            await juliet.until(lambda: juliet.subscription(romeo.bare) == "none")
            await juliet.until(lambda: not juliet.sees(romeo.bare))
            assert await romeo.roster() == {}

    asyncio.run(scene())


def test_who_logs_in_sees_who_is_there_and_who_leaves(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with Person(server, people("romeo") + "/orchard") as romeo:
            async with Person(server, people("juliet") + "/balcony") as juliet:
                await become_contacts(romeo, juliet)
            await romeo.until(lambda: not romeo.sees(people("juliet")))
            async with Person(server, people("juliet") + "/chamber") as juliet:
                await juliet.until(lambda: "orchard" in juliet.sees(romeo.bare))
                await romeo.until(lambda: "chamber" in romeo.sees(juliet.bare))
                juliet.cut()
                await romeo.until(lambda: not romeo.sees(people("juliet")))

    asyncio.run(scene())


def test_chat_both_ways(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with (
            Person(server, people("romeo") + "/orchard") as romeo,
            Person(server, people("juliet") + "/balcony", direct=True) as juliet,
        ):
            for speaker, listener in ((romeo, juliet), (juliet, romeo)):
                sent = [speaker.say(listener.bare, text) for text in _TEXTS]
                for message in sent:
                    heard = await listener.hear()
                    assert (heard["from"], heard["body"], heard["id"]) == (
                        speaker.jid, message["body"], message["id"],
                    )  # fmt: skip
                    assert heard["stanza_id"]["by"] == listener.bare
                    assert not heard.get_plugin("delay", check=True)

    asyncio.run(scene())


def test_two_resources_of_an_account(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with (
            Person(server, people("romeo") + "/orchard") as romeo,
            Person(server, people("juliet") + "/balcony") as balcony,
            Person(server, people("juliet") + "/chamber") as chamber,
        ):
            await balcony.until(lambda: set(balcony.sees(balcony.bare)) >= {"chamber"})
            romeo.say(people("juliet"), "To both")
            romeo.say(chamber.jid, "To one")
            romeo.say(people("juliet"), "To both again")
            assert [(await balcony.hear())["body"] for _ in range(2)] == ["To both", "To both again"]
            assert [(await chamber.hear())["body"] for _ in range(3)] == [
                "To both", "To one", "To both again",
            ]  # fmt: skip
            # A change of the roster reaches both.
            balcony.xmpp.update_roster("nurse@localhost", name="Nurse")
            await chamber.until(lambda: chamber.subscription("nurse@localhost") == "none")

    asyncio.run(scene())


def test_the_same_resource_again_replaces_the_older_client(server: Msgd, people: People) -> None:
    async def scene() -> None:
        romeo = Person(server, people("romeo") + "/orchard")
        await romeo.appear()
        conflict = asyncio.ensure_future(romeo.xmpp.wait_until("stream_error", 30))
        gone = asyncio.ensure_future(romeo.lost())
        async with Person(server, people("romeo") + "/orchard") as again:
            assert (await conflict)["condition"] == "conflict"
            await gone
            assert await again.xmpp.plugin["xep_0199"].ping("localhost") >= 0

    asyncio.run(scene())


def test_messages_for_the_absent_wait(server: Msgd, people: People) -> None:
    async def scene() -> None:
        begun = datetime.now(UTC) - timedelta(seconds=2)
        async with Person(server, people("romeo") + "/orchard", plugins=("xep_0198",)) as romeo:
            sent = [romeo.say(people("juliet"), text) for text in _TEXTS]
            await romeo.acknowledged()
            jid = romeo.jid
        async with Person(server, people("juliet") + "/balcony") as juliet:
            for message in sent:
                heard = await juliet.hear()
                assert (heard["from"], heard["body"], heard["id"]) == (jid, message["body"], message["id"])
                assert begun <= heard["delay"]["stamp"] <= datetime.now(UTC)
                assert heard["delay"]["from"] == "localhost"
        # They were delivered, and do not come again.
        async with Person(server, people("juliet") + "/balcony") as juliet:
            juliet.say(juliet.bare, "To myself")
            assert (await juliet.hear())["body"] == "To myself"

    asyncio.run(scene())
