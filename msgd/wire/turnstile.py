"""A turnstile: in each turn of the reactor only so much is done for strangers.

A handshake costs ten times what a message costs, each step of a login some of them. When thousands come at
once, after a restart, whoever is in already must not wait until the last of them is: a turn spends some
milliseconds on them, the others wait in a line. Where nobody else has anything to do the turns are short, so
the line moves as fast as it can.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.wire.reactor import Clock

_log = Logger("msgd.turnstile")
#: Seconds of a turn that strangers get, and under stress.
USUAL: Final = 0.005
STRESSED: Final = 0.001
#: Seconds that a step of a login takes, about.
_STEP: Final = 0.00015


class Turns(Protocol):
    """Knows when a turn of the reactor is over (`output.py`)."""

    turn: int


class Turnstile:
    """Who comes through at once, and who waits for a later turn."""

    def __init__(self, clock: Clock, turns: Turns, seconds: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._turns = turns
        self._seconds = seconds
        self._line: deque[Callable[[], object]] = deque()
        self._turn = 0
        self._spent = 0.0
        self._scheduled = False
        #: Seconds that may be spent in a turn.
        self.budget = USUAL

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._line)

    def enter(self, work: Callable[[], object]) -> None:
        """Do `work` now, or in a later turn, behind all who wait already."""
        if self._open():
            self._do(work)
        else:
            self._wait(work)

    def turn(self) -> Deferred[None] | None:
        """What a step of a login has to wait for; None: it may be done now."""
        if self._open():
            self._spent += _STEP
            return None
        turn: Deferred[None] = Deferred()
        self._wait(lambda: turn.callback(None))
        return turn

    def _open(self) -> bool:
        """Whether there is time left in this turn, and nobody was here before."""
        if self._turn != self._turns.turn:
            self._turn = self._turns.turn
            self._spent = 0.0
        return not self._line and self._spent < self.budget

    def _wait(self, work: Callable[[], object]) -> None:
        self._line.append(work)
        if not self._scheduled:
            self._scheduled = True
            self._clock.callLater(0, self._next_turn)

    def _next_turn(self) -> None:
        self._scheduled = False
        self._turn, self._spent = self._turns.turn, 0.0
        while self._line and self._spent < self.budget:
            self._do(self._line.popleft())
        if self._line:
            self._scheduled = True
            self._clock.callLater(0, self._next_turn)

    def _do(self, work: Callable[[], object]) -> None:
        began = self._seconds()
        try:
            work()
        except Exception:  # the others in the line have to come through all the same
            _log.failure("a stranger's work failed")
        self._spent += self._seconds() - began
