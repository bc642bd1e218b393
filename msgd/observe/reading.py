"""A reading: one figure that the server can be asked for, read where it is when somebody asks.

Nothing is counted for the sake of readings: they look at lengths and counters that are there anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from twisted.logger import Logger

_log = Logger("msgd.queues")
#: The share of its bound at which a queue is told of, and the one below which it is well again.
_LONG, _WELL = 0.5, 0.25
#: A queue of fewer is not told of, whatever its bound.
_LEAST: Final = 8


@dataclass(frozen=True, slots=True)
class Reading:
    """One figure. `name` is that of the metric behind `msgd_`; of a counter without `_total`.

    `bound` is for a queue: the most that it can hold. `title` is what the console calls it.
    """

    name: str
    title: str
    read: Callable[[], float]
    counter: bool = False
    bound: Callable[[], float] | None = None
    #: It is the length of something that waits.
    waits: bool = False


class Alarms:
    """Tells in the log when a queue grows long, and when it is well again; once each time."""

    def __init__(self, readings: Iterable[Reading]) -> None:
        self._queues = [reading for reading in readings if reading.bound is not None]
        self._long: set[str] = set()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._long))

    def look(self) -> None:
        """Look at all queues."""
        for queue in self._queues:
            assert queue.bound is not None  # only those are here
            length, bound = queue.read(), queue.bound()
            if queue.title in self._long:
                if length < max(bound * _WELL, _LEAST):
                    self._long.discard(queue.title)
                    _log.info("{queue}: {length}, well again", queue=queue.title, length=length)
            elif length >= max(bound * _LONG, _LEAST):
                self._long.add(queue.title)
                _log.warn(
                    "{queue}: {length}; {bound} is the most",
                    queue=queue.title,
                    length=length,
                    bound=bound,
                )
