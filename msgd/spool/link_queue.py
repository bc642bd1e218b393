"""Messages to other servers are kept until those have them: the same promise as for mailboxes.

Holds the outboxes, one for each pair of domains, and their way into the database. A message is safe, and its
sender is told, when it is committed, or the other server has it, or its sender got it back.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from msgd.limits import Federation
from msgd.routing.kinds import kept
from msgd.routing.stream_management import Kept, Receipt, Sent
from msgd.spool import link_store
from msgd.spool.commit import GroupCommit
from msgd.spool.entry import Ids
from msgd.spool.link_entry import LinkEntry
from msgd.spool.outbox import Outbox
from msgd.storage.database import Database
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.link import Link

#: Bytes that are not written yet. More is refused: the disk does not keep up, or fails.
_UNWRITTEN: Final = 64 * 1024 * 1024
#: Pairs of domains for which something waits, or a link is there. Each is some KiB.
_MOST_PAIRS: Final = 10_000
#: The long window in short ones. The other server answers when it is safe there: its recipient's machine may
#: take 40 ms for that, the way there and back as long again or more.
_LONG: Final = 10
#: Seconds between two looks at what was sent to servers without stream management.
_PROVE_AGAIN: Final = 1.0
#: Seconds over which what waits at the start is spread.
_SPREAD: Final = 5.0


class LinkQueue:
    """All that waits for other servers."""

    def __init__(
        self,
        database: Database,
        clock: Any,
        options: Federation,
        window: float,
        batch: int,
        connect: Callable[[Outbox], Coroutine[Any, Any, None]],
        fail: Callable[[Stanza, StanzaError], None],
        tell: Callable[[Stanza], bool],
    ) -> None:
        """`connect` makes a link for an outbox, or raises LinkFault; `fail` returns a stanza; `tell` brings a
        message of the server's own to somebody who is there, or is False."""
        self.database = database
        self.clock = clock
        self.options = options
        self.connect = connect
        self.fail = fail
        self.tell = tell
        self.ids = Ids(clock.seconds)
        self._commit: GroupCommit[LinkEntry] = GroupCommit(
            database, clock, window, batch, self, link_store.write, _LONG
        )
        #: Ids whose rows are to go but may still be read.
        self.deleting = self._commit.deleting
        self._outboxes: dict[tuple[str, str], Outbox] = {}
        self._unproven: dict[Link, None] = {}
        self._proving: Any = None
        #: Called when storage takes nothing: who waits for acknowledgements gets what is safe.
        self.on_trouble: Callable[[], None] = lambda: None

    def start(self) -> int:
        """Look at what was kept before, and try to send it; how many messages there are."""
        rows, last = self.database.read_now(link_store.pairs)
        self.ids.last = max(self.ids.last, last)
        for number, (ours, theirs, count, size, oldest) in enumerate(rows):
            outbox = self.outbox(JID.parse(ours), JID.parse(theirs))
            outbox.backlog.waits(count, size, oldest)
            outbox.notices.waits()
            self.clock.callLater(number * _SPREAD / len(rows), outbox.attempt)
        return sum(row[2] for row in rows)

    def __iter__(self) -> Iterator[Outbox]:
        return iter(list(self._outboxes.values()))

    def outbox(self, ours: JID, theirs: JID) -> Outbox:
        """The outbox of a pair; made when there is none."""
        pair = ours, theirs
        found = self._outboxes.get(pair)
        if found is None:
            found = self._outboxes[pair] = Outbox(self, ours, theirs)
        return found

    def find(self, ours: JID, theirs: JID) -> Outbox | None:
        """The outbox of a pair, if there is one."""
        return self._outboxes.get((ours, theirs))

    def cool(self, outbox: Outbox) -> None:
        """An outbox on which nothing hangs is forgotten."""
        if outbox.idle:
            outbox.notices.stop()
            self._outboxes.pop((outbox.ours, outbox.theirs), None)

    # -- what comes, and goes ------------------------------------------------------------------

    def send(self, stanza: Stanza, receipt: Receipt | None) -> bool:
        """Take a stanza for another server. True when `receipt` was taken over.

        Kept is what would be for an absent recipient, and what is said in rooms.
        """
        from_, to = stanza.from_, stanza.to
        assert from_ is not None and to is not None  # the router's part
        # A JID equals its text, so that most stanzas need none made.
        outbox = self._outboxes.get((from_.domain, to.domain))
        if outbox is None:
            if len(self._outboxes) >= _MOST_PAIRS:
                self.fail(stanza, StanzaError("resource-constraint", "too many other servers"))
                return False
            outbox = self.outbox(from_.domain_jid, to.domain_jid)
        if not (kept(stanza) or _is_said_in_a_room(stanza)):
            outbox.pass_on(self.ids.next(), stanza)
            return False
        options, backlog, commit = self.options, outbox.backlog, self._commit
        if (
            backlog.count >= options.most_messages
            or backlog.size + len(stanza.raw) > options.most_bytes
            or commit.unwritten > _UNWRITTEN
        ):
            self.fail(stanza, StanzaError("resource-constraint", "too much waits for that server"))
            return False
        entry = LinkEntry(self.ids.next(), backlog, stanza.raw, receipt)
        # On a link the answer of the other server comes before the disk's would, mostly. Who waits for that
        # has it later where it does not, but the disk is not kept busy with what is delivered.
        commit.add(entry, outbox.link is None)
        if not outbox.send(entry):
            outbox.keep(entry)
        return True

    def acknowledged(self, sent: Iterable[Sent]) -> None:
        """The other server has these, or their senders got them back; what nobody keeps is passed over."""
        outboxes = set()
        for entry in sent:
            if type(entry) is not LinkEntry or entry.done:
                continue
            entry.done = True
            backlog = entry.backlog
            backlog.acknowledged(entry)
            outboxes.add(backlog.pair)
            if entry.stored:
                self._commit.delete(entry)
            elif entry.writing:
                self.deleting.add(entry.id)
            if entry.receipt is not None:
                entry.settle()
        for pair in outboxes:
            outbox = self._outboxes.get(pair)
            if outbox is not None:
                outbox.acknowledged()

    def prove_soon(self, link: Link, kept: Kept) -> None:
        """Something was sent on a link without stream management: look soon whether it arrived."""
        self._unproven[link] = None
        if isinstance(kept, LinkEntry) and kept.stored:
            self._commit.prove_soon()

    # -- for the group commit ------------------------------------------------------------------

    def prove(self, all: bool, awaited_only: bool) -> None:
        """What turns out to have arrived need not be written."""
        for link in list(self._unproven):
            link.proof_of_arrival.look()
            if not link.proof_of_arrival or link.ended:
                del self._unproven[link]
        if self._unproven and self._proving is None:
            self._proving = self.clock.callLater(_PROVE_AGAIN, self._prove_again)

    def _prove_again(self) -> None:
        self._proving = None
        self.prove(all=True, awaited_only=False)

    def stored(self, entry: LinkEntry) -> None:
        """The entry's row is committed: it is safe."""
        entry.stored = True
        entry.settle()
        if entry.done:
            self._commit.delete(entry)
            return
        entry.backlog.stored(entry)

    def not_stored(self) -> None:
        """The database took nothing; it is tried again."""
        self.on_trouble()

    async def flushed(self) -> None:
        """Until everything accepted so far was given to the database and answered."""
        await self._commit.flushed()


def _is_said_in_a_room(stanza: Stanza) -> bool:
    """Whether a user says it in a room of another server: that is kept for the server.

    What rooms send is not: a room has to learn soon that an occupant is gone.
    """
    return (
        stanza.kind == "message"
        and stanza.type == "groupchat"
        and stanza.to is not None
        and not stanza.to.resource
    )
