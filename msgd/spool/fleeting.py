"""What nobody keeps while a link is being made: presence and questions, in memory, and not for long."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from msgd.wire.stanza import Stanza

#: Stanzas, and their bytes.
_MOST: Final = 1000
_MOST_BYTES: Final = 1024 * 1024


class Fleeting:
    """The stanzas of one outbox, in order."""

    def __init__(self, clock: Any, patience: Callable[[], float], late: Callable[[Stanza], None]) -> None:
        """`patience` tells the seconds that one waits; `late` is called with those that waited so long."""
        self._clock = clock
        self._patience = patience
        self._late = late
        #: Each with an id for the order, and a deadline.
        self.waiting: deque[tuple[int, float, Stanza]] = deque()
        self._size = 0
        self._timer: Any = None

    @property
    def first(self) -> int:
        """The id of the first of them; there has to be one."""
        return self.waiting[0][0]

    def add(self, id: int, stanza: Stanza) -> bool:
        """One more; False when there are too many."""
        if len(self.waiting) >= _MOST or self._size > _MOST_BYTES:
            return False
        patience = self._patience()
        self.waiting.append((id, self._clock.seconds() + patience, stanza))
        self._size += len(stanza.raw)
        if self._timer is None:
            self._timer = self._clock.callLater(patience, self._lose_patience)
        return True

    def take(self) -> Stanza:
        """The first leaves."""
        _, _, stanza = self.waiting.popleft()
        self._size -= len(stanza.raw)
        return stanza

    def _lose_patience(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        while self.waiting and self.waiting[0][1] <= now:
            self._late(self.take())
        if self.waiting:
            self._timer = self._clock.callLater(self.waiting[0][1] - now, self._lose_patience)
