"""XEP-0198 counters: what is acknowledged, when, and what clients may send as a number."""

from __future__ import annotations

import pytest

from msgd.routing.stream_management import Receipt, StreamManagement, counter


class _Client:
    """A managed stream whose answers are kept in `told`."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.sm = StreamManagement("id", True, self.told.append)

    def sends(self) -> Receipt:
        receipt = Receipt(self.sm.settled)
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
