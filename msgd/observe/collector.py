"""The collector of garbage: how long it stops everything, and how it is kept from stopping for long.

A full collection looks at every object that it knows, so that its pause grows with the sessions (40 ms for
1,500). What has survived one is set aside (`gc.freeze`), and the next looks only at what came since. What
ends is freed all the same, by counting references; sessions, streams and parsers leave no cycles behind (a
test looks). In case something does, once a day, when there is little to do, all of it is looked at.
"""

from __future__ import annotations

import gc
import time
from typing import Final

from msgd.observe.distribution import Distribution

_SECONDS: Final = (0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: Seconds between two looks at everything, and the share of the time for which the loop may be busy then.
_ALL: Final = 86400.0
_QUIET: Final = 0.1


class Collector:
    """Measures, and sets aside. `look` has to be called now and then."""

    def __init__(self) -> None:
        self._began = self._looked_at_all = 0.0
        self._survived = False
        #: Seconds for which everything stood still, each time.
        self.pauses = Distribution(_SECONDS)

    def start(self) -> None:
        """From now on. What exists stays as long as the server."""
        self._looked_at_all = time.monotonic()
        gc.collect()
        gc.freeze()
        gc.callbacks.append(self._collected)

    def stop(self) -> None:
        """No longer."""
        gc.callbacks.remove(self._collected)

    def _collected(self, phase: str, information: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self.pauses.add(time.perf_counter() - self._began)
            self._survived = self._survived or information["generation"] == 2

    def look(self, busy: float) -> None:
        """Set aside what survived; `busy` is the share of the time for which the loop was."""
        now = time.monotonic()
        if busy < _QUIET and now - self._looked_at_all >= _ALL:
            self._looked_at_all = now
            gc.unfreeze()
            gc.collect()
        if self._survived:
            self._survived = False
            gc.freeze()
