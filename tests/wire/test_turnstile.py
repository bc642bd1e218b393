"""The turnstile: strangers have some milliseconds of each turn, in the order in which they came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgd.wire.turnstile import Turnstile


class Turns:
    """A reactor's turns, one by one; what is scheduled in one comes in the next."""

    def __init__(self) -> None:
        self.scheduled: list[Callable[..., object]] = []
        self.turn = 0

    def seconds(self) -> float:
        """See Clock."""
        return 0.0

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> Any:
        """See Clock."""
        self.scheduled.append(callable)

    def advance(self) -> None:
        """One turn."""
        self.turn += 1
        now, self.scheduled = self.scheduled, []
        for each in now:
            each()


class Work:
    """Pieces of work of a millisecond each, and when they were done."""

    def __init__(self) -> None:
        self.now = 0.0
        self.turn = 0
        self.done: list[tuple[int, int]] = []

    def piece(self, number: int) -> Callable[[], None]:
        def do() -> None:
            self.now += 0.001
            self.done.append((self.turn, number))

        return do


def test_some_of_each_turn() -> None:
    clock, work = Turns(), Work()
    turnstile = Turnstile(clock, clock, lambda: work.now)
    turnstile.budget = 0.0035
    for number in range(10):
        turnstile.enter(work.piece(number))
    assert [number for _, number in work.done] == [0, 1, 2, 3]
    assert turnstile.waiting == 6
    for work.turn in (1, 2, 3):
        clock.advance()
    assert work.done[4:] == [(1, 4), (1, 5), (1, 6), (1, 7), (2, 8), (2, 9)]
    assert not clock.scheduled


def test_who_comes_later_does_not_overtake() -> None:
    clock, work = Turns(), Work()
    turnstile = Turnstile(clock, clock, lambda: work.now)
    turnstile.budget = 0.001
    for number in range(3):
        turnstile.enter(work.piece(number))
    clock.advance()
    turnstile.enter(work.piece(3))
    for _ in range(3):
        clock.advance()
    assert [number for _, number in work.done] == [0, 1, 2, 3]


def test_a_fault_stops_nobody() -> None:
    clock, work = Turns(), Work()
    turnstile = Turnstile(clock, clock, lambda: work.now)

    def fails() -> None:
        raise ValueError

    turnstile.enter(fails)
    turnstile.enter(work.piece(1))
    assert len(work.done) == 1


def test_steps_count_too() -> None:
    clock = Turns()
    turnstile = Turnstile(clock, clock)
    turns = [turnstile.turn() for _ in range(40)]
    waiting = [turn for turn in turns if turn is not None]
    assert 30 < len(turns) - len(waiting) < 36  # of 150 µs each, in 5 ms
    assert turns.index(waiting[0]) == len(turns) - len(waiting)
    clock.advance()
    assert all(turn.called for turn in waiting)
    clock.advance()
    assert turnstile.turn() is None
