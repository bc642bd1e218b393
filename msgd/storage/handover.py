"""Handing results from the database's threads to the reactor thread, many at a time."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

Call = tuple[Callable[[Any], object], Any]

_log = Logger()


class Handover:
    """Calls functions in the reactor thread, in order; one wake-up serves all that are waiting."""

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._calls: deque[Call] = deque()
        self._scheduled = False

    def post(self, calls: Iterable[Call]) -> None:
        """Have each `(function, argument)` called in the reactor thread. Any thread may call this."""
        self._calls.extend(calls)
        # Two threads may both find it False: then the second run finds nothing to do.
        if not self._scheduled:
            self._scheduled = True
            self._reactor.callFromThread(self._run)

    def _run(self) -> None:
        # First this, then the count: what is posted from now on schedules a run of its own.
        self._scheduled = False
        calls = self._calls
        for _ in range(len(calls)):
            function, argument = calls.popleft()
            try:
                function(argument)
            except Exception:  # one faulty callback must not cost the others their result
                _log.failure("a callback of the database failed")
