"""A server with a console for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from msgd.console.password import hash_password
from tests.forks import ForkServer
from tests.harness import Msgd, NewAccount, free_ports


@pytest.fixture(scope="module")
def tcp_port() -> int:
    """A port for the console on TCP."""
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tcp_port: int, forks: ForkServer) -> Iterator[Msgd]:
    """A server with some accounts, and both doors of the console open."""
    names = ("romeo", "juliet", "mercutio", "tybalt", "nurse")
    made = Msgd(
        tmp_path_factory.mktemp("console"),
        options=[
            f"console.tcp = {tcp_port}",
            'console.user = "friar"',
            f'console.password = "{hash_password("sleeping draught")}"',
        ],
        accounts=[NewAccount(name) for name in names],
        forks=forks,
    )
    made.start()
    yield made
    made.stop()
    assert "Traceback" not in made.log.read_text()
