"""The messages of one outbox that are kept: all in the database, the next ones in memory."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.spool import link_store
from msgd.spool.link_entry import LinkEntry
from msgd.storage.database import DatabaseError
from msgd.wire.jid import JID

if TYPE_CHECKING:
    from msgd.spool.link_queue import LinkQueue

_log = Logger("msgd.link")
#: Messages in memory that nobody has been sent; more stay in the database only. And rows read at once.
_UNSENT: Final = 1000
_PAGE: Final = 200
#: Seconds until a database that could not be read is asked again.
_AGAIN: Final = 1.0


class Backlog:
    """Messages in the order of their ids: on their way, and not sent yet."""

    def __init__(self, queue: LinkQueue, ours: JID, theirs: JID) -> None:
        self._queue = queue
        #: Of our domain from which they come, and theirs to which they go.
        self.pair = ours, theirs
        #: How many there are, and their bytes.
        self.count = self.size = 0
        self._held: dict[int, LinkEntry] = {}  # in memory, on their way or not
        self._unsent: deque[LinkEntry] = deque()
        self._complete = True  # all of it is in memory; else rows behind `_read_upto` are not
        self._read_upto = 0
        self._reading = False
        self._oldest = 0

    @property
    def oldest(self) -> int:
        """The id of the message that waits for longest; there has to be one."""
        return min(self._held, default=self._oldest)

    @property
    def idle(self) -> bool:
        """Nothing is in it."""
        return not (self.count or self._held)

    def waits(self, count: int, size: int, oldest: int) -> None:
        """At the start: so much is in the database, and the id of the oldest."""
        self.count, self.size, self._oldest = count, size, oldest
        self._complete = False

    def add(self, entry: LinkEntry, sent: bool = False) -> None:
        """One more; `sent` where it is on its way at once."""
        self.count += 1
        self.size += entry.size
        self._held[entry.id] = entry
        if not sent:
            self._unsent.append(entry)

    @property
    def first(self) -> LinkEntry | None:
        """The first in memory that is not sent; not the next one where `unread`."""
        unsent = self._unsent
        while unsent and unsent[0].done:
            unsent.popleft()
        return unsent[0] if unsent else None

    @property
    def unread(self) -> bool:
        """The next one is not in memory: `read` comes first."""
        if self._complete:
            return False
        first = self.first
        return first is None or first.id > self._read_upto

    def take(self) -> LinkEntry:
        """The first leaves, for a link."""
        return self._unsent.popleft()

    def in_memory(self) -> list[bytes]:
        """The stanzas of those that are in memory."""
        return [entry.raw for entry in self._held.values()]

    def under_way(self) -> list[LinkEntry]:
        """What was taken for a link and is not acknowledged, in order."""
        unsent = {entry.id for entry in self._unsent}
        return [self._held[id] for id in sorted(self._held) if id not in unsent]

    def send_again(self) -> None:
        """What was on its way is not."""
        self._unsent = deque(self._held[id] for id in sorted(self._held))

    def ends_before(self, id: int) -> bool:
        """Whether nothing with a smaller id can still be read."""
        return self._complete or self._read_upto >= id

    async def read(self) -> None:
        """Bring the next rows into memory. Nothing leaves it meanwhile: the rows read may not have it."""
        self._reading = True
        try:
            await self._read_page()
        finally:
            self._reading = False

    async def _read_page(self) -> None:
        deleting = set(self._queue.deleting)
        ours, theirs = self.pair
        try:
            rows, corrupt, last = await self._queue.database.read(
                partial(link_store.page, ours=ours, theirs=theirs, after=self._read_upto, most=_PAGE)
            )
            if corrupt:
                _log.error("{count} stored messages are damaged and were set aside", count=len(corrupt))
                self.count -= len(corrupt)
                await self._queue.database.write(
                    partial(link_store.set_aside, ours=ours, theirs=theirs, ids=corrupt)
                )
        except DatabaseError as error:
            _log.error("the queue of a link waits: {kind}", kind=type(error).__name__)
            pause: Deferred[None] = Deferred()
            self._queue.clock.callLater(_AGAIN, pause.callback, None)
            await pause
            return
        for id, raw in rows:
            if id in self._held or id in deleting or id in self._queue.deleting:
                continue
            entry = LinkEntry(id, self, raw)
            entry.stored = True
            self._held[id] = entry
            self._unsent.append(entry)
        self._unsent = deque(sorted(self._unsent, key=lambda entry: entry.id))
        self._read_upto = last
        self._complete = not last

    def stored(self, entry: LinkEntry) -> None:
        """Its row is committed. Of many that wait only the first stay in memory."""
        unsent = self._unsent
        while not self._reading and len(unsent) > _UNSENT and unsent[-1].stored:
            dropped = unsent.pop()
            self._held.pop(dropped.id, None)
            last = unsent[-1].id
            self._read_upto = last if self._complete else min(self._read_upto, last)
            self._complete = False

    def acknowledged(self, entry: LinkEntry) -> None:
        """The other server has it, or its sender got it back."""
        self._held.pop(entry.id, None)
        self.count -= 1
        self.size -= entry.size
