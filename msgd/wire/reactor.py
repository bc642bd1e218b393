"""The reactor: Twisted's epoll reactor without the costs that a connection pays per event.

`install` replaces the poll step by one that calls a reader directly (no logging context for each
event; errors are still logged) and calls the hooks of `at_end_of_turn` before it waits again, when
all events and timers of a turn were handled: what was written during the turn leaves as one TLS
record per connection.

It leans on some private names of Twisted's epoll reactor. Where they are missing the ordinary
reactor is installed and the end of a turn is reached by `callLater(0)`: slower, not different.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from select import EPOLLIN
from typing import Any, Protocol

from twisted.internet import epollreactor, main
from twisted.logger import Logger

_log = Logger("msgd.reactor")
#: What one turn handles at most; more waits for the next.
_EVENTS = 1024
_NEEDED = (
    "_poller", "_selectables", "_doReadOrWrite", "_disconnectSelectable",
    "_newTimedCalls", "_pendingTimedCalls", "_justStopped", "threadCallQueue",
)  # fmt: skip

_turn_hooks: list[Callable[[], None]] = []
_installed_fast = False


class DelayedCall(Protocol):
    """A call that was scheduled."""

    def active(self) -> bool:
        """Whether it is still to come."""

    def cancel(self) -> None:
        """It shall not come. Raises when it has."""


class Clock(Protocol):
    """What has a time: the reactor, or a clock in tests."""

    def seconds(self) -> float:
        """Now."""

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> DelayedCall:
        """Call later; `delay` in seconds."""


class Reactor(Clock, Protocol):
    """What the transport needs of Twisted's reactor (whose interfaces mypy cannot read)."""

    def addReader(self, reader: Any) -> None:
        """Call `doRead` when there is something to read."""

    def removeReader(self, reader: Any) -> None:
        """No more."""

    def addWriter(self, writer: Any) -> None:
        """Call `doWrite` when something can be written."""

    def removeWriter(self, writer: Any) -> None:
        """No more."""


def at_end_of_turn(hook: Callable[[], None]) -> bool:
    """Call `hook` at the end of every turn. False when the running reactor has no such moment."""
    _turn_hooks.append(hook)
    return _installed_fast


class _Reactor(epollreactor.EPollReactor):
    """Twisted's epoll reactor with a shorter way from an event to its reader."""

    def doPoll(self, timeout: float | None) -> None:
        """Wait for events, at most `timeout` seconds, and handle them.

        Turns in which nothing but that is to be done follow at once, without the loop around this.
        """
        this: Any = self  # the private names below have no types
        while True:
            for hook in _turn_hooks:
                hook()
            self._poll(0 if this._newTimedCalls else timeout)
            if timeout == 0 or this._newTimedCalls or this.threadCallQueue:
                return
            if this._justStopped or not this.running:
                return
            timeout = None
            if this._pendingTimedCalls:
                timeout = this._pendingTimedCalls[0].time - self.seconds()
                if timeout <= 0:
                    return

    def _poll(self, timeout: float | None) -> None:
        this: Any = self
        try:
            events = this._poller.poll(-1 if timeout is None else timeout, _EVENTS)
        except OSError as error:
            if error.errno == errno.EINTR:
                return
            raise
        selectables = this._selectables
        for descriptor, event in events:
            selectable = selectables.get(descriptor)
            if selectable is None:
                continue
            if event == EPOLLIN:
                try:
                    reason = selectable.doRead()
                except Exception:  # as Twisted does: one connection's fault ends that connection
                    _log.failure("a connection failed while reading")
                    reason = main.CONNECTION_LOST
                if reason:
                    this._disconnectSelectable(selectable, reason, True)
            else:
                this._doReadOrWrite(selectable, descriptor, event)

    doIteration = doPoll


class _MovableReactor(_Reactor):
    """A reactor whose time can be moved forward: for tests of what happens hours later."""

    moved = 0.0

    def seconds(self) -> float:
        """Now, and what it was moved by."""
        return time.time() + self.moved


def advance(seconds: float) -> None:
    """Move the time of a movable reactor; what became due happens at once. Raises TypeError."""
    from twisted.internet import reactor

    installed: Any = reactor
    if not isinstance(installed, _MovableReactor):
        raise TypeError("the clock cannot be moved")
    installed.moved += seconds
    installed.wakeUp()


def install(movable: bool = False) -> None:
    """Install the reactor; before `twisted.internet.reactor` is imported anywhere.

    `movable` is for tests: `advance` then moves the time.
    """
    global _installed_fast
    if movable:
        main.installReactor(_MovableReactor())  # type: ignore[no-untyped-call]  # Twisted's are untyped
        _installed_fast = True
        return
    reactor = _Reactor()  # type: ignore[no-untyped-call]  # Twisted's are untyped
    if all(hasattr(reactor, name) for name in _NEEDED):
        main.installReactor(reactor)  # type: ignore[no-untyped-call]  # the same
        _installed_fast = True
    else:
        epollreactor.install()  # type: ignore[no-untyped-call]  # the same
