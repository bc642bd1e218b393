"""The door for components: accepts connections, and keeps the domains that components speak for.

Stands between `negotiation/component.py`, which knows nothing of routing, and the router.
"""

from __future__ import annotations

import socket
from typing import Any, Final

from twisted.logger import Logger

from msgd.accounts.throttle import LoginThrottle
from msgd.config import Config
from msgd.negotiation.component import ComponentNegotiation
from msgd.negotiation.strangers import Strangers
from msgd.routing.component import Component
from msgd.routing.router import Router
from msgd.wire.errors import StreamError
from msgd.wire.jid import JID, JIDError
from msgd.wire.output import Output
from msgd.wire.transport import Connection
from msgd.wire.xmlstream import Limits

_log = Logger("msgd.components")
#: Connections whose handshake is not done, at most; components are few.
_STRANGERS: Final = 100
#: Wrong handshakes for one domain from places it is not used from, then one each 30 seconds.
_WRONG: Final = 10


class Components:
    """All components; what their handshake asks of the server (see `negotiation.component.Server`)."""

    def __init__(self, config: Config, reactor: Any, router: Router, output: Output) -> None:
        #: Connections whose handshake is not done.
        self.streams = Strangers(reactor)
        self._reactor = reactor
        self._router = router
        self._output = output
        # One address is not limited: they all come from this machine.
        self._throttle = LoginThrottle(reactor, address_burst=0, account_burst=_WRONG)
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Use these options from now on."""
        self._config = config
        limits = config.limits
        self.limits = Limits(limits.stanza_size, limits.stanza_elements)
        self.limits_before_login = Limits(limits.stranger_size, limits.stranger_elements)
        self.negotiation_seconds = float(limits.negotiation_time)
        self.default_domain = config.domains[0]
        known, table = self._router.components, self._router.table
        for domain, options in config.components.items():
            component = known.get(domain)
            if component is None:
                jid = JID.parse(domain)
                component = known[domain] = Component(self._router, jid)
                table.destinations[domain] = component
            component.name = options.name
        for domain in [each for each in known if each not in config.components]:
            self._remove(domain)

    def _remove(self, domain: str) -> None:
        component = self._router.components.pop(domain)
        del self._router.table.destinations[domain]
        if component.stream is not None:
            component.stream.kick(StreamError("host-gone", "the component is not configured any more"))

    def accepted(self, accepted: socket.socket, address: str) -> None:
        """A connection on the port for components."""
        if len(self.streams) >= _STRANGERS:
            accepted.close()
            return
        ComponentNegotiation(self, Connection(self._reactor, self._output, accepted, address))

    # -- what the handshake asks ---------------------------------------------------------------

    def domain(self, text: str) -> JID | None:
        """The domain that `text` names, if a component may speak for it."""
        try:
            component = self._router.components.get(JID.parse(text))
        except JIDError:
            return None
        return component.jid if component is not None else None

    def wait(self, domain: JID, address: str) -> float:
        """For how many seconds no handshake is looked at."""
        return self._throttle.wait(address, domain)

    def secret(self, domain: JID) -> str:
        """The secret that the component shares with the server."""
        secret: str = self._config.components[domain].secret
        return secret

    def proved(self, domain: JID, address: str, right: bool) -> None:
        """How a handshake ended. Raises StreamError when the domain is taken."""
        if not right:
            self._throttle.failed(address, domain)
            _log.warn("a wrong handshake for the component {domain}", domain=domain)
            return
        self._throttle.succeeded(address, domain)
        other = self._router.components[domain].stream
        if other is None:
            return
        if self._config.components[domain].conflict == "refuse":
            raise StreamError("conflict", "the component is connected already")
        other.kick(StreamError("conflict", "the component connected again"))

    def connected(self, domain: JID, negotiation: ComponentNegotiation, lang: str | None) -> None:
        """The connection belongs to the component now."""
        _log.info("the component {domain} is connected", domain=domain)
        self._router.components[domain].attach(negotiation.transport, negotiation.stream, lang)

    # -- the end -------------------------------------------------------------------------------

    def pause(self) -> None:
        """Read nothing more."""
        for component in self._router.components.values():
            if component.stream is not None:
                component.stream.pause()

    def stop(self) -> None:
        """End all streams."""
        for stream in self.streams:
            stream.stream_failed(StreamError("system-shutdown"))
        for component in self._router.components.values():
            if component.stream is not None:
                component.stream.part(StreamError("system-shutdown"))
