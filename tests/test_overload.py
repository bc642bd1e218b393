"""Overload: who floods waits, strangers wait before sessions do, and it ends by itself."""

from __future__ import annotations

import asyncio
import base64
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from bench.scrape import kib
from msgd.wire.listening import ListeningPort
from tests.crash.client import Client
from tests.crash.until import until
from tests.forks import ForkServer
from tests.harness import Msgd, NewAccount

_ACCOUNTS = [NewAccount(name) for name in ("romeo", "juliet", "flood")]
_OPTIONS = (
    "login.plain = true",
    "login.failures_per_address = 0",
    "limits.strangers_per_address = 0",
    "listen.metrics = 0",
)
_REQUESTS = "requests of one session that are being answered"
_PING = b"<iq type='get' id='%s'><ping xmlns='urn:xmpp:ping'/></iq>"


@contextmanager
def running(data: Path, forks: ForkServer, *options: str) -> Iterator[Msgd]:
    """A server with these options, whatever becomes of the test."""
    made = Msgd(data, [*_OPTIONS, *options], _ACCOUNTS, forks=forks)
    made.start()
    try:
        yield made
        assert "Traceback" not in made.log.read_text()
    finally:
        made.kill()


@pytest.fixture
def server(tmp_path: Path, forks: ForkServer) -> Iterator[Msgd]:
    with running(tmp_path / "data", forks, "limits.strangers = 40", "overload.negotiation_time = 2") as made:
        yield made


@pytest.fixture
def usual(tmp_path: Path, forks: ForkServer) -> Iterator[Msgd]:
    with running(tmp_path / "usual", forks) as made:
        yield made


@pytest.fixture
def short_of_memory(tmp_path: Path, forks: ForkServer) -> Iterator[Msgd]:
    with running(tmp_path / "short", forks, "overload.memory = 1") as made:
        yield made


def _stressed(server: Msgd) -> set[str]:
    rows = [line.split() for line in server.command("stress").splitlines()]
    return {name for name, _, state in rows if state == "True"}


def _queue(server: Msgd, title: str) -> int:
    (line,) = (line for line in server.command("queues").splitlines() if line.startswith(f"{title} "))
    return int(line.removeprefix(title).split()[0])


class Asker(Client):
    """A client that sends requests and counts the answers."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.answered = 0
        self.refused = 0
        self.on_answer = self._count

    def _count(self, element: Element) -> None:
        self.answered += 1
        self.refused += element.get("type") == "error"

    async def ping(self) -> float:
        """Seconds until a ping is answered."""
        before, began = self.answered, time.monotonic()
        self.send(None, _PING % b"p")
        await until(lambda: self.answered > before, "an answer")
        return time.monotonic() - began


def test_strangers_make_room_and_sessions_do_not_notice(server: Msgd) -> None:
    async def scene() -> None:
        romeo = Asker("romeo")
        await romeo.log_in(server.address(direct=True), manage=True, presence=True)
        assert _stressed(server) == set()
        with ExitStack() as held:
            idle = [held.enter_context(socket.create_connection(server.address())) for _ in range(35)]
            await until(lambda: _stressed(server) == {"strangers"}, "overload")
            assert await romeo.ping() < 1
            # They had a minute; now they have two seconds.
            for each in idle:
                each.settimeout(20)
                assert b"connection-timeout" in await asyncio.to_thread(_read, each)
        juliet = Asker("juliet")
        await juliet.log_in(server.address(direct=True), manage=True, presence=True)
        assert await romeo.ping() < 1
        await until(lambda: _stressed(server) == set(), "the end of the overload")
        log = server.log.read_text()
        assert log.count("overloaded (strangers)") == log.count("no longer overloaded") == 1
        for client in (romeo, juliet):
            await client.close()

    asyncio.run(scene())


def _read(connection: socket.socket) -> bytes:
    got = b""
    while data := connection.recv(65536):
        got += data
    return got


def test_a_stranger_has_time_when_nothing_is_wrong(server: Msgd) -> None:
    """The other side of the test above: not everybody is hurried."""
    with socket.create_connection(server.address()) as idle:
        idle.settimeout(3)
        with pytest.raises(TimeoutError):
            idle.recv(1)


@pytest.mark.parametrize("reads", [True, False], ids=["reads the answers", "does not read"])
def test_requests_without_end(usual: Msgd, reads: bool) -> None:
    """Each request is written to the disk; the client sends them as fast as the server reads."""
    server = usual
    count = 8_000
    item = b"<iq type='set' id='%d'><query xmlns='jabber:iq:private'><x xmlns='n%d'>%s</x></query></iq>"

    async def scene() -> None:
        romeo, flood = Asker("romeo"), Asker("flood")
        if not reads:
            flood.receive_buffer = 4096
        for client in (romeo, flood):
            await client.log_in(server.address(direct=True), manage=False, presence=True)
        assert flood.connection is not None
        if not reads:
            flood.connection.pause()
        before = kib(server.pid)
        flood.send(None, b"".join(item % (number, number % 50, b"y" * 100) for number in range(count)))
        most, longest, slowest = before, 0, 0.0
        for _ in range(20):
            slowest = max(slowest, await romeo.ping())
            longest = max(longest, await asyncio.to_thread(_queue, server, _REQUESTS))
            most = max(most, kib(server.pid))
        print(f"\nlongest queue {longest}, slowest ping {slowest * 1e3:.0f} ms, {most - before} KiB more")
        assert longest <= 600
        assert most - before < 8 * 1024
        flood.connection.resume()
        await until(lambda: flood.answered == count, "all answers")
        assert flood.refused == 0
        for client in (romeo, flood):
            client.cut()

    asyncio.run(scene())


def test_logins_wait_while_the_server_is_overloaded(short_of_memory: Msgd) -> None:
    """Where memory is short: nobody is refused, all come in, but slowly."""
    server = short_of_memory

    async def scene() -> float:
        await until(lambda: _stressed(server) == {"memory"}, "overload")
        began = time.monotonic()
        clients = [Client("romeo", f"r{number}") for number in range(10)]
        for group in (clients[:5], clients[5:]):
            await asyncio.gather(
                *(each.log_in(server.address(direct=True), manage=False, presence=False) for each in group)
            )
        took = time.monotonic() - began
        for each in clients:
            each.cut()
        return took

    took = asyncio.run(scene())
    print(f"\nten logins in {took * 1e3:.0f} ms")
    assert took > 0.1  # four are accepted, then comes a pause


def test_the_systems_queue_is_known() -> None:
    class Reactor:
        def addReader(self, reader: object) -> None: ...

        removeReader = addReader

    port = ListeningPort(Reactor(), "127.0.0.1", 0, lambda _, __: None, backlog=10)  # type: ignore[arg-type]
    with ExitStack() as held:
        for _ in range(5):
            held.enter_context(socket.create_connection(("127.0.0.1", port.port)))
        assert port.waiting() == pytest.approx(0.5)
    port.stop()
    assert port.waiting() == 0


def test_who_does_not_take_answers_is_not_read(usual: Msgd) -> None:
    server = usual
    card = base64.b64encode(b"x" * 60_000)
    photo = b"<PHOTO><TYPE>image/png</TYPE><BINVAL>%s</BINVAL></PHOTO>" % card
    vcard = b"<vCard xmlns='vcard-temp'>%s</vCard>" % photo

    async def scene() -> None:
        flood = Asker("flood")
        flood.receive_buffer = 4096
        await flood.log_in(server.address(direct=True), manage=False, presence=True)
        flood.send(None, b"<iq type='set' id='v'>%s</iq>" % vcard)
        await until(lambda: flood.answered == 1, "the vCard")
        assert flood.connection is not None
        flood.connection.pause()
        count = 1000  # 80 MB of answers
        ask = b"<iq type='get' id='%d'><vCard xmlns='vcard-temp'/></iq>"
        flood.send(None, b"".join(ask % number for number in range(count)))
        most = 0
        for _ in range(30):
            most = max(most, await asyncio.to_thread(_queue, server, "bytes waiting for one socket"))
            await asyncio.sleep(0.02)
        print(f"\n{most} bytes wait at most")
        assert most < 4 * 2**20  # one record of requests is answered, no more
        assert not flood.connection.lost.is_set()
        flood.connection.resume()
        await until(lambda: flood.answered == 1 + count, "all answers")
        flood.cut()

    asyncio.run(scene())
