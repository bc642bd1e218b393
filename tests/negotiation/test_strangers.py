"""Who has not logged in is counted and given up in time, at the same cost however many there are."""

from __future__ import annotations

from dataclasses import dataclass, field

from twisted.internet.task import Clock

from msgd.negotiation.strangers import Strangers
from msgd.wire.errors import StreamError
from msgd.wire.jid import JID


@dataclass(eq=False)
class Stranger:
    address: str
    domain: JID | None = None
    since: float = 0.0
    state: str = "connected"
    failed: list[StreamError] = field(default_factory=list)
    late: int = 0

    def is_of(self, account: JID, device: str) -> bool:
        return False

    def stream_failed(self, error: StreamError) -> None:
        self.failed.append(error)

    def too_late(self) -> None:
        self.late += 1


def test_strangers_are_counted() -> None:
    strangers = Strangers(Clock())
    here = [Stranger(address) for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2")]
    for stranger in here:
        strangers.add(stranger, 60)
    assert (len(strangers), strangers.count("192.0.2.1"), strangers.count("192.0.2.2")) == (3, 2, 1)
    strangers.remove(here[0])
    strangers.remove(here[0])  # its end is told by its error and by its socket
    assert (len(strangers), strangers.count("192.0.2.1")) == (2, 1)
    for left in strangers:
        strangers.remove(left)
    assert (len(strangers), strangers.count("192.0.2.1"), strangers.count("192.0.2.3")) == (0, 0, 0)
    assert not strangers._from, "no address is remembered"


def test_each_has_its_time() -> None:
    clock = Clock()
    strangers = Strangers(clock)
    first, logged_in, second = (Stranger("192.0.2.1") for _ in range(3))
    strangers.add(first, 60)
    clock.advance(10)
    strangers.add(logged_in, 60)
    clock.advance(10)
    strangers.add(second, 60)
    assert len(clock.getDelayedCalls()) == 1, "one timer for all of them"
    clock.advance(39)
    assert first.late == 0
    clock.advance(1)
    assert (first.late, len(strangers)) == (1, 2)
    strangers.remove(logged_in)
    clock.advance(19.5)
    assert second.late == 0
    clock.advance(0.5)
    assert (first.late, logged_in.late, second.late, len(strangers)) == (1, 0, 1, 0)
    assert not clock.getDelayedCalls()


def test_one_that_comes_when_nobody_was_left() -> None:
    clock = Clock()
    strangers = Strangers(clock)
    early, late = Stranger("192.0.2.1"), Stranger("192.0.2.1")
    strangers.add(early, 60)
    strangers.remove(early)
    clock.advance(59)
    strangers.add(late, 60)
    clock.advance(59)
    assert (early.late, late.late) == (0, 0)
    clock.advance(1)
    assert late.late == 1
