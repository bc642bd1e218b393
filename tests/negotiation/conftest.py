"""Accounts of its own for each test of the negotiation that wants them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.accounts.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Accounts on a new database."""
    made = World(tmp_path)
    yield made
    made.close()
