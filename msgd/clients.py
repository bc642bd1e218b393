"""The door for clients: accepts connections, and turns what negotiation found into sessions.

Stands between `negotiation/client.py`, which knows nothing of routing, and the router, which knows
nothing of negotiation.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final
from xml.etree.ElementTree import Element

from OpenSSL import SSL
from twisted.internet.defer import Deferred

from msgd.accounts.accounts import Account, Accounts
from msgd.accounts.throttle import LoginThrottle
from msgd.config import Config
from msgd.negotiation.client import ClientNegotiation
from msgd.negotiation.sasl import SaslOptions
from msgd.negotiation.server import ResumeRefused
from msgd.observe.stress import Stress
from msgd.routing.account import LiveAccount
from msgd.routing.extension import DEVICE, STRANGER, device_of
from msgd.routing.resumption import ResumeFailed, failed
from msgd.routing.router import Router
from msgd.routing.session import Session
from msgd.wire.errors import StanzaError, StreamError
from msgd.wire.jid import JID, JIDError
from msgd.wire.listening import AT_ONCE
from msgd.wire.output import Output
from msgd.wire.rate_limit import RateLimit
from msgd.wire.tls import ServerContexts
from msgd.wire.transport import Connection
from msgd.wire.turnstile import STRESSED, USUAL, Turnstile
from msgd.wire.xmlstream import Limits

#: Random bytes of a resource that the server chooses.
_RESOURCE_BYTES: Final = 9
#: Strangers who wait for their turn, from which on no more are accepted; and under stress.
_LINE, _LINE_UNDER_STRESS = 256, 64
#: Connections accepted in one turn under stress.
_AT_ONCE_UNDER_STRESS: Final = 4
#: Seconds between two such turns while memory is short.
_PAUSE: Final = 0.1
#: Signals of what strangers hold: to end those who do not use it helps. It does not where time is short.
MEMORY, STRANGERS = "memory", "strangers"
_MAKE_ROOM: Final = frozenset({MEMORY, STRANGERS})


class Clients:
    """Everything that negotiation asks of the server (see `negotiation.server.Server`)."""

    def __init__(
        self, config: Config, reactor: Any, router: Router, throttle: LoginThrottle,
        contexts: ServerContexts,
    ) -> None:  # fmt: skip
        self._reactor = reactor
        self._router = router
        self._contexts = contexts
        self.output = Output(reactor)
        self.streams = router.streams
        self.clock = reactor
        self.accounts: Accounts = router.accounts
        self.throttle = throttle
        self.accounts.devices.removed.append(self._device_removed)
        #: Where handshakes and the steps of logins wait for their turn.
        self.turnstile = Turnstile(reactor, self.output)
        #: Whether the server is overloaded; the app sets it.
        self.stress = Stress()
        self._next_admission = 0.0
        #: Sessions that were bound, and that were resumed, since the start.
        self.bound = self.come_back = 0
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Use these options from now on."""
        self._config = config
        self.sasl_options = SaslOptions(plain=config.login.plain)
        limits = config.limits
        self.limits = Limits(limits.stanza_size, limits.stanza_elements)
        self.limits_before_login = Limits(limits.stranger_size, limits.stranger_elements)
        self.negotiation_seconds = float(limits.negotiation_time)
        self.default_domain = config.domains[0]
        self.token_seconds = config.login.token_days * 86_400
        self.most_devices = config.login.devices
        self.bind_features = self._router.extensions.bind_features()
        self.can_resume = self._router.resumption.longest > 0

    # -- connections ---------------------------------------------------------------------------

    def accepted(self, accepted: socket.socket, address: str) -> None:
        """A connection on the port for STARTTLS."""
        self._negotiate(accepted, address, direct_tls=False)

    def accepted_direct(self, accepted: socket.socket, address: str) -> None:
        """A connection on the port for direct TLS (XEP-0368)."""
        self._negotiate(accepted, address, direct_tls=True)

    def _negotiate(self, accepted: socket.socket, address: str, direct_tls: bool) -> None:
        if not self._has_room(address):
            accepted.close()
            return
        connection = Connection(self._reactor, self.output, accepted, address)
        connection.turnstile = self.turnstile
        limits = self._config.limits
        if limits.bytes_per_second:
            connection.rate_limit = RateLimit(limits.bytes_per_second, limits.burst, self._reactor.seconds())
        ClientNegotiation(self, connection, direct_tls)

    def admits(self) -> int:
        """How many connections may come in now; 0: they wait with the system.

        Where the line of the turnstile is long nothing is gained by a longer one; and while memory is short
        only a few are let in, slowly.
        """
        stress = self.stress
        if self.turnstile.waiting >= (_LINE_UNDER_STRESS if stress.on else _LINE):
            return 0
        if MEMORY in stress.by:
            now = self._reactor.seconds()
            if self._next_admission - _PAUSE <= now < self._next_admission:
                return 0
            self._next_admission = now + _PAUSE
        return _AT_ONCE_UNDER_STRESS if stress.on else AT_ONCE

    def under_stress(self, on: bool) -> None:
        """The server is overloaded, or no longer: called now and then."""
        self.turnstile.budget = STRESSED if on else USUAL
        if self.stress.by & _MAKE_ROOM:
            longest = min(self._config.overload.negotiation_time, self._config.limits.negotiation_time)
            now = self._reactor.seconds()
            for stream in self.streams:
                if now - stream.since >= longest:
                    stream.stream_failed(StreamError("connection-timeout", "the server is overloaded"))

    def turn(self) -> Deferred[None] | None:
        """What a step of a login has to wait for; None: nothing."""
        return self.turnstile.turn()

    def _has_room(self, address: str) -> bool:
        """Bound what strangers can hold open: in all, and from one address."""
        limits = self._config.limits
        if len(self.streams) >= limits.strangers:
            return False
        most = limits.strangers_per_address
        return not most or self.streams.count(address) < most

    # -- what negotiation asks -----------------------------------------------------------------

    def domain(self, text: str) -> JID | None:
        """The domain of ours that `text` names."""
        try:
            jid = JID.parse(text)
        except JIDError:
            return None
        return jid if jid in self._router.table.domains else None

    def context(self, domain: str | None) -> SSL.Context:
        """The TLS context for a domain."""
        return self._contexts.for_domain(domain)

    def stream_features(self, domain: JID, authenticated: bool) -> bytes:
        """Features that extensions add."""
        return self._router.extensions.stream_features(domain, authenticated)

    def stranger_handler(self, type: str, payload: str) -> Callable[..., Awaitable[Any]] | None:
        """Who answers an IQ before authentication."""
        return self._router.extensions.iq_handler(STRANGER, type, payload)

    async def bind(self, account: Account, resource: str, mechanism: str, device: str = "") -> Session:
        """A new session (RFC 6120 §7); earlier ones of the same device end. Raises StanzaError."""
        live = await self._router.load(account.jid)
        if live is None or live.id != account.id:
            raise StreamError("not-authorized", "the account is gone")
        try:
            jid = account.jid.with_resource(resource or secrets.token_urlsafe(_RESOURCE_BYTES))
        except JIDError as error:
            raise StanzaError("bad-request", str(error)) from None
        if device:
            for other in sessions_of(live, device):
                other.kick(StreamError("conflict", "the client has logged in again"))
        jid = self._settle_conflict(live, jid)
        if len(live.sessions) >= self._config.sessions.most_resources:
            self._make_room(live)
        session = Session(self._router, live, jid, mechanism)
        self.belongs(session, device)
        self._router.table.add(session)
        return session

    def _settle_conflict(self, live: LiveAccount, jid: JID) -> JID:
        """RFC 6120 §7.7.2.2: what happens when the resource is taken."""
        other = live.sessions.get(jid.resource)
        if other is None:
            return jid
        policy = self._config.sessions.conflict
        if policy == "refuse":
            raise StanzaError("conflict", "the resource is in use")
        if policy == "rename":
            return jid.bare.with_resource(secrets.token_urlsafe(_RESOURCE_BYTES))
        other.kick(StreamError("conflict", "the resource was bound again"))
        return jid

    def _make_room(self, live: LiveAccount) -> None:
        """Too many resources: one that waits to be resumed gives way, else there is no room."""
        asleep = [session for session in live.sessions.values() if session.transport is None]
        if not asleep:
            raise StanzaError("resource-constraint", "the account has too many resources")
        min(asleep, key=lambda session: session.last_received).end()

    async def resume(self, account: Account, attributes: dict[str, str]) -> tuple[Session, bytes, bytes]:
        """The session that `<resume/>` asks for, `<resumed/>`, and what to send then.

        Raises ResumeRefused, StreamError.
        """
        resumption = self._router.resumption
        try:
            resumed = resumption.find(account.jid, attributes)
            answer, again = await resumption.take_over(resumed)
        except ResumeFailed as error:
            raise ResumeRefused(failed(error.condition, error.handled)) from None
        return resumed.session, answer, again

    async def told_when_bound(self, account: Account) -> bytes:
        """What `<bound/>` tells of an account (XEP-0386 §3.2). Raises StanzaError."""
        live = await self._router.load(account.jid)
        if live is None:
            return b""
        told = [await tell(live) for tell in self._router.extensions.tell_when_bound]
        return b"".join(told)

    def enable(self, session: Session, feature: Element) -> bytes:
        """Enable what a client asks for while it binds; the answer in `<bound/>`, or nothing."""
        handler = self._router.extensions.bind_handler(feature.tag)
        return handler(session, feature) if handler is not None else b""

    # -- devices -------------------------------------------------------------------------------

    def belongs(self, session: Session, device: str) -> None:
        """The session is of this device from now on, if it is of any."""
        if device:
            if session.extras is None:
                session.extras = {}
            session.extras[DEVICE] = device

    def devices_here(self, account: Account) -> frozenset[str]:
        """The devices of an account that have sessions."""
        live = self._router.table.account(account.jid)
        found = (device_of(session) for session in live.sessions.values()) if live is not None else ()
        return frozenset(filter(None, found))

    def _device_removed(self, jid: JID, device: str) -> None:
        """Its sessions end, and what is about to become one."""
        error = StreamError("not-authorized", "the device was removed")
        live = self._router.table.account(jid)
        for session in sessions_of(live, device) if live is not None else ():
            session.kick(error)
        for stream in self.streams:
            if stream.is_of(jid, device):
                stream.stream_failed(error)

    def started(self, session: Session) -> None:
        """The session is attached and its binding answered."""
        self.bound += 1
        self._router.note("session-bound", session)

    def resumed(self, session: Session) -> None:
        """The session is attached and was sent what it had not got."""
        self.come_back += 1
        self._router.note("session-resumed", session)


def sessions_of(account: LiveAccount, device: str) -> list[Session]:
    """The sessions of one device of an account."""
    return [session for session in account.sessions.values() if device_of(session) == device]
