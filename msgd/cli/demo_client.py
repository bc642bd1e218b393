"""A small XMPP client for the demonstration: TLS, SCRAM, stream management, messages; blocking.

Sources: RFC 6120 (streams, SASL, binding), RFC 5802 and 7677 (SCRAM-SHA-256), XEP-0368 (direct TLS),
XEP-0198 (acknowledgement). It checks the server's certificate and the server's proof.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socket
import ssl
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from xml.etree.ElementTree import Element, XMLPullParser
from xml.sax.saxutils import escape

_STREAMS: Final = "{http://etherx.jabber.org/streams}"
_SASL: Final = "urn:ietf:params:xml:ns:xmpp-sasl"
_BIND: Final = "urn:ietf:params:xml:ns:xmpp-bind"
_SM: Final = "urn:xmpp:sm:3"
_CLIENT: Final = "{jabber:client}"
#: Seconds without a byte from the server, before the client gives up.
_PATIENCE: Final = 20.0


class DemoFailed(Exception):
    """Something did not go as it should; one line."""


class DemoClient:
    """One logged-in client. Raises DemoFailed, OSError, ssl.SSLError."""

    def __init__(self, address: tuple[str, int], name: str, domain: str, password: str, trust: Path) -> None:
        self._domain = domain
        self._handled = 0
        self._waiting: list[Element] = []
        context = ssl.create_default_context(cafile=str(trust))
        context.set_alpn_protocols(["xmpp-client"])
        plain = socket.create_connection(address, _PATIENCE)
        self._socket = context.wrap_socket(plain, server_hostname=domain)
        self._open_stream()
        self._log_in(name, password)
        self._open_stream()
        answer = self._ask("set", "b", f"<bind xmlns='{_BIND}'><resource>demo</resource></bind>")
        self.jid = answer.findtext(f".//{{{_BIND}}}jid") or ""
        self._send(f"<enable xmlns='{_SM}'/>")
        self._expect(f"{{{_SM}}}enabled")
        self._handled = 0

    def send_message(self, to: str, id: str, body: str) -> None:
        """Send a chat message."""
        self._send(f"<message to='{escape(to)}' id='{id}' type='chat'><body>{escape(body)}</body></message>")

    def wait_until_acknowledged(self, count: int) -> None:
        """Ask until the server has taken over `count` stanzas (XEP-0198 §4)."""
        self._send(f"<r xmlns='{_SM}'/>")
        while int(self._expect(f"{{{_SM}}}a").get("h", "0")) < count:
            self._send(f"<r xmlns='{_SM}'/>")

    def become_available(self) -> None:
        """Send initial presence: what waits is delivered now."""
        self._send("<presence/>")

    def next_body(self) -> str:
        """The text of the next message."""
        while True:
            body = self._expect(f"{_CLIENT}message").findtext(f"{_CLIENT}body")
            if body is not None:
                return body

    def acknowledge_and_leave(self) -> None:
        """Confirm everything received, and close the stream."""
        self._send(f"<a xmlns='{_SM}' h='{self._handled}'/></stream:stream>")
        self._socket.close()

    def __enter__(self) -> DemoClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    # -- SASL ----------------------------------------------------------------------------------

    def _log_in(self, name: str, password: str) -> None:
        """SCRAM-SHA-256 without channel binding (RFC 5802 §3)."""
        first = f"n={name.replace('=', '=3D').replace(',', '=2C')},r={secrets.token_urlsafe(18)}"
        self._send(f"<auth xmlns='{_SASL}' mechanism='SCRAM-SHA-256'>{_base64('n,,' + first)}</auth>")
        challenge = base64.b64decode(self._sasl_answer("challenge").text or "").decode()
        told = dict(part.split("=", 1) for part in challenge.split(","))
        final = f"c={_base64('n,,')},r={told['r']}"
        signed = f"{first},{challenge},{final}".encode()
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(told["s"]), int(told["i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        final += ",p=" + base64.b64encode(proof).decode()
        self._send(f"<response xmlns='{_SASL}'>{_base64(final)}</response>")
        verdict = base64.b64decode(self._sasl_answer("success").text or "").decode()
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        wanted = base64.b64encode(hmac.digest(server_key, signed, "sha256")).decode()
        if verdict != f"v={wanted}":
            raise DemoFailed("the server does not know the password")

    def _sasl_answer(self, wanted: str) -> Element:
        element = self._next()
        if element.tag != f"{{{_SASL}}}{wanted}":
            reason = element[0].tag.rpartition("}")[2] if len(element) else element.tag
            raise DemoFailed(f"login refused: {reason}")
        return element

    # -- the stream ----------------------------------------------------------------------------

    def _open_stream(self) -> None:
        # Its events are typed by their kind; only "start" and "end" come here.
        self._parser: Any = XMLPullParser(["start", "end"])
        self._depth = 0
        self._send(
            f"<?xml version='1.0'?><stream:stream to='{self._domain}' version='1.0' "
            "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
        )
        self._expect(_STREAMS + "features")

    def _ask(self, type: str, id: str, payload: str) -> Element:
        self._send(f"<iq type='{type}' id='{id}'>{payload}</iq>")
        while True:
            answer = self._expect(_CLIENT + "iq")
            if answer.get("id") == id:
                if answer.get("type") != "result":
                    raise DemoFailed("the server refused the resource")
                return answer

    def _send(self, text: str) -> None:
        self._socket.sendall(text.encode())

    def _expect(self, tag: str) -> Element:
        """The next element of this name; requests for acknowledgement are answered on the way."""
        while True:
            element = self._next()
            if element.tag == f"{{{_SM}}}r":
                self._send(f"<a xmlns='{_SM}' h='{self._handled}'/>")
            elif element.tag == _STREAMS + "error":
                raise DemoFailed("stream error " + element[0].tag.rpartition("}")[2])
            if element.tag == tag:
                return element

    def _next(self) -> Element:
        while not self._waiting:
            received = self._socket.recv(65536)
            if not received:
                raise DemoFailed("the server closed the connection")
            self._parser.feed(received)
            for event, element in self._parser.read_events():
                self._take(event, element)
        element = self._waiting.pop(0)
        if element.tag in (_CLIENT + "message", _CLIENT + "presence", _CLIENT + "iq"):
            self._handled += 1
        return element

    def _take(self, event: str, element: Element) -> None:
        if event == "start":
            self._depth += 1
            return
        self._depth -= 1
        if self._depth == 1:
            self._waiting.append(element)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
