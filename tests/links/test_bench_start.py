"""`bench/start` with links: a federation can be set up around it from outside, by its variables."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import NewAccount, add_accounts, free_ports
from tests.links.world import Someone, World

_START = Path(__file__).parents[2] / "bench" / "start"


def _two_ports() -> int:
    """The first of two free ports, one behind the other."""
    while True:
        (first,) = free_ports(1)
        try:
            with socket.create_server(("127.0.0.1", first + 1)):
                return first
        except OSError:
            continue


class Started:
    """A server that `bench/start` has started."""

    def __init__(self, world: World, domain: str, person: str) -> None:
        self.domain = domain
        self._data = world.directory / domain
        self._data.mkdir(mode=0o700)
        add_accounts(self._data / "msgd.sqlite", [NewAccount(person, domain)])
        certificate, key = world.authority.issue(domain, domain)
        self._port, links = _two_ports(), _two_ports()
        world.dns.service(domain, "localhost", links)
        self._environment = {
            **os.environ,
            "XB_DOMAIN": domain,
            "XB_S2S_PORT": str(links),
            "XB_DNS": f"127.0.0.1:{world.dns.port}",
            "XB_CA": str(world.authority.file),
            "XB_CERT": str(certificate),
            "XB_KEY": str(key),
            "MSGD_PYTHON": sys.executable,
        }
        self._pid = 0

    def start(self) -> None:
        """Start; it accepts connections when this returns."""
        said = subprocess.run(
            [_START, self._data, str(self._port)],
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        self._pid = int(said.partition("pid=")[2].split()[0])

    def address(self, direct: bool = False) -> tuple[str, int]:
        """Where clients connect."""
        return "127.0.0.1", self._port + direct

    def stop(self) -> None:
        """End it."""
        self.kill()

    def kill(self) -> None:
        """SIGKILL."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            self._pid = 0


@pytest.fixture
def servers(world: World) -> tuple[Started, Started]:
    """Of romeo and of juliet."""
    made = Started(world, "a.example", "romeo"), Started(world, "b.example", "juliet")
    for each in made:
        world.servers.append(each)
        each.start()
    return made


def test_servers_speak_with_each_other(servers: tuple[Started, Started]) -> None:
    romeo, juliet = (
        Someone(server, name).arrives() for server, name in zip(servers, ("romeo", "juliet"), strict=True)
    )
    romeo.says(juliet, "both")
    assert juliet.hears() == "both"
    juliet.says(romeo, "ways")
    assert romeo.hears() == "ways"
