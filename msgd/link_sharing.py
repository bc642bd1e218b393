"""Several pairs of domains on one stream: finds one that is there already, and asks on it (XEP-0220 §2.6).

A domain of ours may be one more to send to a server that we have a stream to; a domain of theirs may be one
more at the place where that stream ends. Where the answer is no, or none comes, the pair has a stream of its
own, and is not asked for again for a while; the stream goes on for those that it has.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from functools import partial
from typing import Any, Final, Protocol

from twisted.internet.defer import TimeoutError
from twisted.logger import Logger

from msgd.link_door import remember
from msgd.negotiation.link_outcome import LinkFault, Trace
from msgd.negotiation.link_policy import Policy
from msgd.routing.link import MOST_DOMAINS, Link
from msgd.wire.jid import JID
from msgd.wire.link_connection import LinkConnection

_log = Logger("msgd.link")
#: Seconds that an answer may take: a stream of its own is made in less.
_PATIENCE: Final = 10.0
#: Seconds for which who did not accept a pair of domains is not asked for it again.
_REST: Final = 3600.0


class Server(Protocol):
    """What is asked of the server around it (`msgd/link_door.py`)."""

    clock: Any
    policy: Policy

    def doubt(self, transport: LinkConnection, domain: str, *, connected_to: bool) -> str:
        """Why the peer's certificate is no proof of being `domain`; empty when it is one."""


class Sharing:
    """Finds a link for one more pair of domains."""

    def __init__(self, server: Server, links: Iterable[Link]) -> None:
        """`links` are those that there are."""
        self._server = server
        self._links = links
        #: Until when whom not to ask: for pairs of domains, and for servers that end streams over it.
        self._refused: OrderedDict[object, float] = OrderedDict()

    async def by_sender(self, ours: JID, theirs: JID, trace: Trace) -> Link | None:
        """A stream to `theirs` on which `ours` may send, be it from now on (§2.6.1); None: there is none."""
        if not self._server.policy.permits(theirs):
            return None
        for link in self._links:
            if link.sends and (ours, theirs) in link.pairs:
                return link
        for link in self._links:
            if _has_room(link) and any(theirs == target for _, target in link.pairs):
                return await self._ask(link, ours, theirs, trace)
        return None

    async def by_target(
        self, ours: JID, theirs: JID, trace: Trace, addresses: list[str], port: int
    ) -> Link | None:
        """A stream to one of these addresses, whose server takes stanzas for `theirs` too (§2.6.2).

        It has to answer with errors what it cannot do, and to prove to be `theirs`.
        """
        endpoints = {(address, port) for address in addresses}
        for link in self._links:
            if link.endpoint in endpoints and _has_room(link, errors=True) and self._is(link, theirs):
                return await self._ask(link, ours, theirs, trace)
        return None

    def _is(self, link: Link, theirs: JID) -> bool:
        """Whether its certificate is good for `theirs`, or that DNS leads there is enough."""
        return self._server.policy.dialback(theirs) or not self._server.doubt(
            link.transport, theirs, connected_to=True
        )

    async def _ask(self, link: Link, ours: JID, theirs: JID, trace: Trace) -> Link | None:
        asking, now = link.dialback.asking, self._server.clock.seconds()
        assert asking is not None  # it has room
        if max(self._refused.get(key, 0.0) for key in (theirs, (ours, theirs))) > now:
            trace.note("authentication", "on the stream of others it was not accepted some time ago")
            return None
        refused: object = (ours, theirs)
        of = f"the stream of {' to '.join(link.pair)}"
        try:
            await asking.ask(ours, theirs).addTimeout(_PATIENCE, self._server.clock)
        except TimeoutError:
            asking.open = False
            told, refused = "no answer", theirs
        except LinkFault as fault:
            told = str(fault)
        else:
            trace.note("authentication", f"accepted by dialback on {of}")
            return link
        trace.note("authentication", f"not accepted on {of}: {told}; it has one of its own")
        # Who does not answer, or ends the stream, would do so for other domains of ours too.
        remember(self._refused, theirs if link.ended else refused, now + _REST)
        return None

    def attach(self, link: Link) -> None:
        """More pairs may come to a link."""
        asking, receiving = link.dialback.asking, link.dialback.receiving
        if receiving is not None:
            receiving.shared = True
            receiving.authorized = partial(_authorized, link)
        if asking is not None:
            asking.answered = partial(_answered, link)


def _has_room(link: Link, errors: bool = False) -> bool:
    asking = link.dialback.asking
    return (
        asking is not None
        and asking.room
        and (asking.errors or not errors)
        and link.sends
        and not link.congested()
        and len(link.pairs) < MOST_DOMAINS
    )


def _authorized(link: Link, theirs: JID, ours: JID) -> None:
    """The peer asked for one more pair, and may have it."""
    if link.incoming and link.dialback.asking is not None:
        # So it can be asked itself, where the stream is for both ways (XEP-0288 §2.2).
        link.dialback.asking.allowed = link.both_ways
    link.authorize(theirs, ours)


def _answered(link: Link, ours: JID, theirs: JID, type: str) -> None:
    if type == "valid":
        link.accepted(ours, theirs)
    elif type == "invalid":
        # §2.1.1: it will most likely end the stream, so nothing more should be sent on it.
        _log.info("a link ends: the peer has disowned a key")
        link.retire()
