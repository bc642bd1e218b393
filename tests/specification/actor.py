"""One member of the cast: a client that negotiates, counts for stream management, and remembers what came.

What arrives is pulled from the connection into `unclaimed`, in order; the transcript's steps claim it.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from tests.negotiation.scram_client import ScramClient
from tests.specification import sasl2
from tests.specification.connection import PATIENCE, STREAM, Connection, End, Event, Late
from tests.specification.match import CLIENT, STANZAS, Recipient, show
from tests.specification.transcript import Role

SM = "{urn:xmpp:sm:3}"
SASL = "{urn:ietf:params:xml:ns:xmpp-sasl}"
TLS = "{urn:ietf:params:xml:ns:xmpp-tls}"
BIND = "{urn:ietf:params:xml:ns:xmpp-bind}"
_STANZA_START = re.compile(r"<(?:message|presence|iq)[\s/>]")


class Unexpected(Exception):
    """Something else came than a scene-setting step needs."""


class Gone(Unexpected):
    """The stream ended while an answer was awaited."""


class Server(Protocol):
    """What an actor and the play need of a server."""

    domain: str

    authority: Any  # issues certificates to other servers of the cast; None where there are none

    def address(self, direct: bool = False, servers: bool = False) -> tuple[str, int]:
        """Where clients, or other servers, connect: STARTTLS or direct TLS."""

    def component_address(self) -> tuple[str, int]:
        """Where components connect."""

    def start(self) -> None:
        """Start it again, ready when this returns."""

    def stop(self) -> None:
        """Ask it to stop and await the end."""

    def kill(self) -> None:
        """SIGKILL."""

    def advance(self, seconds: float) -> None:
        """Move its clock."""

    def command(self, line: str) -> str:
        """A console command; its answer."""


class Actor:
    """A client. `check` is called with each element that the server sends."""

    def __init__(
        self, role: Role, local: str, server: Server, check: Callable[[Event, Recipient], None]
    ) -> None:
        self.role = role
        self.local = local
        self.server = server
        self.check = check
        self.connection: Connection | None = None
        self.unclaimed: deque[Event] = deque()
        self.log: list[str] = []
        self.recipient = Recipient(bare=f"{local}@{role.domain}")
        self.bound = False
        self.agent = str(uuid.uuid4())  # XEP-0388 §2.3: what a client calls itself
        self.split = False
        # stream management
        self.by_hand = False
        self.managing = False
        self.acknowledging = True
        self.received = 0
        self.sent: deque[str] = deque()
        self.resumption = ""
        self.asked = 0
        self.count = 0

    @property
    def connected(self) -> bool:
        """Whether the connection is there, as far as we know."""
        return self.connection is not None and not self.connection.ended

    def _open(self) -> Connection:
        if self.connection is None:
            raise Unexpected(f"{self.role.name} is not connected")
        return self.connection

    # -- in and out ----------------------------------------------------------------------------

    def write(self, data: bytes, split: bool = False) -> None:
        """Send bytes as they are."""
        connection = self._open()
        text = data.decode("utf-8", "backslashreplace")
        self.log.append(f"  -> {text if len(text) < 2000 else text[:2000] + '…'}")
        connection.split = split
        connection.write(data)

    def send(self, text: str, split: bool = False) -> None:
        """Send XML, and count its stanzas when the stream is managed."""
        if "urn:xmpp:sm:3" in text:
            self.asked += len(re.findall(r"<r[\s/]", text))
            if "<enable" in text or "<resume" in text:
                self.count = 0
        self.count += len(_STANZA_START.findall(text))
        if self.managing and not self.by_hand and _STANZA_START.match(text.lstrip()):
            self.sent.append(text)
        self.write(text.encode("utf-8", "surrogatepass"), split)

    @property
    def sender(self) -> str:
        """What the runner's own stanzas say of their sender: nothing, where the server knows it."""
        return ""

    def next(self, seconds: float = PATIENCE) -> Event:
        """The next event on the connection. Raises Late."""
        return self._open().next(seconds)

    def pull(self, seconds: float = PATIENCE) -> Event:
        """Take the next event that is for the transcript into `unclaimed`. Raises Late."""
        while True:
            event = self.next(seconds)
            text = "</stream:stream>" if isinstance(event, End) else show(event)
            self.log.append(f"  <- {text if len(text) < 2000 else text[:2000] + '…'}")
            self.check(event, self.recipient)
            if not self._managed(event):
                self.unclaimed.append(event)
                return event

    def _managed(self, event: Event) -> bool:
        """Stream management that the runner does by itself."""
        if not isinstance(event, Element):
            return False
        if event.tag in STANZAS:
            self.received += 1
        elif event.tag in (SM + "enabled", SM + "resumed"):
            self.bound = True
            self.by_hand = not self.managing
        elif event.tag == sasl2.SASL2 + "success":
            sasl2.outcome(self, event)
        elif event.tag == SM + "a":
            # One answer may be for several requests, when it says that all is safe.
            whole = event.get("h") == str(self.count)
            self.asked = 0 if whole else max(0, self.asked - 1)
        if not self.managing or self.by_hand:
            return False
        if event.tag == SM + "r":
            if self.acknowledging:
                self.acknowledge()
            return True
        if event.tag == SM + "a":
            self._acknowledged(int(event.get("h", "0")))
            return True
        return False

    def _acknowledged(self, handled: int) -> None:
        while self.sent and self._first_unacknowledged < handled:
            self.sent.popleft()
            self._first_unacknowledged += 1

    _first_unacknowledged = 0

    def acknowledge(self) -> None:
        """Tell the server what has come."""
        self.write(f"<a xmlns='urn:xmpp:sm:3' h='{self.received}'/>".encode())

    def take(self, seconds: float = PATIENCE) -> Event:
        """The next unclaimed event."""
        if not self.unclaimed:
            self.pull(seconds)
        return self.unclaimed.popleft()

    def expect(self, tag: str) -> Element:
        """The next event must be this element. Raises Unexpected."""
        event = self.take()
        if isinstance(event, End) or event.tag != tag:
            raise Unexpected(
                f"{self.role.name} got {'the end' if isinstance(event, End) else show(event)}, wanted {tag}"
            )
        return event

    def until_result(self, id: str) -> Element:
        """Wait for the answer to an IQ of our own; what comes before it stays unclaimed."""
        return self.until_results({id})[0]

    def until_results(self, ids: set[str]) -> list[Element]:
        """Wait for all these answers, in any order."""
        found: list[Element] = []
        left = set(ids)
        while left:
            try:
                event = self.pull()
            except Late:
                if self.connected:
                    raise
                raise Gone(f"the connection of {self.role.name} ended") from None
            if isinstance(event, End):
                raise Gone(f"the stream of {self.role.name} ended")
            if (
                event.tag == f"{{{CLIENT}}}iq"
                and event.get("id") in left
                and event.get("type") in ("result", "error")
            ):
                self.unclaimed.pop()
                left.remove(event.get("id", ""))
                found.append(event)
        return found

    # -- negotiation ---------------------------------------------------------------------------

    def open_connection(self, direct: bool = False) -> None:
        """TCP, with TLS when direct."""
        if self.connection is not None:
            self.connection.close()
        self.connection = Connection(self.server.address(direct))
        self.unclaimed.clear()
        self.bound = self.managing = False
        self.by_hand = self.role.by_hand
        self.received = self.asked = 0
        self.recipient = Recipient(bare=self.recipient.bare)
        self.log.append("  (connected)")
        if direct:
            self.begin_tls()

    def begin_tls(self) -> None:
        """The handshake."""
        self._open().begin_tls(self.role.domain)
        self.log.append("  (TLS)")

    def open_stream(self) -> Element:
        """Send a header, claim header and features; returns the features."""
        self.send(
            f"<?xml version='1.0'?><stream:stream xmlns='{CLIENT}' xmlns:stream='{STREAM}' "
            f"to='{self.role.domain}' version='1.0'>"
        )
        self.expect(f"{{{STREAM}}}stream")
        return self.expect(f"{{{STREAM}}}features")

    def negotiate_tls(self) -> None:
        """STARTTLS (RFC 6120 §5)."""
        self.open_stream()
        self.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        self.expect(TLS + "proceed")
        self.begin_tls()

    def log_in(self) -> Element:
        """SASL on an open stream, then the next stream; returns its features."""
        exchange = ScramClient(self.role.mechanism, self.local, self.role.password)
        mechanism = escape(self.role.mechanism)
        self.send(f"<auth xmlns='{SASL[1:-1]}' mechanism='{mechanism}'>{_base64(exchange.first())}</auth>")
        challenge = self.expect(SASL + "challenge")
        final = exchange.final(base64.b64decode(challenge.text or ""))
        self.send(f"<response xmlns='{SASL[1:-1]}'>{_base64(final)}</response>")
        success = self.expect(SASL + "success")
        exchange.verify(base64.b64decode(success.text or ""))
        self.begin_stream()
        return self.open_stream()

    def begin_stream(self) -> None:
        """A new document follows."""
        self._open().reader.restart()

    def bind(self, resource: str) -> None:
        """RFC 6120 §7."""
        asked = f"<resource>{escape(resource)}</resource>" if resource else ""
        self.send(f"<iq type='set' id='bind'><bind xmlns='{BIND[1:-1]}'>{asked}</bind></iq>")
        result = self.until_result("bind")
        jid = result.findtext(f"{BIND}bind/{BIND}jid")
        if jid is None:
            raise Unexpected(f"{self.role.name} is not bound: {show(result)}")
        self.now_bound(jid)

    def now_bound(self, jid: str) -> None:
        """The session has this full JID."""
        self.recipient = Recipient(jid, jid.partition("/")[0])
        self.bound = True

    def connect(self) -> None:
        """All of it."""
        if self.role.sasl2:
            self._to_login()
            sasl2.connect(self)
            return
        self._to_features()
        self.bind(self.role.resource)
        if self.role.managed or self.role.by_hand:
            self.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
            enabled = self.expect(SM + "enabled")
            self.by_hand = self.role.by_hand
            self.begin_counting(enabled.get("id", ""))

    def _to_login(self) -> None:
        self.open_connection(self.role.direct)
        if not self.role.direct:
            self.negotiate_tls()
        self.open_stream()

    def _to_features(self) -> None:
        self._to_login()
        self.log_in()

    def begin_counting(self, resumption: str) -> None:
        """Stream management is on."""
        self.managing = True
        self.acknowledging = True
        self.received = 0
        self._first_unacknowledged = 0
        self.sent.clear()
        self.resumption = resumption

    def resume(self) -> None:
        """Connect and resume (XEP-0198 §5); sends again what the server did not get."""
        received, full = self.received, self.recipient
        if self.role.sasl2:
            self._to_login()
            resumed = sasl2.resume(self, received)
        else:
            self._to_features()
            self.write(f"<resume xmlns='urn:xmpp:sm:3' h='{received}' previd='{self.resumption}'/>".encode())
            resumed = self.expect(SM + "resumed")
        self.by_hand = self.role.by_hand
        self.received, self.recipient = received, full
        self.managing = self.acknowledging = True
        self._acknowledged(int(resumed.get("h", "0")))
        for stanza in self.sent:
            self.write(stanza.encode())

    # -- end -----------------------------------------------------------------------------------

    def await_end(self) -> None:
        """Pull whatever comes until the connection has ended."""
        connection = self._open()
        while not connection.ended or connection.events:
            try:
                self.pull()
            except Late:
                if not connection.ended:
                    raise

    def disconnect(self) -> None:
        """Close the stream politely."""
        if self.connected:
            self.write(b"</stream:stream>")
            self.await_end()
            self._open().close()
        self.bound = False

    def drop(self) -> None:
        """Reset the connection."""
        if self.connection is not None:
            self.connection.drop()
            self.log.append("  (dropped)")
        self.bound = False


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode() or "="
