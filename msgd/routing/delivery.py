"""What happens to a stanza for a local account: RFC 6121 §8.5 as one readable table.

    to                   message                                     presence      IQ
    ───────────────────  ──────────────────────────────────────────  ────────────  ───────────────
    no such account      error                                       (presence)    error
    full, resource here  delivered                                   delivered     delivered
    full, nobody there   chat: as if to the bare JID                 ignored       error
                         normal, groupchat, headline: error
                         error: ignored
    bare, reachable      normal, chat, headline: to every resource   (presence)    answered for the
                           with a non-negative priority                            account, or error
                         groupchat: error; error: ignored
    bare, nobody         normal, chat: kept (or error); groupchat:   (presence)    the same
                           error; headline, error: ignored

Presence to accounts is the business of `presence.py`. Messages that are worth keeping go through
the spool on every way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element

from msgd.routing.account import LiveAccount
from msgd.routing.kinds import kept
from msgd.routing.session import Session
from msgd.routing.stream_management import Receipt
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID, JIDError
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.router import Router

#: Children that may be forgeries.
_SUSPECT: Final = frozenset({
    "urn:xmpp:sid:0 stanza-id", "urn:xmpp:delay delay", "urn:xmpp:mam:2 result",
    "urn:xmpp:carbons:2 received", "urn:xmpp:carbons:2 sent",
})  # fmt: skip
_MESSAGE_TYPES: Final = frozenset({"normal", "chat", "groupchat", "headline", "error"})


def deliver_message(router: Router, account: LiveAccount, stanza: Stanza, receipt: Receipt | None) -> bool:
    """Deliver, keep or refuse a message. True when `receipt` was taken over by the spool."""
    to = stanza.to
    assert to is not None  # the router asks only for stanzas with an address
    if not _SUSPECT.isdisjoint(stanza.children):
        stanza = without_forgeries(account, stanza)
    session = account.sessions.get(to.resource)
    if session is not None:
        return _send(router, account, stanza, receipt, [session])
    # RFC 6121 §5.2.2: an unknown type is 'normal'.
    kind = stanza.type if stanza.type in _MESSAGE_TYPES else "normal"
    if to.resource and kind != "chat":
        if kind != "error":
            router.fail(stanza, StanzaError("service-unavailable"))
        return False
    if kind == "error":
        router.note("message-returned", account, stanza)
        return False
    if kind == "groupchat":
        router.fail(stanza, StanzaError("service-unavailable"))
        return False
    return _send(router, account, stanza, receipt, account.reachable())


def _send(
    router: Router,
    account: LiveAccount,
    stanza: Stanza,
    receipt: Receipt | None,
    targets: list[Session],
) -> bool:
    if kept(stanza):
        if router.spool.accept(account, stanza, receipt, targets):
            return True
        router.fail(
            stanza,
            StanzaError("service-unavailable", "the recipient's mailbox is full", type="wait"),
        )
        return False
    if account.hooks is not None:
        for handle in account.hooks.incoming:
            handle(account, stanza, targets, None)
    for session in targets:
        session.send(stanza)
    return False


def without_forgeries(account: LiveAccount, stanza: Stanza) -> Stanza:
    """Without elements that only this server may have put there, however many there are.

    Ids and stamps in its name (XEP-0359 §5, XEP-0203 §4), and messages wrapped to look like copies
    or archived ones: some clients believed anybody's (XEP-0280 §11, XEP-0313 §8.2).
    """

    sender = stanza.from_

    def genuine(child: Element) -> bool:
        if child.tag.startswith("{urn:xmpp:carbons:2}"):
            return child.tag not in ("{urn:xmpp:carbons:2}received", "{urn:xmpp:carbons:2}sent")
        if child.tag == "{urn:xmpp:mam:2}result":
            return sender is not None and sender.is_bare  # archives of rooms have no resource
        if child.tag == "{urn:xmpp:sid:0}stanza-id":
            return not _names(child.get("by"), account.jid)
        if child.tag == "{urn:xmpp:delay}delay":
            claimed = child.get("from")
            return not (_names(claimed, account.jid.domain_jid) or _names(claimed, account.jid))
        return True

    return stanza if all(map(genuine, stanza.tree)) else stanza.filtered(genuine)


def _names(text: str | None, jid: JID) -> bool:
    """Whether `text` is another way to write `jid`."""
    try:
        return text is not None and JID.parse(text) == jid
    except JIDError:
        return False


def deliver_iq(router: Router, account: LiveAccount, stanza: Stanza) -> None:
    """An IQ for one resource of a local account (RFC 6121 §8.5.3)."""
    to = stanza.to
    assert to is not None  # the router asks only for stanzas with an address
    session = account.sessions.get(to.resource)
    if session is None:
        router.fail(stanza, StanzaError("service-unavailable"))
    elif (
        stanza.type == "get"
        and router.extensions.guarded.intersection(stanza.children)
        and not (stanza.from_ is not None and account.shows_presence_to(stanza.from_))
    ):
        router.fail(stanza, StanzaError("forbidden"))
    else:
        session.send(stanza)
