"""A real msgd for tests: a child process with its own data directory and ports from the system.

`Msgd` is used by the transcripts, the crash harness and whoever needs a whole server. It is ready when it
has said so on its standard output, never after a pause. Accounts are written into the database before the
first start: their verifiers are worked out once, so a thousand accounts cost nothing. With a fork server (the
fixture `forks`) a start takes 0.05 s; without one the command is run as by an operator, which takes 0.8 s.
"""

from __future__ import annotations

import os
import queue
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, TextIO

from msgd.accounts.credentials import HASHES, LEAST_ITERATIONS, Verifier, derive
from msgd.console.client import NoConsole, ask
from msgd.storage.sqlite_file import SqliteFile
from tests.forks import ROOT as ROOT
from tests.forks import ForkServer, Process, server_environment

#: How long a start or a stop may take on a busy machine, in seconds.
PATIENCE = 60.0
PASSWORD = "secret"
#: Below what Linux (32768) and others (49152) give to connections.
_FIXED_PORTS: Final = (16384, 32768)


class ServerFailed(OSError):
    """The server did not start, or did not stop; the text has the end of its log."""


@dataclass(frozen=True)
class NewAccount:
    """An account to be there when the server starts; the name is prepared already."""

    local: str
    domain: str = "localhost"
    password: str = PASSWORD
    disabled: bool = False


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now; only for servers that cannot take a port from the system, or need it again.

    They are below those that the system gives to connections: one of these may have it while the server is
    down.
    """
    found: dict[int, socket.socket] = {}
    while len(found) < count:
        port = random.randrange(*_FIXED_PORTS)
        with suppress(OSError):
            if port not in found:
                found[port] = socket.create_server(("127.0.0.1", port))
    for each in found.values():
        each.close()
    return list(found)


@cache
def _verifiers(password: str) -> dict[str, Verifier]:
    salt = b"sixteen bytes ok"
    return {name: derive(name, password.encode(), salt, LEAST_ITERATIONS) for name in HASHES}


@cache
def _empty_database() -> bytes:
    """One with the schema of this msgd, which takes a while to make."""
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory) / "msgd.sqlite"
        SqliteFile(made, claim=False).close()
        return made.read_bytes()


def add_accounts(database: Path, accounts: Iterable[NewAccount]) -> None:
    """Write accounts into a database, which is made when missing. No server may be running."""
    if not database.exists():
        database.touch(0o600)
        database.write_bytes(_empty_database())
    SqliteFile(database, claim=False).close()
    connection = sqlite3.connect(database)
    with connection:
        for account in accounts:
            cursor = connection.execute(
                "INSERT INTO account (domain, name, created, disabled) VALUES (?, ?, ?, ?)",
                (account.domain, account.local, int(time.time()), account.disabled),
            )
            connection.executemany(
                "INSERT INTO credential VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (cursor.lastrowid, name, kept.salt, kept.iterations, kept.stored_key,
                     kept.server_key)
                    for name, kept in _verifiers(account.password).items()
                ],
            )  # fmt: skip
    connection.close()


class Msgd:
    """One server and its data directory; may be started, stopped and killed any number of times.

    `options` are lines of TOML with dotted keys (`registration.open = true`). `environment` is added to
    the child's. The clock of a `movable` server can be advanced. It is forked from `forks`, else started.
    """

    def __init__(
        self,
        data: Path,
        options: Iterable[str] = (),
        accounts: Iterable[NewAccount] = (),
        domain: str = "localhost",
        environment: dict[str, str] | None = None,
        movable: bool = False,
        forks: ForkServer | None = None,
    ) -> None:
        self.data = data
        self.domain = domain
        #: Of transcripts with other servers: who issues their certificates.
        self.authority: Any = None
        self.environment = dict(environment or {})
        if movable:
            self.environment["MSGD_TEST_CLOCK"] = "1"
        self.configuration = data / "msgd.toml"
        self.log = data / "log"
        self.process: Process | None = None
        self._forks = forks
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.ready: dict[str, str] = {}
        data.mkdir(parents=True, exist_ok=True)
        data.chmod(0o700)
        self.configure(options)
        add_accounts(data / "msgd.sqlite", accounts)

    def configure(self, options: Iterable[str]) -> None:
        """Write the configuration file."""
        lines = {
            "domain": f'domain = "{self.domain}"',
            "data": f'data = "{self.data}"',
            "listen.addresses": 'listen.addresses = ["127.0.0.1"]',
            "listen.client": "listen.client = 0",
            "listen.client_tls": "listen.client_tls = 0",
            "listen.component": "listen.component = 0",
            "listen.server": "listen.server = false",
            "listen.server_tls": "listen.server_tls = false",
            # Names of other domains are asked of nobody's DNS.
            "federation.enabled": "federation.enabled = false",
            # Every actor comes from one address, and many log in wrongly on purpose.
            "login.failures_per_address": "login.failures_per_address = 10000",
        }
        for option in options:
            lines[option.partition("=")[0].strip()] = option
        self.configuration.write_text("\n".join(lines.values()) + "\n")

    def start(self) -> None:
        """Start, and return when it listens. Raises ServerFailed."""
        readable, writable = os.pipe()
        output = os.fdopen(readable)
        try:
            with self.log.open("ab") as log:
                self.process = self._run(writable, log.fileno())
        except BaseException:
            output.close()
            raise
        finally:
            os.close(writable)
        self._lines = queue.Queue()
        threading.Thread(target=self._read, args=(output, self._lines), daemon=True).start()
        line = self._await("ready ")
        self.ready = dict(word.split("=", 1) for word in line.split()[1:])

    def _run(self, output: int, errors: int) -> Process:
        """The process of the server, with these descriptors for what it says."""
        arguments = ["serve", "--config", str(self.configuration)]
        environment = server_environment(self.environment)
        if self._forks is not None:
            return self._forks.start(arguments, self.data, environment, output, errors)
        return subprocess.Popen(
            [sys.executable, "-m", "msgd", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=environment,
            cwd=self.data,
        )

    def _read(self, output: TextIO, lines: queue.Queue[str | None]) -> None:
        """Pass on what the server says, in a thread."""
        with output, self.log.open("a") as log:
            for line in output:
                log.write(line)
                log.flush()
                lines.put(line)
        lines.put(None)

    def _await(self, beginning: str) -> str:
        """The next line of its output that begins so. Raises ServerFailed."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                self.kill()
                raise ServerFailed(f"msgd did not say '{beginning}':\n{self.tail()}")
            if line.startswith(beginning):
                return line

    @property
    def pid(self) -> int:
        """The process."""
        assert self.process is not None
        return self.process.pid

    def address(self, direct: bool = False, servers: bool = False) -> tuple[str, int]:
        """Where clients, or other servers, connect: STARTTLS, or TLS from the start."""
        name = ("server" if servers else "client") + ("-tls" if direct else "")
        host, _, port = self.ready[name].rpartition(":")
        return host.strip("[]"), int(port)

    def component_address(self) -> tuple[str, int]:
        """Where components connect."""
        host, _, port = self.ready["component"].rpartition(":")
        return host, int(port)

    def stop(self) -> None:
        """SIGTERM, and wait for the end. Raises ServerFailed when it does not end well."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                status = self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
                raise ServerFailed(f"msgd does not stop:\n{self.tail()}") from None
            self.process = None
            if status != 0:
                raise ServerFailed(f"msgd stopped with status {status}:\n{self.tail()}")

    def kill(self) -> None:
        """SIGKILL, and wait."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def reload(self) -> None:
        """SIGHUP."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def memory(self) -> int:
        """KiB of memory that the process has; of a forked one it would be told with what it shares."""
        assert self._forks is None, "memory is measured of a server that was started"
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def tail(self, lines: int = 40) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])

    def command(self, line: str) -> str:
        """A command of the console, by its unix socket; its answer in lines. Raises ServerFailed."""
        try:
            answer = ask(self.data / "console", line)
        except NoConsole as error:
            raise ServerFailed(f"{error}\n{self.tail()}") from None
        if not answer["ok"]:
            raise ServerFailed(f"`{line}`: {answer['error']}")
        rows = [" ".join(map(str, row.values())) for row in answer.get("rows", ())]
        return "\n".join([*answer.get("text", ()), *rows])

    def advance(self, seconds: float) -> None:
        """Move the clock of a movable server; what becomes due happens."""
        self.command(f"clock advance {seconds:g}")
