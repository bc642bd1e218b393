"""Servers for a tenth of the price: a process that has msgd loaded forks them (`tests/fork_server.py`).

What runs is `msgd` as from the command line; only the time that Python takes to load the code is saved. Who
measures memory or the start itself, or needs something preloaded, starts the command (`tests/harness.py`).
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

ROOT = Path(__file__).resolve().parents[1]
#: Beginnings of what loader, interpreter and libraries read once, when a process starts.
_READ_AT_THE_START: Final = ("LD_", "PYTHON", "LANG", "LC_", "MALLOC_", "OPENSSL_")


def server_environment(more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a server."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


class Process(Protocol):
    """A server's process, forked or started."""

    @property
    def pid(self) -> int:
        """Its number."""

    def send_signal(self, sig: int) -> None:
        """Unless it has ended."""

    def kill(self) -> None:
        """SIGKILL."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, negative for a signal. Raises TimeoutExpired; `timeout` is in seconds."""


class Forked:
    """A process that `ForkServer` forked, used as if it was one of `subprocess`."""

    def __init__(self, pid: int, report: int) -> None:
        self.pid = pid
        self._report = report
        self._status: int | None = None

    def send_signal(self, sig: int) -> None:
        """Unless it has ended."""
        try:
            self.wait(0)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, negative for a signal. Raises TimeoutExpired; `timeout` is in seconds."""
        if self._status is None:
            events = select.poll()
            events.register(self._report, select.POLLIN)
            if not events.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired("msgd", timeout or 0)
            # Nothing comes where the fork server died: the process did with it.
            self._status = int(os.read(self._report, 16) or -signal.SIGKILL)
            os.close(self._report)
        return self._status


class ForkServer:
    """The process that forks servers, until it is closed or its owner dies.

    `environment` is added to this process's; `applied` is a module and the argument of its `apply`, which
    changes what is forked.
    """

    def __init__(
        self, environment: Mapping[str, str] | None = None, applied: tuple[str, str] | None = None
    ) -> None:
        self._environment = server_environment(environment or {})
        self._one_at_a_time = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server", *(applied or ())],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=self._environment,
                cwd=ROOT,
            )

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def close(self) -> None:
        """End it; servers that still run are killed."""
        self._control.close()
        self._process.wait()

    def start(
        self,
        arguments: Sequence[str],
        directory: Path,
        environment: Mapping[str, str],
        output: int,
        errors: int,
    ) -> Forked:
        """Run `msgd` with these arguments; `output` and `errors` are descriptors, which stay open here.

        Raises ValueError for an environment that a forked process cannot have, OSError when nothing can be
        forked.
        """
        for name in sorted({*environment, *self._environment}):
            if name.startswith(_READ_AT_THE_START) and environment.get(name) != self._environment.get(name):
                raise ValueError(f"{name} is another one than the fork server was started with")
        request = {
            "arguments": list(arguments),
            "directory": str(directory),
            "environment": dict(environment),
        }
        report, status = os.pipe()
        try:
            with self._one_at_a_time:
                sent = json.dumps(request).encode()
                socket.send_fds(self._control, [sent], [output, errors, status])
                answer = self._control.recv(16)
            if not answer:
                raise ConnectionError("the fork server has ended")
        except BaseException:
            os.close(report)
            raise
        finally:
            os.close(status)
        return Forked(int(answer), report)
