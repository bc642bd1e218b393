"""Alarms: a queue that grows long is told of once, and once when it is well again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import formatEvent, globalLogPublisher

from msgd.observe.distribution import Distribution
from msgd.observe.reading import Alarms, Reading


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged."""
    found: list[str] = []

    def note(event: Any) -> None:
        found.append(f"{event['log_level'].name} {formatEvent(event)}")

    publisher: Any = globalLogPublisher
    publisher.addObserver(note)
    yield found
    publisher.removeObserver(note)


def test_alarms(lines: list[str]) -> None:
    length = 0.0
    alarms = Alarms([
        Reading("jobs", "jobs", lambda: length, bound=lambda: 100),
        Reading("things", "things", lambda: 1e9),
    ])  # fmt: skip
    expected: list[str] = []
    for length, more in (
        (49, []),
        (50, ["warn jobs: 50; 100 is the most"]),
        (99, []),
        (26, []),
        (50, []),
        (24, ["info jobs: 24, well again"]),
        (0, []),
        (100, ["warn jobs: 100; 100 is the most"]),
    ):
        alarms.look()
        expected += more
        assert lines == expected, length
    assert list(alarms) == ["jobs"]


def test_a_small_bound_is_no_alarm_for_one(lines: list[str]) -> None:
    length = 4.0
    alarms = Alarms([Reading("few", "few", lambda: length, bound=lambda: 4)])
    alarms.look()
    assert not lines


def test_distribution() -> None:
    distribution = Distribution((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        distribution.add(value)
    assert distribution.buckets() == [("0.1", 2), ("1.0", 3), ("+Inf", 4)]
    assert distribution.sum == pytest.approx(7.65)
    assert (distribution.take_greatest(), distribution.take_greatest()) == (7.0, 0.0)
