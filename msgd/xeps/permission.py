"""Who may learn something of an account: the rule against leaking presence.

Extensions that answer for an account ask here first. Sources: RFC 6121 §8.5 and §11.1,
XEP-0030 §8, XEP-0012 §7.
"""

from __future__ import annotations

from msgd.routing.account import LiveAccount
from msgd.routing.extension import Extension
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza


def owner_of(stanza: Stanza) -> JID:
    """The bare JID of the account that an IQ at OWN or ACCOUNT is about."""
    return stanza.to if stanza.to is not None else sender_of(stanza).bare


def sender_of(stanza: Stanza) -> JID:
    """Who sent `stanza`; the router stamped it, whatever the client wrote."""
    if stanza.from_ is None:
        raise StanzaError("not-authorized", "a stanza of nobody")
    return stanza.from_


async def visible_account(extension: Extension, stanza: Stanza) -> LiveAccount | None:
    """The account that the IQ `stanza` is about, if its sender may see the presence of it.

    An account shows it to itself and to contacts with the subscription 'from' or 'both'. None for
    all others and where there is no account: nobody learns which of both it is.
    """
    live = await extension.router.table.load(owner_of(stanza))
    return live if live is not None and live.shows_presence_to(sender_of(stanza)) else None


async def require_account(
    extension: Extension, stanza: Stanza, condition: str = "service-unavailable"
) -> LiveAccount:
    """As `visible_account`; raises StanzaError `condition` instead of returning None."""
    live = await visible_account(extension, stanza)
    if live is None:
        raise StanzaError(condition)
    return live
