"""Whether links that are there may stay: what the operator allows changes, and certificates expire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from msgd.negotiation.link_policy import Policy
from msgd.routing.link import Link
from msgd.wire.errors import StreamError
from msgd.wire.link_connection import LinkConnection


class Server(Protocol):
    """What is asked of the server around it (`msgd/link_door.py`)."""

    policy: Policy

    def doubt(self, transport: LinkConnection, domain: str, *, connected_to: bool) -> str:
        """Why the peer's certificate is no proof of being `domain`; empty when it is one."""


def objection(server: Server, link: Link, domains: Iterable[str]) -> StreamError | None:
    """Why its peer would not be taken for the server of all these `domains` now; None: it would."""
    for domain in domains:
        if not server.policy.permits(domain):
            return not_permitted(domain)
        if not server.policy.dialback(domain):
            doubt = server.doubt(link.transport, domain, connected_to=not link.incoming)
            if doubt:
                return StreamError("not-authorized", f"{domain}: {doubt}")
    return None


def not_permitted(domain: str) -> StreamError:
    """What a peer is told with which the operator wants no links any more."""
    return StreamError("policy-violation", f"there are no links with {domain}")


def expiry(link: Link) -> float:
    """When the certificate that the peer showed expires, in seconds since 1970."""
    certificate = link.transport.certificate
    if certificate is None:
        return float("inf")
    return certificate.to_cryptography().not_valid_after_utc.timestamp()


def expired(server: Server, link: Link) -> bool:
    """Whether the certificate, which has expired, was what proved who the peer is (RFC 6120 §13.7.2.3)."""
    return not all(server.policy.dialback(domain) for domain in link.theirs)
