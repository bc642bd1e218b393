"""A connection to another server becomes a link on which we may send: the steps one after the other.

TLS in any case; who the peer is shows in its certificate, or in DNS where the operator allows that. It
accepts us by SASL EXTERNAL, or by dialback: what it believes is its decision, and no risk of ours. Every step
is noted for the operator.
Sources: RFC 6120 §4 to §6, §13.7.2; XEP-0178, 0220, 0288, 0368.
"""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element

from msgd.negotiation import dialback, external
from msgd.negotiation.awaiting import AwaitingStream
from msgd.negotiation.link_outcome import Broken, Established, LinkFault, Managed, Trace
from msgd.negotiation.link_server import LinkServer
from msgd.wire.border import DIALBACK_NAMESPACE, LINK_HEADER, SERVER_NAMESPACE
from msgd.wire.domain import ascii_domain
from msgd.wire.errors import StreamError
from msgd.wire.jid import JID
from msgd.wire.link_connection import LinkConnection
from msgd.wire.stream_limits import announced, stream_limits
from msgd.wire.xml import STREAM_NAMESPACE, escape, parse
from msgd.wire.xmlstream import Header

_TLS: Final = "urn:ietf:params:xml:ns:xmpp-tls"
_SM: Final = "urn:xmpp:sm:3"
_DIALBACK: Final = "{urn:xmpp:features:dialback}"


class OutgoingNegotiation(AwaitingStream):
    """The negotiation of one connection to another server, for the pair `ours`, `theirs`."""

    def __init__(
        self, server: LinkServer, transport: LinkConnection, ours: JID, theirs: JID, trace: Trace
    ) -> None:
        super().__init__(transport, server.clock, server.limits_before, server.negotiation_seconds)
        self._server = server
        self._ours, self._theirs = ours, theirs
        self._trace = trace

    # -- the steps -----------------------------------------------------------------------------

    async def establish(self, direct_tls: bool, port: int, broken: Broken | None) -> Established:
        """All of it, with a peer at `port`. Raises LinkFault; the connection is closed then.

        `broken` is resumed where that is possible.
        """
        try:
            features = await self._secure(direct_tls)
            both_ways, proof, features = await self._authenticate(features)
            managed = await self._manage(features, broken)
        except LinkFault:
            self._close()
            raise
        self._stop_clock()
        self._stream.limits = self._server.limits
        assert self._header is not None  # it came before the features
        # Behind dialback no features follow: those before it may be for strangers.
        largest = announced(features) if proof == "EXTERNAL" else 0
        return Established(
            self._transport,
            self._stream,
            self._header.lang,
            both_ways,
            proof,
            managed,
            largest,
            self._both_sides(features, both_ways),
            port,
            list(self._frames),
        )

    def _both_sides(self, features: Element, both_ways: bool) -> dialback.Dialback:
        """More domains may be asked for on the stream; by the peer too where it is for both ways."""

        def proves(domain: JID) -> bool:
            return not self._server.doubt(self._transport, domain, connected_to=True)

        id = self._header.id if self._header is not None else None
        if not id:
            return dialback.Dialback(None, None)
        offered = features.find(f"{_DIALBACK}dialback")
        write = self._transport.write
        return dialback.Dialback(
            dialback.Asking(self._server.keys, id, write, offered.find(f"{_DIALBACK}errors") is not None)
            if offered is not None
            else None,
            dialback.Receiving(self._server, id, write, proves) if both_ways else None,
        )

    async def verify(self, direct_tls: bool, id: str, key: str) -> bool:
        """Only ask whether a key is good (XEP-0220 §2.2). Raises LinkFault. The connection is closed."""
        try:
            await self._secure(direct_tls)
            self._stage = "authentication"
            self._transport.write(dialback.element("verify", self._ours, self._theirs, id=id, content=key))
            while True:
                _, attributes, _ = await self._element({f"{DIALBACK_NAMESPACE} verify"})
                if dialback.addresses(attributes) == (self._theirs, self._ours) and (
                    attributes.get("id") == id
                ):
                    return attributes.get("type") == "valid"
        except StreamError as error:
            raise LinkFault("authentication", error.text) from None
        finally:
            self._close()

    async def _secure(self, direct_tls: bool) -> Element:
        """TLS, and whose certificate it is; the features behind it."""
        if direct_tls:
            await self._handshake(direct=True)
        else:
            features = await self._open_stream()
            if features.find(f"{{{_TLS}}}starttls") is None:
                raise LinkFault("tls", "it does not offer TLS")
            self._transport.write(f"<starttls xmlns='{_TLS}'/>".encode())
            name, _, _ = await self._element({f"{_TLS} proceed", f"{_TLS} failure"})
            if not name.endswith(" proceed"):
                raise LinkFault("tls", "it cannot speak TLS now")
            await self._handshake(direct=False)
        self._check_identity()
        return await self._open_stream()

    async def _handshake(self, direct: bool) -> None:
        self._stage = "tls"
        self._transport.on_secure = self._go_on
        self._stream.reset()
        context = self._server.context(self._ours)
        self._transport.connect_tls(context, ascii_domain(self._theirs), direct)
        while not self._transport.secure:
            await self._wait()
        self._trace.note("tls", self._transport.tls)

    def _check_identity(self) -> None:
        """RFC 6120 §13.7.2: the certificate is for the domain, or DNS has to be enough."""
        doubt = self._server.doubt(self._transport, self._theirs, connected_to=True)
        if not doubt:
            self._trace.note("identity", f"its certificate is good for {self._theirs}")
        elif self._server.policy.dialback(self._theirs):
            self._trace.note("identity", f"{doubt}; DNS is enough for it (federation.dialback)")
        else:
            raise LinkFault("identity", doubt)

    async def _open_stream(self) -> Element:
        """Our header, the peer's, its features (RFC 6120 §4.3)."""
        self._stage = "stream"
        self._header = None
        self._opened = True
        self._transport.write(
            (
                f"<?xml version='1.0'?><stream:stream xmlns='{SERVER_NAMESPACE}'"
                f" xmlns:stream='{STREAM_NAMESPACE}' xmlns:db='{DIALBACK_NAMESPACE}'"
                f" from='{escape(self._ours)}' to='{escape(self._theirs)}' version='1.0' xml:lang='en'>"
            ).encode()
        )
        while self._header is None:
            await self._wait()
        header: Header = self._header
        if header.namespace != SERVER_NAMESPACE:
            raise LinkFault("stream", "it does not speak as a server")
        if header.version is None:
            raise LinkFault("stream", "it speaks no XMPP 1.0, so there is no TLS")
        _, _, raw = await self._element({f"{STREAM_NAMESPACE} features"})
        return parse(raw, LINK_HEADER)

    async def _authenticate(self, features: Element) -> tuple[bool, str, Element]:
        """The peer accepts us: whether it uses the stream too, how it was convinced, its last features."""
        self._stage = "authentication"
        both_ways = features.find("{urn:xmpp:features:bidi}bidi") is not None
        if both_ways:
            # Features are not ours to send, so what we take is said here (XEP-0478 §3.2).
            limits = stream_limits(self._server.limits.size)
            self._transport.write(b"<bidi xmlns='urn:xmpp:bidi'>" + limits + b"</bidi>")
        sasl = f"{{{external.SASL_NAMESPACE}}}"
        offered = [each.text for each in features.findall(f"{sasl}mechanisms/{sasl}mechanism")]
        refusal = "it offers no EXTERNAL: our certificate is no proof for it"
        if "EXTERNAL" in offered:
            self._transport.write(external.auth(self._ours))
            names = {f"{external.SASL_NAMESPACE} {name}" for name in ("success", "failure")}
            name, _, raw = await self._element(names)
            if name.endswith(" success"):
                self._trace.note("authentication", "it accepts our certificate (EXTERNAL)")
                self._stream.reset()
                return both_ways, "EXTERNAL", await self._open_stream()
            conditions = [child.tag.rpartition("}")[2] for child in parse(raw, LINK_HEADER)]
            refusal = f"it does not accept our certificate: {' '.join(conditions)}"
        # Some servers take dialback and do not say so: they are asked where we do likewise with them.
        if features.find(f"{_DIALBACK}dialback") is None and not self._server.policy.dialback(self._theirs):
            raise LinkFault("authentication", refusal)
        self._trace.note("authentication", refusal)
        try:
            await self._dialback()
        except LinkFault as fault:
            raise LinkFault(fault.stage, f"{refusal}; {fault}", fault.condition) from None
        return both_ways, "dialback", features

    async def _dialback(self) -> None:
        """XEP-0220 §2.1."""
        assert self._header is not None  # its features came behind it
        if not self._header.id:
            raise LinkFault("authentication", "its stream has no id, so dialback is not possible")
        asking = dialback.Asking(self._server.keys, self._header.id, self._transport.write, errors=False)
        answer = asking.ask(self._ours, self._theirs)
        side = dialback.Dialback(asking, None)
        while not answer.called:
            _, attributes, raw = await self._element({f"{DIALBACK_NAMESPACE} result"})
            try:
                side.take("result", attributes, raw)
            except StreamError as error:
                raise LinkFault("authentication", f"dialback: {error.text}") from None
        await answer
        self._trace.note("authentication", "it accepts us by dialback")

    async def _manage(self, features: Element, broken: Broken | None) -> Managed | None:
        """Stream management, resumed or new; None where the peer has none."""
        if features.find(f"{{{_SM}}}sm") is None:
            return None
        self._stage = "stream"
        if broken is not None and all(map(self._is, broken.targets)):
            previous, h = escape(broken.id), broken.received
            self._transport.write(f"<resume xmlns='{_SM}' previd='{previous}' h='{h}'/>".encode())
            name, attributes, _ = await self._element({f"{_SM} resumed", f"{_SM} failed"})
            handled = attributes.get("h", "")
            if name.endswith(" resumed") and handled.isdigit() and len(handled) <= 10:
                self._trace.note("stream", "the link that broke goes on")
                return Managed(broken.id, int(handled), self._earlier)
        self._transport.write(f"<enable xmlns='{_SM}' resume='true'/>".encode())
        name, attributes, _ = await self._element({f"{_SM} enabled", f"{_SM} failed"})
        if not name.endswith(" enabled"):
            return None
        resumable = attributes.get("resume") in ("true", "1")
        return Managed(attributes.get("id", "") if resumable else "", None, self._earlier)

    def _is(self, domain: JID) -> bool:
        """Whether the peer has proved to be `domain` too."""
        return domain == self._theirs or not self._server.doubt(self._transport, domain, connected_to=True)
