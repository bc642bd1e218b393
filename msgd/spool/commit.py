"""The group commit: entries are written and rows deleted, many in one transaction.

What is added waits for a window and is written when it is still not delivered. There is one
transaction at a time: while the disk is busy the next one gathers, and loses again what is
delivered meanwhile, so a slow disk gets fewer and larger ones, never a queue of them.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.spool import store
from msgd.spool.entry import Entry
from msgd.storage.database import Conflict, Database

_log = Logger("msgd.spool")
#: Seconds until a batch that the database did not take is offered again.
_RETRY: Final = 1.0


class Owner(Protocol):
    """Who is told what becomes of the entries."""

    def before_commit(self) -> None:
        """A batch is about to be put together: what turns out to be delivered need not go in."""

    def stored(self, entry: Entry) -> None:
        """The entry's row is committed."""

    def not_stored(self) -> None:
        """The database took nothing; it is tried again."""


class GroupCommit:
    """The way of the spool's entries into the database, and out of it."""

    def __init__(self, database: Database, clock: Any, window: float, batch: int, owner: Owner) -> None:
        """`window` in seconds; `batch` entries end it early."""
        self._database = database
        self._clock = clock
        self.window = window
        self._batch = batch
        self._owner = owner
        self._fresh: deque[Entry] = deque()  # not yet given to the database, in order
        self._deleted: list[tuple[int, int]] = []
        #: Ids whose rows are to go but may still be read.
        self.deleting: set[int] = set()
        self._timer: Any = None
        self._retrying: Any = None
        self._due = False  # the window of what came during a commit is over
        self._flushed: list[Deferred[None]] = []
        #: Transactions under way: one, unless a batch had to be taken apart.
        self.under_way = 0
        #: Bytes that are not written yet.
        self.unwritten = 0
        #: How many entries were written.
        self.written = 0
        #: The database does not take what should be stored.
        self.failing = False

    @property
    def pending(self) -> int:
        """Entries that are not given to the database yet."""
        return len(self._fresh)

    def add(self, entry: Entry) -> None:
        """Write the entry when the window is over, if it is not `done` by then."""
        self._fresh.append(entry)
        self.unwritten += entry.size
        if len(self._fresh) >= self._batch:
            self._commit()
        else:
            self._commit_later()

    def delete(self, entry: Entry) -> None:
        """Delete the row of a stored entry, with the next batch."""
        self._deleted.append((entry.account.id, entry.id))
        self.deleting.add(entry.id)
        self._commit_later()

    def flushed(self) -> Deferred[None]:
        """Fires when everything added so far was given to the database and answered."""
        waiting: Deferred[None] = Deferred()
        self._flushed.append(waiting)
        self._commit()
        self._tell_flushed()
        return waiting

    # -- a batch -------------------------------------------------------------------------------

    def _commit_later(self) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(self.window, self._commit)

    def _commit(self) -> None:
        """The window is over: write what is still not delivered, delete what is."""
        if self._timer is not None:
            if self._timer.active():
                self._timer.cancel()
            self._timer = None
        if self._retrying is not None:
            return
        if self.under_way:
            self._due = True
            return
        self._due = False
        self._owner.before_commit()
        fresh, self._fresh = self._fresh, deque()
        entries = []
        for entry in fresh:
            if entry.done:
                self.unwritten -= entry.size
            else:
                entries.append(entry)
        deleted, self._deleted = self._deleted, []
        if entries or deleted:
            self._write(entries, deleted)

    def _write(self, entries: list[Entry], deleted: list[tuple[int, int]]) -> None:
        for entry in entries:
            entry.writing = True
        self.under_way += 1
        self._database.write_soon(
            lambda connection: store.write(connection, entries, deleted),
            lambda error: self._written(entries, deleted, error),
        )

    def _written(self, entries: list[Entry], deleted: list[tuple[int, int]], error: Exception | None) -> None:
        self.under_way -= 1
        for entry in entries:
            entry.writing = False
            if error is not None and entry.done:
                self.deleting.discard(entry.id)
        if error is None:
            self._committed(entries, deleted)
        elif not isinstance(error, Conflict):
            self._failed(entries, deleted)
        elif len(entries) > 1 or (entries and deleted):
            # Some account of the batch is gone: that must not stop the others.
            for entry in entries:
                self._write([entry], [])
            self._write([], deleted)
        else:
            self._given_up(entries)
        if self._due or (self._flushed and self._fresh):
            self._commit()
        self._tell_flushed()

    def _committed(self, entries: list[Entry], deleted: list[tuple[int, int]]) -> None:
        self.written += len(entries)
        if self.failing:
            self.failing = False
            _log.info("messages are stored again")
        for entry in entries:
            self.unwritten -= entry.size
            self._owner.stored(entry)
        self.deleting.difference_update(id for _, id in deleted)
        if self._fresh:
            self._commit_later()

    def _failed(self, entries: list[Entry], deleted: list[tuple[int, int]]) -> None:
        """The database took nothing: keep all of it, tell nobody it is safe, try again."""
        self._fresh.extend(entries)
        self._fresh = deque(sorted(self._fresh, key=lambda entry: entry.id))
        self._deleted += deleted
        if not self.failing:
            self.failing = True
            _log.error("messages cannot be stored; senders get no acknowledgements until they can")
        self._owner.not_stored()
        if self._retrying is None:
            self._retrying = self._clock.callLater(_RETRY, self._retry)

    def _retry(self) -> None:
        self._retrying = None
        self._commit()

    def _given_up(self, entries: list[Entry]) -> None:
        """Their account was deleted."""
        for entry in entries:
            _log.info("an entry for an account that is gone was dropped")
            self.unwritten -= entry.size
            entry.done = True
            entry.settle()

    def _tell_flushed(self) -> None:
        if self.under_way or self._fresh:
            return
        flushed, self._flushed = self._flushed, []
        for waiting in flushed:
            waiting.callback(None)
