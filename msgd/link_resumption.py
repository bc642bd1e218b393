"""Links that broke, and may go on where they were (XEP-0198 §5): by the peer's doing, or by ours.

What was on its way, and all pairs of domains, belong to the stream: they are resumed together, by the pair
with which it began, or what was on its way is sent again for all of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final

from msgd.routing.link import Link
from msgd.routing.link_management import LinkManagement
from msgd.wire.jid import JID

#: Links of either kind that are remembered, and for how many seconds those that we may resume. Their peers
#: do not tell how long they remember them; what waits for a link is tried in pauses that grow to that.
_MOST: Final = 1000
_LONGEST: Final = 3600.0


class BrokenLinks:
    """What is left of them. `lost` is told of what was on its way and will not be resumed."""

    def __init__(self, clock: Any, lost: Callable[[LinkManagement], None]) -> None:
        self._clock = clock
        self._lost = lost
        #: Those that their peers may resume, by id, each with the timer of its end.
        self._theirs: OrderedDict[str, tuple[LinkManagement, Any]] = OrderedDict()
        #: Those that we may resume, with their pairs of domains and likewise a timer, and for each pair.
        self._ours: OrderedDict[LinkManagement, tuple[list[tuple[JID, JID]], Any]] = OrderedDict()
        self._by_pair: dict[tuple[JID, JID], LinkManagement] = {}

    def keep_theirs(self, management: LinkManagement, seconds: float) -> None:
        """The peer may resume it for so long; what was on its way to it goes another way."""
        self._lost(management)
        management.state.queue = None
        management.state.size = 0
        if management.id and seconds:
            timer = self._clock.callLater(seconds, self._theirs.pop, management.id, None)
            self._theirs[management.id] = management, timer
            while len(self._theirs) > _MOST:
                self._theirs.popitem(last=False)[1][1].cancel()

    def keep_ours(self, management: LinkManagement, pairs: Iterable[tuple[JID, JID]]) -> None:
        """We may resume it, where one of `pairs` needs a link."""
        pairs = list(pairs)
        if not management.id or not pairs:
            self._lost(management)
            return
        for pair in pairs:
            self.forget(self._by_pair.get(pair))
            self._by_pair[pair] = management
        self._ours[management] = pairs, self._clock.callLater(_LONGEST, self.forget, management)
        while len(self._ours) > _MOST:
            self.forget(next(iter(self._ours)))

    def ours(self, pair: tuple[JID, JID]) -> LinkManagement | None:
        """The one to be resumed for a pair."""
        return self._by_pair.get(pair)

    def resumed(self, management: LinkManagement | None) -> None:
        """It goes on."""
        if management is None or management not in self._ours:
            return
        pairs, timer = self._ours.pop(management)
        if timer.active():
            timer.cancel()
        for pair in pairs:
            self._by_pair.pop(pair, None)

    def forget(self, management: LinkManagement | None) -> None:
        """It does not, for any of its pairs."""
        if management is not None and management in self._ours:
            self.resumed(management)
            self._lost(management)

    def forget_with(self, unwanted: Callable[[str], bool]) -> None:
        """None with such a domain of others goes on."""
        for management, (pairs, _) in list(self._ours.items()):
            if any(unwanted(theirs) for _, theirs in pairs):
                self.forget(management)

    def take_theirs(self, link: Link, id: str) -> LinkManagement | None:
        """The one of that id, for a link whose peer has proved to be one of its domains."""
        found = self._theirs.get(id)
        if found is None or not link.domains <= found[0].domains:
            return None
        del self._theirs[id]
        found[1].cancel()
        return found[0]

    def stop(self) -> None:
        """Nothing will be resumed."""
        for _, timer in (*self._theirs.values(), *self._ours.values()):
            timer.cancel()
        self._theirs.clear()
        self._ours.clear()
        self._by_pair.clear()
