"""How the reactor's loop does: how late it comes to what is due, and how busy it is.

A timer that is due twice a second says how long everything else would have waited just then. Nothing here is
on a stanza's way; an idle server pays for two calls a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from msgd.observe.distribution import Distribution

#: Seconds between two looks.
INTERVAL: Final = 0.5
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Loop:
    """Looks at the loop of `reactor`; after each look it calls `looked`."""

    def __init__(self, reactor: Any, looked: Callable[[], None]) -> None:
        self._reactor = reactor
        self._looked = looked
        self._timer: Any = None
        self._due = self._then = self._used = 0.0
        #: Seconds by which the last look was late, and the share of the time before it that the loop's thread
        #: had a processor.
        self.late = self.busy = 0.0
        self.lateness = Distribution(_SECONDS)

    def start(self) -> None:
        """Look again and again."""
        self._then, self._used = time.monotonic(), time.thread_time()
        self._again()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _again(self) -> None:
        # The system's clock, not the reactor's: that one can be set, and in tests it is.
        self._due = time.monotonic() + INTERVAL
        self._timer = self._reactor.callLater(INTERVAL, self._look)

    def _look(self) -> None:
        now, used = time.monotonic(), time.thread_time()
        self.late = max(0.0, now - self._due)
        self.busy = (used - self._used) / max(1e-6, now - self._then)
        self._then, self._used = now, used
        self.lateness.add(self.late)
        self._again()
        self._looked()
