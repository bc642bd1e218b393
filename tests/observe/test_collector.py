"""The collector: what survived is set aside, and what ends leaves it nothing to do."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from msgd.observe.collector import Collector
from tests.work.test_memory import Sockets, session_of


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    made.start()
    yield made
    made.stop()
    gc.unfreeze()


def test_what_survived_is_set_aside(collector: Collector) -> None:
    kept = [[number] for number in range(50_000)]
    gc.collect()
    before = gc.get_freeze_count()
    collector.look(busy=1.0)
    assert gc.get_freeze_count() - before >= len(kept)
    assert len(gc.get_objects()) < 5000
    before = gc.get_freeze_count()
    collector.look(busy=1.0)  # nothing was collected since
    assert gc.get_freeze_count() == before


def test_pauses_are_measured(collector: Collector) -> None:
    gc.collect()
    gc.collect(0)
    assert sum(collector.pauses.counts) == 2
    assert collector.pauses.sum > 0


def test_once_a_day_everything_is_looked_at(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    circle: list[Any] = []
    circle.append(circle)
    gc.collect()
    collector.look(busy=1.0)
    del circle
    frozen = gc.get_freeze_count()
    monkeypatch.setattr("msgd.observe.collector._ALL", 0.0)
    collector.look(busy=0.5)  # there is something to do
    assert gc.get_freeze_count() == frozen
    collector.look(busy=0.0)
    assert gc.get_freeze_count() < frozen + 5000
    assert not [each for each in gc.get_objects() if type(each) is list and each and each[0] is each]


def _alive() -> Counter[str]:
    """How many of what belongs to a session there are, whoever made them."""
    kinds = ("Session", "StreamManagement", "XMLStream", "Framer", "Connection")
    return Counter(name for each in gc.get_objects() if (name := type(each).__name__) in kinds)


@pytest.mark.parametrize("end", ["closed", "lost"])
def test_a_session_that_ended_is_gone_at_once(tmp_path: Path, end: str) -> None:
    world = Sockets(tmp_path)
    for name in ("addReader", "removeReader", "addWriter", "removeWriter"):
        setattr(world.clock, name, lambda _: None)

    def come_and_go(number: int) -> None:
        session = session_of(world, f"juliet@localhost/b{number}")
        transport, stream = session.transport, session.stream
        assert transport is not None and stream is not None
        stream.data_received(b"<message to='juliet@localhost'><bo")  # it has a parser of its own
        if end == "closed":
            session.close()
        else:
            transport.abort()
            session.end()

    come_and_go(0)
    world.clock.advance(1000)
    gc.collect()
    gc.disable()
    before = _alive()
    try:
        for number in range(1, 21):
            come_and_go(number)
        world.clock.advance(1000)
        more = _alive() - before
        print(more)
        # Twenty came. Of the last one the test itself, or the world, may hold something.
        assert max(more.values(), default=0) <= 2
    finally:
        gc.enable()
        world.close()
