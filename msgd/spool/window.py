"""A window: how long the spool's entries wait before they are written, and what need not be by then.

What an archive keeps is written in any case.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from msgd.spool.entry import Filing


class Written(Protocol):
    """What is written: an entry of an account's mailbox, or one for another server."""

    id: int
    size: int
    done: bool
    writing: bool
    archived: bool
    filing: Filing | None

    @property
    def gone(self) -> tuple[Any, ...]:
        """What the store has to know to delete it."""

    def settle(self) -> None:
        """It is safe: the sender may be told."""


E = TypeVar("E", bound=Written)


class Window(Generic[E]):
    """Entries in the order of their ids; each waits for at most `seconds`, for at least half of that.

    Twice in this time, or when `most` wait, `prove` finds out what is delivered; that is forgotten, then
    `over` is called and may `take` what is due. What it does not take stays due. `prove` is told whether all
    is to be looked at, or what came before the last look will do.
    """

    def __init__(
        self, clock: Any, seconds: float, most: int, prove: Callable[[bool], None], over: Callable[[], None]
    ) -> None:
        self.seconds = seconds
        #: Bytes of the entries in it.
        self.size = 0
        self._clock = clock
        self._most = self._full = most
        self._prove = prove
        self._over = over
        self._entries: deque[E] = deque()
        self._timer: Any = None
        self._seen = 0  # the last entry that was there half a window ago
        self._ripe = 0  # the last entry that is due

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: E) -> None:
        """An entry begins to wait."""
        entries = self._entries
        entries.append(entry)
        self.size += entry.size
        if len(entries) >= self._full:
            self._drop_delivered(True)
            if len(self._entries) >= self._most:
                self._ripe = entry.id
                self._over()
        if self._timer is None:
            self.begin()

    def give_back(self, entries: Iterable[E]) -> None:
        """Entries that were taken are in it again."""
        self._entries = deque(sorted([*entries, *self._entries], key=lambda entry: entry.id))
        self.size = sum(entry.size for entry in self._entries)

    def begin(self) -> None:
        """See to it that the window ends, even when nothing is in it."""
        if self._timer is None:
            self._timer = self._clock.callLater(self.seconds / 2, self._half_is_over)

    def _half_is_over(self) -> None:
        self._timer = None
        self._ripe = max(self._ripe, self._seen)
        self._drop_delivered(False)
        if self._entries:
            self._seen = self._entries[-1].id
        self._over()
        if self._entries:
            self.begin()

    def end(self) -> None:
        """Everything in it is due at once."""
        self._drop_delivered(True)
        if self._entries:
            self._ripe = self._entries[-1].id

    def _drop_delivered(self, all: bool) -> None:
        self._prove(all)
        left = [entry for entry in self._entries if not entry.done or entry.archived]
        self._entries = deque(left)
        self.size = sum([entry.size for entry in left])
        # Where many stay in it, not each one that comes is a reason to look at all of them.
        self._full = max(self._most, 2 * len(self._entries))

    @property
    def first(self) -> float:
        """The id of the oldest entry in it; greater than all of them when there is none."""
        return self._entries[0].id if self._entries else math.inf

    @property
    def last(self) -> int:
        """The id of the newest entry in it, 0 when there is none."""
        return self._entries[-1].id if self._entries else 0

    @property
    def due(self) -> bool:
        """Something has waited long enough."""
        return bool(self._entries) and self._entries[0].id <= self._ripe

    def take(self) -> list[E]:
        """Those that are due leave the window; of them, those that are still not delivered."""
        entries = self._entries
        due = []
        while entries and entries[0].id <= self._ripe:
            entry = entries.popleft()
            self.size -= entry.size
            if not entry.done or entry.archived:
                due.append(entry)
        self._full = max(self._most, 2 * len(entries))
        return due
