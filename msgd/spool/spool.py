"""The spool: accept, group commit, deliver, acknowledge.

Every message with something to deliver becomes an entry here before its sender is told that it is
safe. Deliveries do not wait for the disk: an entry is sent to the sessions at once, and written
when it is still not acknowledged after a short window, together with all others of the window. One
that is acknowledged before is never written.

    accepted ──▶ sent to sessions ──▶ acknowledged ─────────────▶ done
        └──▶ window ──▶ committed with fsync (safe) ──▶ … ──▶ acknowledged ──▶ row deleted

Sources: XEP-0160, XEP-0198, XEP-0203, XEP-0359; see protocol_spec/spool.md for the promise.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.routing.account import LiveAccount
from msgd.routing.session import Session
from msgd.routing.stream_management import Receipt
from msgd.spool import store
from msgd.spool.drain import Drain
from msgd.spool.entry import Entry, Ids
from msgd.storage.database import Conflict
from msgd.wire.errors import StanzaError
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.router import Router

_log = Logger("msgd.spool")
STANZA_ID_NAMESPACE: Final = "urn:xmpp:sid:0"
_STANZA_ID: Final = f"{STANZA_ID_NAMESPACE} stanza-id"
#: Seconds until a batch that the database did not take is offered again.
_RETRY: Final = 1.0
#: Seconds between two looks at what was sent to clients without stream management.
_PROVE_AGAIN: Final = 1.0
#: Entries in memory that wait for one account; more stay in the database only.
_WAITING: Final = 1000
#: The same in bytes of the whole mailbox.
_WAITING_BYTES: Final = 1024 * 1024
#: Bytes that are not written yet, of all accounts. More is refused: the disk does not keep up, or fails.
_UNWRITTEN: Final = 64 * 1024 * 1024


class Spool:
    """All entries that are in memory, and the way of the others to and from the database."""

    def __init__(self, router: Router, window: float, batch: int, quota: int, quota_size: int) -> None:
        """`window` in seconds; `batch` entries end it early; quotas per account, size in bytes."""
        self._router = router
        self._clock: Any = router.clock
        self._database = router.database
        self.window = window
        self.batch = batch
        self.quota = quota
        self.quota_size = quota_size
        self.ids = Ids(self._clock.seconds)
        self._fresh: deque[Entry] = deque()  # not yet given to the database, in order
        self._deleted: list[tuple[int, int]] = []
        #: Ids whose rows are to go but may still be read.
        self.deleting: set[int] = set()
        self._unproven: dict[Session, None] = {}
        self._timer: Any = None
        self._proving: Any = None
        self._writes = 0  # batches under way: one, unless it had to be taken apart
        self._due = False  # the window of what came meanwhile is over
        self._unwritten = 0  # bytes in `_fresh` and in these batches
        self._retrying: Any = None
        #: The database does not take what should be stored: nothing is acknowledged.
        self.failing = False
        self._flushed: list[Deferred[None]] = []
        self.accepted = self.written = self.spared = 0

    def start(self) -> tuple[int, int]:
        """Look at what was stored before: how many entries, how many bytes."""
        count, size, last = self._database.read_now(store.totals)
        self.ids.last = max(self.ids.last, last)
        return count, size

    # -- accept --------------------------------------------------------------------------------

    def accept(
        self, account: LiveAccount, stanza: Stanza, receipt: Receipt | None, targets: list[Session]
    ) -> bool:
        """Keep a message for `account` and send it to `targets`, as far as they can take it.

        Takes over `receipt`. False, and nothing taken, when the account's quota is used up and
        there is nobody to deliver to. Raises StanzaError while too much waits for the disk.
        """
        if self._unwritten > _UNWRITTEN:
            raise StanzaError("resource-constraint", "the store does not keep up", type="wait")
        mailbox = account.mailbox
        takers = []
        if mailbox.drain is None:
            takers = [session for session in targets if not session.congested]
        if not takers and (mailbox.count >= self.quota or mailbox.size + len(stanza.raw) > self.quota_size):
            return False
        id = self.ids.next()
        child = b"<stanza-id xmlns='urn:xmpp:sid:0' id='%x' by='%b'/>" % (id, account.jid.attribute)
        raw = stanza.with_child(child, _STANZA_ID).raw
        entry = Entry(id, account, raw, receipt, stanza.to.resource if stanza.to else "")
        self.accepted += 1
        mailbox.count += 1
        mailbox.size += entry.size
        if takers:
            for session in takers:
                self.hand_over(entry, session)
        else:
            self._wait(entry)
            if targets:
                self.drain(account)
        self._fresh.append(entry)
        self._unwritten += entry.size
        if len(self._fresh) >= self.batch:
            self._commit()
        elif self._timer is None:
            self._timer = self._clock.callLater(self.window, self._commit)
        return True

    def _wait(self, entry: Entry) -> None:
        """Nobody takes it now."""
        mailbox = entry.account.mailbox
        if mailbox.waiting is None:
            mailbox.waiting = {}
        mailbox.waiting[entry.id] = entry

    def hand_over(self, entry: Entry, session: Session) -> None:
        """Send an entry to a session, which holds it from now on."""
        entry.holders += 1
        held = entry.account.mailbox.held
        if held is None:
            held = entry.account.mailbox.held = {}
        held[entry.id] = entry
        session.send_kept(entry)
        if session.stream_management is None:
            self._unproven[session] = None

    def hold_again(self, session: Session, id: int, raw: bytes) -> None:
        """After a restart: the session holds a stored entry that it had not acknowledged."""
        # Several sessions may hold it; it is one entry, to be counted and deleted once.
        entry = (session.account.mailbox.held or {}).get(id)
        if entry is None:
            entry = Entry(id, session.account, raw)
            entry.stored = True
        self.hand_over(entry, session)

    # -- what sessions tell --------------------------------------------------------------------

    def acknowledged(self, kept: object) -> None:
        """A session has it: done, whoever else holds it."""
        entry = kept
        if not isinstance(entry, Entry):
            raise TypeError("only the spool's entries are kept")
        if entry.done:
            return
        entry.done = True
        mailbox = entry.account.mailbox
        mailbox.count -= 1
        mailbox.size -= entry.size
        if mailbox.held is not None:
            mailbox.held.pop(entry.id, None)
            if not mailbox.held:
                mailbox.held = None
        if entry.stored:
            self._delete(entry)
        elif entry.writing:
            # Its row may be there before we are told: a drain that begins now must pass it over.
            self.deleting.add(entry.id)
        else:
            self.spared += 1
        if mailbox.drain is not None:
            mailbox.drain.gone.add(entry.id)
        entry.settle()

    def released(self, kept: object) -> Entry | None:
        """A session that held it ended. The entry, when it now has to go to somebody else."""
        entry = kept
        if not isinstance(entry, Entry):
            raise TypeError("only the spool's entries are kept")
        entry.holders -= 1
        if entry.done or entry.holders:
            return None
        mailbox = entry.account.mailbox
        if mailbox.held is not None:
            mailbox.held.pop(entry.id, None)
            if not mailbox.held:
                mailbox.held = None
        if entry.stored:
            mailbox.overflowed = True  # a drain under way may be past its row
        else:
            # Ids order what waits, wherever this one stood: it was sent before the others.
            waiting = dict(mailbox.waiting or ())
            waiting[entry.id] = entry
            mailbox.waiting = dict(sorted(waiting.items()))
        return entry

    def session_ended(self, session: Session) -> None:
        """What the session did not acknowledge goes to another, or waits for one."""
        self._unproven.pop(session, None)
        waits = False
        for sent in session.undelivered():
            if type(sent) is not bytes:
                waits = self.released(sent) is not None or waits
            else:
                self._router.undelivered(sent)
        if waits or session.account.mailbox.drain is not None:
            self.drain(session.account)

    def has_room(self, session: Session) -> None:
        """A session that could not take more may be able to now."""
        drain = session.account.mailbox.drain
        if drain is not None:
            drain.go_on()

    def drain(self, account: LiveAccount) -> None:
        """Deliver what waits for the account, as far as somebody is there to take it."""
        mailbox = account.mailbox
        if mailbox.drain is not None:
            mailbox.drain.go_on()
        elif mailbox.count and account.reachable():
            mailbox.drain = Drain(self, self._router, account)
            mailbox.drain.start()

    # -- the database --------------------------------------------------------------------------

    def _delete(self, entry: Entry) -> None:
        self._deleted.append((entry.account.id, entry.id))
        self.deleting.add(entry.id)
        if self._timer is None:
            self._timer = self._clock.callLater(self.window, self._commit)

    def _commit(self) -> None:
        """The window is over: write what is still not delivered, delete what is.

        One batch at a time: while the disk is busy the next one gathers, and loses again what is
        delivered meanwhile, so a slow disk gets fewer and larger batches, never a queue of them.
        """
        if self._timer is not None:
            if self._timer.active():
                self._timer.cancel()
            self._timer = None
        if self._retrying is not None:
            return
        if self._writes:
            self._due = True
            return
        self._due = False
        self._prove()
        fresh, self._fresh = self._fresh, deque()
        entries = []
        for entry in fresh:
            if entry.done:
                self._unwritten -= entry.size
            else:
                entries.append(entry)
        deleted, self._deleted = self._deleted, []
        if entries or deleted:
            self._write(entries, deleted)

    def _write(self, entries: list[Entry], deleted: list[tuple[int, int]]) -> None:
        for entry in entries:
            entry.writing = True
        self._writes += 1
        self._database.write_soon(
            lambda connection: store.write(connection, entries, deleted),
            lambda error: self._written(entries, deleted, error),
        )

    def _written(self, entries: list[Entry], deleted: list[tuple[int, int]], error: Exception | None) -> None:
        self._writes -= 1
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
            _log.info("an entry for an account that is gone was dropped")
            for entry in entries:
                self._unwritten -= entry.size
                entry.done = True
                entry.settle()
        if not self._writes:
            self._next_batch()

    def _next_batch(self) -> None:
        """The disk is free again."""
        if self._due or (self._flushed and self._fresh):
            self._commit()
        if not self._writes and not self._fresh:
            flushed, self._flushed = self._flushed, []
            for waiting in flushed:
                waiting.callback(None)

    def _committed(self, entries: list[Entry], deleted: list[tuple[int, int]]) -> None:
        self.written += len(entries)
        if self.failing:
            self.failing = False
            _log.info("messages are stored again")
        for entry in entries:
            self._unwritten -= entry.size
            self._stored(entry)
        self.deleting.difference_update(id for _, id in deleted)
        if self._fresh and self._timer is None:
            self._timer = self._clock.callLater(self.window, self._commit)

    def _stored(self, entry: Entry) -> None:
        entry.stored = True
        entry.settle()
        if entry.done:
            self._delete(entry)
            return
        mailbox = entry.account.mailbox
        waiting = mailbox.waiting
        if waiting is None or entry.holders:
            return
        # Nobody is there for it: the row is enough. A drain under way still counts on it.
        if mailbox.drain is None or len(waiting) > _WAITING or mailbox.size > _WAITING_BYTES:
            if waiting.pop(entry.id, None) is not None and mailbox.drain is not None:
                mailbox.overflowed = True
            if not waiting:
                mailbox.waiting = None
                self._router.table.cool(entry.account)

    def _failed(self, entries: list[Entry], deleted: list[tuple[int, int]]) -> None:
        """The database took nothing: keep all of it, tell nobody it is safe, try again."""
        self._fresh.extend(entries)
        self._fresh = deque(sorted(self._fresh, key=lambda entry: entry.id))
        self._deleted += deleted
        if not self.failing:
            self.failing = True
            _log.error("messages cannot be stored; senders get no acknowledgements until they can")
        for session in self._router.table.sessions():
            if session.stream_management is not None:
                session.stream_management.answer_partly()
        if self._retrying is None:
            self._retrying = self._clock.callLater(_RETRY, self._retry)

    def _retry(self) -> None:
        self._retrying = None
        self._commit()

    def _prove(self) -> None:
        """Look which clients without stream management have everything that was sent to them."""
        for session in list(self._unproven):
            session.prove()
            if not session.unproven:
                del self._unproven[session]
        if self._unproven and self._proving is None:
            self._proving = self._clock.callLater(_PROVE_AGAIN, self._prove_again)

    def _prove_again(self) -> None:
        self._proving = None
        self._prove()

    def flushed(self) -> Deferred[None]:
        """Fires when everything accepted so far was given to the database and answered."""
        waiting: Deferred[None] = Deferred()
        self._flushed.append(waiting)
        self._commit()
        if not self._writes and not self._fresh:
            self._flushed.remove(waiting)
            waiting.callback(None)
        return waiting

    # -- for operators -------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Entries in memory that are not safe yet."""
        return len(self._fresh)

    @property
    def window_ms(self) -> int:
        """The window in milliseconds."""
        return round(self.window * 1000)

    def status(self) -> dict[str, int | str]:
        """Figures for the console."""
        return {
            "accepted": self.accepted,
            "written": self.written,
            "spared": self.spared,
            "pending": len(self._fresh),
            "batches under way": self._writes,
            "state": "cannot write" if self.failing else "well",
        }


def full_error() -> StanzaError:
    """What the sender gets when the account's quota is used up (XEP-0160 §2)."""
    return StanzaError("service-unavailable", "the recipient's mailbox is full", type="wait")
