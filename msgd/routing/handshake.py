"""The subscription handshake: who may see whose presence, asked, granted, refused, ended.

`subscription.py` says what a stanza does, `roster_store.py` writes it down, and only then anybody
is told: a step that a crash undoes was never announced. What follows a step that is still being
written (presence from the same contact, above all) waits behind it. Source: RFC 6121 §3, App. A.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.routing import roster_store, subscription
from msgd.routing.broadcast import share, withdraw
from msgd.routing.roster import MOST_ITEMS, Roster, roster_full
from msgd.routing.roster_store import Change, RequestsFull, RosterFull
from msgd.routing.subscription import Contact, Inbound, Outbound
from msgd.storage.database import DatabaseError
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.account import LiveAccount
    from msgd.routing.router import Router
    from msgd.routing.session import Session

_log = Logger("msgd.handshake")

#: Requests that wait for the answer of one account. They are all delivered at each log-in, and
#: strangers send them (RFC 6121 §3.1.3, security warning).
MOST_REQUESTS: Final = 200
#: Bytes of a request that are kept; of a larger one only the addresses are (same warning).
LONGEST_REQUEST: Final = 4096
#: Steps of one account's handshakes that may be on their way to the database at a time.
MOST_STEPS: Final = 1000

Outcome = TypeVar("Outcome", Inbound, Outbound)
#: An account (its number) and a contact of it.
Pair = tuple[int, JID]


class Handshake:
    """Handles subscription stanzas of all accounts here, both ways."""

    def __init__(self, router: Router, roster: Roster) -> None:
        self._router = router
        self._roster = roster
        #: For each pair with a step being written: None for a step, or presence that waits for it.
        self.busy: dict[Pair, deque[Stanza | None]] = {}
        self._steps: dict[int, int] = {}

    # -- from the account ----------------------------------------------------------------------

    def from_client(self, session: Session, stanza: Stanza) -> None:
        """A subscription stanza that a client of the account sent. Raises StanzaError."""
        account, to = session.account, stanza.to
        if to is None:
            raise StanzaError("bad-request", "a subscription is with somebody")
        if to.bare == account.jid:
            raise StanzaError("not-allowed", "an account sees its own presence without asking")
        self._take_turn(account)
        _begin(self._send(account, stanza, to.bare))

    async def _send(self, account: LiveAccount, stanza: Stanza, contact: JID) -> None:
        """§3.1.2, §3.1.5, §3.2.2, §3.3.2, §3.4.2."""
        assert stanza.type is not None  # one of the four
        step = partial(subscription.outbound, stanza.type)
        written = await self._write(account, contact, stanza, step, b"")
        self._steps_done(account)
        if written is None:
            return
        outcome, change = written
        account = self._now(account, contact, change)
        if change.before.state.seen and not change.after.state.seen:
            withdraw(self._router, account, contact)
        if outcome.route:
            self._router.route(_between(stanza, account.jid, contact))
        if change.item is not None:
            self._roster.push(account, change.item)
        if change.after.state.seen and not change.before.state.seen:
            share(self._router, account, contact)

    # -- from the contact ----------------------------------------------------------------------

    def to_account(self, account: LiveAccount, stanza: Stanza) -> None:
        """A subscription stanza for a local account."""
        sender, to = stanza.from_, stanza.to
        if sender is None or to is None or sender.bare == account.jid:
            return
        if to.resource and stanza.type != "subscribe" and to.resource not in account.sessions:
            return  # RFC 6121 §8.5.3.2.2
        try:
            self._take_turn(account)
        except StanzaError as error:
            self._router.fail(stanza, error)
            return
        pair = account.id, sender.bare
        self.busy.setdefault(pair, deque()).append(None)
        stanza = _between(stanza, sender.bare, account.jid)
        _begin(self._receive(account, stanza, pair))

    async def _receive(self, account: LiveAccount, stanza: Stanza, pair: Pair) -> None:
        """§3.1.3, §3.1.6, §3.2.3, §3.3.3."""
        assert stanza.type is not None  # one of the four
        step = partial(subscription.inbound, stanza.type)
        written = await self._write(account, pair[1], stanza, step, _kept(stanza))
        self._steps_done(account)
        try:
            if written is not None:
                self._received(account, stanza, pair[1], *written)
        finally:
            self._next(account, pair)

    def _received(
        self, account: LiveAccount, stanza: Stanza, contact: JID, outcome: Inbound, change: Change
    ) -> None:
        account = self._now(account, contact, change)
        if outcome.deliver:
            # A request goes to who is available, news of a subscription to who shows the roster.
            for session in list(account.sessions.values()):
                if session.available if stanza.type == "subscribe" else session.interested:
                    session.send(stanza)
        if change.item is not None:
            self._roster.push(account, change.item)
        if change.before.state.seen and not change.after.state.seen:
            withdraw(self._router, account, contact)
        if outcome.reply is not None:
            reply = Stanza.build("presence", to=contact, from_=account.jid, type=outcome.reply, id=stanza.id)
            self._router.route(reply)
            if outcome.reply == "subscribed":
                share(self._router, account, contact)

    def must_wait(self, account: LiveAccount, stanza: Stanza) -> bool:
        """Whether presence from a contact has to wait for a step with it; if so it is taken."""
        if not self.busy or stanza.from_ is None:
            return False
        queue = self.busy.get((account.id, stanza.from_.bare))
        if queue is None:
            return False
        if len(queue) < MOST_STEPS:
            queue.append(stanza)
        return True

    def _next(self, account: LiveAccount, pair: Pair) -> None:
        """One step of the pair is done: deliver what waited for it, up to the next one."""
        queue = self.busy[pair]
        queue.popleft()
        waited: list[Stanza] = []
        while queue and queue[0] is not None:
            stanza = queue.popleft()
            assert stanza is not None  # looked at above
            waited.append(stanza)
        if not queue:
            del self.busy[pair]
        for stanza in waited:
            deliver(account, stanza)

    # -- at log-in -----------------------------------------------------------------------------

    def resume(self, session: Session, first: bool) -> None:
        """A resource became available: requests that wait come again (§3.1.3).

        With the `first` one of the account, what the account asks is asked again (§3.1.2): the
        question or its answer may have been lost on the way.
        """
        if session.account.waiting:
            _begin(self._resume(session, first))

    async def _resume(self, session: Session, first: bool) -> None:
        account = session.account
        account.waiting = False  # a step that is written while we read makes it True again
        try:
            requests, asked = await self._router.database.read(
                lambda connection: roster_store.waiting(connection, account.id)
            )
        except DatabaseError as error:
            account.waiting = True
            _log.error("waiting requests could not be read: {error}", error=str(error))
            return
        account.waiting = account.waiting or bool(requests or asked)
        if session.available:
            for raw in requests:
                session.send(Stanza.from_bytes(raw))
        for contact in asked if first else ():
            self._tell(account, contact, "subscribe")

    def farewell(self, account: LiveAccount) -> None:
        """The account is deleted: its contacts are told (RFC 6121 §2.5.2 for each of them)."""
        subscribers, account.subscribers = account.subscribers, frozenset()
        subscriptions, account.subscriptions = account.subscriptions, frozenset()
        for contact in subscribers:
            withdraw(self._router, account, contact)
            self._tell(account, contact, "unsubscribed")
        for contact in subscriptions:
            self._tell(account, contact, "unsubscribe")

    def _tell(self, account: LiveAccount, contact: JID, type: str) -> None:
        self._router.route(Stanza.build("presence", to=contact, from_=account.jid, type=type))

    # -- steps ---------------------------------------------------------------------------------

    async def _write(
        self,
        account: LiveAccount,
        contact: JID,
        stanza: Stanza,
        step: Callable[[Contact], Outcome],
        request: bytes,
    ) -> tuple[Outcome, Change] | None:
        """Take a step in the database; None when that failed, and the sender is told."""
        try:
            return await self._router.database.write(
                lambda connection: roster_store.change(
                    connection, account.id, contact, step, request, MOST_ITEMS, MOST_REQUESTS
                )
            )
        except RosterFull:
            error = roster_full()
        except RequestsFull:
            error = StanzaError("resource-constraint", "too many requests wait for an answer")
        except DatabaseError as fault:
            _log.error("a subscription could not be stored: {error}", error=str(fault))
            error = StanzaError("internal-server-error", type="wait")
        except Exception:  # a defect is answered as one, and the next step is taken
            _log.failure("a subscription could not be handled")
            error = StanzaError("internal-server-error")
        self._router.fail(stanza, error)
        return None

    def _take_turn(self, account: LiveAccount) -> None:
        """Count a step that begins. Raises StanzaError when too many are under way."""
        count = self._steps.get(account.id, 0)
        if count >= MOST_STEPS:
            raise StanzaError("resource-constraint", "too many subscription stanzas at a time")
        self._steps[account.id] = count + 1

    def _steps_done(self, account: LiveAccount) -> None:
        count = self._steps[account.id] - 1
        if count:
            self._steps[account.id] = count
        else:
            del self._steps[account.id]

    def _now(self, account: LiveAccount, contact: JID, change: Change) -> LiveAccount:
        """Bring the account in memory up to date; it may have been loaded anew meanwhile."""
        account = self._router.table.account(account.jid) or account
        state = change.after.state
        only = {contact}
        if state.seen != (contact in account.subscribers):
            account.subscribers ^= only
        if state.sees != (contact in account.subscriptions):
            account.subscriptions ^= only
        if state.ask or state.pending_in:
            account.waiting = True
        return account


def _begin(work: Coroutine[Deferred[Any], Any, None]) -> None:
    """Run `work`; it answers for itself, so what it raises is a defect."""
    Deferred.fromCoroutine(work).addErrback(
        lambda failure: _log.failure("a subscription could not be handled", failure)
    )


def deliver(account: LiveAccount, stanza: Stanza) -> None:
    """Available or unavailable presence, or an error, for a local account (RFC 6121 §8.5).

    To the bare JID it goes to the available resources, to a full JID to that one, if it is there.
    """
    if account.hooks is not None:
        for handle in account.hooks.shown:
            handle(account, stanza)
    to, sender = stanza.to, stanza.from_
    resource = to.resource if to is not None else ""
    if resource:
        found = account.sessions.get(resource)
        targets = [found] if found is not None else []
    else:
        targets = account.available()
    for session in targets:
        if session.directed and stanza.type == "unavailable" and sender in session.directed:
            session.directed.discard(sender)  # §4.6.1
        session.send(stanza)


def _between(stanza: Stanza, from_: JID, to: JID) -> Stanza:
    """The stanza with bare addresses: subscriptions are between accounts (§3, first note)."""
    if stanza.from_ == from_ and stanza.to == to:
        return stanza
    copy = Stanza("presence", stanza.raw, stanza.attributes, stanza.children, to, from_)
    return copy.addressed(to)


def _kept(stanza: Stanza) -> bytes:
    """What is kept of a request that waits."""
    if stanza.type != "subscribe" or len(stanza.raw) <= LONGEST_REQUEST:
        return stanza.raw
    return Stanza.build("presence", to=stanza.to, from_=stanza.from_, type="subscribe").raw
