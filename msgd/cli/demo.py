"""`msgd demo`: the promise, shown with a real server that is killed.

A server of its own on ports of its own in a temporary directory; two accounts; messages to somebody who is
not there; the acknowledgement; `kill -9`; a new start; the messages.
"""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from msgd.cli.demo_client import DemoClient, DemoFailed

_DOMAIN: Final = "localhost"
_MESSAGES: Final = ("Wherefore art thou?", "Meet me at the orchard.", "Bring the ladder.")


@click.command()
def demo() -> None:
    """Show in ten seconds that nothing acknowledged is lost, on real sockets."""
    with tempfile.TemporaryDirectory(prefix="msgd-demo-") as directory:
        try:
            _Demo(Path(directory)).play()
        except (DemoFailed, OSError) as error:
            raise click.ClickException(f"the demonstration failed: {error}") from None


class _Demo:
    """The server's data directory, and the story."""

    def __init__(self, directory: Path) -> None:
        self._data = directory / "data"
        self._log = directory / "log"
        self._trust = self._data / "certificates" / f"{_DOMAIN}.crt"
        self._passwords = {name: secrets.token_urlsafe(9) for name in ("romeo", "juliet")}
        self._begun = time.monotonic()

    def play(self) -> None:
        with self._server() as (process, address):
            self._say(f"a server runs: process {process.pid}, port {address[1]}, its data in a "
                      "temporary directory")  # fmt: skip
            for name, password in self._passwords.items():
                self._make_account(name, password)
            self._say("two accounts: romeo@localhost and juliet@localhost; Juliet is not online")
            with self._log_in("romeo", address) as romeo:
                self._say("Romeo logs in (TLS, SCRAM-SHA-256, stream management)")
                for number, body in enumerate(_MESSAGES):
                    romeo.send_message(f"juliet@{_DOMAIN}", f"m{number}", body)
                    self._say(f'Romeo writes to Juliet: "{body}"')
                romeo.wait_until_acknowledged(len(_MESSAGES))
                self._say(f"the server acknowledges {len(_MESSAGES)} stanzas (XEP-0198): "
                          "they are on the disk")  # fmt: skip
                process.send_signal(signal.SIGKILL)
                process.wait()
                self._say(f"kill -9 {process.pid}: no time to save anything")
        with self._server() as (process, address):
            self._say(f"the server is started again: process {process.pid}")
            with self._log_in("juliet", address) as juliet:
                self._say("Juliet logs in for the first time")
                juliet.become_available()
                received = []
                for body in _MESSAGES:
                    received.append(juliet.next_body())
                    self._say(f'Juliet receives: "{received[-1]}"')
                    if received[-1] != body:
                        raise DemoFailed("this is not what Romeo wrote")
                juliet.acknowledge_and_leave()
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        self._say(f"{len(received)} of {len(_MESSAGES)} acknowledged messages arrived, in order; "
                  "nothing was lost")  # fmt: skip

    def _say(self, text: str) -> None:
        click.echo(f"{time.monotonic() - self._begun:5.1f} s  {text}")

    def _log_in(self, name: str, address: tuple[str, int]) -> DemoClient:
        return DemoClient(address, name, _DOMAIN, self._passwords[name], self._trust)

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "msgd", *arguments, "--data", str(self._data)]

    def _make_account(self, name: str, password: str) -> None:
        made = subprocess.run(
            self._command("user", "add", f"{name}@{_DOMAIN}"),
            input=password + "\n",
            text=True,
            capture_output=True,
            timeout=30,
        )
        if made.returncode:
            raise DemoFailed(made.stderr.strip())

    @contextmanager
    def _server(self) -> Iterator[tuple[subprocess.Popen[str], tuple[str, int]]]:
        """A server process, and where it speaks TLS."""
        settings = [
            "listen.addresses=['127.0.0.1']",
            "listen.client=0",
            "listen.client_tls=0",
            "federation.enabled=false",
        ]
        arguments = [word for setting in settings for word in ("--set", setting)]
        with self._log.open("a") as log:
            process = subprocess.Popen(
                self._command("serve", "--domain", _DOMAIN, *arguments),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            yield process, self._await_ready(process)
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def _await_ready(self, process: subprocess.Popen[str]) -> tuple[str, int]:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("ready "):
                words = dict(word.split("=", 1) for word in line.split()[1:])
                host, _, port = words["client-tls"].rpartition(":")
                return host, int(port)
        lines = self._log.read_text().splitlines()
        raise DemoFailed("the server did not start: " + (lines[-1] if lines else "it says nothing"))
