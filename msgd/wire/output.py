"""The end of a turn: what was written during it leaves, one record for each connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgd.wire.reactor import Reactor, at_end_of_turn


class Gathering(Protocol):
    """A connection that has gathered what was written to it."""

    def flush(self) -> None:
        """Send what was gathered."""


class Output:
    """The connections that have something to send at the end of the turn."""

    def __init__(self, reactor: Reactor) -> None:
        self.dirty: list[Gathering] = []
        #: Counts the turns.
        self.turn = 0
        self.seconds: Callable[[], float] = reactor.seconds
        self._reactor = reactor
        self._hooked = at_end_of_turn(self.flush)
        self._scheduled = False

    def add(self, connection: Gathering) -> None:
        """`connection` has output that waits."""
        self.dirty.append(connection)
        if not self._hooked and not self._scheduled:
            self._scheduled = True
            self._reactor.callLater(0, self.flush)

    def flush(self) -> None:
        """Send what was gathered."""
        self._scheduled = False
        self.turn += 1
        if self.dirty:
            dirty, self.dirty = self.dirty, []
            for connection in dirty:
                connection.flush()
