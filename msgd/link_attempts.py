"""How an outbox comes to a link: one that broke goes on, one that is there takes one more pair, or it is new.

One attempt for each pair of domains at a time; what happened in the last is kept for the operator.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from msgd.link_door import remember
from msgd.link_resumption import BrokenLinks
from msgd.link_sharing import Sharing
from msgd.negotiation.dialler import Dialler
from msgd.negotiation.link_outcome import Broken, Established, LinkFault, Trace
from msgd.routing.link import Link
from msgd.routing.link_management import LinkManagement
from msgd.spool.link_queue import LinkQueue
from msgd.spool.outbox import Outbox
from msgd.wire.jid import JID


class Attempts:
    """What is under way, and how it went."""

    def __init__(
        self,
        clock: Any,
        queue: LinkQueue,
        dialler: Dialler,
        sharing: Sharing,
        broken: BrokenLinks,
        made: Callable[[Outbox, Established, LinkManagement | None], None],
        found: Callable[[Outbox, Link], None],
    ) -> None:
        """`made` is told of a new stream for an outbox, and of the link that broke before where it was to be
        resumed; `found` of one that is there."""
        self._clock = clock
        self._queue = queue
        self._dialler = dialler
        self._sharing = sharing
        self._broken = broken
        self._made = made
        self._found = found
        #: Seconds that an attempt may take; 0: there are no more.
        self.seconds = 0.0
        #: What happened with each pair of domains at the last attempt.
        self.traces: OrderedDict[tuple[JID, JID], Trace] = OrderedDict()
        #: Those under way, and who waits for their end.
        self._waiting: dict[tuple[JID, JID], list[Deferred[None]]] = {}

    async def connect(self, outbox: Outbox) -> None:
        """Make a link for an outbox, or find one. Raises LinkFault."""
        pair = outbox.ours, outbox.theirs
        if pair in self._waiting:
            await self._over(pair)
            if outbox.link is None:
                raise LinkFault("stream", "an attempt that was under way came to nothing")
            return
        trace = Trace(self._clock.seconds())
        remember(self.traces, pair, trace)
        self._waiting[pair] = []
        try:
            if not self.seconds:
                raise LinkFault("policy", "the server stops")
            await self._connect(outbox, trace)
        finally:
            for waiting in self._waiting.pop(pair):
                waiting.callback(None)

    async def examine(self, ours: JID, theirs: JID) -> Trace:
        """For an operator: how the link of this pair came to be, or what happens when one is made now."""
        outbox = self._queue.outbox(ours, theirs)
        if outbox.link is None:
            try:
                await self.connect(outbox)
            except LinkFault:
                pass  # the trace has it
            self._queue.cool(outbox)
        return self.traces.get((ours, theirs)) or Trace(self._clock.seconds())

    async def _over(self, pair: tuple[JID, JID]) -> None:
        """Until the attempt for a pair that is under way is over."""
        if pair in self._waiting:
            waiting: Deferred[None] = Deferred()
            self._waiting[pair].append(waiting)
            await waiting

    async def _connect(self, outbox: Outbox, trace: Trace) -> None:
        pair = ours, theirs = outbox.ours, outbox.theirs
        before = self._broken.ours(pair)
        if before is not None and before.pair != pair:
            # The stream goes on, if at all, as it began, and with all its pairs.
            self._queue.outbox(*before.pair).attempt()
            await self._over(before.pair)
            if outbox.link is not None:
                return
            before = None
        broken = share = None
        if before is not None:
            broken = Broken(before.id, before.state.safe, frozenset(target for _, target in before.pairs))
        elif not outbox.suspicious:
            link = await self._sharing.by_sender(ours, theirs, trace)
            if link is not None:
                self._found(outbox, link)
                return
            share = partial(self._sharing.by_target, ours, theirs, trace)
        made = await self._dialler.establish(ours, theirs, trace, self.seconds, broken, share)
        if isinstance(made, Established):
            self._made(outbox, made, before)
        else:
            self._found(outbox, made)
