"""profanity, a client in a terminal, makes its keys: a list of its devices, and the bundle of this one."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from msgd.console.client import ask
from tests.clients.conftest import People
from tests.harness import PASSWORD, Msgd

#: Seconds that anything may take: keys are made.
_PATIENCE = 60.0
#: Seconds between two looks.
_PAUSE = 0.1


class Terminal:
    """profanity on a pseudo-terminal of its own."""

    def __init__(self, home: Path, server: Msgd, jid: str) -> None:
        home.mkdir()
        self.seen = ""
        self._end, inside = pty.openpty()
        self._process = subprocess.Popen(
            ["profanity"],
            stdin=inside, stdout=inside, stderr=inside, close_fds=True, start_new_session=True,
            env={**os.environ, "HOME": str(home), "TERM": "screen", "COLUMNS": "140", "LINES": "45",
                 "XDG_CONFIG_HOME": str(home), "XDG_DATA_HOME": str(home)},
        )  # fmt: skip
        os.close(inside)
        self.until(lambda: "to show complete help" in self.seen)
        host, port = server.address(False)
        self.enter(f"/connect {jid} server {host} port {port} tls trust")
        self.until(lambda: "password" in self.seen.lower())
        self.enter(PASSWORD)
        self.until(lambda: "logged in successfully" in self.seen)

    def enter(self, line: str) -> None:
        """Type a line."""
        os.write(self._end, line.encode() + b"\r")

    def until(self, condition: Callable[[], object]) -> None:
        """Look at the screen until something is so."""
        end = time.monotonic() + _PATIENCE
        while not condition():
            assert time.monotonic() < end, self.seen[-2000:]
            if select.select([self._end], [], [], _PAUSE)[0]:
                self.seen += os.read(self._end, 65536).decode(errors="replace")

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(_PATIENCE)
        os.close(self._end)


@contextmanager
def terminal(home: Path, server: Msgd, jid: str) -> Iterator[Terminal]:
    """profanity, logged in."""
    made = Terminal(home, server, jid)
    try:
        yield made
    finally:
        with suppress(OSError):
            made.close()


def _remarks(server: Msgd, jid: str) -> list[str]:
    """What the console says of the account's keys of the namespace that profanity knows."""
    rows = ask(server.data / "console", f"omemo {jid}")["rows"]
    return [row["remarks"] for row in rows if "axolotl" in row["namespace"]]


def test_it_makes_its_keys(server: Msgd, people: People, tmp_path: Path) -> None:
    if shutil.which("profanity") is None:
        pytest.skip("profanity is not installed")
    jid = people("romeo")
    with terminal(tmp_path / "romeo", server, jid) as romeo:
        romeo.enter("/omemo gen")
        # The list of its devices, and the bundle of this one.
        romeo.until(lambda: _remarks(server, jid) == ["ok", "ok"])
