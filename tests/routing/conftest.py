"""A world of its own for each test of the routing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.routing.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A server without doors."""
    made = World(tmp_path)
    yield made
    made.close()
