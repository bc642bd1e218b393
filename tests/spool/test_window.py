"""Windows: how long entries wait, what ends it early, and what is forgotten meanwhile."""

from __future__ import annotations

from twisted.internet.task import Clock

from msgd.routing.account import LiveAccount
from msgd.spool.entry import Entry
from msgd.spool.window import Window
from msgd.wire.jid import JID

_ACCOUNT = LiveAccount(1, JID.parse("juliet@localhost"))


class Waiting:
    """A window of ten seconds, or five entries. `ended` has what was due each time that it was over."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.ended: list[list[int]] = []
        self.busy = False
        self.proofs = 0
        self.window: Window[Entry] = Window(self.clock, 10, 5, self._prove, self._over)
        self.entries: dict[int, Entry] = {}

    def _prove(self, all: bool) -> None:
        self.proofs += 1

    def _over(self) -> None:
        if not self.busy:
            self.ended.append([entry.id for entry in self.window.take()])

    def later(self) -> None:
        """A whole window later."""
        self.clock.pump([5, 5])

    def add(self, *ids: int) -> None:
        for id in ids:
            self.entries[id] = Entry(id, _ACCOUNT, b"12345678")
            self.window.add(self.entries[id])


def test_an_entry_waits_for_more_than_half_of_the_window() -> None:
    waiting = Waiting()
    waiting.add(1, 2)
    waiting.clock.advance(5)
    waiting.add(3)
    waiting.clock.advance(4)
    assert not any(waiting.ended)
    waiting.clock.advance(1)
    assert waiting.ended[-1] == [1, 2], "the third has waited for half of it only"
    waiting.clock.advance(5)
    assert waiting.ended[-1] == [3]
    assert not waiting.clock.getDelayedCalls()


def test_what_is_delivered_is_forgotten() -> None:
    waiting = Waiting()
    waiting.add(1, 2, 3)
    waiting.entries[2].done = True
    assert waiting.window.size == 24
    waiting.later()
    assert waiting.ended[-1] == [1, 3]
    assert waiting.window.size == 0


def test_many_end_it_early() -> None:
    waiting = Waiting()
    waiting.add(1, 2, 3, 4, 5)
    assert waiting.ended == [[1, 2, 3, 4, 5]]


def test_many_that_are_delivered_do_not() -> None:
    waiting = Waiting()
    waiting.add(1, 2, 3, 4)
    waiting.entries[1].done = waiting.entries[2].done = True
    waiting.add(5)
    assert waiting.ended == []
    assert len(waiting.window) == 3
    waiting.later()
    assert waiting.ended[-1] == [3, 4, 5]


def test_while_the_disk_is_busy_it_goes_on_and_forgets_what_is_delivered() -> None:
    waiting = Waiting()
    waiting.busy = True
    waiting.add(1, 2)
    for _ in range(3):
        waiting.later()
    assert waiting.window.due and waiting.ended == []
    waiting.entries[1].done = True
    waiting.later()
    assert waiting.window.size == 8, "memory holds only what has to be written"
    waiting.busy = False
    waiting.later()
    assert waiting.ended[0] == [2]


def test_what_is_delivered_after_it_was_due_is_not_taken() -> None:
    waiting = Waiting()
    waiting.busy = True
    waiting.add(1, 2)
    waiting.later()
    waiting.entries[1].done = True
    assert [entry.id for entry in waiting.window.take()] == [2]
    assert waiting.window.size == 0


def test_a_full_window_is_not_looked_through_for_each_entry() -> None:
    waiting = Waiting()
    waiting.busy = True
    waiting.add(*range(1, 1000))
    assert waiting.proofs < 10
    assert len(waiting.window) == 999


def test_what_is_given_back_is_the_first_again() -> None:
    waiting = Waiting()
    waiting.add(1, 2)
    waiting.window.end()
    taken = waiting.window.take()
    waiting.add(3)
    waiting.window.give_back(taken)
    waiting.window.end()
    assert [entry.id for entry in waiting.window.take()] == [1, 2, 3]
    assert waiting.window.size == 0


def test_a_window_without_entries_may_be_begun() -> None:
    waiting = Waiting()
    waiting.window.begin()
    waiting.later()
    assert (waiting.ended, waiting.proofs) == ([[]], 1)
