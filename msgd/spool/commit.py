"""The group commit: entries are written and rows deleted, many in one transaction.

What is added waits in a window and is written when it is still not delivered at its end. Where somebody
waits for it, the sender for an acknowledgement or an absent recipient, the window is short; all else has
time until the recipient's machine has acknowledged it, and is hardly ever written, unless its account has
an archive: then it is written once, as delivered where it is by then. There is one transaction at a time:
while the disk is busy the next one gathers, and loses again what is delivered meanwhile, so a slow disk
gets fewer and larger ones, never a queue of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.spool.window import E, Window
from msgd.storage.database import Conflict, Connection, Database

_Told = TypeVar("_Told", contravariant=True)
#: Writes entries and deletes others (their `gone`) in one transaction.
Write = Callable[[Connection, list[E], list[Any]], None]

_log = Logger("msgd.spool")
#: Seconds until a batch that the database did not take is offered again.
_RETRY: Final = 1.0
#: The long window in short ones. A kernel may delay its acknowledgement by 40 ms, a phone's network by more.
_LONG: Final = 5


class Owner(Protocol[_Told]):
    """Who is told what becomes of the entries."""

    def prove(self, all: bool, awaited_only: bool) -> None:
        """What turns out to be delivered need not be written.

        Only what somebody waits for where `awaited_only`; unless `all`, only what came before the last look.
        """

    def stored(self, entry: _Told) -> None:
        """The entry's row is committed."""

    def not_stored(self) -> None:
        """The database took nothing; it is tried again."""


class GroupCommit(Generic[E]):
    """The way of entries into the database, and out of it."""

    def __init__(
        self,
        database: Database,
        clock: Any,
        window: float,
        batch: int,
        owner: Owner[E],
        write: Write[E],
        long: int = _LONG,
    ) -> None:
        """`window` in seconds; `batch` entries end it early. `write` does what is done in the database.

        `long`: so many short windows are a long one.
        """
        self._store = write
        self._database = database
        self._clock = clock
        self._owner = owner
        prove = owner.prove
        self._short: Window[E] = Window(clock, window, batch, lambda all: prove(all, True), self._go_on)
        self._long: Window[E] = Window(
            clock, window * long, batch * long, lambda all: prove(all, False), self._go_on
        )
        self._times = long
        self._gone: list[Any] = []
        #: Ids whose rows are to go but may still be read.
        self.deleting: set[int] = set()
        self._retrying: Any = None
        self._flushed: list[tuple[int, Deferred[None]]] = []  # with the last id they wait for
        #: Transactions under way: one, unless a batch had to be taken apart.
        self.under_way = 0
        self._writing = 0  # bytes in them
        #: How many entries were written.
        self.written = 0
        #: The database does not take what should be stored.
        self.failing = False

    @property
    def window(self) -> float:
        """Seconds for which an entry waits that somebody waits for."""
        return self._short.seconds

    @window.setter
    def window(self, seconds: float) -> None:
        self._short.seconds = seconds
        self._long.seconds = seconds * self._times

    @property
    def pending(self) -> int:
        """Entries that are not given to the database yet."""
        return len(self._short) + len(self._long)

    @property
    def unwritten(self) -> int:
        """Bytes that are not written yet."""
        return self._short.size + self._long.size + self._writing

    def add(self, entry: E, awaited: bool) -> None:
        """Write the entry when its window is over, if it is not `done` by then, or to be archived."""
        # What retracts another waits as long as that one may, so as not to be written before it.
        if awaited and entry.filing is not None and entry.filing.retracts:
            awaited = False
        (self._short if awaited else self._long).add(entry)

    def delete(self, entry: E) -> None:
        """Delete the row of a stored entry, or leave it to the archive, with the next batch."""
        self._gone.append(entry.gone)
        self.deleting.add(entry.id)
        self._long.begin()

    def prove_soon(self) -> None:
        """Find out soon what is delivered, so that its rows can go."""
        self._long.begin()

    def flushed(self) -> Deferred[None]:
        """Fires when everything added so far was given to the database and answered."""
        waiting: Deferred[None] = Deferred()
        self._flushed.append((max(self._short.last, self._long.last), waiting))
        self._all_due()
        self._tell_flushed()
        return waiting

    # -- a batch -------------------------------------------------------------------------------

    def _all_due(self) -> None:
        """Whatever waits has waited long enough."""
        for window in (self._short, self._long):
            window.end()
        self._go_on()

    def _go_on(self) -> None:
        """Write what is due, unless the database is busy: then it is done afterwards."""
        if self.under_way or self._retrying is not None:
            return
        entries = self._short.take() + self._long.take()
        gone, self._gone = self._gone, []
        if entries or gone:
            self._write(entries, gone)

    def _write(self, entries: list[E], gone: list[Any]) -> None:
        for entry in entries:
            entry.writing = True
        self.under_way += 1
        self._writing += sum(entry.size for entry in entries)
        self._database.write_soon(
            lambda connection: self._store(connection, entries, gone),
            lambda error: self._written(entries, gone, error),
        )

    def _written(self, entries: list[E], gone: list[Any], error: Exception | None) -> None:
        self.under_way -= 1
        for entry in entries:
            self._writing -= entry.size
            entry.writing = False
            if error is not None and entry.done:
                self.deleting.discard(entry.id)
        if error is None:
            self._committed(entries, gone)
        elif not isinstance(error, Conflict):
            self._failed(entries, gone)
        elif len(entries) > 1 or (entries and gone):
            # Some account of the batch is gone: that must not stop the others.
            for entry in entries:
                self._write([entry], [])
            self._write([], gone)
        else:
            self._given_up(entries)
        if self._flushed:
            self._tell_flushed()
        if self._flushed:
            self._all_due()
        elif self._short.due or self._long.due:
            self._go_on()

    def _committed(self, entries: list[E], gone: list[Any]) -> None:
        self.written += len(entries)
        if self.failing:
            self.failing = False
            _log.info("messages are stored again")
        for entry in entries:
            self._owner.stored(entry)
        self.deleting.difference_update(each[1] for each in gone)

    def _failed(self, entries: list[E], gone: list[Any]) -> None:
        """The database took nothing: keep all of it, tell nobody it is safe, try again."""
        self._short.give_back(entries)
        self._gone += gone
        if not self.failing:
            self.failing = True
            _log.error("messages cannot be stored; senders get no acknowledgements until they can")
        self._owner.not_stored()
        if self._retrying is None:
            self._retrying = self._clock.callLater(_RETRY, self._retry)

    def _retry(self) -> None:
        self._retrying = None
        self._all_due()

    def _given_up(self, entries: list[E]) -> None:
        """Their account was deleted."""
        for entry in entries:
            _log.info("an entry for an account that is gone was dropped")
            entry.done = True
            entry.settle()

    def _tell_flushed(self) -> None:
        """What came later need not be waited for: with enough of it that would take for ever."""
        if self.under_way or self._retrying is not None:
            return
        oldest = min(self._short.first, self._long.first)
        done = [waiting for last, waiting in self._flushed if last < oldest]
        self._flushed = [each for each in self._flushed if each[0] >= oldest]
        for waiting in done:
            waiting.callback(None)
