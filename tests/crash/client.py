"""A client: login, stream management with resumption (XEP-0198), messages with numbers in them.

One `Client` is one resource of an account over as many connections as it takes. It keeps both counters
of stream management itself, so that what the server says with `h` can be held against it.
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element

from tests.crash.journal import Message
from tests.crash.stream import Connection, Lost
from tests.harness import PASSWORD

SM: Final = "urn:xmpp:sm:3"
SASL: Final = "urn:ietf:params:xml:ns:xmpp-sasl"
_BIND: Final = "urn:ietf:params:xml:ns:xmpp-bind"
HEADER: Final = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' to='localhost' version='1.0'"
    b" xmlns:stream='http://etherx.jabber.org/streams'>"
)
_STANZAS: Final = frozenset(f"{{jabber:client}}{kind}" for kind in ("message", "presence", "iq"))
_MODULO: Final = 2**32


class Refused(Exception):
    """The server did not let the client in, or broke a rule; the text says how."""


@dataclass
class Managed:
    """A session with stream management, which may outlive its connection."""

    id: str = ""
    #: Stanzas received from the server.
    handled: int = 0
    #: What the server has acknowledged of ours.
    acknowledged: int = 0
    #: Ours that it has not, in order, with their bytes; None for what is no message.
    unacknowledged: deque[tuple[Message | None, bytes]] = field(default_factory=deque)


class Client:
    """One resource. `connection` and `managed` are those of the present session."""

    def __init__(self, name: str, resource: str = "one") -> None:
        self.name = name
        self.resource = resource
        self.connection: Connection | None = None
        self.managed: Managed | None = None
        #: The session of before, to be resumed.
        self.previous: Managed | None = None
        self.answers = True
        self.receive_buffer = 0
        self.logins = 0
        #: The server has seen our presence.
        self.available = False
        self.error = ""  # the condition of the last stream error
        #: Something was acknowledged, or never will be.
        self.acknowledged = asyncio.Event()
        self.on_message: Callable[[Element], None] = lambda element: None
        self.on_answer: Callable[[Element], None] = lambda element: None
        self.on_safe: Callable[[Message], None] = lambda message: None
        self.on_fault: Callable[[str], None] = lambda text: None

    @property
    def jid(self) -> str:
        """Its full address."""
        return f"{self.name}@localhost/{self.resource}"

    # -- login ---------------------------------------------------------------------------------

    async def log_in(self, address: tuple[str, int], *, manage: bool, presence: bool) -> bool:
        """Connect, and resume the previous session or bind a new one. True when it was resumed.

        Raises Lost when the connection breaks, Refused when the server breaks a rule.
        """
        self.error = ""
        connection = self.connection = await Connection.open(address, self.receive_buffer)
        connection.on_lost = self.acknowledged.set
        self.logins += 1
        connection.write(HEADER)
        await self._authenticate(connection)
        connection.restart()
        connection.write(HEADER)
        await self._expect(connection, "features")
        previous, self.previous, self.managed = self.previous, None, None
        if previous is not None and previous.id:
            connection.write(f"<resume xmlns='{SM}' previd='{previous.id}' h='{previous.handled}'/>".encode())
            answer = await self._expect(connection, "resumed", "failed")
            if _local(answer) == "resumed":
                self._resumed(connection, previous, answer)
                return True
            if "h" in answer.attrib:
                self._safe_up_to(previous, int(answer.attrib["h"]))
        self.available = False
        resource = f"<resource>{self.resource}</resource>"
        connection.write(f"<iq type='set' id='bind'><bind xmlns='{_BIND}'>{resource}</bind></iq>".encode())
        if manage:
            connection.write(f"<enable xmlns='{SM}' resume='true'/>".encode())
        answer = await self._expect(connection, "iq")
        if answer.get("type") != "result":
            raise Refused("no resource was bound")
        if manage:
            answer = await self._expect(connection, "enabled", "failed")
            if _local(answer) == "failed":
                raise Refused("stream management was refused")
            self.managed = Managed(answer.get("id", ""))
        connection.handle(self._element)
        if presence:
            self.send(None, b"<presence/>")
        return False

    async def _authenticate(self, connection: Connection) -> None:
        secret = base64.b64encode(f"\0{self.name}\0{PASSWORD}".encode()).decode()
        connection.write(f"<auth xmlns='{SASL}' mechanism='PLAIN'>{secret}</auth>".encode())
        await self._expect(connection, "success")

    async def _expect(self, connection: Connection, *names: str) -> Element:
        while True:
            element = await connection.next()
            if _local(element) in names:
                return element
            if _local(element) == "error":
                self.error = _local(element[0])
            elif element.tag in _STANZAS and "enabled" in names:
                self._element(element)  # bound already: a stanza may come before stream management counts
            elif _local(element) not in ("features", "error"):
                raise Refused(f"waiting for {names}: {_local(element)}")

    def _resumed(self, connection: Connection, previous: Managed, answer: Element) -> None:
        """Send again what the server had not counted (XEP-0198 §5)."""
        self.managed = previous
        self._safe_up_to(previous, int(answer.attrib["h"]))
        connection.write(b"".join(raw for _, raw in previous.unacknowledged))
        connection.handle(self._element)

    # -- traffic -------------------------------------------------------------------------------

    def send(self, message: Message | None, raw: bytes) -> None:
        """Send a stanza; with stream management it is remembered until it is safe."""
        if self.managed is not None:
            self.managed.unacknowledged.append((message, raw))
        self._write(raw)

    def request(self) -> None:
        """Ask how far the server has got."""
        self._write(f"<r xmlns='{SM}'/>".encode())

    def answer(self) -> None:
        """Say how far we have got."""
        if self.managed is not None:
            self._write(f"<a xmlns='{SM}' h='{self.managed.handled}'/>".encode())

    def _write(self, data: bytes) -> None:
        if self.connection is not None:
            self.connection.write(data)

    def _element(self, element: Element) -> None:
        if element.tag in _STANZAS:
            if self.managed is not None:
                self.managed.handled = (self.managed.handled + 1) % _MODULO
            if element.tag == "{jabber:client}message":
                self.on_message(element)
            elif element.tag == "{jabber:client}iq":
                self.on_answer(element)
            elif (element.get("from"), element.get("type")) == (self.jid, None):
                self.available = True
        elif element.tag == f"{{{SM}}}r":
            if self.answers:
                self.answer()
        elif element.tag == f"{{{SM}}}a":
            if self.managed is not None:
                self._safe_up_to(self.managed, int(element.attrib["h"]))
        elif _local(element) == "error":
            self.error = _local(element[0])

    def _safe_up_to(self, managed: Managed, handled: int) -> None:
        newly = (handled - managed.acknowledged) % _MODULO
        if newly > len(managed.unacknowledged):
            known, waiting = managed.acknowledged, len(managed.unacknowledged)
            self.on_fault(f"{self.name} was told h={handled} when {known} were safe and {waiting} sent")
            return
        managed.acknowledged = handled
        for _ in range(newly):
            message, _raw = managed.unacknowledged.popleft()
            if message is not None:
                self.on_safe(message)
        self.acknowledged.set()

    @property
    def outstanding(self) -> int:
        """Stanzas sent and not acknowledged."""
        return len(self.managed.unacknowledged) if self.managed is not None else 0

    # -- the end -------------------------------------------------------------------------------

    def cut(self) -> None:
        """The network drops: the connection is gone, the session may be resumed."""
        self.previous = self.managed
        if self.connection is not None:
            self.connection.abort()

    def leave_behind(self) -> Connection | None:
        """The network is gone and nobody noticed: the old connection stays, unread."""
        self.previous, connection = self.managed, self.connection
        if connection is not None:
            connection.pause()
        return connection

    async def close(self) -> None:
        """End the stream as RFC 6120 §4.4 wants it, reading until the server has closed."""
        self.previous = None
        if self.connection is not None:
            self.connection.write(b"</stream:stream>")
            await self.connection.lost.wait()

    async def wait_lost(self) -> None:
        """Until the connection is gone."""
        if self.connection is not None:
            await self.connection.lost.wait()


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2]


__all__ = ["Client", "Lost", "Managed", "Refused"]
