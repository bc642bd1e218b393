"""The readers: a few threads, each with a connection of its own that cannot write.

Own threads and one queue rather than Twisted's thread pool: half the cost of a round trip, and each
thread keeps its connection.
"""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred

from msgd.storage.database import Connection, DatabaseFault
from msgd.storage.handover import Call, Handover
from msgd.storage.sqlite_connection import SqliteConnection
from msgd.storage.sqlite_file import SqliteFile

# One long read (a listing for the console) must not hold up the short ones; more than two only
# compete for the interpreter.
_THREADS = 2

Work = Callable[[Connection], object]


class Readers:
    """The pool of reading threads."""

    def __init__(self, file: SqliteFile, handover: Handover) -> None:
        self._file = file
        self._handover = handover
        self._jobs: SimpleQueue[tuple[Work, Deferred[Any]] | None] = SimpleQueue()
        self._threads = [
            Thread(target=self._run, name=f"msgd-reader-{number}", daemon=True) for number in range(_THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, work: Work, result: "Deferred[Any]") -> None:
        """Queue a read; `result` is fired in the reactor thread."""
        self._jobs.put((work, result))

    def stop(self) -> None:
        """Let the threads end after the reads that are queued."""
        for _ in self._threads:
            self._jobs.put(None)

    def join(self) -> None:
        """Wait for the end of the threads, after `stop`."""
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        connection: SqliteConnection | None = None
        while (job := self._jobs.get()) is not None:
            work, result = job
            call: Call
            try:
                connection = connection or self._file.reading()
                call = result.callback, read(connection, work)
            except BaseException as error:  # raised where the read was asked for
                call = result.errback, error
                if connection is not None and connection.fault is not None:
                    connection.close()
                    connection = None
            # The thread's own names would keep the rows until the next read.
            del work, result, job
            self._handover.post((call,))
            del call
        if connection is not None:
            connection.close()


def read(connection: SqliteConnection, work: Callable[[Connection], Any]) -> Any:
    """Return the result of `work`, done on one snapshot of the database."""
    connection.begin("DEFERRED")
    try:
        return work(connection)
    finally:
        if not connection.rollback():
            connection.fault = DatabaseFault("a reading transaction could not be ended")
