"""A connection to another server becomes a link on which we may send: the steps one after the other.

TLS in any case; who the peer is shows in its certificate, or in DNS where the operator allows that. It
accepts us by SASL EXTERNAL, or by dialback where that is allowed. Every step is noted for the operator.
Sources: RFC 6120 §4 to §6, §13.7.2; XEP-0178, 0220, 0288, 0368.
"""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element

from msgd.negotiation import dialback, external
from msgd.negotiation.awaiting import AwaitingStream
from msgd.negotiation.link_outcome import Established, LinkFault, Managed, Trace
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

    async def establish(self, direct_tls: bool, resume: tuple[str, int] | None) -> Established:
        """All of it. Raises LinkFault; the connection is closed then.

        `resume` is the id of a link that broke, and how many stanzas were received on it (XEP-0198 §5).
        """
        try:
            features = await self._secure(direct_tls)
            both_ways, proof, features = await self._authenticate(features)
            managed = await self._manage(features, resume)
        except LinkFault:
            self._close()
            raise
        self._stop_clock()
        self._stream.limits = self._server.limits
        assert self._header is not None  # it came before the features
        # Behind dialback no features follow: those before it may be for strangers.
        largest = announced(features) if proof == "EXTERNAL" else 0
        return Established(
            self._transport, self._stream, self._header.lang, both_ways, proof, managed,
            largest, list(self._frames),
        )  # fmt: skip

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
        if not self._server.policy.dialback(self._theirs):
            raise LinkFault("authentication", refusal)
        self._trace.note("authentication", refusal)
        await self._dialback()
        return both_ways, "dialback", features

    async def _dialback(self) -> None:
        """XEP-0220 §2.1."""
        assert self._header is not None  # its features came behind it
        if not self._header.id:
            raise LinkFault("authentication", "its stream has no id, so dialback is not possible")
        key = self._server.keys.key(self._theirs, self._ours, self._header.id)
        self._transport.write(dialback.element("result", self._ours, self._theirs, content=key))
        while True:
            _, attributes, raw = await self._element({f"{DIALBACK_NAMESPACE} result"})
            if attributes.get("type") is None:
                raise LinkFault("authentication", "it asks where it has to answer")
            try:
                about = dialback.addresses(attributes)
            except StreamError as error:
                raise LinkFault("authentication", error.text) from None
            if about == (self._theirs, self._ours):
                break
        if attributes["type"] != "valid":
            conditions = [each.tag.rpartition("}")[2] for each in parse(raw, LINK_HEADER).iterfind("*/*")]
            said = " ".join([attributes["type"], *conditions])
            raise LinkFault("authentication", f"dialback: {said}")
        self._trace.note("authentication", "it accepts us by dialback")

    async def _manage(self, features: Element, resume: tuple[str, int] | None) -> Managed | None:
        """Stream management, resumed or new; None where the peer has none."""
        if features.find(f"{{{_SM}}}sm") is None:
            return None
        self._stage = "stream"
        if resume is not None:
            id, received = resume
            self._transport.write(f"<resume xmlns='{_SM}' previd='{escape(id)}' h='{received}'/>".encode())
            name, attributes, _ = await self._element({f"{_SM} resumed", f"{_SM} failed"})
            handled = attributes.get("h", "")
            if name.endswith(" resumed") and handled.isdigit() and len(handled) <= 10:
                self._trace.note("stream", "the link that broke goes on")
                return Managed(id, int(handled))
        self._transport.write(f"<enable xmlns='{_SM}' resume='true'/>".encode())
        name, attributes, _ = await self._element({f"{_SM} enabled", f"{_SM} failed"})
        if not name.endswith(" enabled"):
            return None
        resumable = attributes.get("resume") in ("true", "1")
        return Managed(attributes.get("id", "") if resumable else "", None)
