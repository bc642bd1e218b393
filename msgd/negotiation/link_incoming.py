"""Another server's connection becomes a link: header, STARTTLS, then SASL EXTERNAL or dialback.

One object per connection until the link has taken over. Who the peer is shows in its certificate
(`EXTERNAL`), or in DNS where the operator allows that (`dialback.py`); before either is proved nothing is
taken from it. Sources: RFC 6120 §4 to §6, §8.1.1.2, §13.7.2; XEP-0178, 0220, 0288.
"""

from __future__ import annotations

import secrets
import time
from typing import Final

from msgd.negotiation import dialback, external
from msgd.negotiation.link_server import LinkServer
from msgd.negotiation.opening import version_is_1
from msgd.negotiation.stranger import END, StrangerStream
from msgd.wire.border import DIALBACK_NAMESPACE, LINK_HEADER, SERVER_NAMESPACE
from msgd.wire.errors import StreamError
from msgd.wire.jid import JID, JIDError
from msgd.wire.link_connection import LinkConnection
from msgd.wire.stanza import STANZAS
from msgd.wire.stream_limits import announced, stream_limits
from msgd.wire.xml import STREAM_NAMESPACE, escape, parse, text_of
from msgd.wire.xmlstream import Header, LinkStream

_TLS: Final = "urn:ietf:params:xml:ns:xmpp-tls"
_BIDI: Final = "urn:xmpp:bidi"
_BIDI_FEATURE: Final = "<bidi xmlns='urn:xmpp:features:bidi'/>"
SM_FEATURE: Final = "<sm xmlns='urn:xmpp:sm:3'/>"


class IncomingNegotiation(StrangerStream):
    """The negotiation of one connection from another server."""

    __slots__ = ("_authenticated", "_doubt", "_server", "both_ways", "dialback", "header", "largest",
                 "since", "theirs")  # fmt: skip

    transport: LinkConnection
    stream: LinkStream

    def __init__(self, server: LinkServer, transport: LinkConnection, direct_tls: bool) -> None:
        self._server = server
        self.since = time.time()
        stream = LinkStream(self, server.limits_before)
        super().__init__(transport, stream, server.streams, server.negotiation_seconds)
        self.theirs: JID | None = None  # as claimed
        self.header: Header | None = None
        self.both_ways = False
        #: The largest stanza that it takes where the stream goes both ways, in bytes; 0: it does not say.
        self.largest = 0
        self._authenticated = False
        self._doubt = "TLS comes first"
        self.dialback = dialback.Dialback(None, None)
        if direct_tls:
            transport.start_tls(server.context(None))
        transport.start()

    @property
    def state(self) -> str:
        """How far it has come, for an operator."""
        return "a server, " + ("secure" if self.transport.secure else "connected")

    # -- the stream ----------------------------------------------------------------------------

    def stream_opened(self, header: Header) -> None:
        """A stream header: check it, answer it, offer features."""
        self._opened = False
        try:
            ours, theirs = self._check_header(header)
        except StreamError as error:
            self._fail(error)
            return
        self.domain, self.theirs, self.header = ours, theirs, header
        if self.transport.secure and not self._authenticated:
            self._doubt = (
                self._server.doubt(self.transport, theirs, connected_to=False)
                if theirs is not None
                else "it does not say who it is"
            )
        id = self._open(header)
        self.dialback = self._make_dialback(id)
        try:
            features = self._features().encode() + self._limits()
            self._write(b"<stream:features>" + features + b"</stream:features>")
        except StreamError as error:
            self._fail(error)
            return
        if self._authenticated and theirs is not None:
            self._hand_over(theirs, ours, "EXTERNAL")

    def _make_dialback(self, id: str) -> dialback.Dialback:
        def proves(domain: JID) -> bool:
            return not self._server.doubt(self.transport, domain, connected_to=False)

        # Who multiplexes on a stream for both ways can be asked on it too (XEP-0288 §2.2), but not before
        # that is seen: there is no other sign of it, and some end the stream.
        asking = dialback.Asking(self._server.keys, id, self._write, errors=False, allowed=False)
        receiving = dialback.Receiving(self._server, id, self._write, proves, self._proved, self._disowned)
        return dialback.Dialback(asking, receiving)

    def _check_header(self, header: Header) -> tuple[JID, JID | None]:
        if header.namespace != SERVER_NAMESPACE:
            raise StreamError("invalid-namespace", "this port is for servers")
        if not version_is_1(header.version):
            raise StreamError("unsupported-version", "version 1.0 is spoken here")
        if not header.to:
            raise StreamError("improper-addressing", "the stream header needs a 'to'")
        ours = self._server.domain(header.to)
        if ours is None:
            raise StreamError("host-unknown", "this server is not responsible for that domain")
        theirs = self._claimed(header.from_)
        if self._authenticated and (ours != self.domain or theirs != self.theirs):
            raise StreamError("invalid-from", "authentication was for other domains")
        if theirs is not None and not self._server.policy.permits(theirs):
            raise StreamError("policy-violation", "there are no links between these domains")
        return ours, theirs

    @staticmethod
    def _claimed(text: str | None) -> JID | None:
        if not text:
            return None
        try:
            theirs = JID.parse(text)
        except JIDError:
            theirs = None
        if theirs is None or theirs.local or theirs.resource:
            raise StreamError("improper-addressing", "'from' is a domain")
        return theirs

    def _open(self, header: Header | None) -> str:
        """Our own stream header (RFC 6120 §4.7); the stream's id."""
        self._opened = True
        own = self.domain or self._server.default_domain
        to = f" to='{escape(header.from_)}'" if header is not None and header.from_ else ""
        id = secrets.token_urlsafe(18)
        self._write(
            (
                f"<?xml version='1.0'?><stream:stream xmlns='{SERVER_NAMESPACE}'"
                f" xmlns:stream='{STREAM_NAMESPACE}' xmlns:db='{DIALBACK_NAMESPACE}' id='{id}'"
                f" from='{escape(own)}'{to} version='1.0' xml:lang='en'>"
            ).encode()
        )
        return id

    def _features(self) -> str:
        if not self.transport.secure:
            return f"<starttls xmlns='{_TLS}'><required/></starttls>{_BIDI_FEATURE}"
        by_dns = self._server.policy.any_dialback
        dialback_feature = dialback.FEATURE if by_dns else ""
        if self._authenticated:
            return SM_FEATURE + dialback.FEATURE
        if not self._doubt:
            return external.MECHANISMS + dialback_feature + _BIDI_FEATURE
        if self.theirs is not None and not self._server.policy.dialback(self.theirs) and not by_dns:
            # Its operator reads in the log what is wrong.
            raise StreamError("not-authorized", f"{self.theirs}: {self._doubt}")
        return dialback_feature + _BIDI_FEATURE

    def _limits(self) -> bytes:
        """XEP-0478: those of a link where no other features follow, as behind dialback."""
        server = self._server
        if not self.transport.secure:
            return b""
        last = self._authenticated or self._doubt or server.policy.any_dialback
        return stream_limits(server.limits.size if last else server.limits_before.size)

    def connection_lost(self) -> None:
        """The socket is gone."""
        if self.theirs is not None and not self._authenticated and self.transport.fault:
            self._server.refused(self.theirs, self.address, self.transport.fault)
        self._end()

    def _fail(self, error: StreamError) -> None:
        self._server.refused(self.theirs, self.address, error.text or error.condition)
        super()._fail(error)

    # -- elements ------------------------------------------------------------------------------

    def frame_received(
        self, name: str, attributes: dict[str, str], children: tuple[str, ...], raw: bytes
    ) -> None:
        """One element."""
        try:
            self._element(name, attributes, raw)
        except StreamError as error:
            self._fail(error)

    def _element(self, name: str, attributes: dict[str, str], raw: bytes) -> None:
        namespace, _, local = name.rpartition(" ")
        if name == f"{STREAM_NAMESPACE} error":
            self.stream_closed()
        elif not self.transport.secure:
            if name != f"{_TLS} starttls":
                raise StreamError("policy-violation", "TLS comes first")
            self._write(f"<proceed xmlns='{_TLS}'/>".encode())
            # What was sent ahead in plain text is forgotten: nobody vouches for it.
            self.stream.reset()
            self.transport.start_tls(self._server.context(self.domain))
        elif namespace == external.SASL_NAMESPACE:
            self._sasl(local, attributes, text_of(raw).strip())
        elif name == f"{_BIDI} bidi":
            self.both_ways = True
            self.largest = announced(parse(raw, LINK_HEADER))
        elif namespace == DIALBACK_NAMESPACE:
            self.dialback.take(local, attributes, raw)
        elif name in STANZAS:
            raise StreamError("not-authorized", "authentication comes first")
        else:
            raise StreamError("unsupported-stanza-type", "this element means nothing here")

    def _sasl(self, local: str, attributes: dict[str, str], text: str) -> None:
        """XEP-0178 §3, steps 11 to 13."""
        if local != "auth":
            raise StreamError("unsupported-stanza-type", "EXTERNAL needs no more than one step")
        try:
            external.check(attributes.get("mechanism", ""), text, self.theirs, self._doubt)
        except external.Refused as refused:
            why = self._doubt or f"SASL: {refused}"
            self._server.refused(self.theirs, self.address, why)
            self._write(external.failure(str(refused)) + END)
            self._end()
            return
        self._authenticated = True
        self.dialback = dialback.Dialback(None, None)
        self._write(f"<success xmlns='{external.SASL_NAMESPACE}'/>".encode())
        self.stream.limits = self._server.limits
        self.stream.reset()

    def _proved(self, theirs: JID, ours: JID) -> None:
        """The first pair of domains is proved by dialback: from here on it is a link."""
        if self.transport.closed:
            return
        self.stream.limits = self._server.limits
        self._hand_over(theirs, ours, "dialback")

    def _disowned(self) -> None:
        """The first pair was asked for with a key that is not valid (XEP-0220 §2.2.1)."""
        if not self.transport.closed:
            self._write(END)
            self._end()

    def _hand_over(self, theirs: JID, ours: JID, proof: str) -> None:
        self._leave()
        try:
            self._server.accepted(self, theirs, ours, proof)
        except StreamError as error:
            self._fail(error)
            return
