"""Servers that live for some tenths of a second, forked from one that has msgd loaded (`tests/forks.py`).

A server that is dead is known by the end of its standard output.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

from tests.faults.shim import Faults, library
from tests.forks import Forked, ForkServer, server_environment
from tests.harness import PATIENCE, Msgd, NewAccount, ServerFailed


def has_compiler() -> bool:
    """Whether disks can be made to fail here (see `tests.faults.shim`)."""
    return any(map(shutil.which, ("cc", "gcc", "clang")))


def fork_server(variant: str = "") -> ForkServer:
    """One for servers whose disk can be made to fail; `variant` is a deliberate defect (`broken.py`)."""
    preload = {"LD_PRELOAD": str(library())} if has_compiler() else {}
    return ForkServer(preload, ("tests.crash.broken", variant) if variant else None)


class Server:
    """One server on one data directory, which is made as a copy of `template` when there is one."""

    def __init__(self, forks: ForkServer, data: Path, template: Path | None = None) -> None:
        self._forks = forks
        self.data = data
        if template is not None:
            shutil.copytree(template, data, ignore=shutil.ignore_patterns("log"))
        self.files = Msgd(data)
        self._process: Forked | None = None
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
        readable, writable = os.pipe()
        output = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output), os.fdopen(readable, "rb")
        )
        try:
            self._process = await asyncio.to_thread(self._fork, writable)
        finally:
            os.close(writable)
        try:
            ready = await asyncio.wait_for(self._ready(output), PATIENCE)
        except (TimeoutError, EOFError):
            self.kill()
            await asyncio.to_thread(self._process.wait)
            raise ServerFailed(f"msgd did not start:\n{self.files.tail()}") from None
        host, _, port = ready["client-tls"].rpartition(":")
        self.address = (host.strip("[]"), int(port))
        self.gone = asyncio.ensure_future(output.read())

    def _fork(self, output: int) -> Forked:
        arguments = ["serve", "--config", str(self.files.configuration)]
        environment = server_environment(self.disk.environment if self.disk is not None else {})
        with self.files.log.open("ab") as log:
            return self._forks.start(arguments, self.data, environment, output, log.fileno())

    @staticmethod
    async def _ready(output: asyncio.StreamReader) -> dict[str, str]:
        while line := (await output.readline()).decode():
            if line.startswith("ready "):
                return dict(word.split("=", 1) for word in line.split()[1:])
        raise EOFError

    def kill(self) -> None:
        """SIGKILL, in this very moment."""
        if self._process is not None:
            self._process.kill()

    async def dead(self) -> None:
        """Until the process is gone. Raises ServerFailed."""
        assert self.gone is not None and self._process is not None  # it was started
        try:
            await asyncio.wait_for(self.gone, PATIENCE)
        except TimeoutError:
            raise ServerFailed(f"msgd does not end:\n{self.files.tail()}") from None
        await asyncio.to_thread(self._process.wait)

    async def stop(self) -> None:
        """SIGTERM, and wait for the end. Raises ServerFailed when it does not end well."""
        assert self._process is not None  # it was started
        self._process.send_signal(signal.SIGTERM)
        await self.dead()
        status = self._process.wait()
        if status:
            raise ServerFailed(f"msgd stopped with status {status}:\n{self.files.tail()}")
