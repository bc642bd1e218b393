"""Where operators connect: a unix socket, and, when switched on, TCP on loopback with a login.

The unix socket is for root and the user the server runs as: its mode says so, and the credentials of
the peer are checked besides (SO_PEERCRED).
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path
from typing import Any, Final

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from zope.interface import implementer  # type: ignore[import-untyped]  # has no types

from msgd.console import (
    commands_components,
    commands_devices,
    commands_links,
    commands_nodes,
    commands_push,
    commands_server,
    commands_sessions,
    commands_spool,
    commands_users,
)
from msgd.console.password import is_password
from msgd.console.registry import Server
from msgd.console.terminal import TerminalProtocol
from msgd.options import ConfigError, Fault

_log = Logger("msgd.console")
#: Operators at once; more is a script gone wild.
_MOST: Final = 16
#: Seconds for the login on TCP, and tries.
_LOGIN_TIME: Final = 60.0
_TRIES: Final = 3
#: Seconds that every login on TCP waits after one that failed.
_PENALTY: Final = 2.0
_HIDE, _SHOW = b"\xff\xfb\x01", b"\xff\xfc\x01"  # telnet: the server will (not) echo
#: The modules that declare commands; imported for that.
COMMANDS: Final = (
    commands_components, commands_devices, commands_links, commands_nodes, commands_push, commands_server,
    commands_sessions, commands_spool, commands_users,
)  # fmt: skip


class Console:
    """The console's doors."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._ports: list[Any] = []
        self._path: Path | None = None
        self.terminals: set[Any] = set()
        self.refused_until = 0.0

    def start(self) -> None:
        """Open the doors that are configured. Raises ConfigError, OSError."""
        config, reactor = self._server.config, self._server.reactor
        path = config.console_socket
        if path is not None:
            _make_way(path)
            factory: Any = _Factory(self, _Local)
            self._ports.append(reactor.listenUNIX(str(path), factory, mode=0o600))
            self._path = path
        if config.console.tcp is not None:
            factory = _Factory(self, _Login)
            self._ports.append(reactor.listenTCP(config.console.tcp, factory, interface="127.0.0.1"))

    @property
    def tcp_port(self) -> int | None:
        """The port on loopback, if there is one."""
        for port in self._ports:
            host = port.getHost()
            if hasattr(host, "port"):
                return int(host.port)
        return None

    def stop(self) -> None:
        """Close the doors; who is in may stay until the end."""
        for port in self._ports:
            port.stopListening()
        self._ports.clear()

    @property
    def server(self) -> Server:
        """What is talked about."""
        return self._server


def _make_way(path: Path) -> None:
    """Remove the socket that a server left behind, and nothing else. Raises ConfigError."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise _taken(path, "something else is there")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
            return
    raise _taken(path, "another server listens there")


def _taken(path: Path, what: str) -> ConfigError:
    return ConfigError([Fault(str(path), "console.socket", what, "choose another path")])


class _Factory(Factory):
    def __init__(self, console: Console, kind: Any) -> None:
        self._console = console
        self._kind = kind
        self.noisy = False

    def buildProtocol(self, address: object) -> Any:
        if len(self._console.terminals) >= _MOST:
            return None
        made = self._kind(self._console)
        made.factory = self
        return made


class _Local(TerminalProtocol):
    """On the unix socket: who may open it is asked of the kernel."""

    def __init__(self, console: Console) -> None:
        super().__init__(console.server, console.terminals.discard)
        self._console = console

    def connectionMade(self) -> None:
        transport: Any = self.transport
        credentials = transport.socket.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
        )
        _, user, _ = struct.unpack("3i", credentials)
        if user not in (0, os.geteuid()):
            _log.warn("user {user} was refused at the console", user=user)
            transport.abortConnection()
            return
        self._console.terminals.add(self)
        super().connectionMade()


@implementer(IHalfCloseableProtocol)
class _Login(Protocol):
    """On TCP: a user name and a password, then a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._buffer = b""
        self._user: str | None = None
        self._tries = 0
        self._checking = False
        self._timer: Any = None
        self._terminal: TerminalProtocol | None = None

    def connectionMade(self) -> None:
        transport: Any = self.transport
        self._console.terminals.add(self)
        reactor = self._console.server.reactor
        self._timer = reactor.callLater(_LOGIN_TIME, transport.abortConnection)
        transport.write(b"user: ")

    def dataReceived(self, data: bytes) -> None:
        if self._terminal is not None:
            self._terminal.dataReceived(data)
            return
        self._buffer += data
        if len(self._buffer) > 1024:
            self._leave("too long")
            return
        while b"\n" in self._buffer and not self._checking and self._terminal is None:
            line, _, self._buffer = self._buffer.partition(b"\n")
            self._line(_plain(line))

    def _line(self, line: str) -> None:
        transport: Any = self.transport
        if self._user is None:
            self._user = line
            transport.write(b"password: " + _HIDE)
            return
        self._checking = True
        server = self._console.server
        wait = max(0.0, self._console.refused_until - server.reactor.seconds())
        server.reactor.callLater(wait, self._check, self._user, line)

    def _check(self, user: str, password: str) -> None:
        config = self._console.server.config.console
        checked = deferToThread(is_password, config.password, password)
        checked.addBoth(lambda right: self._checked(right is True and user == config.user))

    def _checked(self, right: bool) -> None:
        transport: Any = self.transport
        if transport is None or not transport.connected:
            return
        self._checking = False
        transport.write(_SHOW + b"\r\n")
        if right:
            self._enter()
            return
        server = self._console.server
        self._console.refused_until = server.reactor.seconds() + _PENALTY
        self._tries += 1
        self._user = None
        _log.warn("a login at the console failed")
        if self._tries >= _TRIES:
            self._leave("refused")
        else:
            transport.write(b"refused\r\nuser: ")

    def _enter(self) -> None:
        self._timer.cancel()
        self._timer = None
        self._terminal = TerminalProtocol(self._console.server, lambda terminal: None)
        self._terminal.transport = self.transport
        self._terminal.connectionMade()
        rest, self._buffer = self._buffer, b""
        if rest:
            self._terminal.dataReceived(rest)

    def _leave(self, reason: str) -> None:
        transport: Any = self.transport
        transport.write(reason.encode() + b"\r\n")
        transport.loseConnection()

    def readConnectionLost(self) -> None:
        if self._terminal is not None:
            self._terminal.readConnectionLost()
        else:
            transport: Any = self.transport
            transport.loseConnection()

    def writeConnectionLost(self) -> None:
        if self._terminal is not None:
            self._terminal.writeConnectionLost()

    def connectionLost(self, reason: object = None) -> None:
        self._console.terminals.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._terminal is not None:
            self._terminal.connectionLost(reason)


def _plain(line: bytes) -> str:
    """What was typed, without telnet's negotiation."""
    kept = bytearray()
    skip = 0
    for byte in line:
        if skip:
            skip -= 1
        elif byte == 255:
            skip = 2
        else:
            kept.append(byte)
    return kept.decode("utf-8", "replace").strip("\r\n\0 ")
