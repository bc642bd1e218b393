"""What becomes of an attempt to make a link: a stream that is ready, or a fault, and how it came to that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgd.wire.jid import JID
from msgd.wire.link_connection import LinkConnection
from msgd.wire.xmlstream import Frame, LinkStream

if TYPE_CHECKING:
    from msgd.negotiation.dialback import Dialback


class LinkFault(Exception):
    """A link cannot be made. `stage` is how far it came, one of `STAGES`; `str()` says what happened.

    `condition` is the error for who wanted to send something.
    """

    def __init__(self, stage: str, text: str, condition: str = "remote-server-timeout") -> None:
        super().__init__(text)
        self.stage = stage
        self.condition = condition


#: How far an attempt to make a link can come, and what an operator can do where it ends.
STAGES = {
    "policy": "see federation.allow and federation.block",
    "dns": "publish an SRV record _xmpp-server._tcp for the domain, or an address for the domain itself",
    "tcp": "the port has to be open there, and reachable from here: look at firewalls on both sides",
    "stream": "what listens there is no XMPP server for this domain, or it refuses ours: ask its operator",
    "tls": "both sides need a common version of TLS: see tls.minimum here, and the peer's configuration",
    "identity": "its operator has to renew the certificate; federation.authorities adds authorities here,"
    " federation.dialback lets DNS be enough",
    "authentication": "our certificate has to be one that the peer trusts, for our domain: see `msgd check`;"
    " or the peer has to let dialback be enough for it",
    "time": "the peer is too slow, or hangs: ask its operator",
}


@dataclass
class Trace:
    """What happened on the way to a link, step by step, for an operator."""

    begun: float
    steps: list[tuple[str, str]] = field(default_factory=list)
    fault: LinkFault | None = None

    def note(self, stage: str, text: str) -> None:
        """A step was taken."""
        if len(self.steps) < 100:
            self.steps.append((stage, text))


@dataclass(frozen=True)
class Broken:
    """A link of ours that broke, and may be resumed (XEP-0198 §5) where the peer is each of the `targets`."""

    id: str
    #: How many stanzas were received on it.
    received: int
    targets: frozenset[JID]


@dataclass(frozen=True)
class Managed:
    """Stream management is on (XEP-0198). `handled` is what the peer has of a link that it resumed.

    The first `uncounted` stanzas came before that.
    """

    id: str
    handled: int | None
    uncounted: int


@dataclass
class Established:
    """A stream to another server on which may be sent."""

    transport: LinkConnection
    stream: LinkStream
    #: The language of what has none of its own (RFC 6120 §4.7.4).
    lang: str | None
    #: Stanzas may come on it too (XEP-0288).
    both_ways: bool
    #: How the other side accepted us: "EXTERNAL" or "dialback".
    proof: str
    managed: Managed | None
    #: The largest stanza that it takes, in bytes (XEP-0478); 0: it does not say.
    largest: int
    #: For more pairs of domains.
    dialback: Dialback
    #: Where it was connected to.
    port: int
    #: Elements that came behind the negotiation.
    ahead: list[Frame] = field(default_factory=list)
