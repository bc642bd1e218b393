"""Presence: who is there, told to those who may know.

Everything of kind presence passes here: what a client sends (broadcast, directed, subscriptions,
probes), what comes for an account, and the end of a session. Subscriptions are in `handshake.py`,
probes in `probe.py`. Source: RFC 6121 §4; proved by the transcripts rfc6121/03* and 04*.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from msgd.routing.broadcast import addressed, fan_out, share, unavailable, who_may_see, withdraw
from msgd.routing.handshake import Handshake, deliver
from msgd.routing.hooks import lets_in, lets_out
from msgd.routing.probe import answer_probe, refuse_probe
from msgd.routing.roster import Roster
from msgd.routing.subscription import SUBSCRIPTION_TYPES
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from msgd.wire.xml import parse

if TYPE_CHECKING:
    from msgd.routing.account import LiveAccount
    from msgd.routing.router import Router
    from msgd.routing.session import Session

#: Addresses that one session may have sent directed presence to, rooms above all; they are kept in
#: memory so that they can be told of its end.
MOST_DIRECTED: Final = 1000

_CAPABILITIES: Final = "http://jabber.org/protocol/caps c"
_PRIORITY: Final = "jabber:client priority"
_PLAIN_PRIORITY: Final = re.compile(rb"<priority>([0-9+-]+)</priority>")
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,3}", re.ASCII)


class Presence:
    """The presence of all accounts here. `roster` pushes what subscriptions change."""

    def __init__(self, router: Router, roster: Roster) -> None:
        self._router = router
        self.handshake = Handshake(router, roster)

    # -- from a client -------------------------------------------------------------------------

    def from_client(self, session: Session, stanza: Stanza) -> None:
        """Presence that a client sent, its full JID stamped. Raises StanzaError."""
        try:
            self._from_client(session, stanza)
        except StanzaError:
            if stanza.to is None:
                # RFC 6120 §8.1.2.1: what has no address is for the account, so it answers.
                stanza.to = session.jid.bare
            raise

    def _from_client(self, session: Session, stanza: Stanza) -> None:
        type = stanza.type
        if type is None:
            if stanza.to is None:
                self._available(session, stanza)
            else:
                self._directed(session, stanza, stanza.to)
        elif type == "unavailable":
            if stanza.to is None:
                self._unavailable(session, stanza)
            else:
                self._directed_unavailable(session, stanza, stanza.to)
        elif type in SUBSCRIPTION_TYPES:
            self.handshake.from_client(session, stanza)
        elif type not in ("probe", "error"):
            raise StanzaError("bad-request", "presence has no such type")
        elif stanza.to is not None:
            self._router.route(stanza)

    def _available(self, session: Session, stanza: Stanza) -> None:
        """Initial presence, or a change of it (§4.2.2, §4.4.2)."""
        priority = _priority(stanza)
        account, initial = session.account, not session.available
        first = initial and not account.available()
        was_reachable = session.available and session.priority >= 0
        session.presence, session.priority, session.available = stanza, priority, True
        self._broadcast(session, stanza)
        if initial:
            self._introduce(session)
            self.handshake.resume(session, first)
            self._router.note("session-available", session)
        if _CAPABILITIES in stanza.children:
            self._router.note("session-capabilities", session, initial)
        if priority >= 0 and not was_reachable:
            self._router.became_reachable(session)

    def _unavailable(self, session: Session, stanza: Stanza) -> None:
        """The end of a presence session, said or found (§4.5.2)."""
        was_available, session.available = session.available, False
        directed, session.directed = session.directed, None
        session.presence, session.priority = stanza, 0
        if was_available:
            self._broadcast(session, stanza)
            if not session.ended:
                session.send(addressed(stanza, session.jid.bare))
        subscribers = session.account.subscribers if was_available else frozenset()
        for to in who_may_see(session.account, stanza, directed or ()):
            if to.bare not in subscribers:
                self._router.route(addressed(stanza, to))
        if was_available:
            self._router.note("session-unavailable", session)

    def _broadcast(self, session: Session, stanza: Stanza) -> None:
        """To all who may see it, and to the account's own resources (§4.2.2)."""
        account = session.account
        subscribers = who_may_see(account, stanza, account.subscribers)
        fan_out(self._router, stanza, subscribers, self.handshake.busy)
        fan_out(self._router, stanza, (account.jid,), ())

    def _introduce(self, session: Session) -> None:
        """Tell a new resource who is there: what probes would tell of contacts here (§4.3.1)."""
        router, account = self._router, session.account
        me = account.jid
        for other in account.available():
            if other is not session and other.presence is not None:
                session.send(addressed(other.presence, me))
        for contact in account.subscriptions:
            there = router.table.account(contact)
            if there is not None:
                self._introduce_contact(session, there)
            elif not router.table.is_local(contact.domain):
                self.ask(account, contact)

    def ask(self, account: LiveAccount, contact: JID) -> None:
        """Probe a contact in another domain, unless nothing may go there (§4.3.1)."""
        probe = Stanza.build("presence", to=contact, from_=account.jid, type="probe")
        if lets_out(account, probe):
            self._router.route(probe)

    def _introduce_contact(self, session: Session, contact: LiveAccount) -> None:
        account, busy = session.account, self.handshake.busy
        if account.jid in contact.subscribers:
            for theirs in contact.sessions.values():
                if theirs.available and theirs.presence is not None:
                    presence = addressed(theirs.presence, account.jid)
                    if who_may_see(contact, theirs.presence, (account.jid,)) and lets_in(account, presence):
                        session.send(presence)
        elif (account.id, contact.jid) not in busy:
            # The two rosters disagree: as the answer to a probe would, this ends it (§4.3.2).
            self._router.route(
                Stanza.build("presence", to=account.jid, from_=contact.jid, type="unsubscribed")
            )

    def _directed(self, session: Session, stanza: Stanza, to: JID) -> None:
        """Presence for one address, which is to learn of its end as well (§4.6.3)."""
        account = session.account
        if to.bare != account.jid and not (session.available and to.bare in account.subscribers):
            if session.directed is None:
                session.directed = set()
            elif len(session.directed) >= MOST_DIRECTED and to not in session.directed:
                raise StanzaError("resource-constraint", "directed presence to too many addresses")
            session.directed.add(to)
        self._router.route(stanza)

    def _directed_unavailable(self, session: Session, stanza: Stanza, to: JID) -> None:
        if session.directed is not None:
            session.directed.discard(to)
        self._router.route(stanza)

    def again(self, session: Session, told: Stanza, kept: Stanza) -> None:
        """Broadcast what an available session said last as the server has amended it; `kept` is what
        those who come later are told. Directed presence is its client's affair (XEP-0398 §5.1)."""
        session.presence = kept
        self._broadcast(session, told)

    # -- to an account -------------------------------------------------------------------------

    def to_account(self, account: LiveAccount, stanza: Stanza) -> None:
        """Presence for a local account, at its bare or a full JID (§8.5)."""
        type = stanza.type
        if type in SUBSCRIPTION_TYPES:
            self.handshake.to_account(account, stanza)
        elif type == "probe":
            answer_probe(self._router, account, stanza)
        elif type not in (None, "unavailable", "error"):
            self._router.fail(stanza, StanzaError("bad-request", "presence has no such type"))
        elif not self.handshake.must_wait(account, stanza):
            deliver(account, stanza)

    def to_missing(self, stanza: Stanza) -> None:
        """Presence for an account that does not exist: silence, but probes are refused (§8.5.1)."""
        if stanza.type == "probe":
            refuse_probe(self._router, stanza)

    # -- seen or not ---------------------------------------------------------------------------

    def hide(self, account: LiveAccount, whom: Callable[[JID], bool], named: Iterable[JID] = ()) -> None:
        """To those of `whom` that see the account, all of its resources leave (XEP-0191 §3.3).

        Among the `named` may be single resources of those that see it.
        """
        for contact in filter(whom, account.subscribers):
            withdraw(self._router, account, contact)
        for to in _resources_of(account.subscribers, named):
            for session in account.available():
                self._router.route(addressed(unavailable(session), to))
        for session in account.available():
            for to in filter(whom, session.directed or ()):
                if to.bare not in account.subscribers:
                    self._router.route(addressed(unavailable(session), to))

    def reveal(self, account: LiveAccount, whom: Callable[[JID], bool], named: Iterable[JID] = ()) -> None:
        """To those of `whom` that may see the account it shows itself, and it sees them again.

        Among the `named` may be single resources.
        """
        for contact in filter(whom, account.subscribers):
            share(self._router, account, contact)
        for to in _resources_of(account.subscribers, named):
            for session in account.available():
                if session.presence is not None:
                    self._router.route(addressed(session.presence, to))
        single = {to.bare for to in _resources_of(account.subscriptions, named)}
        for contact in {*filter(whom, account.subscriptions), *single}:
            there = self._router.table.account(contact)
            if there is not None:
                for session in account.available():
                    self._introduce_contact(session, there)
            elif not self._router.table.is_local(contact.domain):
                self.ask(account, contact)

    # -- the end -------------------------------------------------------------------------------

    def session_ended(self, session: Session) -> None:
        """A session is over, however that came: who saw it learns that it is gone (§4.5.2)."""
        if session.available or session.directed:
            self._unavailable(session, unavailable(session))


def _resources_of(contacts: frozenset[JID], named: Iterable[JID]) -> list[JID]:
    """Of the addresses that are `named`, those of single resources of contacts."""
    return [jid for jid in named if jid.resource and jid.bare in contacts]


def _priority(stanza: Stanza) -> int:
    """The priority that a presence stanza names, 0 by default (§4.7.2.3)."""
    count = stanza.children.count(_PRIORITY)
    if not count:
        return 0
    text = _priority_text(stanza.raw).strip()
    if count > 1 or _INTEGER.fullmatch(text) is None or not -128 <= int(text) <= 127:
        raise StanzaError("bad-request", "a priority is one integer from -128 to 127")
    return int(text)


def _priority_text(raw: bytes) -> str:
    """The text of the child `<priority/>`, which there is."""
    plain = _PLAIN_PRIORITY.search(raw)
    if plain is not None and raw.count(b"priority") == 2:  # so that this is it, and no other
        return plain[1].decode()
    # Parsed aside, so that the tree does not stay in memory with the stanza.
    return parse(raw).findtext("{jabber:client}priority") or ""
