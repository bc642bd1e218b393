"""SASL EXTERNAL between servers: the certificate of TLS is the proof (XEP-0178 §3, RFC 6120 §6)."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from msgd.wire.jid import JID, JIDError

SASL_NAMESPACE: Final = "urn:ietf:params:xml:ns:xmpp-sasl"
MECHANISMS: Final = f"<mechanisms xmlns='{SASL_NAMESPACE}'><mechanism>EXTERNAL</mechanism></mechanisms>"


class Refused(Exception):
    """An attempt fails; `str()` is the SASL condition (RFC 6120 §6.5)."""


def auth(domain: JID) -> bytes:
    """The request of `domain` to be accepted."""
    said = base64.b64encode(domain.encode()).decode()
    return f"<auth xmlns='{SASL_NAMESPACE}' mechanism='EXTERNAL'>{said}</auth>".encode()


def check(mechanism: str, text: str, claimed: JID | None, doubt: str) -> None:
    """Whether an `<auth/>` may succeed; `claimed` is who the stream's header says is there.

    `doubt` is why the certificate does not prove that; empty when it does. Raises Refused.
    """
    if mechanism != "EXTERNAL" or doubt:
        # What is not offered cannot be had: EXTERNAL is, where there is no doubt.
        raise Refused("invalid-mechanism")
    if text not in ("", "="):
        try:
            wanted = JID.parse(base64.b64decode(text, validate=True).decode())
        except (binascii.Error, UnicodeDecodeError):
            raise Refused("incorrect-encoding") from None
        except JIDError:
            raise Refused("invalid-authzid") from None
        if wanted != claimed:
            raise Refused("invalid-authzid")
    if claimed is None:
        raise Refused("not-authorized")


def failure(condition: str) -> bytes:
    """The `<failure/>` element."""
    return f"<failure xmlns='{SASL_NAMESPACE}'><{condition}/></failure>".encode()
