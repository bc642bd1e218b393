"""TLS settings of the hot path: contexts for pyOpenSSL, one for each domain, chosen by SNI.

Sources: RFC 7590 (use of TLS in XMPP), XEP-0368 (direct TLS, ALPN), RFC 9266 (tls-exporter),
RFC 5929 §4 (tls-server-end-point).
"""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from msgd.wire.domain import ascii_domain

_ALPN_CLIENT: Final = b"xmpp-client"
_EXPORTER_LABEL: Final = b"EXPORTER-Channel-Binding"
_VERSIONS: Final = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
#: Forward secrecy and authenticated encryption only, where TLS 1.2 is spoken (RFC 7590 §3.1).
_CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"


def _choose_protocol(connection: SSL.Connection, offered: list[bytes]) -> bytes | object:
    """ALPN for direct TLS: 'xmpp-client', or no protocol at all (XEP-0368 §4)."""
    if _ALPN_CLIENT in offered:
        return _ALPN_CLIENT
    return SSL.NO_OVERLAPPING_PROTOCOLS if not offered else _refuse_protocol()


def _refuse_protocol() -> object:
    # pyOpenSSL has no way to send the alert no_application_protocol; without a protocol the
    # client decides, and what it then sends is no XMPP stream and is answered as such.
    return SSL.NO_OVERLAPPING_PROTOCOLS


def make_context(
    certificate: str, key: str, minimum: str = "1.2", method: int = SSL.TLS_SERVER_METHOD
) -> SSL.Context:
    """A server's context (or of another `method`) from a PEM chain and its key (file names).

    Raises `OpenSSL.SSL.Error` or OSError when the files cannot be used.
    """
    context = SSL.Context(method)
    context.set_min_proto_version(_VERSIONS[minimum])
    context.set_cipher_list(_CIPHERS)
    # No compression (CRIME), no renegotiation; idle connections give their buffers back.
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    # A stream is resumed by XEP-0198; session tickets would only cost memory and forward secrecy.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET)
    context.use_certificate_chain_file(certificate)
    context.use_privatekey_file(key)
    context.check_privatekey()
    context.set_alpn_select_callback(_choose_protocol)  # type: ignore[arg-type]  # stub: one type
    return context


class ServerContexts:
    """The contexts of all domains; the client's SNI chooses, the first domain is the default.

    Connections keep the context they began with, so `replace` drops nobody.
    """

    def __init__(self) -> None:
        self._by_domain: dict[str, SSL.Context] = {}
        self._default: SSL.Context | None = None

    def replace(self, contexts: dict[str, SSL.Context]) -> None:
        """Use these (domain → context, in order of configuration) from now on."""
        for context in contexts.values():
            context.set_tlsext_servername_callback(self._choose)
        # A client writes the name of an internationalised domain as DNS does.
        self._by_domain = {ascii_domain(domain): context for domain, context in contexts.items()}
        self._by_domain.update(contexts)
        self._default = next(iter(contexts.values()))

    def _choose(self, connection: SSL.Connection) -> None:
        name = connection.get_servername()
        if name:
            chosen = self._by_domain.get(name.decode("ascii", "replace").lower().rstrip("."))
            if chosen is not None and chosen is not connection.get_context():
                connection.set_context(chosen)

    def has(self, domain: str) -> bool:
        """Whether one is there for this domain, and not for others only."""
        return domain in self._by_domain

    def for_domain(self, domain: str | None) -> SSL.Context:
        """The context to begin with: of the stream's `to` (STARTTLS), else the default."""
        chosen = self._by_domain.get(domain or "") or self._default
        if chosen is None:
            raise LookupError("no certificate is loaded")
        return chosen


def _end_point_hash(certificate: x509.Certificate) -> bytes:
    """RFC 5929 §4.1: the certificate hashed with its signature's hash; SHA-256 for weak ones."""
    algorithm = certificate.signature_hash_algorithm
    name = algorithm.name if algorithm is not None else "sha256"
    if name in ("md5", "sha1"):
        name = "sha256"
    return hashlib.new(name, certificate.public_bytes(Encoding.DER)).digest()


class ConnectionBindings:
    """The channel bindings of one TLS connection, for SASL's -PLUS mechanisms."""

    __slots__ = ("_connection",)

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection

    def types(self) -> tuple[str, ...]:
        """The binding types that this connection offers, the better first (XEP-0440)."""
        if self._connection.get_protocol_version_name() == "TLSv1.3":
            return ("tls-exporter", "tls-server-end-point")
        # Without the extended master secret tls-exporter is not unique to the connection
        # (RFC 9266 §4.2), and pyOpenSSL does not tell whether it was negotiated.
        return ("tls-server-end-point",)

    def data(self, type: str) -> bytes:
        """The binding data of `type`. Raises LookupError for a type that is not offered."""
        if type == "tls-exporter" and type in self.types():
            exported = self._connection.export_keying_material(_EXPORTER_LABEL, 32, b"")
            return bytes(exported)
        if type == "tls-server-end-point":
            certificate = self._connection.get_certificate(as_cryptography=True)
            if certificate is not None:
                return _end_point_hash(certificate)
        raise LookupError(type)
