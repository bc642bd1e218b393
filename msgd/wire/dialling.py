"""Connects to one of several addresses: the first that answers (RFC 8305, "Happy Eyeballs")."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, Final

from twisted.internet.defer import Deferred

from msgd.wire.reactor import DelayedCall, Reactor

#: Seconds after which the next address is tried beside the one that has not answered (RFC 8305 §5).
_NEXT: Final = 0.25
#: Seconds that an address has to answer.
_PATIENCE: Final = 15.0


class NotConnected(Exception):
    """No address answered; `str()` says what became of each."""


async def connect(reactor: Reactor, addresses: list[str], port: int) -> tuple[socket.socket, str]:
    """A connected, non-blocking socket, and its address. Raises NotConnected."""
    return await _Race(reactor, addresses, port).winner


class _Race:
    """The attempts to reach one host."""

    def __init__(self, reactor: Reactor, addresses: list[str], port: int) -> None:
        self.winner: Deferred[tuple[socket.socket, str]] = Deferred(lambda _: self._over())
        self._reactor = reactor
        self._left = list(addresses)
        self._port = port
        self._running: list[_Attempt] = []
        self._faults: list[str] = []
        self._timer: DelayedCall | None = None
        self._next()

    def _next(self) -> None:
        self._timer = None
        if not self._left:
            return
        address = self._left.pop(0)
        if self._left:
            self._timer = self._reactor.callLater(_NEXT, self._next)
        attempt = _Attempt(self, self._reactor, address, self._port)
        self._running.append(attempt)
        attempt.start()

    def won(self, attempt: _Attempt, connected: socket.socket) -> None:
        """An address answered: the others need not."""
        self._running.remove(attempt)
        self._over()
        self.winner.callback((connected, attempt.address))

    def lost(self, attempt: _Attempt, fault: str) -> None:
        """An address does not answer: on to the next."""
        self._running.remove(attempt)
        self._faults.append(f"{attempt.address} port {self._port}: {fault}")
        if self._left:
            if self._timer is not None:
                self._timer.cancel()
            self._next()
        elif not self._running:
            self.winner.errback(NotConnected("; ".join(self._faults)))

    def _over(self) -> None:
        self._left.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for attempt in self._running:
            attempt.stop()
        self._running.clear()


class _Attempt:
    """One address: a socket that is being connected, as a descriptor of the reactor."""

    def __init__(self, race: _Race, reactor: Reactor, address: str, port: int) -> None:
        self.address = address
        self._race = race
        self._reactor = reactor
        self._timer = reactor.callLater(_PATIENCE, self._too_late)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._port = port
        self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    def start(self) -> None:
        """Begin."""
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = self._socket.connect_ex((self.address, self._port))
        except OSError as error:
            number = error.errno or errno.EIO
        if number in (0, errno.EINPROGRESS):
            self._reactor.addWriter(self)
        else:
            self._fail(os.strerror(number))

    def stop(self) -> None:
        """Another was quicker."""
        self._leave()
        self._socket.close()

    def _leave(self) -> None:
        self._reactor.removeWriter(self)
        self._reactor.removeReader(self)
        if self._timer.active():
            self._timer.cancel()

    def _fail(self, fault: str) -> None:
        self.stop()
        self._race.lost(self, fault)

    def _too_late(self) -> None:
        self._fail("no answer")

    def doWrite(self) -> None:
        """It is connected, or not."""
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._fail(os.strerror(number))
            return
        self._leave()
        self._race.won(self, self._socket)

    def fileno(self) -> int:
        """The descriptor."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """What Twisted calls it in its log."""
        return "dialling"

    def connectionLost(self, reason: Any) -> None:
        """The reactor noticed a fault before we did."""
        if self._socket.fileno() >= 0:
            number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._fail(os.strerror(number) if number else "closed")

    doRead = doWrite
