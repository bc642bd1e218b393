"""Expiry: what nobody fetched for long goes back to its sender, with a notice, and leaves the disk.

What an archive keeps goes back to nobody, it can still be read there; it waits no more, and leaves the disk
when it is as old as archives may become.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.spool import store
from msgd.spool.entry import id_at
from msgd.storage.database import Connection, DatabaseError
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.router import Router

_log = Logger("msgd.spool.expiry")
#: Seconds between two looks; days are what is counted in.
_INTERVAL: Final = 900.0
#: Entries handled at once.
_PAGE: Final = 200


class Expiry:
    """Looks through the stored entries now and then."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._timer: Any = None
        self._busy = False

    def start(self) -> None:
        """Look soon, and then again and again."""
        self._timer = self._router.clock.callLater(_INTERVAL / 10, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = self._router.clock.callLater(_INTERVAL, self._look)
        if not self._busy:
            self._busy = True
            Deferred.fromCoroutine(self.expire()).addErrback(
                lambda failure: _log.failure("expiry failed", failure)
            ).addBoth(self._looked)

    def _looked(self, _: object) -> None:
        self._busy = False

    async def expire(self) -> int:
        """Return what is older than the configured days to its senders; how many there were."""
        days = self._router.config.spool.expire_days
        if not days:
            return 0
        before = id_at(self._router.clock.seconds() - days * 86400)
        count = 0
        try:
            while True:
                page = await self._router.database.read(
                    lambda connection: store.expired(connection, before, _PAGE)
                )
                gone = [row for row in page if not self._held(JID.parse(row.jid), row.id)]
                await self._return(gone)
                for row in gone:
                    self._forget(JID.parse(row.jid), row.size)
                count += len(gone)
                if len(page) < _PAGE or not gone:
                    break
        except DatabaseError as error:
            _log.error("expiry waits: {kind}", kind=type(error).__name__)
        if count:
            _log.info("{count} messages expired and were returned", count=count)
        return count

    async def _return(self, gone: list[store.Expired]) -> None:
        """Tell the senders, then delete. A recipient who comes meanwhile must not get them too."""
        ids = {row.id for row in gone}
        deleting = self._router.spool.deleting
        deleting.update(ids)
        try:
            for row in gone:
                if not row.archived:
                    self._notify(row.raw)
            rows = [(row.account, row.id, row.archived) for row in gone]
            await self._router.database.write(partial(_delete, rows=rows))
        finally:
            deleting.difference_update(ids)

    def _held(self, jid: JID, id: int) -> bool:
        """Whether a session has it right now and may yet acknowledge it."""
        account = self._router.table.account(jid)
        return account is not None and id in (account.mailbox.held or ())

    def _notify(self, raw: bytes) -> None:
        """The notice to the sender: the message comes back (RFC 6120 §8.3.3.13)."""
        try:
            stanza = Stanza.from_bytes(raw)
        except Exception:  # a row that is not a stanza is the drain's to set aside, not ours
            return
        self._router.fail(stanza, StanzaError("recipient-unavailable", "the message was not fetched in time"))

    def _forget(self, jid: JID, size: int) -> None:
        account = self._router.table.account(jid)
        if account is not None:
            account.mailbox.count -= 1
            account.mailbox.size -= size


def _delete(connection: Connection, rows: list[store.Gone]) -> None:
    store.write(connection, [], rows)
