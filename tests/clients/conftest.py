"""One server for the clients, with people enough; who commands the server has one of his own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.forks import ForkServer
from tests.harness import Msgd, NewAccount

_NAMES = ("romeo", "juliet", "nurse")
_MOST = 120

People = Callable[[str], str]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, forks: ForkServer) -> Iterator[Msgd]:
    """The server that all share; it must also end well."""
    accounts = [NewAccount(f"{name}-{number}") for name in _NAMES for number in range(_MOST)]
    made = Msgd(tmp_path_factory.mktemp("clients"), accounts=accounts, forks=forks)
    made.start()
    yield made
    made.stop()
    assert "Traceback" not in made.log.read_text()


_numbers = itertools.count()


@pytest.fixture
def people() -> People:
    """Fresh addresses, the same for the same name within a test: `people('romeo')`."""
    number = next(_numbers)
    return lambda name: f"{name}-{number}@localhost"
