"""The door for other servers: accepts their connections, and knows what negotiation asks on both ways.

`links.py` has what becomes of it; see `negotiation.link_server.LinkServer`.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from typing import Any, Final

from OpenSSL import SSL
from twisted.logger import Logger

from msgd.config import Config
from msgd.negotiation.dialback import Keys
from msgd.negotiation.dialler import Dialler
from msgd.negotiation.link_incoming import IncomingNegotiation
from msgd.negotiation.link_outcome import Trace
from msgd.negotiation.link_policy import Policy
from msgd.routing.router import Router
from msgd.wire.discovery import Discovery, make_resolver
from msgd.wire.identity import Authorities, doubt
from msgd.wire.jid import JID, JIDError
from msgd.wire.link_connection import LinkConnection
from msgd.wire.output import Output
from msgd.wire.tls import ServerContexts
from msgd.wire.xmlstream import Limits

_log = Logger("msgd.links")
#: Domains whose last attempts are remembered for the operator.
_REMEMBERED: Final = 1000
#: The largest element before authentication, and its elements: the features of a server.
_BEFORE: Final = Limits(16 * 1024, 128)


class LinkDoor:
    """What negotiation needs of the server, but for what becomes of a link."""

    def __init__(
        self, config: Config, reactor: Any, router: Router, contexts: ServerContexts, secret: bytes
    ) -> None:
        """`secret` is what dialback keys are made of."""
        self._reactor = reactor
        self._router = router
        self._contexts = contexts
        self.clock = reactor
        self.streams = router.streams
        self.keys = Keys(secret)
        self.limits_before = _BEFORE
        self._output = Output(reactor)
        options = config.federation
        discovery = Discovery(make_resolver(options.resolvers, reactor), options.private_addresses)
        self._dialler = Dialler(self, reactor, self._output, discovery)
        #: Streams that came from other servers and were refused: when, from where, why.
        self.refusals: OrderedDict[str, tuple[float, str, str]] = OrderedDict()
        LinkDoor.configure(self, config)

    def configure(self, config: Config) -> None:
        """Use these options from now on. Raises OSError, OpenSSL.SSL.Error for the authorities."""
        options = config.federation
        file = options.authorities
        self._authorities = Authorities(str(file) if file is not None else None)
        self._config = config
        self.policy = Policy(options)
        self.limits = Limits(options.stanza_size, config.limits.stanza_elements)
        self.negotiation_seconds = float(config.limits.negotiation_time)
        self.default_domain = config.domains[0]
        self._dialler.discovery.private = options.private_addresses

    def accepted_plain(self, accepted: socket.socket, address: str) -> None:
        """A connection on the port for STARTTLS."""
        self._negotiate(accepted, address, direct_tls=False)

    def accepted_direct(self, accepted: socket.socket, address: str) -> None:
        """A connection on the port for direct TLS (XEP-0368)."""
        self._negotiate(accepted, address, direct_tls=True)

    def _negotiate(self, accepted: socket.socket, address: str, direct_tls: bool) -> None:
        limits = self._config.limits
        most = limits.strangers_per_address
        if len(self.streams) >= limits.strangers or (most and self.streams.count(address) >= most):
            accepted.close()
            return
        IncomingNegotiation(self, LinkConnection(self._reactor, self._output, accepted, address), direct_tls)

    def domain(self, text: str) -> JID | None:
        """The domain of ours, a component's included, that `text` names."""
        try:
            jid = JID.parse(text)
        except JIDError:
            return None
        return jid if self.is_ours(jid) else None

    def is_ours(self, domain: str) -> bool:
        """Whether this server takes stanzas for `domain`."""
        table = self._router.table
        return domain in table.domains or domain in table.destinations

    def certified(self, domain: str) -> bool:
        """Whether we have a certificate for a domain of ours; a component's may have none."""
        return self._contexts.has(domain)

    def context(self, domain: str | None) -> SSL.Context:
        """The TLS context for a domain of ours."""
        return self._contexts.for_domain(domain)

    def doubt(self, transport: LinkConnection, domain: str, *, connected_to: bool) -> str:
        """Why the peer's certificate is no proof of being `domain`."""
        return doubt(
            transport.certificate, transport.chain, self._authorities, domain, connected_to=connected_to
        )

    async def verify(self, ours: JID, theirs: JID, id: str, key: str) -> bool:
        """Ask the server of `theirs` whether it gave out this dialback key. Raises LinkFault."""
        trace = Trace(self._reactor.seconds())
        seconds = self._config.federation.attempt_time
        return await self._dialler.verify(ours, theirs, trace, id, key, seconds)

    def accepted(self, negotiation: IncomingNegotiation, theirs: JID, ours: JID, proof: str) -> None:
        """A stream from another server is a link. Raises StreamError when there are too many."""
        raise NotImplementedError

    def refused(self, theirs: JID | None, address: str, why: str) -> None:
        """A stream from another server came to nothing."""
        if theirs is not None:
            _log.info("a stream that claims to be from {domain} was refused: {why}", domain=theirs, why=why)
            remember(self.refusals, theirs, (self._reactor.seconds(), address, why))


def remember(where: OrderedDict[Any, Any], key: object, what: object) -> None:
    """Put it at the end; what is oldest goes when there is too much."""
    where[key] = what
    where.move_to_end(key)
    while len(where) > _REMEMBERED:
        where.popitem(last=False)
