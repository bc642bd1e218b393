"""A member of the cast that is a component (XEP-0114): its own stream, handshake and addresses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from xml.etree.ElementTree import Element

from tests.specification.actor import Actor, Server, Unexpected
from tests.specification.connection import PATIENCE, STREAM, Connection, End, Event
from tests.specification.match import CLIENT, STANZAS, Recipient
from tests.specification.transcript import Role

ACCEPT = "jabber:component:accept"


class ComponentActor(Actor):
    """A component; all that it sends has to say from whom it is."""

    def __init__(
        self, role: Role, local: str, server: Server, check: Callable[[Event, Recipient], None]
    ) -> None:
        super().__init__(role, local, server, check)
        self.recipient = Recipient(role.domain, role.domain)
        self._stream_id = ""

    @property
    def sender(self) -> str:
        """What the runner's own stanzas say of their sender."""
        return f" from='{self.role.domain}'"

    def open_connection(self, direct: bool = False) -> None:
        """TCP to the port for components."""
        if self.connection is not None:
            self.connection.close()
        self.connection = Connection(self.server.component_address())
        self.unclaimed.clear()
        self.bound = False
        self.log.append("  (connected)")

    def open_stream(self) -> Element:
        """Send a header for the component's domain, claim the answer."""
        self.send(f"<stream:stream xmlns='{ACCEPT}' xmlns:stream='{STREAM}' to='{self.role.domain}'>")
        header = self.expect(f"{{{STREAM}}}stream")
        self._stream_id = header.get("id", "")
        return header

    def shake_hands(self, secret: str) -> None:
        """Send the handshake."""
        digest = hashlib.sha1(f"{self._stream_id}{secret}".encode()).hexdigest()
        self.send(f"<handshake>{digest}</handshake>")

    def connect(self) -> None:
        """All of it."""
        self.open_connection()
        self.open_stream()
        self.shake_hands(self.role.secret)
        self.expect(f"{{{CLIENT}}}handshake")

    def next(self, seconds: float = PATIENCE) -> Event:
        """The next event; what is in the stream's namespace is shown as if a client had got it."""
        event = super().next(seconds)
        if isinstance(event, End) or event.tag.startswith(f"{{{STREAM}}}"):
            return event
        if not event.tag.startswith(f"{{{ACCEPT}}}"):
            raise Unexpected(f"{event.tag} is not in the namespace of a component's stream")
        for each in event.iter():
            each.tag = each.tag.replace(f"{{{ACCEPT}}}", f"{{{CLIENT}}}")
        if event.tag not in STANZAS:
            self.bound = True  # the handshake
        elif not (event.get("from") and event.get("to")):
            raise Unexpected("a stanza for a component has 'from' and 'to'")
        return event
