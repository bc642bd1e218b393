"""XEP-0115 Entity Capabilities: the server's own, as a stream feature.

A client that knows the verification string need not ask the server what it can do (§6.3). The
string is made of the very information that service discovery answers with, and the node it names is
answered.
"""

from __future__ import annotations

import base64
import hashlib

from msgd.routing.extension import (
    HOST,
    At,
    Extension,
    Identity,
    Information,
    Xep,
    on_event,
)
from msgd.wire.jid import JID
from msgd.xeps.data_forms import FORM_TYPE, read_form

NAMESPACE = "http://jabber.org/protocol/caps"
#: Names the software; a URI, by §4.
NODE = "urn:x-msgd:server"


class EntityCapabilities(Extension):
    """XEP-0115 Entity Capabilities of the server itself."""

    xep = Xep(115, "1.6.0")
    features = frozenset({NAMESPACE})
    proves = "xep_0115/*"

    _written: dict[str, bytes]
    _of: list[Extension]

    def start(self) -> None:
        """Nothing is computed before a stream needs it."""
        self._forget([])

    @on_event("configuration-changed")
    def _forget(self, changed: list[str]) -> None:
        self._written = {}
        self._of = list(self.router.extensions.loaded)

    def stream_feature(self, domain: str, authenticated: bool) -> bytes:
        """§6.3: `<c/>`; kept per domain until extensions or configuration change.

        Before authentication nobody asks what the server can do, so it is not sent there.
        """
        if not authenticated:
            return b""
        if self._of != self.router.extensions.loaded:
            self._forget([])
        written = self._written.get(domain)
        if written is None:
            version = verification_string(self.router.extensions.information(HOST, domain))
            text = f"<c xmlns='{NAMESPACE}' hash='sha-1' node='{NODE}' ver='{version}'/>"
            written = self._written[domain] = text.encode()
        return written

    def node_information(self, at: At, to: JID, node: str) -> Information | None:
        """§6.2: the node with the verification string tells what the domain itself tells."""
        if at is not HOST or not node.startswith(NODE + "#"):
            return None
        information = self.router.extensions.information(HOST, to.domain)
        return information if node == f"{NODE}#{verification_string(information)}" else None


def verification_string(information: Information) -> str:
    """§5.1: SHA-1 over the sorted identities, features and forms, in Base64."""
    parts = [_identity(identity) for identity in sorted(information.identities, key=_octets)]
    parts += sorted(feature.encode() for feature in information.features)
    forms = sorted((read_form(form) for form in information.forms), key=_form_type)
    for fields in forms:
        parts += [value.encode() for value in fields[FORM_TYPE]]
        for var in sorted(fields.keys() - {FORM_TYPE}, key=str.encode):
            parts.append(var.encode())
            parts += sorted(value.encode() for value in fields[var])
    text = b"".join(part + b"<" for part in parts)
    # SHA-1 is what the XEP makes mandatory; nothing secret depends on it.
    return base64.b64encode(hashlib.sha1(text, usedforsecurity=False).digest()).decode()


def _octets(identity: Identity) -> tuple[bytes, ...]:
    return identity.category.encode(), identity.type.encode(), identity.name.encode()


def _identity(identity: Identity) -> bytes:
    return f"{identity.category}/{identity.type}//{identity.name}".encode()


def _form_type(fields: dict[str, list[str]]) -> bytes:
    return fields[FORM_TYPE][0].encode()
