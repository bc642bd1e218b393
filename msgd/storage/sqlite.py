"""The SQLite engine: one file, one writer thread with group commit, two reader threads.

`open_database` is the way in. The parts: `sqlite_file` (the file on disk), `sqlite_connection` (settings
and errors), `writer`, `readers`, `look_ups`, and `handover` back to the reactor.
"""

from collections.abc import Callable
from pathlib import Path
from threading import Lock

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from msgd.storage.database import Connection, Database, DatabaseFault, Done, T
from msgd.storage.handover import Handover
from msgd.storage.look_ups import LookUps
from msgd.storage.readers import Readers, read
from msgd.storage.sqlite_connection import connect
from msgd.storage.sqlite_file import SqliteFile
from msgd.storage.writer import Writer

_log = Logger()


def open_database(path: Path | str, reactor: IReactorFromThreads, *, claim: bool = False) -> "SqliteDatabase":
    """Open the SQLite database `path`, made when missing, and bring it to the schema of this msgd.

    With `claim` (the server) no other server can open it so; the short commands go without. Raises
    DatabaseInUse, DatabaseUnusable, each with one line for the operator.
    """
    return SqliteDatabase(SqliteFile(Path(path), claim=claim), reactor)


class SqliteDatabase(Database):
    """An open SQLite database; see `Database`."""

    def __init__(self, file: SqliteFile, reactor: IReactorFromThreads) -> None:
        super().__init__()
        self._file = file
        self._handover = Handover(reactor)
        self._writer = Writer(file, self._handover, self._state_changed)
        self._readers = Readers(file, self._handover)
        self._look_ups = LookUps(file)
        self._open = True
        self._now = Lock()

    @property
    def path(self) -> Path:
        """The database file."""
        return self._file.path

    @property
    def waiting(self) -> int:
        """See `Database.waiting`."""
        return self._writer.waiting

    @property
    def commits(self) -> int:
        """See `Database.commits`."""
        return self._writer.commits

    async def read(self, work: Callable[[Connection], T]) -> T:
        """See `Database.read`."""
        self._must_be_open()
        result: Deferred[T] = Deferred()
        self._readers.put(work, result)
        return await result

    async def look_up(self, work: Callable[[Connection], T], alone: bool = False) -> T:
        """See `Database.look_up`."""
        self._must_be_open()
        return self._look_ups.do(work, alone) if self._look_ups.quick else await self.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """See `Database.write`."""
        self._must_be_open()
        settled: Deferred[None] = Deferred()
        results: list[T] = []

        def done(error: Exception | None) -> None:
            if error is None:
                settled.callback(None)
            else:
                settled.errback(error)

        self._writer.put(lambda connection: results.append(work(connection)), done)
        await settled
        return results[0]

    def write_soon(self, work: Callable[[Connection], object], done: Done) -> None:
        """See `Database.write_soon`."""
        if self._open:
            self._writer.put(work, done)
        else:
            self._handover.post([(done, _closed())])

    def read_now(self, work: Callable[[Connection], T]) -> T:
        """See `Database.read_now`."""
        self._must_be_open()
        with self._now:
            connection = self._file.reading()
            try:
                result: T = read(connection, work)
                return result
            finally:
                connection.close()

    def write_now(self, work: Callable[[Connection], T]) -> T:
        """See `Database.write_now`."""
        self._must_be_open()
        with self._now:
            connection = connect(self._file.path)
            try:
                connection.begin()
                result = work(connection)
                connection.commit()
                return result
            finally:
                connection.close()  # which rolls back what is not committed

    async def close(self) -> None:
        """See `Database.close`."""
        if not self._open:
            return
        self._open = False
        stopped: Deferred[None] = Deferred()
        self._readers.stop()
        self._writer.stop(stopped.callback)
        await stopped
        self._finish()

    def close_now(self) -> None:
        """As `close`, waiting in the calling thread: for the command line, without a reactor."""
        if self._open:
            self._open = False
            self._readers.stop()
            self._writer.stop(lambda _: None)
            self._finish()

    def _finish(self) -> None:
        self._look_ups.close()
        self._writer.join()
        self._readers.join()
        self._file.close()

    def _must_be_open(self) -> None:
        if not self._open:
            raise _closed()

    def _state_changed(self, fault: DatabaseFault | None) -> None:
        self.fault = fault
        if fault is not None:
            _log.error("the database fails: {fault}", fault=str(fault))
            for tell in self.on_fault:
                tell(fault)
        else:
            _log.info("the database works again")
            for tell_recovered in self.on_recovered:
                tell_recovered()


def _closed() -> DatabaseFault:
    return DatabaseFault("the database is closed")
