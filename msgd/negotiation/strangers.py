"""The connections that have not logged in: how many there are, in all and by address, and for how long.

All have the same time for it, so one timer does for all of them: for the one that is here longest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Protocol

from msgd.wire.errors import StreamError
from msgd.wire.jid import JID


class Stranger(Protocol):
    """One of them. `since` is unix time."""

    domain: JID | None
    since: float

    def is_of(self, account: JID, device: str) -> bool:
        """Whether this device of an account has logged in here, and has no session yet."""

    @property
    def address(self) -> str:
        """The peer's address."""

    @property
    def state(self) -> str:
        """How far it has come, for an operator."""

    def stream_failed(self, error: StreamError) -> None:
        """End its stream with an error."""

    def too_late(self) -> None:
        """Its time is over: end its stream."""


class Strangers:
    """All of them. What can be asked takes the same time however many there are."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._all: dict[Stranger, float] = {}  # in the order in which they came, and when it is too late
        self._from: Counter[str] = Counter()
        self._timer: Any = None

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Stranger]:
        return iter(list(self._all))

    def count(self, address: str) -> int:
        """How many come from an address."""
        return self._from[address]

    def add(self, stranger: Stranger, seconds: float) -> None:
        """One more; it has so many seconds to log in."""
        self._all[stranger] = self._clock.seconds() + seconds
        self._from[stranger.address] += 1
        if self._timer is None:
            self._timer = self._clock.callLater(seconds, self._look)

    def _look(self) -> None:
        """End those whose time is over, and look again when it may be for the next."""
        self._timer = None
        now = self._clock.seconds()
        while self._all:
            stranger, end = next(iter(self._all.items()))
            if end > now:
                self._timer = self._clock.callLater(end - now, self._look)
                return
            self.remove(stranger)
            stranger.too_late()

    def remove(self, stranger: Stranger) -> None:
        """One that logged in or is gone; nothing happens when it was not here."""
        if stranger in self._all:
            del self._all[stranger]
            left = self._from[stranger.address] - 1
            if left:
                self._from[stranger.address] = left
            else:
                del self._from[stranger.address]
