"""Classic resource binding: what is asked for, and what is answered (RFC 6120 §7)."""

from __future__ import annotations

import re
from typing import Final

from msgd.wire.errors import STANZAS_NAMESPACE, StanzaError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from msgd.wire.xml import escape

BIND: Final = "urn:ietf:params:xml:ns:xmpp-bind"
SM: Final = "urn:xmpp:sm:3"
_LEGACY_SESSION: Final = "urn:ietf:params:xml:ns:xmpp-session"
#: What a stream offers whose client has logged in and not bound a resource.
BINDING_FEATURES: Final = (
    f"<bind xmlns='{BIND}'/><session xmlns='{_LEGACY_SESSION}'><optional/></session><sm xmlns='{SM}'/>"
).encode()
#: A request to bind as nearly every client sends it; anything else takes a parser.
_USUAL: Final = re.compile(
    rf"<iq [^<>]*><bind xmlns=[\"']{BIND}[\"']><resource>([^<>&\r]*)</resource></bind></iq>".encode()
)


def requested_resource(stanza: Stanza) -> str:
    """The resource that a request to bind asks for; empty when it leaves that to the server.

    Raises StanzaError for what is no request.
    """
    if stanza.type != "set" or not stanza.id:
        raise StanzaError("bad-request", "binding is an IQ of type 'set' with an id")
    usual = _USUAL.fullmatch(stanza.raw)
    if usual is not None:
        return usual[1].decode().strip()
    payload = stanza.payload
    asked = payload.findtext(f"{{{BIND}}}resource") if payload is not None else None
    return (asked or "").strip()


def bound_result(stanza: Stanza, jid: JID) -> bytes:
    """The answer to a request that was fulfilled."""
    return (
        f"<iq type='result' id='{escape(stanza.id or '')}'>"
        f"<bind xmlns='{BIND}'><jid>{escape(jid)}</jid></bind></iq>"
    ).encode()


def sm_failed(condition: str) -> bytes:
    """`<failed/>` of stream management (XEP-0198 §3)."""
    return f"<failed xmlns='{SM}'><{condition} xmlns='{STANZAS_NAMESPACE}'/></failed>".encode()
