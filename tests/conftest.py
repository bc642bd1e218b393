"""What servers are forked from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.forks import ForkServer


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    """For `Msgd`, wherever the start itself is not what is tested."""
    with ForkServer() as made:
        yield made
