"""The archive of an account (XEP-0313): what its spool keeps when it is delivered, and what it sent.

One row serves delivery and archive, so a message has one id everywhere. A page that is read may have
entries in it that still wait to be delivered: they go to the reader as results, and once acknowledged they
wait no more, so nobody gets from the spool what was read in the archive.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger

from msgd.routing.account import LiveAccount
from msgd.routing.session import Session
from msgd.routing.stream_management import Receipt
from msgd.spool import archive_store
from msgd.spool.archive_store import END, Archived, Page, Query
from msgd.spool.entry import Entry, id_at
from msgd.spool.filing import STANZA_ID, STANZA_ID_NAMESPACE, filing_of
from msgd.storage.database import DatabaseError
from msgd.wire.errors import StanzaError
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.router import Router
    from msgd.spool.spool import Spool

_log = Logger("msgd.spool.archive")
#: Seconds that a reader waits for a store that does not take what should be in the archive.
_PATIENCE: Final = 10.0
#: Bytes of one page; more are in the next.
_PAGE_BYTES: Final = 1024 * 1024
#: Seconds between two looks for what is too old; days are what is counted in.
_INTERVAL: Final = 3600.0
#: Entries deleted in one transaction: messages that are to be stored wait so long for the writer.
_AT_ONCE: Final = 500


class Archive:
    """The archives of all accounts."""

    def __init__(self, router: Router, spool: Spool) -> None:
        self._router = router
        self._spool = spool
        self._timer: Any = None
        self._stopped = False

    def record(self, account: LiveAccount, stanza: Stanza, receipt: Receipt | None) -> Stanza:
        """Keep what `account` sends, where it wants that; the account's own copy of it, with its id.

        Shares `receipt`. Raises StanzaError while too much waits for the disk.
        """
        if account.archive is None or stanza.to is None or stanza.to.bare == account.jid:
            return stanza  # what somebody sends to himself is kept as it comes in
        filing = filing_of(account.archive, stanza, stanza.to, sent=True)
        if filing is None:
            return stanza
        id = self._spool.ids.next()
        copy = stanza.with_child(STANZA_ID % (id, account.jid.attribute), f"{STANZA_ID_NAMESPACE} stanza-id")
        entry = Entry(id, account, copy.raw, receipt)
        entry.file(filing)
        entry.done = True  # nobody waits for it
        self._spool.write(entry, awaited=receipt is not None)
        if receipt is not None:
            receipt.share()
        return copy

    # -- reading -------------------------------------------------------------------------------

    async def page(self, query: Query, whole: Query, backwards: bool, most: int) -> tuple[Page, set[int]]:
        """A page as of now, at most `most` entries, and the ids of those in it that still wait.

        See `archive_store.page`. What is done with it is done at once: other sessions may acknowledge those
        entries. Raises StanzaError when the store is in trouble or an id is not found, DatabaseFault.
        """
        await self.written()
        query, whole = self._recent(query), self._recent(whole)
        # Acknowledged already, or while the page is read.
        gone = set(self._spool.deleting)
        reads = self._spool.archive_reads
        reads.append(gone)
        try:
            page = await self._router.database.read(
                partial(archive_store.page, query=query, whole=whole, backwards=backwards, most=most,
                        most_bytes=_PAGE_BYTES)
            )  # fmt: skip
        except archive_store.NotFound:
            raise StanzaError("item-not-found", "the archive has no message with this id") from None
        finally:
            reads[:] = [each for each in reads if each is not gone]
        if page.damaged:
            _log.error("{count} archived messages are damaged and were left out", count=page.damaged)
        return page, {entry.id for entry in page.entries if entry.waiting} - gone

    async def ends(self, account: LiveAccount) -> tuple[int, int] | None:
        """The ids of the first and the last entry of an archive as of now, None when it is empty."""
        await self.written()
        of = self._recent(Query(account.id, 0, END))
        return await self._router.database.read(lambda c: archive_store.first_and_last(c, of))

    def _recent(self, query: Query) -> Query:
        """What is too old may still be there, but nobody gets it."""
        horizon = self._horizon()
        return replace(query, after=max(query.after, horizon - 1), oldest=horizon)

    def _horizon(self) -> int:
        """The id below which entries are too old."""
        days = self._router.config.archive.days
        return id_at(self._router.clock.seconds() - days * 86400) if days else 1

    async def written(self) -> None:
        """Wait until everything accepted so far can be read. Raises StanzaError if that takes too long."""
        clock: Any = self._router.clock
        try:
            await self._spool.flushed().addTimeout(_PATIENCE, clock)
        except TimeoutError:
            raise StanzaError("internal-server-error", "the store is in trouble", type="wait") from None

    def deliver(self, session: Session, found: Archived, result: Stanza, waits: bool) -> None:
        """Send a result; where its entry waits, until it is acknowledged."""
        if waits:
            self._spool.hand_over_archived(session.account, found, result.raw, session)
        else:
            session.send(result)

    # -- what is too old -----------------------------------------------------------------------

    def start(self) -> None:
        """Look soon for what is too old, and then again and again."""
        self._timer = self._router.clock.callLater(_INTERVAL / 10, self._look)

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        Deferred.fromCoroutine(self.expire()).addErrback(
            lambda failure: _log.failure("the expiry of archives failed", failure)
        ).addBoth(self._looked)

    def _looked(self, _: object) -> None:
        if not self._stopped:
            self._timer = self._router.clock.callLater(_INTERVAL, self._look)

    async def expire(self) -> int:
        """Delete what is older than the configured days; how many entries there were."""
        if not self._router.config.archive.days:
            return 0
        before = self._horizon()
        count, owner = 0, 0
        try:
            while True:
                following = partial(archive_store.next_owner, after=owner)
                found = await self._router.database.read(following)
                if found is None:
                    break
                owner = found
                count += await self._forget(owner, before)
        except DatabaseError as error:
            _log.error("the expiry of archives waits: {kind}", kind=type(error).__name__)
        if count:
            _log.info("{count} archived messages were deleted, as they are old", count=count)
        return count

    async def _forget(self, owner: int, before: int) -> int:
        """Delete the old entries of one archive, some at a time; how many there were."""
        count = 0
        old = partial(archive_store.has_older, account=owner, before=before)
        while await self._router.database.read(old):
            forget = partial(archive_store.forget, account=owner, before=before, most=_AT_ONCE)
            count += await self._router.database.write(forget)
        return count
