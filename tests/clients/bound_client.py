"""A small client over a real TLS socket that knows its channel bindings (RFC 9266, RFC 5929)."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
from collections import deque
from typing import Final, Self
from xml.etree.ElementTree import Element

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from tests.negotiation.scram_client import ScramClient
from tests.specification.connection import STREAM, End, Event, StreamReader

_TLS: Final = "urn:ietf:params:xml:ns:xmpp-tls"
_SASL: Final = "urn:ietf:params:xml:ns:xmpp-sasl"
_BIND: Final = "urn:ietf:params:xml:ns:xmpp-bind"
_HEADER: Final = (
    b"<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client'"
    b" xmlns:stream='http://etherx.jabber.org/streams'>"
)
_PATIENCE: Final = 30


class BoundClient:
    """A connection with TLS and an open stream: `offered` are the mechanisms, `bindings` is of XEP-0440.

    `fast` are the mechanisms for tokens (XEP-0484). With `open=False` nothing was sent behind the handshake
    yet. `round_trips` counts from there how often the client had sent something and waited for the answer.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        direct: bool = True,
        version: int = SSL.TLS1_3_VERSION,
        open: bool = True,
    ) -> None:
        self._events: deque[Event] = deque()
        self._reader = StreamReader(self._events)
        self._socket = socket.create_connection(address, _PATIENCE)
        self._socket.settimeout(None)  # pyOpenSSL wants a blocking socket; the kernel keeps the time
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", _PATIENCE, 0))
        self._tls: SSL.Connection | None = None
        self._waits = False
        self.round_trips = 0
        if not direct:
            self._open_stream()
            self.ask(f"<starttls xmlns='{_TLS}'/>", f"{{{_TLS}}}proceed")
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        self._tls = SSL.Connection(context, self._socket)
        self._tls.set_tlsext_host_name(b"localhost")
        self._tls.set_connect_state()
        self._tls.do_handshake()
        self.round_trips = 0
        if open:
            self.open_stream()

    def open_stream(self) -> None:
        """Send a header, and read what is offered."""
        features = self._open_stream()
        self.offered = [each.text for each in features.iter(f"{{{_SASL}}}mechanism")]
        self.bindings = [each.get("type") for each in features.iter("{urn:xmpp:sasl-cb:0}channel-binding")]

        self.fast = [each.text for each in features.iter("{urn:xmpp:fast:0}mechanism")]

    def header(self) -> str:
        """A stream header, to be sent with what follows."""
        self._reader.restart()
        return _HEADER.decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _open_stream(self) -> Element:
        self._reader.restart()
        self._write(_HEADER)
        assert self._next().tag == f"{{{STREAM}}}stream"
        return self._next()

    def _write(self, data: bytes) -> None:
        self._waits = self._waits or bool(data)
        (self._tls or self._socket).sendall(data)

    def _next(self) -> Element:
        while not self._events:
            self.round_trips += self._waits
            self._waits = False
            self._reader.feed((self._tls or self._socket).recv(65536))
        event = self._events.popleft()
        assert not isinstance(event, End)
        return event

    def ask(self, text: str, *expected: str) -> Element:
        """Send, and return the next element, which must be one of `expected`, if they are named."""
        self._write(text.encode())
        answer = self._next()
        assert not expected or answer.tag in expected, answer.tag
        return answer

    def binding(self, type: str) -> bytes:
        """The binding of this connection, taken from its client's end."""
        assert self._tls is not None
        if type == "tls-exporter":
            return bytes(self._tls.export_keying_material(b"EXPORTER-Channel-Binding", 32))
        certificate = self._tls.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        return hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()

    def log_in(self, scram: ScramClient) -> str:
        """The condition of the failure; empty when the login succeeded, on both sides."""
        answer = self._sasl("auth", scram.first(), f" mechanism='{scram.mechanism}'")
        if answer.tag == f"{{{_SASL}}}challenge":
            answer = self._sasl("response", scram.final(base64.b64decode(answer.text or "")))
        if answer.tag == f"{{{_SASL}}}failure":
            return str(answer[0].tag.rpartition("}")[2])
        assert answer.tag == f"{{{_SASL}}}success"
        scram.verify(base64.b64decode(answer.text or ""))
        return ""

    def _sasl(self, name: str, data: bytes, attributes: str = "") -> Element:
        encoded = base64.b64encode(data).decode()
        return self.ask(
            f"<{name} xmlns='{_SASL}'{attributes}>{encoded}</{name}>",
            *(f"{{{_SASL}}}{each}" for each in ("challenge", "success", "failure")),
        )

    def bind(self) -> str:
        """Bind a resource on the stream behind the login; the full JID."""
        self._open_stream()
        answer = self.ask(f"<iq type='set' id='b'><bind xmlns='{_BIND}'/></iq>", "{jabber:client}iq")
        return answer.findtext(f".//{{{_BIND}}}jid") or ""
