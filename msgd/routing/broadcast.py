"""Presence on its way to many: the fan-out, and what one contact is told of all resources.

A broadcast stanza has no `to`; for each recipient the address is spliced into its bytes, which is
all that differs. Local contacts are delivered to directly: who is not in memory has no session and
so nobody to tell. Source: RFC 6121 §4.2.2, §4.4.2, §4.5.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgd.routing.hooks import lets_in, lets_out
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.account import LiveAccount
    from msgd.routing.router import Router
    from msgd.routing.session import Session

_START: Final = b"<presence"
_HEAD: Final = b"<presence to='"
_CUT: Final = len(_START)


def addressed(presence: Stanza, to: JID) -> Stanza:
    """A copy of a presence stanza that has no `to`, for this recipient."""
    raw = _HEAD + to.attribute + b"'" + presence.raw[_CUT:]
    return Stanza("presence", raw, presence.attributes, presence.children, to, presence.from_)


def unavailable(session: Session) -> Stanza:
    """Unavailable presence of a resource that did not say so itself (RFC 6121 §4.5.2)."""
    return Stanza.build("presence", to=None, from_=session.jid, type="unavailable")


def fan_out(
    router: Router, presence: Stanza, contacts: Iterable[JID], busy: Iterable[tuple[int, JID]]
) -> None:
    """Send a presence stanza without `to` to every available resource of `contacts`.

    `busy` has (account id, contact) for accounts that are just learning of a change in their
    subscription to that contact: their presence goes by the router, which keeps it in order.
    """
    table = router.table
    find, is_local = table.account, table.is_local
    tail = b"'" + presence.raw[_CUT:]
    attributes, children, sender = presence.attributes, presence.children, presence.from_
    for contact in contacts:
        account = find(contact)
        if account is None:
            if not is_local(contact.domain):
                router.route(addressed(presence, contact))
            continue
        sessions = account.sessions
        if not sessions:
            continue
        stanza = Stanza("presence", _HEAD + contact.attribute + tail, attributes, children, contact, sender)
        if busy and sender is not None and (account.id, sender.bare) in busy:
            router.route(stanza)
            continue
        if account.hooks is not None and not lets_in(account, stanza):
            continue
        for session in list(sessions.values()):
            if session.available:
                session.send(stanza)


def who_may_see(account: LiveAccount, presence: Stanza, contacts: Iterable[JID]) -> Iterable[JID]:
    """Those of `contacts` to whom presence of `account`, a stanza without `to`, may go."""
    if account.hooks is None or not account.hooks.permit_out:
        return contacts
    return [contact for contact in contacts if lets_out(account, addressed(presence, contact))]


def share(router: Router, account: LiveAccount, contact: JID) -> None:
    """Tell a new subscriber of every available resource (RFC 6121 §3.1.5)."""
    for session in account.available():
        if session.presence is not None and who_may_see(account, session.presence, (contact,)):
            router.route(addressed(session.presence, contact))
    router.note("presence-shared", account, contact)


def withdraw(router: Router, account: LiveAccount, contact: JID) -> None:
    """Tell somebody who is no longer a subscriber that all resources are gone (§3.2.2, §3.3.3)."""
    for session in account.available():
        if who_may_see(account, unavailable(session), (contact,)):
            router.route(addressed(unavailable(session), contact))
