"""One operator's connection to the console: lines in, answers out.

Speaks plain lines, so `nc` and `telnet` are clients; telnet's negotiation is understood far enough to be
left out. The first line `#json` switches to one line of JSON for each answer, for programs.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from zope.interface import implementer  # type: ignore[import-untyped]  # has no types

from msgd.console.registry import REGISTRY, CommandError, Context, Server
from msgd.console.text import data_of, lines_of, safe
from msgd.storage.database import DatabaseError

_log = Logger("msgd.console")
PROMPT: Final = b"msgd> "
#: Bytes of a line; an operator types less, a file sent by mistake has more.
_LONGEST_LINE: Final = 4096
#: Lines that wait while a command runs.
_MOST_LINES: Final = 100
_IAC, _SB, _SE = 255, 250, 240
_JSON: Final = "#json"


class _Telnet:
    """Takes telnet's commands (RFC 854) out of what a client sends."""

    def __init__(self) -> None:
        self._state = ""

    def strip(self, data: bytes) -> bytes:
        """The bytes that were typed."""
        if not self._state and _IAC not in data:
            return data
        kept = bytearray()
        for byte in data:
            self._state = self._next(byte, kept)
        return bytes(kept)

    def _next(self, byte: int, kept: bytearray) -> str:
        state = self._state
        if state == "":
            if byte == _IAC:
                return "command"
            kept.append(byte)
            return ""
        if state == "command":
            if byte == _SB:
                return "subnegotiation"
            return "option" if 251 <= byte <= 254 else ""
        if state == "subnegotiation":
            return "end" if byte == _IAC else state
        if state == "end":
            return "" if byte == _SE else "subnegotiation"
        return ""


@implementer(IHalfCloseableProtocol, IPushProducer)
class TerminalProtocol(Protocol):
    """The protocol of one connection. `allowed` is called with each line until it says yes (a login)."""

    def __init__(self, server: Server, gone: Callable[[TerminalProtocol], None]) -> None:
        self._server = server
        self._gone = gone
        self._telnet = _Telnet()
        self._buffer = b""
        self._discarding = False
        self._lines: deque[str] = deque()
        self._busy = False
        self._ended = False
        self._waiting: Deferred[str | None] | None = None
        self._json = False
        self._paused = False

    # -- for Twisted ---------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Ready for the first command."""
        transport: Any = self.transport
        transport.registerProducer(self, True)
        self._prompt()

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the operator."""
        data = self._telnet.strip(data)
        *lines, rest = (self._buffer + data).split(b"\n")
        for line in lines:
            if self._discarding:
                self._discarding = False
            elif len(line) > _LONGEST_LINE:
                self._write(f"the line is longer than {_LONGEST_LINE} bytes")
            else:
                self._take(line)
        if len(rest) > _LONGEST_LINE:
            if not self._discarding:
                self._write(f"the line is longer than {_LONGEST_LINE} bytes")
            self._discarding = True
            rest = b""
        self._buffer = rest

    def readConnectionLost(self) -> None:
        """The end of input: what waits is still done (`echo sessions | nc`)."""
        if self._buffer and not self._discarding:
            self._take(self._buffer)
            self._buffer = b""
        self._ended = True
        self._wake(None)
        self._go_on()

    def writeConnectionLost(self) -> None:
        """Nobody reads any more."""
        self._close()

    def connectionLost(self, reason: object = None) -> None:
        """The operator is gone."""
        self._ended = True
        self._lines.clear()
        self._wake(None)
        self._gone(self)

    def pauseProducing(self) -> None:
        """The terminal does not keep up."""
        self._paused = True

    def resumeProducing(self) -> None:
        """It does again."""
        self._paused = False

    def stopProducing(self) -> None:
        """It is gone."""
        self._paused = True

    # -- lines ---------------------------------------------------------------------------------

    def _take(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").strip("\r\n\0 ")
        if self._waiting is not None:
            self._wake(text)
        elif len(self._lines) >= _MOST_LINES:
            self._write("too many lines wait; this one was dropped")
        else:
            self._lines.append(text)
            self._go_on()

    def _wake(self, line: str | None) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(line)

    def _go_on(self) -> None:
        """Run the next command, one after the other; at the end of input, close."""
        while self._lines and not self._busy:
            line = self._lines.popleft()
            if line == _JSON:
                self._json = True
                self._write_raw(b'{"ok": true}\n')
            elif line in ("quit", "exit"):
                self._close()
            elif line:
                self._busy = True
                Deferred.fromCoroutine(self._run(line)).addBoth(self._ran)
            else:
                self._prompt()
        if self._ended and not self._busy and not self._lines:
            self._close()

    async def _run(self, line: str) -> None:
        try:
            command, arguments = REGISTRY.find(line)
            answer = await command.run(Context(self._server, self), *arguments)
        except CommandError as error:
            self._refuse(str(error))
        except DatabaseError as error:
            self._refuse(f"the database does not answer: {error}")
        except Exception:  # a defect of a command ends neither the console nor the server
            _log.failure("a console command failed")
            self._refuse("the command failed; the log says more")
        else:
            if self._json:
                self._write_raw(json.dumps(data_of(answer)).encode() + b"\n")
            else:
                for text in lines_of(answer):
                    self._write_raw(text.encode() + b"\r\n")

    def _refuse(self, reason: str) -> None:
        if self._json:
            self._write_raw(json.dumps({"ok": False, "error": reason}).encode() + b"\n")
        else:
            self._write(reason)

    def _ran(self, _: object) -> None:
        self._busy = False
        self._prompt()
        self._go_on()

    # -- output --------------------------------------------------------------------------------

    def _prompt(self) -> None:
        if not self._json and not self._ended:
            self._write_raw(PROMPT)

    def _write(self, line: str) -> None:
        self._write_raw(safe(line).encode() + b"\r\n")

    def _write_raw(self, data: bytes) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.write(data)

    def _close(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.unregisterProducer()
            transport.loseConnection()

    # -- for commands (registry.Terminal) ------------------------------------------------------

    def write_line(self, line: str) -> bool:
        """Write a line unless the terminal is behind."""
        if self._paused:
            return False
        if self._json:
            self._write_raw(json.dumps({"line": line}).encode() + b"\n")
        else:
            self._write(line)
        return True

    async def next_line(self) -> str | None:
        """The operator's next line; None at the end of input."""
        if self._lines:
            return self._lines.popleft()
        if self._ended:
            return None
        self._waiting = Deferred()
        return await self._waiting
