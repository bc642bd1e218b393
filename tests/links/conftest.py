"""One world for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forks import ForkServer
from tests.links.world import World


@pytest.fixture
def world(tmp_path: Path, forks: ForkServer) -> Iterator[World]:
    """Nobody is in it yet."""
    made = World(tmp_path, forks)
    yield made
    made.close()
