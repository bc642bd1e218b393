"""What an idle session takes of a real server's memory, TLS included, and the formula that is published."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Final

import pytest

from bench.scrape import kib
from bench.town import Phone, built, come
from tests.work import test_memory

_SPEC: Final = Path(__file__).parents[2] / "protocol_spec" / "memory.md"
_WARM, _COUNT = 100, 400


@pytest.fixture(scope="module")
def text() -> str:
    """The published formula."""
    return _SPEC.read_text("utf-8")


def test_the_formula_is_what_is_held(text: str) -> None:
    (fixed,) = re.findall(r"session = (\d+) \+ tls", text)
    (each,) = re.findall(r"not acknowledged: its bytes \+ (\d+)", text)
    assert (int(fixed), int(each)) == (test_memory._FIXED, test_memory._EACH)


def test_idle_sessions(tmp_path: Path, text: str) -> None:
    (most,) = re.findall(r"takes less than (\d+) KiB", text)
    names = [f"u{number}" for number in range(_WARM + _COUNT)]
    server = built(tmp_path / "data", names)
    server.start()

    async def scene() -> float:
        phones = [Phone(name) for name in names]
        await come(server, phones[:_WARM])
        before = kib(server.pid)
        await come(server, phones[_WARM:])
        await phones[0].ping()
        after = kib(server.pid)
        for phone in phones:
            phone.cut()
        return (after - before) / _COUNT

    try:
        each = asyncio.run(asyncio.wait_for(scene(), 90))
    finally:
        server.kill()
    print(f"\n{each:.1f} KiB for a session, at most {most}")
    assert each <= int(most)
