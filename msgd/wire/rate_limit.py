"""How fast a connection may send."""

from __future__ import annotations


class RateLimit:
    """How many bytes a connection may send: `rate` a second on average, `burst` at once."""

    __slots__ = ("_level", "_then", "burst", "rate")

    def __init__(self, rate: int, burst: int, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._level = float(burst)
        self._then = now

    def take(self, size: int, now: float) -> float:
        """Count `size` bytes; for how many seconds nothing more should be read."""
        level = min(self.burst, self._level + (now - self._then) * self.rate) - size
        self._level, self._then = level, now
        return -level / self.rate if level < 0 else 0.0
