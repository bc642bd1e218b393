"""A session: one bound resource of an account, from its binding to its end.

Takes the elements of its stream, makes stanzas of them and gives them to the router; sends what the
router gives it. With stream management (XEP-0198) it survives its socket. Sources: RFC 6120 §8,
RFC 6121, XEP-0198.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from msgd.routing.stream_management import NAMESPACE as SM_NAMESPACE
from msgd.routing.stream_management import (
    REQUEST,
    Kept,
    Receipt,
    Sent,
    StreamManagement,
    counter,
    too_high,
)
from msgd.wire.errors import StanzaError, StreamError
from msgd.wire.jid import JID, JIDError
from msgd.wire.stanza import STANZAS, XML_LANG, Stanza
from msgd.wire.transport import BUSY, Connection
from msgd.wire.xml import escape
from msgd.wire.xmlstream import Header, XMLStream

if TYPE_CHECKING:
    from msgd.routing.account import LiveAccount
    from msgd.routing.extension import Filter
    from msgd.routing.router import Router

_SM_REQUEST: Final = f"{SM_NAMESPACE} r"
_SM_ANSWER: Final = f"{SM_NAMESPACE} a"
_SM_ENABLE: Final = f"{SM_NAMESPACE} enable"
_SM_RESUME: Final = f"{SM_NAMESPACE} resume"
_END: Final = b"</stream:stream>"
#: Bytes waiting for a socket from which on nothing more is taken out of the spool for it.
CONGESTED: Final = 65536
#: The same for bytes that were sent and are not acknowledged.
_UNACKNOWLEDGED: Final = 1024 * 1024
#: Bytes waiting for a socket whose client is taken for gone. Messages wait in the spool long before;
#: this is for presence and answers.
STUCK: Final = 4 * 1024 * 1024


class Session:
    """One bound resource. What others may use is what has no underscore."""

    __slots__ = ("_last_received", "_sender", "_sender_and_lang", "account", "address", "answers",
                 "available", "connected", "directed", "ended", "expiry", "extras", "filter", "interested",
                 "jid", "mechanism", "presence", "priority", "router", "stream", "stream_management",
                 "transport", "unproven", "watched")  # fmt: skip

    def __init__(self, router: Router, account: LiveAccount, jid: JID, mechanism: str) -> None:
        self.router = router
        self.account = account
        self.jid = jid
        self.mechanism = mechanism
        self.transport: Connection | None = None
        self.stream: XMLStream | None = None
        self.address = ""
        self.connected = int(router.clock.seconds())
        self.available = False
        self.interested = False
        self.presence: Stanza | None = None
        self.priority = 0
        self.directed: set[JID] | None = None
        self.stream_management: StreamManagement | None = None
        # Kept messages sent to a client without stream management, until they have arrived.
        self.unproven: deque[Kept] | None = None
        self.watched: Callable[[str, bytes], None] | None = None
        # Of extensions: by their names what has to survive a resumption and a restart (JSON), and who
        # may hold back what is sent.
        self.extras: dict[str, Any] | None = None
        self.filter: Filter | None = None
        self.answers = 0  # requests that were answered at once (see `answering.py`)
        self.ended = False
        self.expiry: Any = None
        self._last_received = 0.0
        self._sender = self._sender_and_lang = b" from='" + jid.attribute + b"'"

    # -- the connection ------------------------------------------------------------------------

    def attach(self, transport: Connection, stream: XMLStream, lang: str | None) -> None:
        """Use this connection from now on: a new one, or the one on which it is resumed."""
        self.transport = transport
        self.stream = stream
        self.address = transport.address
        self._last_received = transport.last_received
        self._sender_and_lang = self._sender
        if lang:
            # RFC 6120 §8.1.5: what has no language of its own has that of its stream.
            self._sender_and_lang += b" xml:lang='" + escape(lang).encode() + b"'"
        stream.listener = self

    @property
    def last_received(self) -> float:
        """When the client was last heard, in the reactor's seconds."""
        return self.transport.last_received if self.transport else self._last_received

    @property
    def buffered(self) -> int:
        """Bytes that wait for the client's socket."""
        return self.transport.buffered if self.transport is not None else 0

    @property
    def tls(self) -> str:
        """TLS version and cipher; empty while there is no connection."""
        return self.transport.tls if self.transport is not None else ""

    def congested(self) -> bool:
        """Nothing more should be taken out of the spool for this session now."""
        sm = self.stream_management
        if sm is not None and sm.queue is not None:
            most = self.router.config.stream_management.most_queued
            if sm.size > _UNACKNOWLEDGED or len(sm.queue) >= most:
                return True
        transport = self.transport
        return transport is not None and transport.buffered > CONGESTED

    def hold(self, on: bool) -> None:
        """Do not read what its client sends: it has asked for more than can be done. Or read again."""
        if self.transport is not None:
            if on:
                self.transport.pause_reading(BUSY)
            else:
                self.transport.resume_reading(BUSY)

    def full(self) -> bool:
        """Whether its client does not take what it is sent: nothing more should be made for it."""
        if self.transport is None:
            return False
        self.transport.flush()
        return self.transport.buffered > CONGESTED

    def slow_down(self, seconds: float) -> None:
        """Read what its client sends only later."""
        if self.transport is not None:
            self.transport.pause_for(seconds)

    # -- from the client -----------------------------------------------------------------------

    def stream_opened(self, header: Header) -> None:
        """A second stream header on a bound stream."""
        self.kick(StreamError("bad-format", "the stream was open already"))

    def frame_received(
        self, name: str, attributes: dict[str, str], children: tuple[str, ...], raw: bytes
    ) -> None:
        """One element of the client's stream."""
        if self.watched is not None:
            self.watched("in", raw)
        kind = STANZAS.get(name)
        if kind is None:
            self._other_element(name, attributes, raw)
            return
        sm = self.stream_management
        receipt = Receipt() if sm is not None and kind == "message" else None
        try:
            self._stanza(kind, attributes, children, raw, receipt)
        except StreamError as error:
            self.kick(error)
            return
        if sm is not None:
            sm.count(receipt)

    def _stanza(
        self,
        kind: str,
        attributes: dict[str, str],
        children: tuple[str, ...],
        raw: bytes,
        receipt: Receipt | None,
    ) -> None:
        claimed = attributes.get("from")
        if claimed is not None:
            self._check_sender(claimed)
        stanza = Stanza(kind, raw, attributes, children)
        to = attributes.get("to")
        try:
            if to is not None:
                stanza.to = JID.parse(to)
        except JIDError as error:
            stanza.from_, stanza.to = self.jid, None
            if receipt is not None:
                receipt.settle()
            self.router.fail(stanza, StanzaError("jid-malformed", str(error)))
            return
        stanza.stamp(self._sender if XML_LANG in attributes else self._sender_and_lang, self.jid)
        self.router.from_client(self, stanza, receipt)

    def _check_sender(self, claimed: str) -> None:
        """RFC 6120 §8.1.2.1: `from` is the session's full or bare JID, or the stream ends."""
        try:
            if JID.parse(claimed) in (self.jid, self.jid.bare):
                return
        except JIDError:
            pass
        raise StreamError("invalid-from", "the stanza claims another sender")

    def _other_element(self, name: str, attributes: dict[str, str], raw: bytes) -> None:
        sm = self.stream_management
        if sm is not None and name == _SM_REQUEST:
            sm.request()
        elif sm is not None and name == _SM_ANSWER:
            self._acknowledged(attributes.get("h", ""))
        elif name in (_SM_ENABLE, _SM_RESUME):
            self.router.resumption.from_session(self, name == _SM_ENABLE, attributes)
        elif name == "http://etherx.jabber.org/streams error":
            self.close()
        else:
            self._element_of_extension(name, attributes, raw)

    def _element_of_extension(self, name: str, attributes: dict[str, str], raw: bytes) -> None:
        handler = self.router.extensions.element_handler(name)
        try:
            if handler is None:
                raise StreamError("unsupported-stanza-type", "this element means nothing here")
            handler(self, attributes, raw)
        except StreamError as error:
            self.kick(error)

    def _acknowledged(self, text: str) -> None:
        sm = self.stream_management
        assert sm is not None  # the caller looked
        handled = counter(text)
        done = sm.acknowledge(handled) if handled is not None else None
        if done is None:
            self.kick(too_high(handled or 0, sm.sent))
            return
        self.forget(done)
        sm.requested = False
        # Some clients are behind for ever, as they miscounted once: asking them again for the same
        # would go on as fast as the network can. They are asked with the next stanza.
        if sm.queue is not None and (done or sm.sent != sm.requested_at):
            self._request_answer()
        self.router.spool.has_room(self)

    def forget(self, done: list[Sent]) -> None:
        """The client has these: what the spool keeps of them, it need keep no longer."""
        for sent in done:
            if type(sent) is not bytes:
                self.router.spool.acknowledged(sent)

    # -- to the client -------------------------------------------------------------------------

    def send(self, stanza: Stanza) -> None:
        """Send a stanza that nobody keeps."""
        if self.filter is not None and self.filter(self, stanza):
            return
        sm = self.stream_management
        if sm is not None:
            sm.push(stanza.raw)
            most = self.router.config.stream_management.most_queued
            if sm.queue_length > 2 * most or sm.size > 4 * STUCK:
                self.kick(StreamError("resource-constraint", "too much was not acknowledged"))
                return
        self._write(stanza.raw, sm)
        if self.buffered > STUCK:
            self.cut(StreamError("resource-constraint", "the client does not read"))

    def send_kept(self, kept: Kept) -> None:
        """Send a message that the spool keeps until this session, or another, has it."""
        if self.filter is not None:
            self.filter(self, None)
        sm = self.stream_management
        if sm is not None:
            sm.push(kept)
        else:
            if self.unproven is None:
                self.unproven = deque()
            self.unproven.append(kept)
        self._write(kept.raw, sm)

    def _write(self, raw: bytes, sm: StreamManagement | None) -> None:
        if self.watched is not None:
            self.watched("out", raw)
        transport = self.transport
        if transport is None:
            return
        transport.write(raw)
        if sm is not None and not sm.requested:
            self._request_answer()

    def _request_answer(self) -> None:
        """Ask for an acknowledgement, behind everything that this turn sends."""
        sm = self.stream_management
        if sm is not None and self.transport is not None:
            sm.requested = True
            sm.requested_at = sm.sent
            sm.awaiting_since = self.router.clock.seconds()
            self.transport.append(REQUEST)

    def prove(self) -> None:
        """Without stream management: what has arrived in the client's machine is delivered."""
        proven = self.unproven
        left = self.transport.under_way() if self.transport is not None and proven else None
        if left is None or not proven:
            return
        # The last bytes of the stream are those of the last messages, which are longer encrypted.
        doubtful: deque[Kept] = deque()
        while left > 0 and proven:
            doubtful.appendleft(proven.pop())
            left -= len(doubtful[0].raw)
        self.unproven = doubtful or None
        for kept in proven:
            self.router.spool.acknowledged(kept)

    # -- the end -------------------------------------------------------------------------------

    def kick(self, error: StreamError) -> None:
        """End the stream with an error; the session is over."""
        if self.transport is not None:
            self.transport.write(error.xml() + _END)
        self.close(say_goodbye=False)

    def cut(self, error: StreamError) -> None:
        """End the connection with an error, but not the session where that may be resumed."""
        transport = self.transport
        if transport is not None:
            # In place of a request for acknowledgement, which must not stand behind the end.
            transport.append(error.xml() + _END)
            transport.flush()
            transport.abort()

    def part(self, error: StreamError) -> None:
        """The server stops: end the connection; the session was written down."""
        transport, self.transport = self.transport, None
        if self.stream is not None:
            self.stream.close()
            self.stream = None
        if transport is not None:
            transport.receiver = None
            transport.write(error.xml() + _END)
            transport.close()

    def close(self, say_goodbye: bool = True) -> None:
        """End the stream and the session."""
        self.prove()
        transport, stream = self.transport, self.stream
        if stream is not None:
            stream.close()
        if transport is not None:
            if say_goodbye:
                transport.write(_END)
            transport.close()
        self.end()

    def stream_closed(self) -> None:
        """The client closed its stream: so do we (RFC 6120 §4.4)."""
        self.close()

    def stream_failed(self, error: StreamError) -> None:
        """What the client sent ends the stream."""
        self.kick(error)

    def connection_lost(self) -> None:
        """The socket is gone. A session that may be resumed waits for that."""
        if self.ended:
            return
        if self.transport is not None:
            self._last_received = self.transport.last_received
        self.transport = None
        self.stream = None
        self.router.answering.has_room(self)
        if self.stream_management is not None and self.stream_management.resumable:
            self.router.resumption.hibernate(self)
        else:
            self.end()

    def output_drained(self) -> None:
        """The client reads again."""
        self.router.spool.has_room(self)
        self.router.answering.has_room(self)

    def end(self) -> None:
        """The session is over: everybody is told, what it did not get goes back to the spool."""
        if self.ended:
            return
        self.ended = True
        self.transport = None
        self.stream = None
        self.router.answering.has_room(self)
        if self.expiry is not None:
            self.expiry.cancel()
            self.expiry = None
        self.router.session_ended(self)
        if self.stream_management is not None:
            self.stream_management.answer = _to_nobody  # which would keep the session

    def undelivered(self) -> list[Sent]:
        """What was sent and is not known to have arrived, in order; it is forgotten here."""
        found: list[Sent] = []
        sm = self.stream_management
        if sm is not None and sm.queue is not None:
            found += sm.queue
            sm.queue = None
        if self.unproven is not None:
            found += self.unproven
            self.unproven = None
        return found


def _to_nobody(handled: int) -> None:
    """What is acknowledged to a client that is gone."""
