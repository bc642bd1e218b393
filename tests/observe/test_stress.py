"""Overload: when it begins, and when it is over."""

from __future__ import annotations

from msgd.observe.stress import Signal, Stress


def test_hysteresis() -> None:
    share = {"a": 0.0, "b": 0.0}
    stress = Stress([
        Signal("a", lambda: share["a"]),
        Signal("b", lambda: share["b"], calm=0.9),
    ])  # fmt: skip

    def look(times: int, a: float, b: float = 0.0) -> set[str]:
        share.update(a=a, b=b)
        for _ in range(times):
            stress.look()
        return set(stress.by)

    assert look(20, 0.99) == set()
    assert look(1, 1.0) == set()  # once is no overload
    assert look(1, 0.6) == set()
    assert look(2, 1.0) == {"a"}
    assert look(50, 0.5) == {"a"}  # better, and not calm
    assert look(9, 0.4) == {"a"}
    assert look(1, 0.6) == {"a"}  # from the beginning
    assert look(9, 0.4) == {"a"}
    assert look(1, 0.4) == set()
    assert look(2, 1.0, 1.0) == {"a", "b"}
    # Each ends by itself: what was not too much keeps nobody stressed.
    assert look(10, 0.0, 0.95) == {"b"}
    assert look(10, 0.0, 0.89) == set()
    assert stress.times == 2


def test_one_that_is_high_for_other_reasons_keeps_nothing_going() -> None:
    share = {"a": 1.0, "b": 0.97}
    stress = Stress([Signal("a", lambda: share["a"]), Signal("b", lambda: share["b"], calm=0.9)])
    stress.look()
    stress.look()
    assert stress.by == {"a"}
    share["a"] = 0
    for _ in range(10):
        stress.look()
    assert not stress.on
