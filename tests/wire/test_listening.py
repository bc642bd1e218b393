"""Accepted sockets: what they inherit from the one that listens."""

from __future__ import annotations

import socket
from typing import Any, cast

from msgd.wire.listening import ListeningPort


class _Reactor:
    """A reactor that is told of readers, and reads when the test says so."""

    def addReader(self, reader: Any) -> None:
        """See the reactor."""

    removeReader = addReader


def test_nothing_is_held_back_and_silent_peers_are_found_by_the_system() -> None:
    accepted: list[socket.socket] = []
    port = ListeningPort(cast(Any, _Reactor()), "127.0.0.1", 0, lambda found, address: accepted.append(found))
    port.start()
    with socket.create_connection(("127.0.0.1", port.port)):
        port.doRead()
    port.stop()
    (found,) = accepted
    assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 600
    assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 150_000
    found.close()
