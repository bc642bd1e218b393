"""Work that may have to wait: what comes of it, at once or later."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from msgd.coroutines import begin


class Told:
    """What `begin` told."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.errors: list[Exception] = []

    def begin(self, work: Any) -> Told:
        begin(work, self.results.append, self.errors.append)
        return self


@pytest.fixture
def told() -> Told:
    return Told()


async def _sum(*parts: Deferred[int]) -> int:
    return sum([await part for part in parts])


def test_what_need_not_wait_is_over_at_once(told: Told) -> None:
    assert told.begin(_sum(succeed(1), succeed(2))).results == [3]


def test_what_has_to_wait_goes_on_afterwards(told: Told) -> None:
    first: Deferred[int] = Deferred()
    second: Deferred[int] = Deferred()
    told.begin(_sum(first, succeed(10), second))
    first.callback(1)
    assert told.results == []
    second.callback(2)
    assert told.results == [13]


def test_errors(told: Told) -> None:
    async def defective() -> None:
        raise LookupError

    told.begin(defective())
    told.begin(_sum(fail(OSError())))
    later: Deferred[int] = Deferred()
    told.begin(_sum(later))
    later.errback(ValueError("later"))
    assert [type(error) for error in told.errors] == [LookupError, OSError, ValueError]
    assert told.results == []


def test_an_error_can_be_caught_where_it_is_waited_for(told: Told) -> None:
    later: Deferred[int] = Deferred()

    async def careful() -> str:
        try:
            await later
        except ValueError as error:
            return f"{error}, and {await succeed('on')}"
        return ""

    told.begin(careful())
    later.errback(ValueError("caught"))
    assert (told.results, told.errors) == (["caught, and on"], [])


def test_many_that_are_ready_need_no_deep_stack(told: Told) -> None:
    assert told.begin(_sum(*map(succeed, range(5000)))).results == [sum(range(5000))]


def test_a_defect_of_the_end_is_not_one_of_the_work() -> None:
    told = Told()

    def end(_: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        begin(_sum(succeed(1)), end, told.errors.append)
    assert told.errors == []
