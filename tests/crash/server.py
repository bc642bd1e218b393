"""Real servers, started in milliseconds: a process that has msgd loaded forks one for each start.

What runs is `msgd serve` as from the command line; only the time that Python takes to load the code is
saved. A server that is dead is known by the end of its standard output.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from tests.faults.shim import Faults, library
from tests.harness import PATIENCE, ROOT, Msgd, NewAccount, ServerFailed


def has_compiler() -> bool:
    """Whether disks can be made to fail here (see `tests.faults.shim`)."""
    return any(map(shutil.which, ("cc", "gcc", "clang")))


class ForkServer:
    """The process that forks servers; `variant` is the name of a deliberate defect (`broken.py`)."""

    def __init__(self, variant: str = "") -> None:
        self._variant = variant
        self._one_by_one = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> ForkServer:
        preload = {"LD_PRELOAD": str(library())} if has_compiler() else {}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.crash.fork_server", self._variant,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
            env={**os.environ, **preload},
        )  # fmt: skip
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def fork(self, arguments: list[str], output: Path, log: Path, environment: dict[str, str]) -> int:
        """Run `msgd` with these arguments; the number of its process."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        request = {
            "arguments": arguments,
            "output": str(output),
            "log": str(log),
            "environment": environment,
        }
        async with self._one_by_one:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            return int(await process.stdout.readline())


class Server:
    """One server on one data directory, which is made as a copy of `template` when there is one."""

    def __init__(self, forks: ForkServer, data: Path, template: Path | None = None) -> None:
        self._forks = forks
        self.data = data
        if template is not None:
            shutil.copytree(template, data, ignore=shutil.ignore_patterns("output", "log"))
        self.files = Msgd(data)
        self.pid = 0
        self.address = ("", 0)
        #: The disk of the database; None where it cannot be made to fail.
        self.disk: Faults | None = None
        if has_compiler():
            self.disk = Faults(data / "faults", under=data / "msgd.sqlite")
        #: Done when the process is gone, with all that it held.
        self.gone: asyncio.Future[bytes] | None = None

    @classmethod
    async def template(cls, forks: ForkServer, data: Path, accounts: list[NewAccount]) -> None:
        """Make a data directory with accounts, schema and certificate, to be copied."""
        Msgd(data, accounts=accounts)
        server = cls(forks, data)
        await server.start()
        await server.stop()

    async def start(self) -> None:
        """Start, and return when clients can connect. Raises ServerFailed."""
        pipe = self.data / "output"
        if not pipe.exists():
            os.mkfifo(pipe)
        descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        output = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output), os.fdopen(descriptor, "rb")
        )
        arguments = ["serve", "--config", str(self.files.configuration)]
        environment = self.disk.environment if self.disk is not None else {}
        self.pid = await self._forks.fork(arguments, pipe, self.files.log, environment)
        try:
            ready = await asyncio.wait_for(self._ready(output), PATIENCE)
        except (TimeoutError, EOFError):
            self.kill()
            raise ServerFailed(f"msgd did not start:\n{self.files.tail()}") from None
        host, _, port = ready["client-tls"].rpartition(":")
        self.address = (host.strip("[]"), int(port))
        self.gone = asyncio.ensure_future(output.read())

    @staticmethod
    async def _ready(output: asyncio.StreamReader) -> dict[str, str]:
        while line := (await output.readline()).decode():
            if line.startswith("ready "):
                return dict(word.split("=", 1) for word in line.split()[1:])
        raise EOFError

    def kill(self) -> None:
        """SIGKILL, in this very moment."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    async def dead(self) -> None:
        """Until the process is gone. Raises ServerFailed."""
        assert self.gone is not None  # it was started
        try:
            await asyncio.wait_for(self.gone, PATIENCE)
        except TimeoutError:
            raise ServerFailed(f"msgd does not end:\n{self.files.tail()}") from None

    async def stop(self) -> None:
        """SIGTERM, and wait for the end."""
        os.kill(self.pid, signal.SIGTERM)
        await self.dead()
