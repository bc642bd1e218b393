"""Accounts on a real database with real threads, and a clock that the test moves."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from msgd.accounts.accounts import Accounts, open_accounts
from msgd.accounts.credentials import LEAST_ITERATIONS
from msgd.storage.sqlite import open_database

T = TypeVar("T")

_PATIENCE = 30.0


class World:
    """The parts of a reactor that accounts and database use, and both of them on it."""

    def __init__(self, directory: Path) -> None:
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._threads = ThreadPool(minthreads=1, maxthreads=2)
        self._threads.start()
        self.now = 1_000_000.0
        self.path = directory / "msgd.sqlite"
        self.database = open_database(self.path, cast(IReactorFromThreads, self))
        self.accounts: Accounts = open_accounts(self.database, self, iterations=LEAST_ITERATIONS)

    def seconds(self) -> float:
        """See IReactorTime."""
        return self.now

    def getThreadPool(self) -> ThreadPool:
        """See IReactorThreads."""
        return self._threads

    def callFromThread(self, function: Callable[..., object], *arguments: Any, **named: Any) -> None:
        """See IReactorFromThreads."""
        self._calls.put(lambda: function(*arguments, **named))

    def start(self, work: Coroutine[Deferred[Any], Any, T]) -> list[T | Failure]:
        """Begin `work`; the list gets its outcome."""
        outcome: list[T | Failure] = []
        Deferred.fromCoroutine(work).addBoth(outcome.append)
        return outcome

    def turn(self) -> None:
        """Run the next call that a thread hands over."""
        self._calls.get(timeout=_PATIENCE)()

    def wait(self, work: Coroutine[Deferred[Any], Any, T]) -> T:
        """Run `work` to its end and return or raise what it does."""
        outcome = self.start(work)
        while not outcome:
            self.turn()
        result = outcome[0]
        if isinstance(result, Failure):
            result.raiseException()
        return result

    def close(self) -> None:
        """End threads and database."""
        self._threads.stop()
        self.database.close_now()
