"""A drain: everything that waits for one account is delivered, in order, as fast as it is taken.

All devices that are there get it, as they get what comes while they are there.

Runs while somebody is there to take and something waits: after a login, after a reader was slow,
after a session ended with messages it never acknowledged. While it runs, what arrives for the
account waits behind it, so the order of one sender's messages holds.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.routing.account import LiveAccount
from msgd.routing.hooks import Dropped
from msgd.routing.session import Session
from msgd.spool import store
from msgd.spool.delay import with_delay
from msgd.spool.entry import Entry, accepted_at
from msgd.spool.showing import show_delivered
from msgd.storage.database import DatabaseFault
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.router import Router
    from msgd.spool.spool import Spool

_log = Logger("msgd.spool.drain")
#: Rows read at once.
_PAGE: Final = 200
#: Their bytes: they are in memory until they are taken.
_PAGE_BYTES: Final = 256 * 1024
#: Seconds until the database is asked again after a fault.
_RETRY: Final = 2.0
#: Seconds after which a message that waited only in memory says since when.
_NOTICED: Final = 1.0


class Drain:
    """The delivery of one account's backlog; `gone` are ids acknowledged while it runs."""

    def __init__(self, spool: Spool, router: Router, account: LiveAccount) -> None:
        self.gone: set[int] = set()
        self._spool = spool
        self._router = router
        self._account = account
        self._room: Deferred[None] | None = None

    def start(self) -> None:
        """Begin."""
        Deferred.fromCoroutine(self._run()).addErrback(
            lambda failure: _log.failure("a drain failed", failure)
        )

    def go_on(self) -> None:
        """Somebody may be able to take more, or has left."""
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    async def _run(self) -> None:
        mailbox = self._account.mailbox
        try:
            while True:
                mailbox.overflowed = False
                try:
                    if not await self._deliver_stored():
                        return
                except DatabaseFault:
                    await self._pause()
                    continue
                if mailbox.overflowed:
                    # What was dropped from memory has to be in the database before it is read.
                    await self._spool.flushed()
                elif await self._deliver_waiting():
                    return
        finally:
            mailbox.drain = None
            self._forget_stored()

    async def _pause(self) -> None:
        over: Deferred[None] = Deferred()
        self._router.clock.callLater(_RETRY, over.callback, None)
        await over

    async def _taken(self) -> bool:
        """Wait until some session can take more. False when there is none at all."""
        while reachable := self._account.reachable():
            if not all(session.congested() for session in reachable):
                return True
            self._room = Deferred()
            await self._room
        return False

    async def _deliver_stored(self) -> bool:
        """Deliver the rows of the database, page by page. False when nobody takes them."""
        account = self._account
        after = 0
        while True:
            if not await self._taken():
                return False
            # What is acknowledged but not yet deleted may be in the page.
            deleting = set(self._spool.deleting)
            rows, corrupt, after = await self._router.database.read(
                partial(store.page, account=account.id, after=after, most=_PAGE, most_bytes=_PAGE_BYTES)
            )
            if corrupt:
                await self._set_aside(corrupt)
            for row in rows:
                if not await self._deliver_row(row, deleting):
                    return False
            if not after:
                return True

    async def _deliver_row(self, row: store.Row, deleting: set[int]) -> bool:
        mailbox = self._account.mailbox
        while True:
            if not await self._taken():
                return False
            older = next(iter(mailbox.waiting or ()), row.id)
            if mailbox.waiting is None or older >= row.id:
                break
            # Its batch failed, and the one behind it did not: it is still the first.
            self._hand_over(mailbox.waiting.pop(older))
        if row.id in deleting or row.id in self._spool.deleting:
            return True
        if row.id in self.gone or row.id in (mailbox.held or ()):
            return True
        waiting = mailbox.waiting
        entry = waiting.pop(row.id, None) if waiting else None
        if entry is None:
            entry = Entry(row.id, self._account, row.raw)
            entry.size, entry.archived = row.size, row.archived
        entry.stored = True
        entry.settle()
        entry.raw = with_delay(row.raw, row.id, self._account.jid.domain)
        self._hand_over(entry)
        return True

    def _hand_over(self, entry: Entry) -> list[Session]:
        """Give an entry to everybody who can take it; to whom it went."""
        if self._is_dropped(entry):
            entry.shown = True  # to nobody, and that is all
            self._spool.acknowledged(entry)
            return []
        targets = self._targets(entry)
        for session in targets:
            self._spool.hand_over(entry, session)
        return targets

    def _is_dropped(self, entry: Entry) -> bool:
        """Whether the account does not want the message any more."""
        hooks = self._account.hooks
        if hooks is None or not hooks.permit_late:
            return False
        stanza = Stanza.from_bytes(entry.raw)
        try:
            for permit in hooks.permit_late:
                permit(self._account, stanza)
        except Dropped:
            return True
        return False

    async def _deliver_waiting(self) -> bool:
        """Deliver what is in memory only. False when rows have to be read again."""
        mailbox = self._account.mailbox
        while mailbox.waiting:
            if not await self._taken():
                return True
            if mailbox.overflowed:
                return False
            if not mailbox.waiting:
                break
            id = next(iter(mailbox.waiting))
            entry = mailbox.waiting.pop(id)
            if self._router.clock.seconds() - accepted_at(id) >= _NOTICED:
                entry.raw = with_delay(entry.raw, id, self._account.jid.domain)
            show_delivered(entry, self._hand_over(entry))
        mailbox.waiting = None
        return not mailbox.overflowed

    def _targets(self, entry: Entry) -> list[Session]:
        addressed = self._account.sessions.get(entry.resource) if entry.resource else None
        if addressed is not None and not addressed.congested():
            return [addressed]
        return [session for session in self._account.reachable() if not session.congested()]

    async def _set_aside(self, ids: list[int]) -> None:
        _log.error("{count} stored messages are damaged and were set aside", count=len(ids))
        await self._router.database.write(
            lambda connection: store.set_aside(
                connection, self._account.id, ids, "the bytes do not match their checksum"
            )
        )
        self._account.mailbox.count -= len(ids)

    def _forget_stored(self) -> None:
        """Nobody is there for what is left: the rows are enough."""
        mailbox = self._account.mailbox
        if mailbox.waiting:
            mailbox.waiting = {i: e for i, e in mailbox.waiting.items() if not e.stored} or None
        self._router.table.cool(self._account)
