"""The spool: accept, deliver, acknowledge; `commit.py` writes and deletes.

Every message with something to deliver becomes an entry here before its sender is told that it is
safe. Deliveries do not wait for the disk: an entry is sent to the sessions at once, and written
when it is still not acknowledged after a short window, together with all others of the window. One
that is acknowledged before is never written.

    accepted ──▶ sent to sessions ──▶ acknowledged ─────────────▶ done
        └──▶ window ──▶ committed with fsync (safe) ──▶ … ──▶ acknowledged ──▶ row deleted

Where the account has an archive, its entries are written in any case, and when they are acknowledged the
row stays; only then is it safe. What the account itself sends is written as well.

Sources: XEP-0160, XEP-0198, XEP-0203, XEP-0313, XEP-0359; see protocol_spec/spool.md for the promise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.coroutines import begin
from msgd.routing.account import LiveAccount
from msgd.routing.session import Session
from msgd.routing.stream_management import Held, Kept, Receipt
from msgd.spool import store
from msgd.spool.archive_store import Archived
from msgd.spool.commit import GroupCommit
from msgd.spool.drain import Drain
from msgd.spool.entry import Copy, Entry, Ids
from msgd.spool.filing import STANZA_ID, filing_of
from msgd.spool.sharing import share
from msgd.spool.showing import show_accepted
from msgd.wire.errors import StanzaError
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.router import Router

_log = Logger("msgd.spool")
#: Seconds between two looks at what was sent to clients without stream management.
_PROVE_AGAIN: Final = 1.0
#: Entries in memory that wait for one account; more stay in the database only.
WAITING: Final = 1000
#: The same in bytes of the whole mailbox.
_WAITING_BYTES: Final = 1024 * 1024
#: Bytes that are not written yet, of all accounts. More is refused: the disk does not keep up, or fails.
UNWRITTEN: Final = 64 * 1024 * 1024
#: From so many on, whoever sends a message is not read for so many seconds: senders get slower before anybody
#: is refused.
_MUCH, _SLOWLY = UNWRITTEN // 2, 1.0


class Spool:
    """All entries that are in memory, and the way of the others to and from the database."""

    def __init__(self, router: Router, window: float, batch: int, quota: int, quota_size: int) -> None:
        """`window` in seconds; `batch` entries end it early; quotas per account, size in bytes."""
        self._router = router
        self._clock: Any = router.clock
        self._database = router.database
        self._commit = GroupCommit(router.database, router.clock, window, batch, self, store.write)
        self.quota = quota
        self.quota_size = quota_size
        self.ids = Ids(self._clock.seconds)
        #: Ids whose rows are to go but may still be read.
        self.deleting = self._commit.deleting
        # Sessions without stream management to which something was sent that may not have arrived; of them
        # those with a message that somebody waits for, and those who had one when it was looked last.
        self._unproven: dict[Session, None] = {}
        self._awaited: dict[Session, None] = {}
        self._awaited_longer: dict[Session, None] = {}
        self._proving: Any = None
        #: For each archive that is being read just now, what is acknowledged meanwhile.
        self.archive_reads: list[set[int]] = []
        self.accepted = self.spared = 0

    def start(self) -> None:
        """Go on behind what was stored before; how much that is, is told when it is counted."""
        self.ids.last = max(self.ids.last, self._database.read_now(store.greatest_id))
        begin(self._tell_stored(), failed=lambda _: None)  # the database was closed meanwhile

    async def _tell_stored(self) -> None:
        """Counting takes a look at the whole index: nobody waits for it."""
        count = await self._database.read(store.waiting)
        if count:
            _log.info("{count} messages wait in the spool", count=count)

    # -- accept --------------------------------------------------------------------------------

    def accept(
        self, account: LiveAccount, stanza: Stanza, receipt: Receipt | None, targets: list[Session]
    ) -> bool:
        """Keep a message for `account` and send it to `targets`, as far as they can take it.

        Takes over `receipt`. False, and nothing taken, when the account's quota is used up and
        there is nobody to deliver to. Raises StanzaError while too much waits for the disk.
        """
        if self._commit.unwritten > _MUCH:
            self._make_wait(stanza)
        mailbox = account.mailbox
        if mailbox.drain is not None:
            takers = []
        elif len(targets) == 1:
            takers = [] if targets[0].congested() else targets
        else:
            takers = [session for session in targets if not session.congested()]
        if not takers and (mailbox.count >= self.quota or mailbox.size + len(stanza.raw) > self.quota_size):
            return False
        id = self.ids.next()
        child = STANZA_ID % (id, account.jid.attribute)
        resource = stanza.to.resource if stanza.to is not None else ""
        entry = Entry(id, account, stanza.raw_with_child(child), receipt, resource)
        if account.archive is not None:
            filing = filing_of(account.archive, stanza, stanza.from_, sent=False)
            if filing is not None:
                entry.file(filing)
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
        self._commit.add(entry, receipt is not None or not takers)
        if account.hooks is not None:
            show_accepted(entry, stanza, takers)
        return True

    def _make_wait(self, stanza: Stanza) -> None:
        """The disk does not keep up: who goes on sending is read slowly. Raises StanzaError at the end."""
        if self._commit.unwritten > UNWRITTEN:
            raise _no_room()
        session = self._router.table.session(stanza.from_) if stanza.from_ is not None else None
        if session is not None:
            session.slow_down(_SLOWLY)

    def write(self, entry: Entry, awaited: bool) -> None:
        """Write an entry that is for nobody but the archive. Raises StanzaError as `accept`."""
        if self._commit.unwritten > UNWRITTEN:
            raise _no_room()
        self._commit.add(entry, awaited)

    def _wait(self, entry: Entry) -> None:
        """Nobody takes it now."""
        mailbox = entry.account.mailbox
        if mailbox.waiting is None:
            mailbox.waiting = {}
        mailbox.waiting[entry.id] = entry

    def hand_over(self, entry: Entry, session: Session, copy: Copy | None = None) -> None:
        """Send an entry to a session, which holds it from now on; `copy` in its place, where there is one."""
        entry.holders += 1
        held = entry.account.mailbox.held
        if held is None:
            held = entry.account.mailbox.held = {}
        held[entry.id] = entry
        session.send_kept(copy or entry)
        if session.stream_management is None:
            (self._awaited if entry.receipt is not None else self._unproven)[session] = None
            if entry.stored:
                self._commit.prove_soon()

    def hand_over_copy(self, kept: Kept, raw: bytes, session: Session) -> None:
        """Send `raw`, which tells of a message that is kept (XEP-0280): the session has that message then."""
        self.hand_over(_entry_of(kept), session, Copy(_entry_of(kept), raw))

    def hold_again(self, session: Session, held: Held) -> None:
        """After a restart: the session holds a stored entry that it had not acknowledged."""
        # Several sessions may hold it; it is one entry, to be counted and deleted once.
        entry = (session.account.mailbox.held or {}).get(held.id)
        if entry is None:
            entry = Entry(held.id, session.account, b"")
            entry.stored, entry.archived, entry.size = True, held.archived, held.size
        if not held.copy:
            entry.raw = entry.raw or held.raw
        self.hand_over(entry, session, None if entry.raw == held.raw else Copy(entry, held.raw))

    def hand_over_archived(self, account: LiveAccount, found: Archived, raw: bytes, session: Session) -> None:
        """Send `raw`, in which the stored entry `found` is, which waits: acknowledged, it waits no more."""
        mailbox = account.mailbox
        entry = (mailbox.held or {}).get(found.id) or (mailbox.waiting or {}).pop(found.id, None)
        if entry is None:
            entry = Entry(found.id, account, found.raw)
            entry.size, entry.archived = found.size, True
        entry.stored = True
        entry.settle()
        self.hand_over(entry, session, Copy(entry, raw))

    # -- what sessions tell --------------------------------------------------------------------

    def acknowledged(self, kept: object) -> None:
        """A session has it: done, whoever else holds it."""
        entry = kept if type(kept) is Entry else _entry_of(kept)
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
            self._commit.delete(entry)
        elif entry.writing:
            # Its row may be there before we are told: a drain that begins now must pass it over.
            self.deleting.add(entry.id)
        elif not entry.archived:
            self.spared += 1
        if mailbox.drain is not None:
            mailbox.drain.gone.add(entry.id)
        if entry.archived:  # safe when the archive has it
            for gone in self.archive_reads:
                gone.add(entry.id)
        else:
            entry.settle()

    def released(self, kept: object) -> Entry | None:
        """A session that held it ended. The entry, when it now has to go to somebody else."""
        entry = _entry_of(kept)
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
        for sessions in (self._unproven, self._awaited, self._awaited_longer):
            sessions.pop(session, None)
        waits = False
        for sent in session.undelivered():
            if type(sent) is not bytes:
                waits = self.released(sent) is not None or waits
            else:
                self._router.undelivered(sent)
        if waits or session.account.mailbox.drain is not None:
            self.drain(session.account)

    def share(self, newcomer: Session) -> None:
        """A session has become available: what nobody has acknowledged yet is for it too."""
        share(self, newcomer)

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

    # -- what becomes of it in the database ------------------------------------------------------

    def stored(self, entry: Entry) -> None:
        """The entry's row is committed: it is safe."""
        entry.stored = True
        entry.filing = None
        entry.settle()
        if entry.done:
            if entry.waits:
                self._commit.delete(entry)
            else:
                self.deleting.discard(entry.id)
            return
        mailbox = entry.account.mailbox
        waiting = mailbox.waiting
        if waiting is None or entry.holders:
            return
        # Nobody is there for it: the row is enough. A drain under way still counts on it.
        if mailbox.drain is None or len(waiting) > WAITING or mailbox.size > _WAITING_BYTES:
            if waiting.pop(entry.id, None) is not None and mailbox.drain is not None:
                mailbox.overflowed = True
            if not waiting:
                mailbox.waiting = None
                self._router.table.cool(entry.account)

    def not_stored(self) -> None:
        """The database took nothing: who waits for an acknowledgement gets one for what is safe."""
        for session in self._router.table.sessions():
            if session.stream_management is not None:
                session.stream_management.answer_partly()

    def prove(self, all: bool, awaited_only: bool) -> None:
        """Look which clients without stream management have everything that was sent to them.

        Unless `all`, what came since the last look is left for the next one: for most of it now is too
        early, as TCP takes its time, and nothing is written before it was there at two looks.
        """
        longer, new = self._awaited_longer, self._awaited
        self._awaited = {}
        if all:
            longer |= new
            new = {}
        self._prove(longer)
        self._awaited_longer = longer | new
        if not awaited_only:
            self._prove(self._unproven)
        if (self._awaited_longer or self._unproven) and self._proving is None:
            self._proving = self._clock.callLater(_PROVE_AGAIN, self._prove_again)

    @staticmethod
    def _prove(sessions: dict[Session, None]) -> None:
        for session in list(sessions):
            session.prove()
            if not session.unproven:
                del sessions[session]

    def _prove_again(self) -> None:
        self._proving = None
        self.prove(all=True, awaited_only=False)

    def flushed(self) -> Deferred[None]:
        """Fires when everything accepted so far was given to the database and answered."""
        return self._commit.flushed()

    # -- for operators -------------------------------------------------------------------------

    @property
    def window(self) -> float:
        """Seconds for which an entry waits until it is written."""
        return self._commit.window

    @window.setter
    def window(self, seconds: float) -> None:
        self._commit.window = seconds

    @property
    def failing(self) -> bool:
        """The database does not take what should be stored: nothing is acknowledged."""
        return self._commit.failing

    @property
    def pending(self) -> int:
        """Entries in memory that are not safe yet."""
        return self._commit.pending

    @property
    def unwritten(self) -> int:
        """Their bytes, and those that are being written."""
        return self._commit.unwritten

    @property
    def written(self) -> int:
        """Entries that were written to the disk."""
        return self._commit.written

    def status(self) -> dict[str, int | str]:
        """Figures for the console."""
        return {
            "accepted": self.accepted,
            "written": self._commit.written,
            "spared": self.spared,
            "pending": self._commit.pending,
            "batches under way": self._commit.under_way,
            "state": "cannot write" if self._commit.failing else "well",
        }


def _no_room() -> StanzaError:
    return StanzaError("resource-constraint", "the store does not keep up", type="wait")


def _entry_of(kept: object) -> Entry:
    """The entry that was sent, or in whose place something else was."""
    if isinstance(kept, Entry):
        return kept
    if not isinstance(kept, Copy):
        raise TypeError("only the spool's entries are kept")
    return kept.entry
