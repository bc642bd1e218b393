"""One connection to an SQLite file: how it is set up, what its errors mean, and the work's view of it.

Settings, each with its reason, are in `connect`. The writer also uses the transaction methods at the end
of `SqliteConnection`; work sees only those of `msgd.storage.database.Connection`.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Executable
from sqlalchemy.dialects import sqlite

from msgd.storage.database import (
    NO_PARAMETERS,
    Conflict,
    DatabaseError,
    DatabaseFault,
    DatabaseUnusable,
    Parameters,
    StatementError,
)
from msgd.storage.statements import Statements

# How long a statement waits for a lock that another process (`msgd user add`) holds, in ms.
BUSY_TIMEOUT = 5000
# The write-ahead log is cut back to this many bytes when it starts over, after a burst made it longer.
_LOG_KEEPS = 8 * 1024 * 1024

_FAULTS = {
    sqlite3.SQLITE_FULL: "no space left",
    sqlite3.SQLITE_IOERR: "input/output error",
    sqlite3.SQLITE_CORRUPT: "the database file is damaged; restore a backup",
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database",
    sqlite3.SQLITE_CANTOPEN: "cannot open the database file",
    sqlite3.SQLITE_READONLY: "the database is read-only",
    sqlite3.SQLITE_PERM: "permission denied",
    sqlite3.SQLITE_BUSY: "locked by another process for too long",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_PROTOCOL: "locked by another process for too long",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_INTERRUPT: "interrupted",
}

_statements = Statements(sqlite.dialect(paramstyle="qmark"))


def translate(error: sqlite3.Error) -> DatabaseError:
    """Return the engine-neutral error for one of SQLite's. SQLite's messages hold names, no data."""
    if isinstance(error, sqlite3.IntegrityError):
        return Conflict(str(error))
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in _FAULTS:
        return DatabaseFault(f"{_FAULTS[code & 0xFF]} ({error.sqlite_errorname}: {error})")
    return StatementError(str(error))


def connect(path: Path, *, read_only: bool = False) -> "SqliteConnection":
    """Open the existing file `path`. Raises DatabaseFault.

    The connection may be used by any thread, by one at a time.
    """
    mode = "ro" if read_only else "rw"
    try:
        driver = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT / 1000,
            isolation_level=None,  # transactions begin and end where we say
            check_same_thread=False,
            cached_statements=512,
        )
        try:
            for setting in _settings(read_only):
                driver.execute(f"PRAGMA {setting}")
            if driver.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                raise DatabaseUnusable(f"{path}: this file system cannot hold an SQLite log (WAL)")
            # Opens the log. Until then, another connection that closes would take itself for the last
            # and remove it.
            driver.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except (sqlite3.Error, DatabaseUnusable):
            driver.close()
            raise
    except sqlite3.Error as error:
        raise translate(error) from error
    return SqliteConnection(driver)


def _settings(read_only: bool) -> list[str]:
    settings = [
        "foreign_keys = ON",
        # Nothing in a file that was tampered with may call functions with side effects.
        "trusted_schema = OFF",
    ]
    if read_only:
        return [*settings, "query_only = ON"]
    return [
        *settings,
        # Readers do not wait for the writer, and a commit is one append and one fsync.
        "journal_mode = WAL",
        # fsync of the log at every commit. (NORMAL only syncs at checkpoints and so loses commits.)
        "synchronous = FULL",
        # No checkpoint inside a commit: it would delay the answer to it, and SQLite would not tell
        # us when it failed. The writer does its own (`SqliteConnection.checkpoint`).
        "wal_autocheckpoint = 0",
        f"journal_size_limit = {_LOG_KEEPS}",
        # What was delivered is not to be found in the file afterwards.
        "secure_delete = ON",
    ]


class SqliteConnection:
    """A connection; see `msgd.storage.database.Connection` for the methods that work uses."""

    __slots__ = ("_driver", "_execute", "fault")

    def __init__(self, driver: sqlite3.Connection) -> None:
        self._driver = driver
        self._execute = driver.execute
        #: The last fault a statement met. SQLite may have ended the transaction because of it, so even
        #: work that catches it must not be taken as done.
        self.fault: DatabaseFault | None = None

    def all(self, statement: Executable, parameters: Parameters = NO_PARAMETERS) -> list[tuple[Any, ...]]:
        """See `Connection.all`."""
        prepared = _statements.prepare(statement, parameters)
        try:
            rows = self._execute(prepared.text, prepared.values(parameters)).fetchall()
        except sqlite3.Error as error:
            raise self._note(error) from error
        return [prepared.row(row) for row in rows] if prepared.booleans else rows

    def one(self, statement: Executable, parameters: Parameters = NO_PARAMETERS) -> tuple[Any, ...] | None:
        """See `Connection.one`."""
        prepared = _statements.prepare(statement, parameters)
        try:
            row: tuple[Any, ...] | None = self._execute(prepared.text, prepared.values(parameters)).fetchone()
        except sqlite3.Error as error:
            raise self._note(error) from error
        return prepared.row(row) if row is not None and prepared.booleans else row

    def run(self, statement: Executable, parameters: Parameters = NO_PARAMETERS) -> int:
        """See `Connection.run`."""
        prepared = _statements.prepare(statement, parameters)
        try:
            return self._execute(prepared.text, prepared.values(parameters)).rowcount
        except sqlite3.Error as error:
            raise self._note(error) from error

    def run_many(self, statement: Executable, rows: Sequence[Parameters]) -> None:
        """See `Connection.run_many`."""
        if not rows:
            return
        prepared = _statements.prepare(statement, rows[0])
        try:
            self._driver.executemany(prepared.text, map(prepared.values, rows))
        except sqlite3.Error as error:
            raise self._note(error) from error

    def insert(self, statement: Executable, parameters: Parameters = NO_PARAMETERS) -> int:
        """See `Connection.insert`."""
        prepared = _statements.prepare(statement, parameters)
        try:
            row = self._execute(prepared.text, prepared.values(parameters)).lastrowid
        except sqlite3.Error as error:
            raise self._note(error) from error
        assert row is not None
        return row

    # What follows is for the engine, not for work.

    def command(self, text: str) -> list[tuple[Any, ...]]:
        """Execute one command of SQLite's own and return its rows."""
        try:
            return self._execute(text).fetchall()
        except sqlite3.Error as error:
            raise self._note(error) from error

    def begin(self, kind: str = "IMMEDIATE") -> None:
        """Begin a transaction; IMMEDIATE takes the write lock."""
        self.fault = None
        self.command(f"BEGIN {kind}")

    def commit(self) -> None:
        """Commit with fsync. Raises DatabaseFault when that, or any statement before it, failed."""
        if self.fault is not None:
            raise self.fault
        self.command("COMMIT")

    def rollback(self) -> bool:
        """Give up the transaction, if there still is one; return whether that left a clean state."""
        try:
            if self._driver.in_transaction:
                self._driver.execute("ROLLBACK")
        except sqlite3.Error:
            return False
        return not self._driver.in_transaction

    def checkpoint(self) -> None:
        """Move what the log holds into the database file. Raises DatabaseFault.

        FULL takes the write lock, so that no other process can start the log over meanwhile (SQLite
        before 3.51.3 could lose pages then), and without a busy timeout it does not wait for readers:
        what they still need is left for the next time.
        """
        self.command("PRAGMA busy_timeout = 0")
        try:
            self.command("PRAGMA wal_checkpoint(FULL)")
        except DatabaseFault as fault:
            if not _is_locked(fault):
                raise
        finally:
            self.command(f"PRAGMA busy_timeout = {BUSY_TIMEOUT}")

    def close(self) -> None:
        """Close; an error then has nobody left to tell."""
        try:
            self._driver.close()
        except sqlite3.Error:
            pass

    def _note(self, error: sqlite3.Error) -> DatabaseError:
        translated = translate(error)
        if isinstance(translated, DatabaseFault):
            self.fault = translated
        return translated


def _is_locked(fault: DatabaseFault) -> bool:
    cause = fault.__cause__
    return isinstance(cause, sqlite3.Error) and cause.sqlite_errorcode & 0xFF in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    )
