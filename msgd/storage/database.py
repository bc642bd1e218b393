"""The interface to the database: what every engine offers, and the errors it raises.

Work is a function that takes a `Connection` and runs in a thread of the database. Reads go to a small
pool of threads, writes to the one writer, which gathers what is waiting into one transaction. Nothing is
reported as written before it is committed with fsync. Only a look-up, a few rows by their keys, may be
done in the reactor's thread, by an engine that has the rows at hand.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import Executable

T = TypeVar("T")

#: Named parameters of a statement: the names are those of its `bindparam`s or, for an `insert()` or
#: `update()` without explicit values, of the columns to set.
Parameters = Mapping[str, object]
NO_PARAMETERS: Parameters = {}

#: Called in the reactor thread when a write is settled: with None when it is committed, with the
#: exception when nothing of it was.
Done = Callable[[Exception | None], None]


class DatabaseError(Exception):
    """Base of all errors of the storage. `str()` is one line and holds no stored data."""


class DatabaseFault(DatabaseError):
    """The database cannot do its work: disk full, fsync or read error, locked, corrupt or gone.

    It says nothing about the job that got it, which may be tried again later. A write that failed with
    it was not reported as committed; when the fault struck within the commit itself and the machine or
    the process then dies, the write may still turn out to be there after the restart. So a write that is
    tried again must bear finding its rows already present.
    """


class Conflict(DatabaseError):
    """A statement broke a uniqueness or foreign-key rule of the schema; its job was rolled back."""


class StatementError(DatabaseError):
    """A statement or its parameters are wrong: a defect of the program."""


class DatabaseInUse(DatabaseError):
    """Another server has claimed this database."""


class DatabaseUnusable(DatabaseError):
    """The database cannot be opened, or was written by a newer msgd."""


class Connection(Protocol):
    """What work can do. Statements are SQLAlchemy Core expressions, compiled once to the engine's SQL.

    A statement has to be an object that lives long (a constant of its module), since the compiled text
    is kept by its identity. All methods raise Conflict, StatementError or DatabaseFault.
    """

    def all(self, statement: Executable, parameters: Parameters = NO_PARAMETERS) -> list[tuple[Any, ...]]:
        """Return all rows. Columns declared Boolean in the schema come as bool, BLOBs as bytes."""

    def one(self, statement: Executable, parameters: Parameters = NO_PARAMETERS) -> tuple[Any, ...] | None:
        """Return the first row, or None when there is none."""

    def run(self, statement: Executable, parameters: Parameters = NO_PARAMETERS) -> int:
        """Execute and return the number of rows that were changed."""

    def run_many(self, statement: Executable, rows: Sequence[Parameters]) -> None:
        """Execute once for each of `rows`, which all have the same names."""

    def insert(self, statement: Executable, parameters: Parameters = NO_PARAMETERS) -> int:
        """Execute an insert into a table with a numbered key, and return the new row's number."""


class Database(ABC):
    """One database. Made by its engine (`msgd.storage.sqlite.open_database`); used from the reactor."""

    def __init__(self) -> None:
        #: Called in the reactor thread with the DatabaseFault when `healthy` turns False …
        self.on_fault: list[Callable[[Exception], None]] = []
        #: … and without argument when it turns True again.
        self.on_recovered: list[Callable[[], None]] = []
        #: The fault that holds now, None while all is well.
        self.fault: Exception | None = None

    @property
    def healthy(self) -> bool:
        """False from a failed transaction on, until a later one has been committed.

        The writer tries one by itself every few seconds, so this recovers without being asked.
        """
        return self.fault is None

    @property
    @abstractmethod
    def waiting(self) -> int:
        """How many write jobs wait for the writer."""

    @property
    @abstractmethod
    def commits(self) -> int:
        """How many transactions were committed since the start."""

    @abstractmethod
    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a reader thread on a snapshot of its own; return or raise what it does.

        A read that begins after a write was reported sees it.
        """

    async def look_up(self, work: Callable[[Connection], T], alone: bool = False) -> T:
        """As `read`, for a few rows by their keys: an engine may have a quicker way for that.

        `alone` says that `work` is one statement, which needs no other to agree with.
        """
        return await self.read(work)

    @abstractmethod
    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in the writer thread; return its result after it is committed with fsync.

        Writes run in the order in which they were given. An exception of `work` is raised here and
        rolls back this work alone. Raises DatabaseFault when the transaction failed: then all jobs of
        it fail, and nothing of this work has been reported as committed.
        """

    @abstractmethod
    def write_soon(self, work: Callable[[Connection], object], done: Done) -> None:
        """As `write`, without a Deferred: the way for what is written many times a second.

        Any thread may call it. `done` gets None after the commit, or the exception (see `write`).
        """

    @abstractmethod
    def read_now(self, work: Callable[[Connection], T]) -> T:
        """Run `work` at once in the calling thread: for start-up, tests and the command line."""

    @abstractmethod
    def write_now(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction of its own in the calling thread and commit it with fsync.

        For start-up, tests and the command line: it blocks, and it bypasses the writer's order.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish all work that was given, then close. Later work fails with DatabaseFault."""

    @abstractmethod
    def close_now(self) -> None:
        """As `close`, waiting in the calling thread: for the command line, where no reactor runs."""
