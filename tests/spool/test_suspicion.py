"""Which message is why another server ends its streams."""

from __future__ import annotations

from typing import Any, cast

import pytest

from msgd.spool.link_entry import LinkEntry
from msgd.spool.suspicion import Suspicion

BACKLOG = cast(Any, None)  # which of them it is does not matter
FIRST, SECOND, THIRD = (LinkEntry(id, BACKLOG, b"<message/>") for id in (1, 2, 3))


@pytest.mark.parametrize(
    ("condition", "times"), [("policy-violation", 3), ("invalid-from", 3), ("internal-server-error", 8)]
)
def test_the_message_over_which_streams_end_goes_back(condition: str, times: int) -> None:
    suspicion = Suspicion()
    told = [suspicion.ended(condition, [SECOND]) for _ in range(times)]
    assert told == [None] * (times - 1) + [SECOND]


@pytest.mark.parametrize("condition", ["connection-timeout", "system-shutdown", "resource-constraint", ""])
def test_ends_that_have_other_reasons_are_no_suspicion(condition: str) -> None:
    suspicion = Suspicion()
    assert [suspicion.ended(condition, [FIRST]) for _ in range(20)] == [None] * 20
    assert suspicion.upto == 0


def test_of_several_nobody_knows_which_so_they_go_one_at_a_time() -> None:
    suspicion = Suspicion()
    assert [suspicion.ended("policy-violation", [FIRST, SECOND]) for _ in range(20)] == [None] * 20
    assert suspicion.allows(FIRST, under_way=False)
    assert not suspicion.allows(SECOND, under_way=True)
    assert suspicion.allows(SECOND, under_way=False)
    # What came later is not suspected, but waits for those that are.
    assert not suspicion.allows(THIRD, under_way=True)
    assert suspicion.upto
    assert suspicion.allows(THIRD, under_way=False)
    assert not suspicion.upto


def test_it_has_to_be_the_same_one_each_time() -> None:
    suspicion = Suspicion()
    assert suspicion.ended("policy-violation", [FIRST]) is None
    assert suspicion.ended("policy-violation", [FIRST]) is None
    assert suspicion.ended("policy-violation", [SECOND]) is None
    assert suspicion.ended("policy-violation", [FIRST]) is None
