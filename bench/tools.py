"""The load generator, which is no part of the project: `xload`, `compare`, in the folder MSGD_BENCH_TOOLS."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.harness import ROOT, NewAccount, add_accounts, free_ports

VARIABLE: Final = "MSGD_BENCH_TOOLS"


class NoTools(SystemExit):
    """The load generator is not there; the text says what to do."""


def folder() -> Path:
    """Where the load generator is, built. Raises NoTools."""
    named = os.environ.get(VARIABLE, "")
    found = Path(named)
    if not named or not (found / "xload.c").exists():
        raise NoTools(f"{VARIABLE} has to name the folder of the load generator (xload.c, compare)")
    if not (found / "xload").exists():
        subprocess.run(["make", "-s", "-C", str(found)], check=True)
    return found


def people(data: Path, count: int) -> None:
    """The accounts that the load generator uses, written at once: registering them takes minutes."""
    data.mkdir(parents=True, exist_ok=True)
    accounts = (NewAccount(f"u{number:05d}", password="pw") for number in range(count))
    add_accounts(data / "msgd.sqlite", accounts)


class Loaded:
    """A server that `bench/start` started, under load."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self._port = port

    def load(self, *words: str) -> dict[str, Any]:
        """One run of the load generator; what it says. Raises OSError."""
        command = [str(folder() / "xload"), *words, "--port", str(self._port)]
        done = subprocess.run(
            [*command, "--server-pid", str(self.pid)], capture_output=True, text=True, check=False
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if not lines:
            raise OSError(f"the load generator says: {done.stderr[-300:]}")
        found: dict[str, Any] = json.loads(lines[-1])
        if found.get("error"):
            raise OSError(f"{' '.join(words)}: {found['error']}")
        return found


def _two_ports() -> int:
    """A port that is free, and the next one too."""
    while True:
        (port,) = free_ports(1)
        with socket.socket() as probe:
            if port < 65000 and probe.connect_ex(("127.0.0.1", port + 1)):
                return port


@contextmanager
def started(data: Path, **environment: str) -> Iterator[Loaded]:
    """A server with its data in `data`, until the end."""
    port = _two_ports()
    wanted: Mapping[str, str] = {**os.environ, **environment}
    said = subprocess.run(
        [str(ROOT / "bench" / "start"), str(data), str(port)],
        stdout=subprocess.PIPE, text=True, check=True, env=wanted,
    ).stdout  # fmt: skip
    pid = int(said.strip().removeprefix("pid="))
    try:
        yield Loaded(pid, port)
    finally:
        os.kill(pid, signal.SIGTERM)
        while Path(f"/proc/{pid}/stat").exists() and _alive(pid):
            time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
