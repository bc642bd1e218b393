"""A listening socket: accepts connections a few at a time, and survives running out of descriptors."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from msgd.wire.reactor import Reactor

#: Seconds after which TCP asks a silent peer whether it is there, and between its questions.
_KEEPALIVE_IDLE: Final = 600
_KEEPALIVE_INTERVAL: Final = 30
#: Milliseconds for which what was sent, or such a question, may be unacknowledged; then the peer is gone.
_UNACKNOWLEDGED: Final = 150_000
#: Connections that are accepted in one turn of the reactor, so that those that exist are not starved.
AT_ONCE: Final = 32
#: Seconds until it is tried again: after the descriptors are used up, and where the server has no time now.
_USED_UP, _NO_TIME = 1.0, 0.02
#: Places in tcp_info (linux/tcp.h): of a listening socket, how many wait to be accepted, and how many may.
_TCP_INFO_WAITING, _TCP_INFO_MOST = 24, 28


class ListeningPort:
    """A listening socket; `accepted` is called with each new connection's socket and address.

    `admits` says how many may come in this turn; with 0 they wait with the system (`backlog`) for some time.

    `address` and `port` are numeric; port 0 lets the system choose, `port` then tells which.
    """

    def __init__(
        self,
        reactor: Reactor,
        address: str,
        port: int,
        accepted: Callable[[socket.socket, str], None],
        backlog: int = 4096,
        admits: Callable[[], int] = lambda: AT_ONCE,
    ) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted ones inherit it
            _keep_alive(listening)
            listening.bind((address, port))
            listening.listen(backlog)
            listening.setblocking(False)
        except OSError:
            listening.close()
            raise
        self._socket = listening
        self._reactor = reactor
        self._accepted = accepted
        self._admits = admits
        self.address = address
        self.port: int = listening.getsockname()[1]

    def start(self) -> None:
        """Accept from now on."""
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Accept no more."""
        self._reactor.removeReader(self)
        self._socket.close()

    def fileno(self) -> int:
        """The descriptor."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """What Twisted calls it in its log."""
        return "listening"

    def connectionLost(self, reason: Any) -> None:
        """The reactor stops."""

    def doRead(self) -> None:
        """Accept what waits, a few at a time so that established connections are not starved."""
        admitted = self._admits()
        if not admitted:
            self._rest(_NO_TIME)
        for _ in range(admitted):
            try:
                accepted, peer = self._socket.accept()
            except BlockingIOError:
                return
            except OSError:  # the descriptors are used up, or the peer has gone already
                self._rest(_USED_UP)
                return
            accepted.setblocking(False)
            self._accepted(accepted, peer[0])

    def waiting(self) -> float:
        """What share of the system's queue is used by connections that are not accepted yet."""
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
        except (OSError, AttributeError):  # closed, or a system without this
            return 0.0
        waiting = int.from_bytes(info[_TCP_INFO_WAITING : _TCP_INFO_WAITING + 4], sys.byteorder)
        most = int.from_bytes(info[_TCP_INFO_MOST : _TCP_INFO_MOST + 4], sys.byteorder)
        return waiting / most if most else 0.0

    def _rest(self, seconds: float) -> None:
        """Try again later instead of spinning."""
        self._reactor.removeReader(self)
        self._reactor.callLater(seconds, self._try_again)

    def _try_again(self) -> None:
        if self._socket.fileno() >= 0:
            self._reactor.addReader(self)


def _keep_alive(listening: socket.socket) -> None:
    """Let the system find peers that are gone; accepted connections inherit it (tcp(7), socket(7))."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _KEEPALIVE_IDLE),
        ("TCP_KEEPINTVL", _KEEPALIVE_INTERVAL),
        ("TCP_USER_TIMEOUT", _UNACKNOWLEDGED),
    ):
        option = getattr(socket, name, None)  # not every system has them all
        if option is not None:
            listening.setsockopt(socket.IPPROTO_TCP, option, value)
