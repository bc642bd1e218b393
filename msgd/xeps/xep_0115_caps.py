"""XEP-0115 Entity Capabilities: the server's own, as a stream feature, and those of clients.

A client that knows the verification string need not ask the server what it can do (§6.3). The
string is made of the very information that service discovery answers with, and the node it names is
answered.

What clients can do is learnt from the `<c/>` in their presence (`client_capabilities.py`); presence without
it costs nothing. Who has to do something when a client wants to be told of more is told by an event. The same
for the clients of contacts in other domains, of accounts for which that matters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgd.routing.account import LiveAccount
from msgd.routing.extension import (
    HOST,
    At,
    Extension,
    Information,
    Xep,
    on_event,
)
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from msgd.xeps.asked_clients import OfContact, OfSession
from msgd.xeps.client_capabilities import NAMESPACE, ClientCapabilities, caps_of
from msgd.xeps.contacts_elsewhere import Client, begin
from msgd.xeps.data_forms import read_form
from msgd.xeps.interests import known_version, remember
from msgd.xeps.verification import Described

if TYPE_CHECKING:
    from msgd.routing.session import Session

#: Names the software; a URI, by §4.
NODE = "urn:x-msgd:server"


class EntityCapabilities(Extension):
    """XEP-0115 Entity Capabilities."""

    xep = Xep(115, "1.6.0")
    features = frozenset({NAMESPACE})
    proves = "xep_0115/*"

    _written: dict[str, bytes]
    _of: list[Extension]

    def start(self) -> None:
        """Nothing is computed before a stream needs it."""
        self._forget([])
        self._clients = ClientCapabilities(self.router)

    @on_event("session-capabilities")
    def _shown(self, session: Session, initial: bool) -> None:
        """§6.1: presence that names capabilities; asked for when they are others than before."""
        caps = caps_of(session.presence) if session.presence is not None else None
        if caps is None:
            return
        if initial:
            remember(session, "", ())
        if known_version(session) != caps.version:
            self._clients.learn(OfSession(self.router, session), caps)

    @on_event("contact-capabilities")
    def _shown_elsewhere(self, account: LiveAccount, presence: Stanza) -> None:
        """The same of a client of a contact in another domain."""
        caps, jid = caps_of(presence), presence.from_
        if caps is None or jid is None:
            return
        known = begin(account)
        before = known.client(jid)
        if before is None or before.version != caps.version:
            known.note(jid, Client(caps.version, before.wanted if before is not None else ()))
            self._clients.learn(OfContact(self.router, account, jid), caps)

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
    identities = [(each.category, each.type, "", each.name) for each in information.identities]
    return Described(
        identities, information.features, [read_form(form) for form in information.forms]
    ).hashed()
