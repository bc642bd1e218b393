"""Instructions of Python's machine for one message: finer than calls, and as stable.

Each version of Python has instructions of its own, so the figures are for one; elsewhere they are printed.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

from tests.routing.world import World
from tests.work.test_calls import Talk, with_spool, world

__all__ = ["with_spool", "world"]  # fixtures

_MESSAGES: Final = 50
#: The version that is counted, and the most: neither client with stream management, and both.
_VERSION: Final = (3, 11)
_PLAIN: Final = 1165
_MANAGED: Final = 2350
#: How much less is worth a lower bound.
_LESS: Final = 0.95


def _counted(work: Callable[[], None]) -> Counter[str]:
    """Instructions that `work` takes, by the module whose code they are."""
    done: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            done[Path(frame.f_code.co_filename).stem] += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return done


@pytest.mark.parametrize(("managed", "most"), [(False, _PLAIN), (True, _MANAGED)], ids=["plain", "managed"])
def test_instructions_for_one_message(with_spool: World, managed: bool, most: int) -> None:
    talk = Talk(with_spool, managed)
    talk.go_on(range(30))  # caches fill, and code that runs often is adapted
    done = _counted(lambda: talk.go_on(range(30, 30 + _MESSAGES)))
    for module, count in done.most_common():
        print(f"{count / _MESSAGES:8.1f} {module}")
    total = done.total() / _MESSAGES
    print(f"{total:8.1f} in all, at most {most}")
    if sys.version_info[:2] == _VERSION:
        assert total <= most
        assert total > most * _LESS, "it takes less now: lower the bound, so that it stays so"
