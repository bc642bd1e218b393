"""A connection to or from another server: the same transport, which may also begin TLS as its client.

Knows the certificate that the peer showed, and why it was lost.
"""

from __future__ import annotations

import socket

from OpenSSL import SSL, crypto

from msgd.wire.output import Output
from msgd.wire.reactor import Reactor
from msgd.wire.transport import Connection

#: The protocol of direct TLS between servers (XEP-0368 §4).
ALPN = b"xmpp-server"


class LinkConnection(Connection):
    """One socket between two servers."""

    __slots__ = ("fault",)

    def __init__(self, reactor: Reactor, output: Output, plain: socket.socket, address: str) -> None:
        super().__init__(reactor, output, plain, address)
        #: Why reading failed; empty while it did not.
        self.fault = ""

    def logPrefix(self) -> str:
        """What Twisted calls this connection in its log."""
        return "link"

    def failed(self, error: Exception) -> None:
        """Reading failed."""
        self.fault = said(error)

    def connect_tls(self, context: SSL.Context, name: str, direct: bool) -> None:
        """Begin TLS as its client, for the server `name` (ASCII), once what was written is out."""

        def connecting(plain: socket.socket) -> SSL.Connection:
            tls = SSL.Connection(context, plain)
            tls.set_connect_state()
            if name[:1] != "[" and not name.replace(".", "").isdigit():
                tls.set_tlsext_host_name(name.encode("ascii"))
            if direct:
                tls.set_alpn_protos([ALPN])
            self._reactor.addWriter(self)  # the client speaks first
            return tls

        self._go_secure(connecting)

    @property
    def certificate(self) -> crypto.X509 | None:
        """What the peer showed."""
        return self._tls.get_peer_certificate() if self._tls is not None else None

    @property
    def chain(self) -> list[crypto.X509]:
        """The certificates that it showed with it."""
        return list(self._tls.get_peer_cert_chain() or ()) if self._tls is not None else []


def said(error: Exception) -> str:
    """What an error of the socket or of OpenSSL says, for an operator."""
    if isinstance(error, SSL.Error):
        details = error.args[0] if error.args else ()
        if isinstance(details, list) and details:
            return f"TLS: {details[0][-1]}"
        return "TLS ended unexpectedly"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
