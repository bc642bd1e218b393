"""What the negotiation of links asks of the server around it; the app provides it (`msgd/links.py`)."""

from __future__ import annotations

from typing import Any, Protocol

from OpenSSL import SSL

from msgd.negotiation.dialback import Keys
from msgd.negotiation.link_policy import Policy
from msgd.negotiation.strangers import Strangers
from msgd.wire.jid import JID
from msgd.wire.link_connection import LinkConnection
from msgd.wire.xmlstream import Limits


class LinkServer(Protocol):
    """What the negotiation needs of the server."""

    streams: Strangers
    clock: Any
    policy: Policy
    keys: Keys
    limits: Limits
    limits_before: Limits
    negotiation_seconds: float
    default_domain: str

    def domain(self, text: str) -> JID | None:
        """The domain of ours, a component's included, that `text` names."""

    def context(self, domain: str | None) -> SSL.Context:
        """The TLS context for a domain of ours."""

    def doubt(self, transport: LinkConnection, domain: str, *, connected_to: bool) -> str:
        """Why the peer's certificate is no proof of being `domain`; empty when it is one."""

    async def verify(self, ours: JID, theirs: JID, id: str, key: str) -> bool:
        """Ask the server of `theirs` whether it gave out this dialback key. Raises LinkFault."""

    def accepted(self, negotiation: Any, theirs: JID, ours: JID, proof: str) -> None:
        """A stream from another server, which has proved to be `theirs`, may send to `ours`.

        Raises StreamError when there are too many.
        """

    def refused(self, theirs: JID | None, address: str, why: str) -> None:
        """A stream from another server came to nothing."""
