"""XEP-0313 Message Archive Management: an account reads its archive.

What is kept, and how it is found, is the business of `msgd.spool.archive`; here are the queries and the
results. Several devices show the same this way, and one that was away finds what it missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import DeferredLock
from twisted.internet.task import deferLater

from msgd.routing.extension import ACCOUNT, OWN, Extension, Xep, on_event, on_iq
from msgd.spool.archive_store import Archived, stamp
from msgd.spool.entry import accepted_at
from msgd.wire.errors import StanzaError
from msgd.wire.stanza import Stanza
from msgd.wire.xml import escape
from msgd.xeps import archive_query
from msgd.xeps.archive_query import NAMESPACE
from msgd.xeps.permission import sender_of
from msgd.xeps.xep_0059_result_sets import told

if TYPE_CHECKING:
    from msgd.routing.account import LiveAccount
    from msgd.routing.router import Router
    from msgd.routing.session import Session

#: Queries of one session that wait for the one that is being answered.
_QUERIES: Final = 20
#: Seconds until it is looked again whether a slow client can take another page, and how often.
_PAUSE: Final = 0.2
_PAUSES: Final = 300


class MessageArchive(Extension):
    """XEP-0313 Message Archive Management."""

    xep = Xep(313, "1.1.3")
    account_features = frozenset({NAMESPACE, f"{NAMESPACE}#extended"})
    proves = "xep_0313/*"

    def __init__(self, router: Router) -> None:
        super().__init__(router)
        self._locks: dict[Session, DeferredLock] = {}

    @on_iq("get", NAMESPACE, "query", at=(OWN,))
    async def tell_fields(self, stanza: Stanza) -> bytes:
        """§4.1.5: what may be asked for."""
        return archive_query.FORM

    @on_iq("set", NAMESPACE, "query", at=(OWN,))
    async def search(self, stanza: Stanza) -> bytes:
        """§4: the messages that are asked for, then where in the archive they are."""
        session = self._session(stanza)
        lock = self._locks.setdefault(session, DeferredLock())
        if len(lock.waiting) >= _QUERIES:
            raise StanzaError("resource-constraint", "one query after the other")
        await lock.acquire()
        try:
            return await self._page(session, archive_query.read(stanza, session.account, self.config))
        finally:
            lock.release()
            if not lock.locked:
                self._locks.pop(session, None)

    @on_iq("get", NAMESPACE, "metadata", at=(OWN,))
    async def tell_ends(self, stanza: Stanza) -> bytes:
        """§5: the first and the last entry."""
        return await self.metadata(self._session(stanza).account)

    async def tell_when_bound(self, account: LiveAccount) -> bytes:
        """XEP-0386 §3.2: as much is there as the session is bound; what comes later, it is sent itself."""
        return await self.metadata(account) if account.archive is not None else b""

    async def metadata(self, account: LiveAccount) -> bytes:
        """The ids and times of the first and the last entry of an archive (§5). Raises StanzaError."""
        ends = await self.router.archive.ends(account)
        if ends is None:
            return f"<metadata xmlns='{NAMESPACE}'/>".encode()
        start, end = (f"id='{id:x}' timestamp='{stamp(accepted_at(id))}'" for id in ends)
        return f"<metadata xmlns='{NAMESPACE}'><start {start}/><end {end}/></metadata>".encode()

    @on_iq("get", NAMESPACE, "query", at=(ACCOUNT,))
    @on_iq("set", NAMESPACE, "query", at=(ACCOUNT,))
    @on_iq("get", NAMESPACE, "metadata", at=(ACCOUNT,))
    async def refuse(self, stanza: Stanza) -> None:
        """§8.1: nobody reads the archive of another."""
        raise StanzaError("forbidden", "an archive is its owner's alone")

    @on_event("session-ended")
    def forget(self, session: Session) -> None:
        """Nobody waits for its results."""
        self._locks.pop(session, None)

    def _session(self, stanza: Stanza) -> Session:
        session = self.router.table.session(sender_of(stanza))
        if session is None:
            raise StanzaError("forbidden", "an archive is its owner's alone")
        return session

    async def _page(self, session: Session, asked: archive_query.Asked) -> bytes:
        await self._has_room(session)
        page, waiting = await self.router.archive.page(asked.page, asked.whole, asked.backwards, asked.most)
        if session.ended:
            # What waits would be held by nobody: it has to go on waiting.
            raise StanzaError("recipient-unavailable")
        for entry in reversed(page.entries) if asked.flipped else page.entries:
            result = _result(session, entry, asked.query_id)
            self.router.archive.deliver(session, entry, result, entry.id in waiting)
        complete = " complete='true'" if page.complete else ""
        first, last = (f"{id:x}" if id is not None else None for id in (page.first, page.last))
        set = told(first, last, page.count, page.index)
        return f"<fin xmlns='{NAMESPACE}'{complete}>".encode() + set + b"</fin>"

    async def _has_room(self, session: Session) -> None:
        """Wait until the client has taken what it was sent before. Raises StanzaError when it does not."""
        clock: Any = self.router.clock
        for _ in range(_PAUSES):
            if session.ended:
                raise StanzaError("recipient-unavailable")
            if not session.congested():
                return
            await deferLater(clock, _PAUSE)
        raise StanzaError("resource-constraint", "the client does not take its results")


def _result(session: Session, entry: Archived, query_id: str | None) -> Stanza:
    """§4.2: one message out of the archive."""
    query = f" queryid='{escape(query_id)}'" if query_id is not None else ""
    received = stamp(accepted_at(entry.id))
    head = (
        f"<result xmlns='{NAMESPACE}'{query} id='{entry.id:x}'><forwarded xmlns='urn:xmpp:forward:0'>"
        f"<delay xmlns='urn:xmpp:delay' stamp='{received}'/>"
    )
    message = Stanza("message", entry.raw, {}, ())
    content = head.encode() + message.embedded() + b"</forwarded></result>"
    return Stanza.build(
        "message",
        to=session.jid,
        from_=session.account.jid,
        content=content,
        children=(f"{NAMESPACE} result",),
    )
