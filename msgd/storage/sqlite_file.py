"""The SQLite file on disk: made with the right permissions, claimed, migrated, and watched.

A server claims its file with a lock beside it (`NAME.lock`), so that a second server is refused; the
short commands (`msgd user add`) claim nothing and rely on SQLite's own locks.
"""

import fcntl
import os
import sqlite3
from pathlib import Path

from sqlalchemy import Connection as CoreConnection
from sqlalchemy import NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from msgd.storage.database import DatabaseFault, DatabaseInUse, DatabaseUnusable
from msgd.storage.migrations import HEAD, current, migrate
from msgd.storage.sqlite_connection import SqliteConnection, connect, translate


class Claim:
    """The right of one server to a database, held until `release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        """Claim the database `path`. Raises DatabaseInUse, DatabaseUnusable."""
        lock = path.with_name(path.name + ".lock")
        try:
            self._descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DatabaseUnusable(f"{lock}: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise DatabaseInUse(
                f"{path} is in use by another msgd server (process {holder or 'unknown'})"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Give the database free. The lock file stays: removing it would race with the next claim."""
        os.close(self._descriptor)


class SqliteFile:
    """An SQLite database file that has the schema of this msgd, and its writing connection."""

    def __init__(self, path: Path, *, claim: bool) -> None:
        """Open `path`, making it and its directory when missing, and migrate it.

        Raises DatabaseInUse, DatabaseUnusable.
        """
        self.path = path.resolve()
        self._log = self.path.with_name(self.path.name + "-wal")
        self._log_identity: tuple[int, int] | None = None
        #: Size of the log at the last check, in bytes.
        self.log_size = 0
        self._connection: SqliteConnection | None = None
        self._claim: Claim | None = None
        try:
            _make(self.path)
            self._identity = _identity(os.stat(self.path))
            if claim:
                self._claim = Claim(self.path)
            self._migrate()
            self.writing()
        except OSError as error:
            self.close()
            raise DatabaseUnusable(f"{error.filename or path}: {error.strerror}") from error
        except DatabaseFault as fault:
            self.close()
            raise DatabaseUnusable(f"{path}: {fault}") from fault
        except BaseException:
            self.close()
            raise

    def writing(self) -> SqliteConnection:
        """Return the writing connection, opened when there is none. Raises DatabaseFault."""
        if self._connection is None:
            self._connection = connect(self.path)
        return self._connection

    def reading(self) -> SqliteConnection:
        """Return a new connection for reading. Raises DatabaseFault."""
        return connect(self.path, read_only=True)

    def abandon_writing(self) -> None:
        """Roll back what the writing connection is doing, and close it when it cannot do that."""
        if self._connection is not None and not self._connection.rollback():
            self._connection.close()
            self._connection = None

    def close_writing(self) -> None:
        """Empty the log into the file and close the writing connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.command("PRAGMA wal_checkpoint(TRUNCATE)")
            except DatabaseFault:
                pass  # the log keeps it all, and is read at the next start
            connection.close()

    def close(self) -> None:
        """Close whatever is open and release the claim."""
        self.close_writing()
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def check(self) -> None:
        """Raise DatabaseFault unless the files that are open are still those at their paths.

        Costs two `stat` a commit. Without it a database that was removed or replaced under the running
        server would take commits that nobody finds again.
        """
        try:
            found = _identity(os.stat(self.path))
            log = os.stat(self._log)
        except OSError as error:
            raise DatabaseFault(f"{error.filename}: {error.strerror}") from error
        if self._log_identity is None:
            self._log_identity = _identity(log)
        if found != self._identity or _identity(log) != self._log_identity:
            raise DatabaseFault(f"{self.path} was replaced while in use: restart the server")
        self.log_size = log.st_size

    def _migrate(self) -> None:
        """Bring the file to the schema of this msgd.

        Without a claim only while no server runs on the file: its code expects the old schema.
        """
        engine = create_engine(
            "sqlite://",
            creator=lambda: sqlite3.connect(self.path, isolation_level=None),
            poolclass=NullPool,
        )
        event.listen(engine, "begin", _begin_immediate)
        try:
            with engine.connect() as connection:
                if current(connection) == HEAD:
                    return
            passing = Claim(self.path) if self._claim is None else None
            try:
                with engine.begin() as connection:
                    migrate(connection)
            finally:
                if passing is not None:
                    passing.release()
        except DBAPIError as error:
            assert isinstance(error.orig, sqlite3.Error)
            raise DatabaseUnusable(f"{self.path}: {translate(error.orig)}") from error


def _begin_immediate(connection: CoreConnection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _make(path: Path) -> None:
    """Make the file, for its owner alone, and its directory; the log gets the mode of the file."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        if os.stat(path).st_mode & 0o077:
            os.chmod(path, 0o600)
        return
    os.close(descriptor)
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
