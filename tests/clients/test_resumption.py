"""Stream management (XEP-0198) as slixmpp does it: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from tests.clients.conftest import People
from tests.clients.person import Person
from tests.forks import ForkServer
from tests.harness import Msgd, NewAccount

_SM = ("xep_0198",)
_COUNT = 40


async def enabled(person: Person) -> None:
    """Log in with stream management, until it can be resumed."""
    on = asyncio.ensure_future(person.xmpp.wait_until("sm_enabled", 30))
    await person.appear()
    assert (await on)["id"]


def _has(person: Person, messages: int) -> bool:
    return person.messages.qsize() >= messages


async def bodies(person: Person, count: int) -> list[str]:
    """The next messages."""
    return [(await person.hear())["body"] for _ in range(count)]


async def nothing_more(speaker: Person, listener: Person) -> None:
    """What has not come before this last message does not come."""
    speaker.say(listener.bare, "the end")
    assert (await listener.hear())["body"] == "the end"


def test_a_cut_connection_is_resumed(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with Person(server, people("romeo") + "/orchard") as romeo:
            juliet = Person(server, people("juliet") + "/balcony", plugins=_SM)
            await enabled(juliet)
            expected: list[str] = []
            for round in range(3):
                texts = [f"{round}.{number}" for number in range(_COUNT)]
                expected += texts
                for text in texts[:10]:
                    romeo.say(juliet.bare, text)
                if round:  # the first is cut before anything came, the others in the middle
                    least = round * _COUNT + 3
                    await juliet.until(partial(_has, juliet, least))
                # What Juliet says now may get through or not; slixmpp says it again.
                for text in texts[:20]:
                    juliet.say(romeo.bare, text)
                await juliet.written()
                lost = asyncio.ensure_future(juliet.lost())
                juliet.cut()
                await lost
                for text in texts[10:]:
                    romeo.say(juliet.bare, text)
                await juliet.connect("session_resumed")
                for text in texts[20:]:
                    juliet.say(romeo.bare, text)
            assert await bodies(juliet, len(expected)) == expected
            assert await bodies(romeo, len(expected)) == expected
            await nothing_more(romeo, juliet)
            await nothing_more(juliet, romeo)
            await juliet.leave()

    asyncio.run(scene())


def test_a_connection_that_died_unnoticed_is_resumed(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with Person(server, people("romeo") + "/orchard") as romeo:
            juliet = Person(server, people("juliet") + "/balcony", plugins=_SM)
            await enabled(juliet)
            juliet.xmpp.transport.pause_reading()
            texts = [str(number) for number in range(_COUNT)]
            for text in texts:
                romeo.say(juliet.bare, text)
            # A new connection, while for the server the old one is as it was.
            old, juliet.xmpp.transport = juliet.xmpp.transport, None
            juliet.xmpp.event("disconnected", None)
            await juliet.connect("session_resumed")
            assert await bodies(juliet, _COUNT) == texts
            await nothing_more(romeo, juliet)
            await juliet.leave()
            old.abort()

    asyncio.run(scene())


def test_a_restart_of_the_server_is_survived(tmp_path: Path, forks: ForkServer) -> None:
    """A graceful one is resumed; after a crash the client starts anew, and the messages are there."""

    async def scene() -> None:
        romeo = Person(server, "romeo@localhost/orchard", plugins=_SM)
        juliet = Person(server, "juliet@localhost/balcony", plugins=_SM)
        for person in (romeo, juliet):
            await enabled(person)
        for stop, event in ((server.stop, "session_resumed"), (server.kill, "session_start")):
            juliet.cut()
            texts = [f"{event} {number}" for number in range(_COUNT)]
            for text in texts:
                romeo.say(juliet.bare, text)
            await romeo.acknowledged()
            lost = asyncio.ensure_future(romeo.lost())
            await asyncio.to_thread(stop)
            await lost
            await asyncio.to_thread(server.start)
            for person in (romeo, juliet):
                await person.connect(event)
            if event == "session_start":
                await juliet.announce()
            assert await bodies(juliet, _COUNT) == texts
            await nothing_more(romeo, juliet)
        for person in (romeo, juliet):
            await person.leave()

    accounts = [NewAccount("romeo"), NewAccount("juliet")]
    server = Msgd(tmp_path / "data", accounts=accounts, forks=forks)
    server.start()
    try:
        asyncio.run(scene())
        server.stop()
        assert "Traceback" not in server.log.read_text()
    finally:
        server.kill()
