"""Finds the servers of a domain and negotiates with one after the other, until one serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred, TimeoutError

from msgd.negotiation.link_outcome import Broken, Established, LinkFault, Trace
from msgd.negotiation.link_outgoing import OutgoingNegotiation
from msgd.negotiation.link_server import LinkServer
from msgd.wire.dialling import NotConnected, connect
from msgd.wire.discovery import Discovery, NoAnswer, NotFound, Target
from msgd.wire.jid import JID
from msgd.wire.link_connection import LinkConnection
from msgd.wire.output import Output

_T = TypeVar("_T")
_S = TypeVar("_S")
#: The least time that an attempt at one more host is worth, in seconds.
_LEAST: Final = 1.0
#: Attempts to make links, of all domains, that may be under way at a time.
_MOST: Final = 500


class Dialler:
    """Makes streams to other servers."""

    def __init__(self, server: LinkServer, reactor: Any, output: Output, discovery: Discovery) -> None:
        self._server = server
        self._reactor = reactor
        self._output = output
        self.discovery = discovery
        self._under_way = 0

    async def establish(
        self,
        ours: JID,
        theirs: JID,
        trace: Trace,
        seconds: float,
        broken: Broken | None,
        share: Callable[[list[str], int], Awaitable[_S | None]] | None,
    ) -> Established | _S:
        """A stream on which `ours` may send to `theirs`. Raises LinkFault, noted in `trace`.

        `share` may know one that is there already, with one of these addresses and this port.
        """

        async def make(target: Target, addresses: list[str], left: float) -> Established | _S:
            shared = await share(addresses, target.port) if share is not None else None
            if shared is not None:
                return shared
            negotiation = await self._connect(target, addresses, ours, theirs, trace, left)
            return await negotiation.establish(target.direct_tls, target.port, broken)

        return await self._try_all(ours, theirs, trace, seconds, make)

    async def verify(self, ours: JID, theirs: JID, trace: Trace, id: str, key: str, seconds: float) -> bool:
        """Whether the server of `theirs` gave out a dialback key for `ours`. Raises LinkFault."""

        async def ask(target: Target, addresses: list[str], left: float) -> bool:
            negotiation = await self._connect(target, addresses, ours, theirs, trace, left)
            return await negotiation.verify(target.direct_tls, id, key)

        return await self._try_all(ours, theirs, trace, seconds, ask)

    async def _try_all(
        self,
        ours: JID,
        theirs: JID,
        trace: Trace,
        seconds: float,
        action: Callable[[Target, list[str], float], Awaitable[_T]],
    ) -> _T:
        """What comes of the first host with which `action` succeeds: its addresses, and the time left."""
        if self._under_way >= _MOST:
            raise LinkFault("time", "too many links are being made")
        self._under_way += 1
        try:
            deadline = self._reactor.seconds() + seconds
            last = LinkFault("dns", "it has no server", "remote-server-not-found")
            for target in await self._targets(ours, theirs, trace):
                left = deadline - self._reactor.seconds()
                if left < _LEAST:
                    raise LinkFault("time", f"no link was made within {seconds:.0f} s; at last: {last}")
                try:
                    return await action(target, await self._addresses(target, trace), left)
                except LinkFault as fault:
                    trace.note(fault.stage, f"failed: {fault}")
                    last = fault
            raise last
        except LinkFault as fault:
            trace.fault = fault
            raise
        finally:
            self._under_way -= 1

    async def _targets(self, ours: JID, theirs: JID, trace: Trace) -> list[Target]:
        if not self._server.policy.permits(theirs):
            raise LinkFault("policy", "links with it are not allowed here", "remote-server-not-found")
        try:
            targets = await self.discovery.targets(theirs)
        except NotFound as error:
            raise LinkFault("dns", str(error), "remote-server-not-found") from None
        except NoAnswer as error:
            raise LinkFault("dns", str(error)) from None
        trace.note("dns", f"{theirs} is served by {', '.join(map(str, targets))}")
        return targets

    async def _addresses(self, target: Target, trace: Trace) -> list[str]:
        try:
            addresses = await self.discovery.addresses(target.host)
        except NotFound as error:
            raise LinkFault("dns", str(error), "remote-server-not-found") from None
        except NoAnswer as error:
            raise LinkFault("dns", str(error)) from None
        trace.note("dns", f"{target.host} has the address {', '.join(addresses)}")
        return addresses

    async def _connect(
        self, target: Target, addresses: list[str], ours: JID, theirs: JID, trace: Trace, seconds: float
    ) -> OutgoingNegotiation:
        """TCP to one host."""
        connecting = Deferred.fromCoroutine(connect(self._reactor, addresses, target.port))
        connecting.addTimeout(seconds, self._reactor)
        try:
            plain, address = await connecting
        except NotConnected as error:
            raise LinkFault("tcp", str(error)) from None
        except (TimeoutError, CancelledError):
            raise LinkFault("tcp", f"{target} does not answer") from None
        trace.note("tcp", f"connected to {address} port {target.port}")
        transport = LinkConnection(self._reactor, self._output, plain, address)
        return OutgoingNegotiation(self._server, transport, ours, theirs, trace)
