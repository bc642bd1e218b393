"""What was sent counts as arrived only when the peer's machine has it (`Connection.under_way`)."""

from __future__ import annotations

import socket
import struct
from typing import Any, cast

from msgd.wire.output import Output
from msgd.wire.transport import Connection


class _Reactor:
    """Nothing happens by itself: every step of a connection is the test's."""

    def seconds(self) -> float:
        return 0.0

    def callLater(self, delay: float, callable: Any, *args: object, **kw: object) -> None:
        pass

    def addReader(self, reader: Any) -> None:
        pass

    removeReader = addWriter = removeWriter = addReader


def _pair() -> tuple[Connection, Output, socket.socket]:
    """A connection of the server, and the client's socket."""
    listening = socket.create_server(("127.0.0.1", 0))
    peer = socket.create_connection(listening.getsockname())
    accepted, _ = listening.accept()
    listening.close()
    accepted.setblocking(False)
    reactor = cast(Any, _Reactor())
    output = Output(reactor)
    return Connection(reactor, output, accepted, "127.0.0.1"), output, peer


def _reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def test_arrived() -> None:
    connection, output, peer = _pair()
    connection.write(b"x")
    assert connection.under_way(), "it is not even sent"
    output.flush()
    assert peer.recv(10) == b"x"
    assert connection.under_way() == 0
    connection.abort()
    peer.close()


def test_what_a_full_socket_does_not_take_has_not_arrived() -> None:
    connection, output, peer = _pair()
    connection.write(b"x" * 50_000_000)
    output.flush()
    assert connection.buffered
    assert connection.under_way()
    connection.abort()
    peer.close()


def test_what_a_broken_socket_does_not_take_has_not_arrived() -> None:
    # The peer is gone, the reactor has not told yet, and everything before had arrived.
    connection, output, peer = _pair()
    connection.write(b"x")
    output.flush()
    assert peer.recv(10) == b"x"
    _reset(peer)
    connection.write(b"y")
    output.flush()
    assert connection.under_way()
    connection.abort()


def test_only_the_last_bytes_are_under_way() -> None:
    """A peer that acknowledges late holds up what was written last, not what came before."""
    connection, output, peer = _pair()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.write(b"x" * 1000)
    output.flush()
    assert peer.recv(1000, socket.MSG_WAITALL) == b"x" * 1000
    connection.write(b"y" * 300)
    left = connection.under_way()
    assert left is not None and 300 <= left <= 1300
    connection.abort()
    assert connection.under_way() is None
    peer.close()
