"""The writer: one thread that puts all waiting jobs into one transaction (group commit).

A commit costs an fsync and about a quarter of a millisecond of CPU whatever is in it, so whatever came
in while the last one was written is committed together. Every job has a savepoint of its own. Results
are handed over only after the commit.
"""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread

from twisted.logger import Logger

from msgd.storage.database import Connection, DatabaseFault, Done
from msgd.storage.handover import Call, Handover
from msgd.storage.sqlite_connection import SqliteConnection
from msgd.storage.sqlite_file import SqliteFile

Work = Callable[[Connection], object]
Job = tuple[Work, Done]

# So many jobs at most go into one transaction: it bounds how long the first waits for the last.
_MOST_JOBS = 500
# A checkpoint writes each changed page once however often it was committed, so it gets cheaper per
# commit the rarer it is; the log that a start after a crash must read gets longer (a few MiB here).
_COMMITS_PER_CHECKPOINT = 100
_LOG_BYTES_PER_CHECKPOINT = 16 * 1024 * 1024
# While there is a fault, an empty transaction is tried this often (seconds) to find its end.
_PROBE_INTERVAL = 2.0

_log = Logger()


class Writer:
    """Owns the writing connection of `file` and the thread that uses it.

    `on_state` is called in the reactor thread with the fault when one begins, and with None when it ends.
    """

    def __init__(
        self,
        file: SqliteFile,
        handover: Handover,
        on_state: Callable[[DatabaseFault | None], object],
    ) -> None:
        self._file = file
        self._handover = handover
        self._on_state = on_state
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._stopped: Callable[[None], object] = _ignore
        self._commit_fault: DatabaseFault | None = None
        self._checkpoint_fault: DatabaseFault | None = None
        self._known_fault: DatabaseFault | None = None
        self._since_checkpoint = 0
        #: Transactions committed so far.
        self.commits = 0
        self._thread = Thread(target=self._run, name="msgd-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs are in the queue."""
        return self._jobs.qsize()

    def put(self, work: Work, done: Done) -> None:
        """Queue a job; `done` is called in the reactor thread when it is settled."""
        self._jobs.put((work, done))

    def stop(self, stopped: Callable[[None], object]) -> None:
        """Finish the jobs that are queued, close, then call `stopped` in the reactor thread."""
        self._stopped = stopped
        self._jobs.put(None)

    def join(self) -> None:
        """Wait for the end of the thread, after `stop`."""
        self._thread.join()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            jobs, stopping = self._take()
            results = self._transaction(jobs) if jobs or not stopping else []
            if stopping:
                self._file.close_writing()
                results.append((self._stopped, None))
            self._handover.post([*self._state_change(), *results])
            if not stopping and self._checkpoint_is_due():
                self._checkpoint()
                self._handover.post(self._state_change())

    def _take(self) -> tuple[list[Job], bool]:
        """Wait for jobs; return all there are, up to the bound, and whether they are the last.

        While there is a fault, return with none after a while, so that an empty transaction is tried.
        """
        jobs: list[Job] = []
        try:
            job = self._jobs.get(timeout=_PROBE_INTERVAL if self._commit_fault else None)
            while job is not None:
                jobs.append(job)
                if len(jobs) == _MOST_JOBS:
                    return jobs, False
                job = self._jobs.get_nowait()
        except Empty:
            return jobs, False
        return jobs, True

    def _transaction(self, jobs: list[Job]) -> list[Call]:
        """Do `jobs` in one transaction and return what is to be called about them."""
        try:
            if self._commit_fault is not None:
                self._file.check()
            connection = self._file.writing()
            connection.begin()
            if self._commit_fault is not None:
                # Jobs may change nothing; only a real write shows that the fault is over.
                connection.command("PRAGMA user_version = 0")
            errors = _do_alone(connection, jobs) if len(jobs) == 1 else _do_each(connection, jobs)
            if len(jobs) != 1 or errors[0] is None:
                self._commit(connection)
        except DatabaseFault as fault:
            return self._failed(jobs, fault)
        except BaseException:  # the thread must live on, and nobody wait for ever
            _log.failure("the database's writer failed")
            return self._failed(jobs, DatabaseFault("internal error of the writer, see the log"))
        return [(done, error) for (_, done), error in zip(jobs, errors, strict=True)]

    def _commit(self, connection: SqliteConnection) -> None:
        connection.commit()
        # Removed or replaced files take commits without complaint, and lose them.
        self._file.check()
        self.commits += 1
        self._since_checkpoint += 1
        self._commit_fault = None

    def _failed(self, jobs: list[Job], fault: DatabaseFault) -> list[Call]:
        """Leave a clean state after `fault`, and fail all jobs with it.

        After a failed fsync the system may take the pages it could not write for written. The next
        transaction writes its own over the same place in the log, since the end of the log has not
        moved, so nothing rests on them and the connection may stay. It is closed only when it cannot
        roll back.
        """
        self._commit_fault = fault
        self._file.abandon_writing()
        return [(done, DatabaseFault(str(fault))) for _, done in jobs]

    def _state_change(self) -> list[Call]:
        """Return the call that tells of a change between sound and faulty, if there was one."""
        fault = self._commit_fault or self._checkpoint_fault
        known, self._known_fault = self._known_fault, fault
        if (fault is None) == (known is None):
            return []
        return [(self._on_state, fault)]

    def _checkpoint_is_due(self) -> bool:
        return self._commit_fault is None and (
            self._since_checkpoint >= _COMMITS_PER_CHECKPOINT
            or self._file.log_size > _LOG_BYTES_PER_CHECKPOINT
        )

    def _checkpoint(self) -> None:
        """Move the log into the database file: after the answers, so that nobody waits for it.

        A failure loses nothing, all is in the log; but the disk is not well, and the log grows.
        """
        self._since_checkpoint = 0
        try:
            self._file.writing().checkpoint()
            self._checkpoint_fault = None
        except DatabaseFault as fault:
            self._checkpoint_fault = DatabaseFault(f"checkpoint: {fault}")


def _ignore(_: object) -> None:
    pass


def _do_alone(connection: SqliteConnection, jobs: list[Job]) -> list[Exception | None]:
    """Do the only job of a transaction, which is its own savepoint."""
    try:
        jobs[0][0](connection)
    except Exception as error:
        if connection.fault is not None:
            raise connection.fault from error
        connection.rollback()
        return [error]
    return [None]


def _do_each(connection: SqliteConnection, jobs: list[Job]) -> list[Exception | None]:
    """Do all jobs, each in a savepoint, and return their errors. Raises DatabaseFault."""
    errors: list[Exception | None] = []
    for work, _ in jobs:
        connection.command("SAVEPOINT job")
        try:
            work(connection)
            errors.append(None)
        except Exception as error:
            if connection.fault is not None:
                raise connection.fault from error
            connection.command("ROLLBACK TO job")
            errors.append(error)
        connection.command("RELEASE job")
    return errors
