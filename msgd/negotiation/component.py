"""A component's connection proves which domain it speaks for: stream header, then handshake (XEP-0114 §3)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from typing import Final, Protocol

from msgd.negotiation.stranger import StrangerStream
from msgd.negotiation.strangers import Strangers
from msgd.wire.errors import StreamError
from msgd.wire.jid import JID
from msgd.wire.namespaces import COMPONENT_NAMESPACE
from msgd.wire.transport import Connection
from msgd.wire.xml import CLIENT_NAMESPACE, STREAM_NAMESPACE, escape, text_of
from msgd.wire.xmlstream import Header, Limits, XMLStream

# Without a prefix it is read as if it were in `jabber:client` (see `wire/namespaces.py`).
_HANDSHAKES: Final = frozenset(f"{each} handshake" for each in (COMPONENT_NAMESPACE, CLIENT_NAMESPACE))


class Server(Protocol):
    """What the handshake needs of the server; the app provides it (`msgd/components.py`)."""

    streams: Strangers
    limits_before_login: Limits
    limits: Limits
    negotiation_seconds: float
    default_domain: str

    def domain(self, text: str) -> JID | None:
        """The domain that `text` names, if a component may speak for it."""

    def wait(self, domain: JID, address: str) -> float:
        """For how many seconds no handshake is looked at: too many were wrong."""

    def secret(self, domain: JID) -> str:
        """The secret that the component shares with the server."""

    def proved(self, domain: JID, address: str, right: bool) -> None:
        """How a handshake ended. Raises StreamError: it was right, but the domain is taken."""

    def connected(self, domain: JID, negotiation: ComponentNegotiation, lang: str | None) -> None:
        """The connection belongs to the component now."""


class ComponentNegotiation(StrangerStream):
    """The negotiation of one component's connection; it is gone when the handshake is done."""

    def __init__(self, server: Server, transport: Connection) -> None:
        self._server = server
        self.since = time.time()
        stream = XMLStream(self, server.limits_before_login)
        super().__init__(transport, stream, server.streams, server.negotiation_seconds)
        self._id = ""
        self._lang: str | None = None
        transport.start()

    @property
    def state(self) -> str:
        """How far it has come, for an operator."""
        return "component"

    # -- the stream ----------------------------------------------------------------------------

    def stream_opened(self, header: Header) -> None:
        """The stream header names the domain."""
        try:
            if header.namespace != COMPONENT_NAMESPACE:
                raise StreamError("invalid-namespace", "this port is for components")
            if not header.to:
                raise StreamError("improper-addressing", "the stream header needs a 'to'")
            self.domain = self._server.domain(header.to)
            if self.domain is None:
                raise StreamError("host-unknown", "no component of that name is configured")
        except StreamError as error:
            self.stream_failed(error)
            return
        self._lang = header.lang
        self._open(header)

    def _open(self, header: Header | None) -> None:
        """Its id is part of what the handshake proves."""
        self._opened = True
        self._id = secrets.token_urlsafe(12)
        own = self.domain or self._server.default_domain
        self.transport.write(
            (
                f"<?xml version='1.0'?><stream:stream xmlns='{COMPONENT_NAMESPACE}'"
                f" xmlns:stream='{STREAM_NAMESPACE}' id='{self._id}' from='{escape(own)}' xml:lang='en'>"
            ).encode()
        )

    def frame_received(
        self, name: str, attributes: dict[str, str], children: tuple[str, ...], raw: bytes
    ) -> None:
        """The handshake, and nothing else."""
        if name == f"{STREAM_NAMESPACE} error":
            self.stream_closed()
            return
        try:
            if name not in _HANDSHAKES or self.domain is None:
                raise StreamError("not-authorized", "the handshake comes first")
            self._handshake(self.domain, text_of(raw).strip())
        except StreamError as error:
            self.stream_failed(error)

    def _handshake(self, domain: JID, given: str) -> None:
        """§3: SHA-1 of stream id and secret in lower-case hexadecimal. Raises StreamError."""
        server, address = self._server, self.address
        wait = server.wait(domain, address)
        if wait:
            raise StreamError("policy-violation", f"too many wrong handshakes; wait {wait:.0f} seconds")
        right = handshake(self._id, server.secret(domain))
        if not hmac.compare_digest(given.encode(), right.encode()):
            server.proved(domain, address, False)
            raise StreamError("not-authorized", "the handshake is wrong")
        server.proved(domain, address, True)
        self._leave()
        self.transport.write(b"<handshake/>")
        self.stream.limits = server.limits
        server.connected(domain, self, self._lang)


def handshake(id: str, secret: str) -> str:
    """The content of the handshake for a stream id and a secret."""
    return hashlib.sha1(f"{id}{secret}".encode()).hexdigest()
