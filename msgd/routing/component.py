"""Components: programs of the operator's that speak for domains of their own (XEP-0114).

A `Component` is where stanzas for such a domain go, connected or not; a `ComponentStream` is the connection
it has now. The handshake is in `negotiation/component.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgd.routing.appearances import Appearances
from msgd.routing.arrival import Arrivals
from msgd.routing.destination import is_told
from msgd.routing.stream_management import Receipt
from msgd.wire.errors import StanzaError, StreamError
from msgd.wire.jid import JID, JIDError
from msgd.wire.namespaces import COMPONENT_NAMESPACE, incoming, outgoing
from msgd.wire.stanza import Stanza
from msgd.wire.xml import STREAM_NAMESPACE, escape

if TYPE_CHECKING:
    from msgd.routing.router import Router
    from msgd.wire.transport import Connection
    from msgd.wire.xmlstream import Header, XMLStream

_END: Final = b"</stream:stream>"
#: Bytes that may wait for a component that does not keep up; what comes then is refused. One account with
#: thousands of contacts there is a megabyte of presence.
MOST_WAITING: Final = 4 * 1024 * 1024
#: The same for answers to its own requests and what else cannot be refused; then it is cut off.
MOST_ANSWERS: Final = 4 * MOST_WAITING
#: Bytes of a message that is returned with its content when the connection ends.
LONGEST_QUOTED: Final = 1024
#: Seconds in which a component has to take something of what waits for it; else it is taken for dead.
PATIENCE: Final = 60.0


class Component:
    """A domain that a component speaks for: a destination (see `destination.py`)."""

    def __init__(self, router: Router, jid: JID) -> None:
        self.jid = jid
        #: What service discovery calls it.
        self.name = ""
        self.stream: ComponentStream | None = None
        self.appearances = Appearances(router)
        self._router = router

    def send(self, stanza: Stanza, receipt: Receipt | None) -> bool:
        """See `Destination`."""
        if self.stream is not None:
            return self.stream.send(stanza, receipt)
        self.refuse(stanza, "the component is not connected")
        return False

    def refuse(self, stanza: Stanza, why: str) -> None:
        """Who sent what cannot be delivered may try again later."""
        if is_told(stanza):
            self._router.fail(stanza, StanzaError("service-unavailable", why, type="wait"))

    def lost(self, stanza: Stanza) -> None:
        """A message was under way when the connection ended. Many at once may go to one client, so that
        large ones are not quoted."""
        why = "the component went away; it may have got this"
        quote = len(stanza.raw) <= LONGEST_QUOTED
        self._router.fail(stanza, StanzaError("service-unavailable", why, type="wait", quote=quote))

    def explain(self, to: JID) -> str:
        """See `Destination`."""
        if self.stream is None:
            return f"to the component {self.jid}, which is not connected: service-unavailable"
        return f"to the component {self.jid}, connected from {self.stream.address}"

    def attach(self, transport: Connection, stream: XMLStream, lang: str | None) -> ComponentStream:
        """The component has connected."""
        self.stream = ComponentStream(self._router, self, transport, stream, lang)
        self.appearances.come_back()
        return self.stream

    def detached(self, stream: ComponentStream) -> None:
        """A connection is over; another may have taken its place."""
        if self.stream is stream:
            self.stream = None
            self.appearances.leave()


class ComponentStream:
    """The stream of a component that is connected. `received` and `sent` count stanzas."""

    def __init__(
        self, router: Router, component: Component, transport: Connection, stream: XMLStream, lang: str | None
    ) -> None:
        self.component = component
        self.connected = router.clock.seconds()
        self.received = self.sent = 0
        self._router = router
        self._transport = transport
        self._stream = stream
        self._lang = f" xml:lang='{escape(lang)}'".encode() if lang else b""
        self._arrivals = Arrivals(router.clock, transport)
        self._timer: Any = None
        self._arrived = 0
        self._ended = False
        stream.listener = self

    @property
    def address(self) -> str:
        """Where it comes from."""
        return self._transport.address

    @property
    def buffered(self) -> int:
        """Bytes that its socket has not taken."""
        return self._transport.buffered

    # -- from the component --------------------------------------------------------------------

    def frame_received(
        self, name: str, attributes: dict[str, str], children: tuple[str, ...], raw: bytes
    ) -> None:
        """One element of the component's stream."""
        if name == f"{STREAM_NAMESPACE} error":
            self.stream_closed()
            return
        try:
            stanza = incoming(name, attributes, children, raw, COMPONENT_NAMESPACE)
            if stanza is None:
                raise StreamError("unsupported-stanza-type", "this element means nothing here")
            self._stanza(stanza)
        except StreamError as error:
            self.kick(error)

    def _stanza(self, stanza: Stanza) -> None:
        """§3: both addresses are there, and the sender is one of the component's domain."""
        self.received += 1
        claimed, to = stanza.attributes.get("from"), stanza.attributes.get("to")
        if claimed is None or to is None:
            raise StreamError("improper-addressing", "a stanza of a component has 'from' and 'to'")
        sender = stanza.from_ = self._sender(claimed)
        try:
            stanza.to = JID.parse(to)
        except JIDError as error:
            # Nobody has that address, so the server answers.
            stanza.to = JID.parse(self._router.config.domains[0])
            self._router.fail(stanza, StanzaError("jid-malformed", str(error)))
            return
        if sender != claimed or (self._lang and stanza.lang is None):
            # What others see is the address in its prepared form; RFC 6120 §8.1.5: the stream's language.
            lang = b"" if stanza.lang is not None else self._lang
            stanza.stamp(b" from='" + sender.attribute + b"'" + lang, sender)
        if stanza.kind == "presence":
            self.component.appearances.note(stanza)
        self._router.from_remote(stanza)

    def _sender(self, claimed: str) -> JID:
        try:
            sender = JID.parse(claimed)
            if sender.domain == self.component.jid.domain:
                return sender
        except JIDError:
            pass
        raise StreamError("invalid-from", f"the component speaks for {self.component.jid}")

    # -- to the component ----------------------------------------------------------------------

    def send(self, stanza: Stanza, receipt: Receipt | None) -> bool:
        """Send it; True when `receipt` is settled later: when the message has arrived."""
        if self.buffered > MOST_WAITING and not self._fits(stanza):
            return False
        self.sent += 1
        raw = outgoing(stanza.raw, COMPONENT_NAMESPACE)
        if stanza.kind == "message":
            self._arrivals.write_message(raw, stanza, receipt)
        else:
            self._arrivals.write(raw)
        if self.buffered and self._timer is None:
            self._arrived = self._arrivals.arrived
            self._timer = self._router.clock.callLater(PATIENCE, self._look)
        return stanza.kind == "message" and receipt is not None

    def _fits(self, stanza: Stanza) -> bool:
        """The component does not keep up: only what nobody would hear of is sent, answers and farewells."""
        if is_told(stanza) and not stanza.wants_no_reply:
            self.component.refuse(stanza, "the component does not keep up")
            return False
        if self.buffered > MOST_ANSWERS:
            # It asks and does not read: then nothing is sent any more.
            self._transport.abort()
            return False
        return True

    def _look(self) -> None:
        """Something waits for the component: does it read?"""
        self._timer = None
        arrived = self._arrivals.arrived
        if not self.buffered:
            return
        if arrived <= self._arrived:
            self._transport.abort()
            return
        self._arrived = arrived
        self._timer = self._router.clock.callLater(PATIENCE, self._look)

    def output_drained(self) -> None:
        """The component reads again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- the end -------------------------------------------------------------------------------

    def stream_opened(self, header: Header) -> None:
        """A second stream header."""
        self.kick(StreamError("bad-format", "the stream was open already"))

    def stream_closed(self) -> None:
        """The component closed its stream: so do we (RFC 6120 §4.4)."""
        self._close(b"")

    def stream_failed(self, error: StreamError) -> None:
        """What the component sent ends the stream."""
        self.kick(error)

    def connection_lost(self) -> None:
        """The socket is gone."""
        self._end()

    def kick(self, error: StreamError) -> None:
        """End the stream with an error."""
        self._close(error.xml())

    def pause(self) -> None:
        """Read nothing more: the server stops."""
        self._transport.pause_reading()

    def part(self, error: StreamError) -> None:
        """The server stops. Senders who wait for an acknowledgement send again to the next one."""
        self._arrivals.stop()
        self.component.appearances.forget()
        self.kick(error)

    def _close(self, last: bytes) -> None:
        if not self._ended:
            self._end()
            self._transport.write(last + _END)
            self._transport.close()

    def _end(self) -> None:
        """It is over: who sent what may not have arrived is told so."""
        if self._ended:
            return
        self._ended = True
        self._stream.close()
        self.output_drained()
        self.component.detached(self)
        for sent in self._arrivals.stop():
            self.component.lost(sent.stanza)
            if sent.receipt is not None:
                sent.receipt.settle()
