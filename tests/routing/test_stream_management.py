"""XEP-0198 counters: what is acknowledged, when, and what clients may send as a number."""

from __future__ import annotations

from itertools import permutations

import pytest

from msgd.routing.stream_management import Receipt, StreamManagement, counter


class _Client:
    """A managed stream whose answers are kept in `told`."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.sm = StreamManagement("id", True, self.told.append)

    def sends(self) -> Receipt:
        receipt = Receipt()
        self.sm.count(receipt)
        return receipt


def test_a_request_is_answered_when_all_before_it_is_safe() -> None:
    client = _Client()
    first, second = client.sends(), client.sends()
    client.sm.request()
    second.settle()
    assert client.told == []
    first.settle()
    assert client.told == [2]


def test_a_request_does_not_wait_for_what_came_after_it() -> None:
    client = _Client()
    first = client.sends()
    client.sm.request()
    second = client.sends()
    client.sm.request()
    third = client.sends()
    first.settle()
    assert client.told == [1]
    second.settle()
    assert client.told == [1, 2]
    third.settle()
    assert client.told == [1, 2], "nobody asked for more"


def test_requests_before_one_stanza_are_answered_once() -> None:
    client = _Client()
    first = client.sends()
    client.sm.request()
    client.sm.request()
    first.settle()
    assert client.told == [1]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_in_whatever_order_they_become_safe(order: tuple[int, ...]) -> None:
    client = _Client()
    receipts = []
    for number in range(4):
        receipts.append(client.sends())
        if number in (1, 2):
            client.sm.request()
    settled: set[int] = set()
    answered = 0
    for number in order:
        receipts[number].settle()
        settled.add(number)
        safe = next((each for each in range(4) if each not in settled), 4)
        if answered < 3 and safe >= 2 and safe > answered:
            answered = safe
            assert client.told[-1] == safe
        assert client.told == sorted(client.told)
    assert answered >= 3
    assert len(client.told) <= 2


def test_a_request_behind_one_that_is_safe_waits_for_the_one_before() -> None:
    client = _Client()
    first, second = client.sends(), client.sends()
    second.settle()
    client.sm.request()
    assert client.told == []
    first.settle()
    assert client.told == [2]


def test_who_waits_for_all_is_told_in_whatever_order_they_become_safe() -> None:
    for order in permutations(range(3)):
        client = _Client()
        told: list[bool] = []
        receipts = [client.sends() for _ in range(3)]
        client.sm.when_safe(lambda told=told: told.append(True))  # type: ignore[misc]  # one for each
        for number in order[:-1]:
            receipts[number].settle()
            assert not told
        receipts[order[-1]].settle()
        assert told == [True]


def test_the_count_wraps() -> None:
    client = _Client()
    client.sm.received = 2**32 - 1
    first = client.sends()
    client.sm.request()
    second = client.sends()
    first.settle()
    assert client.told == [0]
    client.sm.request()
    second.settle()
    assert client.told == [0, 1]


def test_in_trouble_it_is_told_what_is_safe_so_far() -> None:
    client = _Client()
    first = client.sends()
    client.sends()
    client.sm.request()
    first.settle()
    client.sm.answer_partly()
    assert client.told == [1]


@pytest.mark.parametrize("text", ["", "-1", "+1", " 1", "1.0", "²", "٣", "4294967296", "9" * 5000])
def test_what_is_no_number_is_none(text: str) -> None:
    assert counter(text) is None


def test_numbers() -> None:
    assert counter("0") == 0
    assert counter("4294967295") == 2**32 - 1
