"""Ids of entries: in the order of acceptance, whatever the clock does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from msgd.spool.entry import Ids, accepted_at, checksum, id_at

_MOMENTS = st.floats(min_value=0, max_value=4e9, allow_nan=False)


@given(last=st.integers(0, 2**62), clock=st.lists(_MOMENTS, min_size=1, max_size=50))
def test_ids_only_grow(last: int, clock: list[float]) -> None:
    moments = iter(clock)
    ids = Ids(lambda: next(moments), last)
    made = [ids.next() for _ in clock]
    assert all(one < other for one, other in zip([last, *made], made, strict=False))


def test_an_id_tells_when_it_was_made() -> None:
    made = Ids(lambda: 1_800_000_000.25).next()
    assert accepted_at(made) == 1_800_000_000.25


def test_a_clock_that_goes_back_does_not_take_ids_back() -> None:
    moments = iter([1000.0, 10.0, 1000.001])
    ids = Ids(lambda: next(moments))
    one, other, third = ids.next(), ids.next(), ids.next()
    assert other == one + 1
    assert accepted_at(third) == 1000.001
    assert third >= id_at(1000.001)


def test_a_million_in_a_millisecond() -> None:
    """More than the counter holds run over into milliseconds to come, and stay in order."""
    ids = Ids(lambda: 1.0)
    first = ids.next()
    ids.last += 2_000_000
    assert ids.next() == first + 2_000_001


@given(st.integers(0, 2**31), st.integers(0, 2**62), st.binary(max_size=50), st.data())
def test_the_checksum_covers_bytes_and_key(account: int, id: int, raw: bytes, data: st.DataObject) -> None:
    right = checksum(account, id, raw)
    assert checksum(account + 1, id, raw) != right
    assert checksum(account, id + 1, raw) != right
    if raw:
        at = data.draw(st.integers(0, len(raw) - 1))
        assert checksum(account, id, raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]) != right
