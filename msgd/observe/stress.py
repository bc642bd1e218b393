"""Overloaded or not: a state with hysteresis, computed from a few signals.

Each signal is a share of what is too much. One at 1 or above in two looks, one after the other, begins the
stress; it is over when each signal that began it has been below what is calm for ten looks (five seconds).
What then is different is up to those who ask: strangers wait and get less time, so that established sessions
suffer last (the idea is that of Postfix's stress-dependent limits).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from twisted.logger import Logger

_log = Logger("msgd.stress")
#: Looks for which a signal is too high until it counts, and for which all are calm until it is over.
_BEGINS, _ENDS = 2, 10
#: What is calm, unless the signal says otherwise.
_CALM: Final = 0.5


@dataclass(frozen=True, slots=True)
class Signal:
    """`read` gives a share: 1 is too much, below `calm` all is well."""

    name: str
    read: Callable[[], float]
    calm: float = _CALM


class Stress:
    """The state. `look` has to be called at regular times."""

    def __init__(self, signals: Iterable[Signal] = ()) -> None:
        self._signals = tuple(signals)
        self._looks = dict.fromkeys(self.names, 0)  # how many, one after the other, spoke for a change
        #: By what it is overloaded; empty when it is not.
        self.by: frozenset[str] = frozenset()
        #: How often it began.
        self.times = 0

    @property
    def names(self) -> list[str]:
        """The names of the signals."""
        return [signal.name for signal in self._signals]

    @property
    def on(self) -> bool:
        """It is overloaded."""
        return bool(self.by)

    def shares(self) -> Mapping[str, float]:
        """Each signal now."""
        return {signal.name: signal.read() for signal in self._signals}

    def look(self) -> None:
        """Look at the signals."""
        by = {signal.name for signal in self._signals if self._holds(signal)}
        if by and not self.by:
            self.times += 1
            _log.warn("overloaded ({by}): strangers wait, and get less time", by=", ".join(sorted(by)))
        elif self.by and not by:
            _log.info("no longer overloaded")
        self.by = frozenset(by)

    def _holds(self, signal: Signal) -> bool:
        """Whether this signal says that it is overloaded, after this look."""
        name, share = signal.name, signal.read()
        held = name in self.by
        changes = share < signal.calm if held else share >= 1
        looks = self._looks[name] = self._looks[name] + 1 if changes else 0
        if looks < (_ENDS if held else _BEGINS):
            return held
        self._looks[name] = 0
        return not held
