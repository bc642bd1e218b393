"""The thread hand-over of a reactor without the rest of one, run by the test itself."""

from collections.abc import Callable, Coroutine
from queue import SimpleQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")

_PATIENCE = 30.0


class Turns:
    """Runs what threads hand over, while a test waits for something."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def callFromThread(self, function: Callable[..., object], *arguments: Any) -> None:
        """See IReactorFromThreads."""
        self._calls.put(lambda: function(*arguments))

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds, running what is handed over."""
        while not condition():
            self._calls.get(timeout=_PATIENCE)()

    def wait(self, work: Coroutine[Deferred[Any], Any, T]) -> T:
        """Run `work` to its end and return or raise what it does."""
        outcome: list[T | Failure] = []
        Deferred.fromCoroutine(work).addBoth(outcome.append)
        self.until(lambda: bool(outcome))
        result = outcome[0]
        if isinstance(result, Failure):
            result.raiseException()
        return result
