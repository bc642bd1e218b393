"""Waiting for what has to happen, with a limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

#: Seconds that anything may take; on a busy machine much less is enough.
PATIENCE = 30.0


async def until(condition: Callable[[], object], what: str = "what was waited for") -> None:
    """Return as soon as `condition` holds. Raises AssertionError when it never does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        await asyncio.sleep(0.005)
