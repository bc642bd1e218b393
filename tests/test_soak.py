"""Long use leaves nothing behind: strangers who come and go at every stage, and readers who do not read.

MSGD_SOAK_CYCLES says how many connections are made and broken off (10,000).
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.crash.actors import Sender, World
from tests.crash.client import Client, Lost
from tests.crash.journal import Message
from tests.crash.stream import Connection
from tests.crash.until import until
from tests.harness import Msgd, NewAccount

_CYCLES: Final = int(os.environ.get("MSGD_SOAK_CYCLES", "10000"))
#: The share of the cycles that come before anything is measured: caches fill, memory finds its size.
_WARM_UP: Final = 0.3
_AT_ONCE: Final = 30
#: What may stay, for thousands of cycles. The objects vary by so many with the collector's last visit.
_OBJECTS: Final = 3000
_MEMORY: Final = 4 * 1024 * 1024
_OPTIONS: Final = (
    "login.plain = true",
    "login.failures_per_address = 0",
    "limits.strangers_per_address = 0",
)
_HEADER: Final = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' to='localhost' version='1.0'"
    b" xmlns:stream='http://etherx.jabber.org/streams'>"
)


class Figures:
    """What the console says of memory and descriptors."""

    def __init__(self, server: Msgd) -> None:
        lines = dict(line.rpartition(" ")[::2] for line in server.command("memory").splitlines())
        self.memory = int(lines["resident KiB"]) * 1024
        self.descriptors = int(lines["open descriptors"])
        self.sessions = int(lines["sessions"])
        self.streams = int(lines["streams not logged in"])
        self.objects = int(lines["objects that the collector knows"])

    def __str__(self) -> str:
        return f"{self.memory // 1024} KiB, {self.descriptors} descriptors, {self.objects} objects"


class Stranger:
    """Somebody who breaks off, at a stage that the dice choose."""

    def __init__(self, server: Msgd, dice: random.Random) -> None:
        self._plain = server.address()
        self._direct = server.address(direct=True)
        self._dice = dice
        self._number = 0
        #: The stages with their weights: those with a whole TLS handshake cost the most.
        self._stages: dict[Callable[[], Awaitable[None]], int] = {
            self.only_tcp: 20,
            self.half_a_header: 10,
            self.header: 20,
            self.starttls: 12,
            self.half_a_handshake: 12,
            self.no_tls_at_all: 6,
            self.nonsense: 6,
            self.unknown_names: 4,
            self.half_a_login: 4,
            self.failed_login: 1,
            self.bound: 2,
            self.managed_and_abandoned: 2,
            self.managed_and_resumed: 1,
        }

    async def comes_and_goes(self) -> None:
        """One cycle."""
        (stage,) = self._dice.choices([*self._stages], [*self._stages.values()])
        try:
            await stage()
        except (Lost, OSError):
            pass  # the server may end it first

    # -- without TLS ---------------------------------------------------------------------------

    async def only_tcp(self) -> None:
        """Connects."""
        await self._talk(self._plain)

    async def half_a_header(self) -> None:
        """Stops in the middle of the stream header."""
        await self._talk(self._plain, _HEADER[: self._dice.randrange(1, len(_HEADER))])

    async def header(self) -> None:
        """Stops before STARTTLS."""
        await self._talk(self._plain, _HEADER, b"</stream:features>")

    async def starttls(self) -> None:
        """Stops when TLS may begin."""
        ask = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
        await self._talk(self._plain, _HEADER + ask, b"<proceed")

    async def nonsense(self) -> None:
        """Is told that it is not well-formed."""
        await self._talk(self._plain, _HEADER + b"</wrong>", b"</stream:stream>")

    async def unknown_names(self) -> None:
        """Sends names that nobody ever sent."""
        self._number += 1
        name = b"n%d" % self._number
        element = b"<%b xmlns='urn:%b' %b='%b'/>" % (name, name, name, name)
        await self._talk(self._plain, _HEADER + element, b"</stream:stream>")

    # -- with TLS ------------------------------------------------------------------------------

    async def half_a_handshake(self) -> None:
        """Stops in the middle of its first TLS record."""
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)
        await self._talk(self._direct, hello[: self._dice.randrange(1, len(hello))])

    async def no_tls_at_all(self) -> None:
        """Speaks something else where TLS is spoken."""
        await self._talk(self._direct, b"GET / HTTP/1.1\r\n\r\n")

    async def half_a_login(self) -> None:
        """Stops when it is asked for its proof."""
        connection = await Connection.open(self._direct)
        first = base64.b64encode(b"n,,n=one,r=" + os.urandom(9).hex().encode()).decode()
        mechanism = "SCRAM-SHA-1"
        connection.write(_HEADER + _auth(mechanism, first))
        await self._expect(connection, "challenge")
        connection.abort()

    async def failed_login(self) -> None:
        """Has the wrong password."""
        connection = await Connection.open(self._direct)
        connection.write(_HEADER + _auth("PLAIN", base64.b64encode(b"\0one\0wrong").decode()))
        await self._expect(connection, "failure")
        connection.abort()

    async def bound(self) -> None:
        """Breaks off as a session."""
        client = self._client()
        await client.log_in(self._direct, manage=False, presence=True)
        client.cut()

    async def managed_and_abandoned(self) -> None:
        """Could resume its session and does not."""
        client = self._client()
        await client.log_in(self._direct, manage=True, presence=True)
        client.cut()

    async def managed_and_resumed(self) -> None:
        """Resumes its session, then closes it."""
        client = self._client()
        await client.log_in(self._direct, manage=True, presence=True)
        client.cut()
        await client.log_in(self._direct, manage=True, presence=True)
        await client.close()

    def _client(self) -> Client:
        self._number += 1
        return Client(self._dice.choice(("one", "two", "three")), f"r{self._number}")

    async def _expect(self, connection: Connection, name: str) -> None:
        while (await connection.next()).tag.rpartition("}")[2] != name:
            pass

    async def _talk(self, address: tuple[str, int], data: bytes = b"", until: bytes = b"") -> None:
        """Connect, send, read up to `until`; then close, politely or not."""
        loop = asyncio.get_running_loop()
        with socket.socket() as peer:
            peer.setblocking(False)
            await loop.sock_connect(peer, address)
            if data:
                await loop.sock_sendall(peer, data)
            got = b""
            while until and until not in got:
                more = await loop.sock_recv(peer, 65536)
                if not more:
                    break
                got += more
            if self._dice.random() < 0.5:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _auth(mechanism: str, text: str) -> bytes:
    return f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>{text}</auth>".encode()


async def _cycles(stranger: Stranger, count: int) -> None:
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await stranger.comes_and_goes()

    await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))


async def _at_rest(server: Msgd, descriptors: int) -> Figures:
    """The figures when everybody is gone and forgotten, and at most so many descriptors are open."""
    figures = Figures(server)

    def rests() -> bool:
        nonlocal figures
        figures = Figures(server)
        return not (figures.sessions or figures.streams) and figures.descriptors <= descriptors

    await until(rests, "the end of all streams, sessions and connections")
    return figures


@pytest.mark.timeout(60 + _CYCLES // 50)
def test_strangers_who_break_off_leave_nothing_behind(tmp_path: Path) -> None:
    async def scene(server: Msgd) -> None:
        base = Figures(server)
        # The two threads that read the database, and the look-ups, open its file and its log when first used.
        most = base.descriptors + 6
        stranger = Stranger(server, random.Random(1))
        await _cycles(stranger, int(_CYCLES * _WARM_UP))
        before = await _at_rest(server, most)
        await _cycles(stranger, _CYCLES - int(_CYCLES * _WARM_UP))
        after = await _at_rest(server, most)
        print(f"\nat the start {base}\nwarm         {before}\nin the end   {after}, {_CYCLES} cycles")
        assert after.memory - before.memory < _MEMORY
        assert after.objects - before.objects < _OBJECTS

    # One second is the shortest that a session waits to be resumed.
    options = [*_OPTIONS, "stream_management.resume = 1", "sessions.most_resources = 1000"]
    msgd = Msgd(tmp_path / "data", options, [NewAccount(name) for name in ("one", "two", "three")])
    msgd.start()
    try:
        asyncio.run(scene(msgd))
        assert "Traceback" not in msgd.log.read_text()
    finally:
        msgd.kill()


# -- those who do not read -------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Msgd]:
    msgd = Msgd(tmp_path / "data", _OPTIONS, [NewAccount(name) for name in ("ann", "slow", "quick")])
    msgd.start()
    yield msgd
    msgd.kill()


def _send(sender: Sender, world: World, number: int, to: str, size: int) -> Message:
    message = Message("ann", to, number, size)
    world.journal.sent.add(message)
    text = message.text.replace("&", "&amp;").replace("<", "&lt;")
    raw = f"<message to='{to}@localhost' type='chat' id='{message.id}'><body>{text}</body></message>"
    sender.client.send(message, raw.encode())
    return message


@pytest.mark.parametrize("way", ["does not read", "does not acknowledge"])
def test_a_slow_client_takes_a_bounded_amount_of_memory(server: Msgd, way: str) -> None:
    count, size = 500, 60_000  # 30 MB; an account may keep 50 in the store

    async def scene() -> None:
        world = World(random.Random(1))
        ann, slow, quick = Sender(world, "ann", []), world.client("slow"), world.client("quick", "q")
        address = server.address(direct=True)
        await ann.client.log_in(address, manage=True, presence=False)
        slow.receive_buffer, slow.answers = 4096, False
        await slow.log_in(address, manage=True, presence=True)
        assert slow.connection is not None
        if way == "does not read":
            slow.connection.pause()
        await quick.log_in(address, manage=True, presence=True)
        before = most = Figures(server).memory
        sent = []
        for number in range(1, count + 1):
            sent += [_send(ann, world, number, to, size) for to in ("slow", "quick")]
            if number % 10 == 0:
                ann.client.request()
                await until(lambda: ann.client.outstanding < 10)
                most = max(most, Figures(server).memory)
        ann.client.request()
        await until(lambda: world.journal.acknowledged == set(sent))
        await until(lambda: sum(each.resource == "q" for each in world.journal.deliveries) == count)
        quick_got = [each.message for each in world.journal.deliveries if each.message.recipient == "quick"]
        assert quick_got == [message for message in sent if message.recipient == "quick"]
        print(f"\n{count * size >> 20} MiB for one who {way}: {(most - before) / 2**20:.1f} MiB more memory")
        assert most - before < 20 * 2**20
        slow.answers = True
        slow.connection.resume()
        slow.answer()
        await until(lambda: len(world.journal.deliveries) == len(sent))
        slow_got = [each.message for each in world.journal.deliveries if each.message.recipient == "slow"]
        assert slow_got == [message for message in sent if message.recipient == "slow"]
        for client in (ann.client, slow, quick):
            client.cut()

    asyncio.run(scene())
