"""Somebody who connects and breaks off, at every stage: for tests of what that leaves behind."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final

from tests.crash.client import Client, Lost
from tests.crash.stream import Connection
from tests.harness import Msgd

_HEADER: Final = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' to='localhost' version='1.0'"
    b" xmlns:stream='http://etherx.jabber.org/streams'>"
)


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
