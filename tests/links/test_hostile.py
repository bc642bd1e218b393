"""Servers that do not play along: those that never answer, never read, or never stop."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.links.waiting import until_none_waits
from tests.links.world import CLIENT, Someone, World

HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'"
    b" from='b.example' to='a.example' id='x' version='1.0'>"
)


class _Context(ssl.SSLContext):
    """Knows the sockets that it has made: they take the place of those that were accepted."""

    made: list[ssl.SSLSocket]

    def wrap_socket(self, sock: socket.socket, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """See `ssl.SSLContext`."""
        # A handshake that fails must not take it along, for nobody to close.
        options["do_handshake_on_connect"] = False
        made = super().wrap_socket(sock, *arguments, **options)
        self.made.append(made)
        made.do_handshake()
        return made


class Hostile:
    """Listens for servers; `plays` is called with each connection, in a thread."""

    def __init__(self, world: World, plays: Callable[[socket.socket, ssl.SSLContext], None]) -> None:
        certificate, key = world.authority.issue("b.example", "b.example")
        self._context = _Context(ssl.PROTOCOL_TLS_SERVER)
        self._context.made = []
        self._context.load_cert_chain(certificate, key)
        self._plays = plays
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.connections: list[socket.socket] = []
        self.port: int = self._listening.getsockname()[1]
        world.dns.service("b.example", "localhost", self.port, direct=True)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._play, args=(connection,), daemon=True).start()

    def _play(self, connection: socket.socket) -> None:
        try:
            self._plays(connection, self._context)
        except OSError:
            pass  # our server has had enough

    def close(self) -> None:
        """Go away."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # so that nobody is accepted any more
        self._listening.close()
        for connection in (*self.connections, *self._context.made):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


@pytest.fixture
def hostile(world: World) -> Iterator[list[Hostile]]:
    """Those that a test has made."""
    made: list[Hostile] = []
    yield made
    for each in made:
        each.close()


def until(stream: ssl.SSLSocket, wanted: bytes) -> None:
    """Read until that came."""
    read = b""
    while wanted not in read:
        data = stream.recv(4096)
        if not data:
            raise OSError("the end")
        read += data


def authenticated(connection: socket.socket, context: ssl.SSLContext, features: bytes = b"") -> ssl.SSLSocket:
    """The whole negotiation, as a friendly server has it, without stream management.

    `features` are those that it has beside EXTERNAL.
    """
    stream = context.wrap_socket(connection, server_side=True)
    until(stream, b"xml:lang='en'>")
    mechanisms = (
        b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms>"
    )
    stream.sendall(HEADER + b"<stream:features>" + mechanisms + features + b"</stream:features>")
    until(stream, base64.b64encode(b"a.example"))
    stream.sendall(b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
    until(stream, b"xml:lang='en'>")
    stream.sendall(HEADER + b"<stream:features/>")
    return stream


def test_who_accepts_and_never_reads_costs_a_bounded_amount(world: World, hostile: list[Hostile]) -> None:
    kept: list[ssl.SSLSocket] = []

    def plays(connection: socket.socket, context: ssl.SSLContext) -> None:
        kept.append(authenticated(connection, context))

    hostile.append(Hostile(world, plays))
    server = world.msgd("a.example", ["romeo"], forked=False)
    romeo = Someone(server, "romeo", managed=True).arrives()
    romeo.says("x@b.example", "first")
    romeo.until_safe()
    before = server.memory()
    body = "x" * 50_000
    for _ in range(20):
        for _ in range(20):
            romeo.says("x@b.example", body)
        romeo.until_safe()
    grown = server.memory() - before
    (line,) = [each for each in server.command("links").splitlines() if "b.example" in each]
    assert int(line.split()[-2]) < 200_000, line  # bytes waiting for the socket
    assert grown < 90_000, f"{grown} KiB for 20,000 KiB of messages"
    assert "messages wait" in server.command("routes x@b.example")
    assert len(kept) == 1
    kept[0].close()
    # Everybody else goes on.
    assert romeo.asks("a.example", "<ping xmlns='urn:xmpp:ping'/>").get("type") == "result"


@pytest.mark.parametrize(
    "habit", ["silent", "no TLS", "features for ever", "huge features", "garbage", "spaces"]
)
def test_who_does_not_negotiate_is_given_up(world: World, hostile: list[Hostile], habit: str) -> None:
    def plays(connection: socket.socket, context: ssl.SSLContext) -> None:
        if habit == "silent":
            threading.Event().wait(60)
            return
        if habit == "no TLS":
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return
        stream = context.wrap_socket(connection, server_side=True)
        until(stream, b"xml:lang='en'>")
        stream.sendall(HEADER)
        pieces = {
            "features for ever": b"<a/>" * 1000,
            "huge features": b"<stream:features>" + b"<x/>" * 1000,
            "garbage": b"<stream:features></nothing>",
            "spaces": b" " * 4000,
        }
        while True:
            stream.sendall(pieces[habit])

    hostile.append(Hostile(world, plays))
    options = ["limits.negotiation_time = 5", "federation.patience = 2", "federation.attempt_time = 6"]
    server = world.msgd("a.example", ["romeo"], options)
    romeo = Someone(server, "romeo").arrives()
    answer = romeo.asks("b.example", "<ping xmlns='urn:xmpp:ping'/>")
    assert (
        answer.find(f"{CLIENT}error/{{urn:ietf:params:xml:ns:xmpp-stanzas}}remote-server-timeout") is not None
    )
    told = server.command("why b.example")
    assert "failed: " in told and "remedy: " in told
    assert romeo.asks("a.example", "<ping xmlns='urn:xmpp:ping'/>").get("type") == "result"


def test_an_idle_link_is_closed_and_opened_again(world: World) -> None:
    a = world.msgd("a.example", ["romeo"], ["federation.idle = 10", "ping.interval = 0"], movable=True)
    b = world.msgd("b.example", ["juliet"])
    romeo, juliet = Someone(a, "romeo").arrives(), Someone(b, "juliet").arrives()
    romeo.says(juliet, "one")
    assert juliet.hears() == "one"
    assert "b.example" in a.command("links")
    until_none_waits(a, "b.example")  # a link on which something is owed is not idle
    a.advance(30)
    a.advance(30)
    assert "b.example" not in a.command("links")
    romeo.says(juliet, "two")
    assert juliet.hears() == "two"
