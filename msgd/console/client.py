"""The other end of the console: for `msgd console` and for commands that ask a running server."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class NoConsole(Exception):
    """No server answers at that socket; one line."""


class ConsoleClient:
    """A connection to the console of a server, in its form for programs."""

    def __init__(self, path: Path) -> None:
        """Connect. Raises NoConsole."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(path))
            self._lines = self._read_lines()
            self._socket.sendall(b"#json\n")
            next(self._lines)
        except (OSError, StopIteration) as error:
            self._socket.close()
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "no answer"
            raise NoConsole(f"{path}: {reason}; is the server running?") from None

    def _read_lines(self) -> Iterator[bytes]:
        buffer = b""
        while True:
            while b"\n" in buffer:
                line, _, buffer = buffer.partition(b"\n")
                yield line
            try:
                received = self._socket.recv(65536)
            except ConnectionError:
                return  # killed while it was asked
            if not received:
                return
            buffer += received

    def send(self, line: str) -> None:
        """Send a line without waiting for an answer. Raises NoConsole."""
        try:
            self._socket.sendall(line.encode() + b"\n")
        except ConnectionError:
            raise NoConsole("the server hung up") from None

    def answers(self) -> Iterator[dict[str, Any]]:
        """What the server says, until it hangs up: answers, and lines of commands that go on."""
        for line in self._lines:
            yield json.loads(line[line.index(b"{") :])

    def ask(self, line: str) -> dict[str, Any]:
        """Run a command: {'ok': True, 'rows' or 'text': …} or {'ok': False, 'error': …}. Raises NoConsole."""
        self.send(line)
        for answer in self.answers():
            if "ok" in answer:
                return answer
        raise NoConsole("the server hung up")

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def ask(path: Path, line: str) -> dict[str, Any]:
    """Run one command of the server at `path`. Raises NoConsole."""
    client = ConsoleClient(path)
    try:
        return client.ask(line)
    finally:
        client.close()
