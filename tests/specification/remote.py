"""A member of the cast that is another server, played by hand: it connects to ours, and stays one stream.

Its stream is used both ways (XEP-0288), so that what our server has for it comes on the same one. Stanzas are
shown in `jabber:client`, as everybody else's.
"""

from __future__ import annotations

import base64
import ssl
from xml.etree.ElementTree import Element

from tests.specification.actor import SASL, TLS, Actor, Unexpected
from tests.specification.connection import PATIENCE, STREAM, Connection, Event, client_context
from tests.specification.match import CLIENT, Recipient

_SERVER = "{jabber:server}"


class RemoteServer(Actor):
    """Another server; `local` is its domain, which is fresh in each play."""

    @property
    def host(self) -> str:
        """The domain of the server that it speaks with."""
        return self.server.domain

    @property
    def sender(self) -> str:
        """What it writes into the start tag of a stanza of its own."""
        return f" from='{self.local}'"

    def next(self, seconds: float = PATIENCE) -> Event:
        """The next event, as transcripts write it."""
        event = super().next(seconds)
        if isinstance(event, Element):
            _rename(event)
            if event.tag.startswith("{jabber:server:dialback}"):
                for child in event:
                    _rename(child)
        return event

    def _managed(self, event: Event) -> bool:
        """Also the pings of our server itself, which ask for a proof that its messages arrived."""
        if (
            isinstance(event, Element)
            and "@" not in event.get("from", "@")
            and event.find("{urn:xmpp:ping}ping") is not None
        ):
            self.send(f"<iq type='result' id='{event.get('id')}' from='{self.local}' to='{self.host}'/>")
            return True
        return super()._managed(event)

    def open_connection(self, direct: bool = False) -> None:
        """TCP, with TLS when direct."""
        if self.connection is not None:
            self.connection.close()
        self.connection = Connection(self.server.address(direct, True))
        self.unclaimed.clear()
        self.bound = self.managing = False
        self.by_hand = self.role.by_hand
        self.received = self.asked = 0
        self.recipient = Recipient(self.local, self.local)
        self.log.append("  (connected)")
        if direct:
            self.begin_tls()

    def begin_tls(self) -> None:
        """The handshake, with its certificate."""
        context = client_context()
        self._show_certificate(context)
        self._open().begin_tls(self.host, context)
        self.log.append("  (TLS)")

    def _show_certificate(self, context: ssl.SSLContext) -> None:
        if self.role.certificate == "none":
            return
        if self.server.authority is None:
            raise Unexpected("this server knows no authority")
        certificate, key = self.server.authority.issue(self.local, self.role.certificate or self.local)
        context.load_cert_chain(certificate, key)

    def open_stream(self) -> Element:
        """Send a header, claim header and features; returns the features."""
        self.send(
            f"<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='{STREAM}' "
            f"xmlns:db='jabber:server:dialback' from='{self.local}' to='{self.host}' version='1.0'>"
        )
        self.expect(f"{{{STREAM}}}stream")
        return self.expect(f"{{{STREAM}}}features")

    def log_in(self) -> Element:
        """SASL EXTERNAL on the open stream (XEP-0178), then the next stream; returns its features."""
        self.send("<bidi xmlns='urn:xmpp:bidi'/>")
        said = base64.b64encode(self.local.encode()).decode()
        self.send(f"<auth xmlns='{SASL[1:-1]}' mechanism='EXTERNAL'>{said}</auth>")
        self.expect(SASL + "success")
        self.begin_stream()
        features = self.open_stream()
        self.bound = True
        return features

    def connect(self) -> None:
        """All of it."""
        self.open_connection(self.role.direct)
        if not self.role.direct:
            self.negotiate_tls()
        self.open_stream()
        self.log_in()

    def negotiate_tls(self) -> None:
        """STARTTLS (RFC 6120 §5)."""
        self.open_stream()
        self.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        self.expect(TLS + "proceed")
        self.begin_tls()


def _rename(element: Element) -> None:
    if element.tag.startswith(_SERVER):
        element.tag = f"{{{CLIENT}}}" + element.tag[len(_SERVER) :]
        for child in element:
            _rename(child)
