"""A client's connection becomes a session: header, STARTTLS, SASL, then bind or resume.

One object per connection that is not bound yet; it is gone once the session has taken over.
Sources: RFC 6120 §4 (streams), §5 (STARTTLS), §6 (SASL), §7 (binding), XEP-0440, XEP-0198 §5, XEP-0388.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final
from xml.etree.ElementTree import Element

from twisted.logger import Logger
from twisted.python.failure import Failure

from msgd.coroutines import begin
from msgd.negotiation.authentication import (
    SASL_NAMESPACE,
    Authentication,
    failure_element,
)
from msgd.negotiation.binding import BIND, BINDING_FEATURES, SM, bound_result, requested_resource, sm_failed
from msgd.negotiation.features import bound_features, login_features
from msgd.negotiation.opening import check_unchanged, checked, own_header
from msgd.negotiation.sasl2 import NAMESPACE as SASL2_NAMESPACE
from msgd.negotiation.sasl2 import LoggedIn, Sasl2
from msgd.negotiation.server import ResumeRefused, Server
from msgd.negotiation.stranger import StrangerStream
from msgd.storage.database import DatabaseError
from msgd.wire.errors import StanzaError, StreamError
from msgd.wire.jid import JID
from msgd.wire.stanza import STANZAS, Stanza
from msgd.wire.transport import Connection
from msgd.wire.xml import CLIENT_NAMESPACE, STREAM_NAMESPACE, text_of
from msgd.wire.xmlstream import Header, XMLStream

_log = Logger("msgd.negotiation")

_TLS: Final = "urn:ietf:params:xml:ns:xmpp-tls"
#: Elements that may wait while an answer is worked on (a client that sends ahead).
_AHEAD: Final = 32

#: One element of the stream, kept while an answer is worked on.
_Frame = tuple[str, dict[str, str], tuple[str, ...], bytes]


class ClientNegotiation(StrangerStream):
    """The negotiation of one client connection.

    For an extension that answers strangers: `address`, `domain`, `secure`.
    """

    __slots__ = ("_account", "_ahead", "_authentication", "_busy", "_device", "_header", "_mechanism",
                 "_sasl2", "_server", "since")  # fmt: skip

    def __init__(self, server: Server, transport: Connection, direct_tls: bool) -> None:
        self._server = server
        self.since: float = server.clock.seconds()
        stream = XMLStream(self, server.limits_before_login)
        super().__init__(transport, stream, server.streams, server.negotiation_seconds)
        self._header: Header | None = None
        self._account: Any = None
        self._mechanism = ""
        self._authentication: Authentication | None = None
        self._sasl2: Sasl2 | None = None
        self._device = ""
        self._busy = False
        self._ahead: list[_Frame] = []
        if direct_tls:
            transport.start_tls(server.context(None))
        transport.start()

    @property
    def secure(self) -> bool:
        """TLS is spoken."""
        return self.transport.secure

    def is_of(self, account: JID, device: str) -> bool:
        """Whether this device of an account has logged in here."""
        return self._account is not None and self._account.jid == account and self._device == device

    @property
    def state(self) -> str:
        """How far it has come, for an operator."""
        if self._account is not None:
            return "authenticated"
        return "secure" if self.transport.secure else "connected"

    # -- the stream ----------------------------------------------------------------------------

    def stream_opened(self, header: Header) -> None:
        """A stream header: check it, answer it, offer features (RFC 6120 §4.7, §4.3)."""
        self._opened = False
        try:
            domain = checked(header, self._server)
            if self._account is not None:
                check_unchanged(header, domain, self.domain, self._account.jid)
        except StreamError as error:
            self._fail(error)
            return
        self.domain = domain
        self._header = header
        self._open(header)
        self._write(b"<stream:features>" + self._features(domain) + b"</stream:features>")

    def _open(self, header: Header | None) -> None:
        """Our own stream header (RFC 6120 §4.7)."""
        self._opened = True
        # Whom a faulty header was for is not known; ours has to name one of ours (§4.7.1).
        own = self.domain or self._server.default_domain
        self._write(own_header(own, header.from_ if header is not None else None))

    def _features(self, domain: JID) -> bytes:
        if not self.transport.secure:
            return f"<starttls xmlns='{_TLS}'><required/></starttls>".encode()
        if self._account is None:
            extra = self._server.stream_features(domain, False)
            return login_features(self._server, self.transport) + extra
        return BINDING_FEATURES + self._server.stream_features(domain, True)

    def _leave(self) -> None:
        super()._leave()
        self._busy = False
        self._ahead.clear()

    # -- elements ------------------------------------------------------------------------------

    def frame_received(
        self, name: str, attributes: dict[str, str], children: tuple[str, ...], raw: bytes
    ) -> None:
        """One element; it waits while the one before is worked on."""
        if self._busy:
            if len(self._ahead) >= _AHEAD:
                self._fail(StreamError("policy-violation", "too much was sent ahead"))
            else:
                self._ahead.append((name, attributes, children, raw))
            return
        try:
            self._element(name, attributes, children, raw)
        except StreamError as error:
            self._fail(error)

    def _element(self, name: str, attributes: dict[str, str], children: tuple[str, ...], raw: bytes) -> None:
        namespace, _, local = name.rpartition(" ")
        if name == f"{STREAM_NAMESPACE} error":
            self.stream_closed()
        elif self._sasl2 is not None and self._sasl2.under_way and namespace != SASL2_NAMESPACE:
            raise StreamError("policy-violation", "nothing else may come during the authentication")
        elif not self.transport.secure:
            self._before_tls(namespace, local)
        elif namespace == SASL_NAMESPACE and self._account is None:
            self._sasl(local, attributes, raw)
        elif namespace == SASL2_NAMESPACE and self._account is None:
            self._begin_sasl2(local, raw)
        elif name == f"{CLIENT_NAMESPACE} iq" and self._account is None:
            self._stranger_iq(attributes, children, raw)
        elif name == f"{CLIENT_NAMESPACE} iq" and children[:1] == (f"{BIND} bind",):
            self._work(self._bind(Stanza("iq", raw, attributes, children)))
        elif name == f"{SM} resume" and self._account is not None:
            self._work(self._resume(attributes))
        elif name == f"{SM} enable" and self._account is not None:
            self._write(sm_failed("unexpected-request"))
        elif name in STANZAS:
            raise StreamError("not-authorized", "no resource is bound yet")
        else:
            raise StreamError("unsupported-stanza-type", "this element means nothing here")

    def _before_tls(self, namespace: str, local: str) -> None:
        """RFC 6120 §5.4: nothing but STARTTLS before TLS."""
        if namespace == _TLS and local == "starttls":
            self._write(f"<proceed xmlns='{_TLS}'/>".encode())
            # What the client sent ahead in plain text is forgotten: nobody vouches for it.
            self.stream.reset()
            self.transport.start_tls(self._server.context(self.domain))
        elif namespace == SASL_NAMESPACE and local == "auth":
            self._write(failure_element("encryption-required"))
        elif namespace == CLIENT_NAMESPACE and local in ("message", "presence", "iq"):
            raise StreamError("not-authorized", "TLS and authentication come first")
        else:
            raise StreamError("unsupported-stanza-type", "only STARTTLS is possible now")

    def _work(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Work on an answer; what the client sends meanwhile waits."""
        self._busy = True
        begin(coroutine, self._worked, self._work_failed)
        if self._busy:
            self.transport.pause_reading()

    def _work_failed(self, error: Exception) -> None:
        if isinstance(error, StreamError):
            self._fail(error)
            return
        if isinstance(error, DatabaseError):
            _log.error("a login failed: {kind}", kind=type(error).__name__)
        else:
            _log.failure("a login failed", Failure(error))  # type: ignore[no-untyped-call]  # not typed
        self._fail(StreamError("internal-server-error"))

    def _worked(self, _: None) -> None:
        """Go on with what was sent ahead."""
        if not self._busy:
            return  # the stream ended, or became a session
        self._busy = False
        self.transport.resume_reading()
        while self._ahead and not self._busy:
            self.frame_received(*self._ahead.pop(0))

    # -- SASL ----------------------------------------------------------------------------------

    async def _has_turn(self) -> bool:
        """Logins wait while the server is overloaded. False when the client has gone meanwhile."""
        turn = self._server.turn()
        if turn is not None:
            await turn
        return not self.transport.closed

    def _attempts(self, domain: JID) -> Authentication:
        if self._authentication is None:
            self._authentication = Authentication(self._server, self.transport, domain)
        return self._authentication

    def _sasl(self, local: str, attributes: dict[str, str], raw: bytes) -> None:
        assert self.domain is not None  # a header came before
        text = text_of(raw)
        self._work(self._authenticate(self._attempts(self.domain), local, attributes, text))

    async def _authenticate(
        self, authentication: Authentication, local: str, attributes: dict[str, str], text: str
    ) -> None:
        if not await self._has_turn():
            return
        success = await authentication.take(local, attributes, text)
        if success is not None and not self.transport.closed:
            self._account = success.account
            self._mechanism = authentication.mechanism
            self._authentication = None
            self.stream.limits = self._server.limits
            self.stream.reset()

    # -- SASL2 ---------------------------------------------------------------------------------

    def _begin_sasl2(self, local: str, raw: bytes) -> None:
        assert self.domain is not None and self._header is not None  # a header came before
        attempts = self._attempts(self.domain)
        if self._sasl2 is None:
            self._sasl2 = Sasl2(self._server, self.transport, self.domain, attempts, self._header.from_)
        if attempts.exchange is not None and not self._sasl2.under_way:
            raise StreamError("policy-violation", "an authentication is under way")
        self._work(self._authenticate2(self._sasl2, local, raw))

    async def _authenticate2(self, sasl2: Sasl2, local: str, raw: bytes) -> None:
        if not await self._has_turn():
            return
        logged_in = await sasl2.take(local, raw)
        if logged_in is None:
            return
        session = logged_in.inline.session
        if self.transport.closed:
            if session is not None:
                session.connection_lost() if logged_in.inline.resumed else session.end()
            return
        assert self._authentication is not None and self.domain is not None  # it was used
        self._account = logged_in.account
        self._device = logged_in.device
        self._mechanism = self._authentication.mechanism
        self._authentication = self._sasl2 = None
        self.stream.limits = self._server.limits
        self._write(logged_in.success)
        self._go_on(self.domain, logged_in)

    def _go_on(self, domain: JID, logged_in: LoggedIn) -> None:
        """What follows `<success/>`: features (XEP-0388 §2.6.1), or a stream that goes on (XEP-0198 §9.2)."""
        inline = logged_in.inline
        if inline.resumed:
            self._write(inline.behind)
            self._hand_over(inline.session, resumed=True)
            return
        session = inline.session
        features = (
            self._features(domain) if session is None else bound_features(self._server, domain, session)
        )
        self._write(b"<stream:features>" + features + b"</stream:features>")
        if session is not None:
            self._hand_over(session)

    # -- IQs of strangers ----------------------------------------------------------------------

    def _stranger_iq(self, attributes: dict[str, str], children: tuple[str, ...], raw: bytes) -> None:
        stanza = Stanza("iq", raw, attributes, children, self.domain)
        handler = None
        if len(children) == 1 and stanza.id and stanza.type in ("get", "set"):
            handler = self._server.stranger_handler(stanza.type, children[0])
        if handler is None:
            raise StreamError("not-authorized", "authentication comes first")
        self._work(self._answer_stranger(handler, stanza))

    async def _answer_stranger(
        self, handler: Callable[..., Awaitable[Element | bytes | None]], stanza: Stanza
    ) -> None:
        try:
            content = await handler(stanza, self)
            reply = stanza.reply(content if content is not None else b"")
        except StanzaError as error:
            reply = stanza.error(error)
        self._write(reply.raw)

    # -- bind and resume -----------------------------------------------------------------------

    async def _bind(self, stanza: Stanza) -> None:
        """RFC 6120 §7: the resource that the client asks for, or one that is made for it."""
        try:
            asked = requested_resource(stanza)
            session = await self._server.bind(self._account, asked, self._mechanism, self._device)
        except StanzaError as error:
            stanza.to = None
            self._write(stanza.error(error).raw)
            return
        if self.transport.closed:
            session.end()
            return
        self._write(bound_result(stanza, session.jid))
        self._hand_over(session)

    async def _resume(self, attributes: dict[str, str]) -> None:
        try:
            session, answer, again = await self._server.resume(self._account, attributes)
        except ResumeRefused as refused:
            self._write(refused.answer)
            return
        if self.transport.closed:
            session.connection_lost()
            return
        self._write(answer + again)
        self._server.belongs(session, self._device)
        self._hand_over(session, resumed=True)

    def _hand_over(self, session: Any, resumed: bool = False) -> None:
        """From here on the session listens to the stream."""
        ahead = list(self._ahead)
        transport, stream = self.transport, self.stream
        lang = self._header.lang if self._header is not None else None
        self._leave()
        session.attach(transport, stream, lang)
        if resumed:
            self._server.resumed(session)
        else:
            self._server.started(session)
        transport.resume_reading()
        for frame in ahead:
            if stream.listener is not None:
                stream.listener.frame_received(*frame)
