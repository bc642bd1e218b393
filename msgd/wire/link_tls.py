"""TLS contexts for links: the same rules as for clients, and both sides show certificates.

A peer's certificate is asked for and looked at after the handshake (`identity.py`): what is wrong with it is
then known in words, and dialback may be allowed to do without.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL

from msgd.wire.link_connection import ALPN
from msgd.wire.tls import make_context


def make_link_context(certificate: str, key: str, minimum: str = "1.2") -> SSL.Context:
    """A context for either side of a link, from a PEM chain and its key (file names).

    Raises `OpenSSL.SSL.Error` or OSError when the files cannot be used.
    """
    context = make_context(certificate, key, minimum, SSL.TLS_METHOD)
    context.set_verify(SSL.VERIFY_PEER, _accept)
    context.set_alpn_select_callback(_choose_protocol)  # type: ignore[arg-type]  # stub: one type
    return context


def _accept(connection: Any, certificate: Any, number: int, depth: int, good: int) -> bool:
    """Whatever it is, the handshake goes on; `identity.doubt` decides."""
    return True


def _choose_protocol(connection: SSL.Connection, offered: list[bytes]) -> bytes | object:
    """ALPN for direct TLS: 'xmpp-server', or no protocol at all (XEP-0368 §4)."""
    return ALPN if ALPN in offered else SSL.NO_OVERLAPPING_PROTOCOLS
