"""SASL2 as the cast speaks it: logins with inline elements, proofs of tokens (XEP-0388, 0386, 0484)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from tests.negotiation.scram_client import ScramClient

if TYPE_CHECKING:
    from tests.specification.actor import Actor

SASL2 = "{urn:xmpp:sasl:2}"
BIND2 = "{urn:xmpp:bind:0}"
FAST = "{urn:xmpp:fast:0}"
SM = "{urn:xmpp:sm:3}"
_PROOF = re.compile(r"\{(proof|answer) of (\S+?)(?: by (HT-SHA-256-[A-Z]{4}))?\}")


def authenticate(actor: Actor, inline: str, split: bool = False) -> None:
    """Send an `<authenticate/>` by SCRAM with `inline` in it, and the response; the outcome is left."""
    mechanism = actor.role.mechanism
    exchange = ScramClient(mechanism, actor.local, actor.role.password)
    actor.send(
        f"<authenticate xmlns='{SASL2[1:-1]}' mechanism='{escape(mechanism)}'>"
        f"<initial-response>{_base64(exchange.first())}</initial-response>{inline}</authenticate>",
        split,
    )
    actor.pull()
    challenge = actor.unclaimed[-1]
    if not isinstance(challenge, Element) or challenge.tag != SASL2 + "challenge":
        return
    actor.unclaimed.pop()
    final = exchange.final(base64.b64decode(challenge.text or ""))
    actor.send(f"<response xmlns='{SASL2[1:-1]}'>{_base64(final)}</response>", split)
    actor.pull()
    success = actor.unclaimed[-1]
    if isinstance(success, Element) and success.tag == SASL2 + "success":
        exchange.verify(base64.b64decode(success.findtext(SASL2 + "additional-data") or ""))


def outcome(actor: Actor, success: Element) -> None:
    """What an actor knows after a `<success/>`: its address, and that stanzas are counted from now on."""
    jid = success.findtext(SASL2 + "authorization-identifier") or ""
    resumed = success.find(SM + "resumed") is not None
    if "/" in jid:
        actor.now_bound(jid)
    if resumed or success.find(f"{BIND2}bound/{SM}enabled") is not None:
        actor.by_hand = not actor.managing
        actor.count = 0


def connect(actor: Actor) -> None:
    """Log in and bind on an open stream, as far as the role says so."""
    managed = actor.role.managed or actor.role.by_hand
    enable = f"<enable xmlns='{SM[1:-1]}' resume='true'/>" if managed else ""
    tag = f"<tag>{escape(actor.role.resource)}</tag>" if actor.role.resource else ""
    authenticate(actor, f"{user_agent(actor)}<bind xmlns='{BIND2[1:-1]}'>{tag}{enable}</bind>")
    success = actor.expect(SASL2 + "success")
    actor.expect("{http://etherx.jabber.org/streams}features")
    if managed:
        enabled = success.find(f"{BIND2}bound/{SM}enabled")
        actor.by_hand = actor.role.by_hand
        actor.begin_counting(enabled.get("id", "") if enabled is not None else "")


def resume(actor: Actor, received: int) -> Element:
    """Log in and resume at once; what tells of it."""
    authenticate(
        actor,
        f"{user_agent(actor)}<resume xmlns='{SM[1:-1]}' h='{received}' previd='{actor.resumption}'/>",
    )
    success = actor.expect(SASL2 + "success")
    resumed = success.find(SM + "resumed")
    assert resumed is not None, "not resumed"
    return resumed


def user_agent(actor: Actor) -> str:
    """How an actor names itself."""
    return f"<user-agent id='{actor.agent}'><software>runner</software></user-agent>"


def fill_proofs(actor: Actor, text: str) -> str:
    """`{proof of TOKEN}` and `{answer of TOKEN}`, the messages of HT, encoded."""

    def proof(match: re.Match[str]) -> str:
        what, token, mechanism = match.groups()
        binding = b""
        if mechanism == "HT-SHA-256-ENDP" and actor.connection is not None:
            binding = hashlib.sha256(actor.connection.certificate()).digest()
        if what == "answer":
            return _base64(hmac.digest(token.encode(), b"Responder" + binding, "sha256"))
        hashed = hmac.digest(token.encode(), b"Initiator" + binding, "sha256")
        return _base64(actor.local.encode() + b"\0" + hashed)

    return _PROOF.sub(proof, text)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
