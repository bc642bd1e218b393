"""XEP-0352 Client State Indication: while nobody looks at a client, what can wait waits.

A client that says it is inactive gets presence, typing notifications and published items when something
comes that a person wants to see, all in order, or when it is active again. Of the presence of one resource,
of what somebody does in a chat and of a published item only the last is sent, as long as nothing that cannot
wait stands between. Which stanzas can wait: `msgd.routing.kinds`. The state is not kept over a resumption
(§5.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element

from msgd.routing.extension import Extension, Xep, on_bind, on_element, on_event
from msgd.routing.kinds import can_wait, replaces
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.session import Session

NAMESPACE: Final = "urn:xmpp:csi:0"
#: What one client may have waiting; one more, and all is sent.
_MOST: Final = 300
_MOST_BYTES: Final = 128 * 1024


class ClientState(Extension):
    """XEP-0352 Client State Indication."""

    xep = Xep(352, "1.0.0")
    proves = "xep_0352/*"

    def stream_feature(self, domain: str, authenticated: bool) -> bytes:
        """§3."""
        return f"<csi xmlns='{NAMESPACE}'/>".encode() if authenticated else b""

    @on_element(NAMESPACE, "inactive")
    def inactive(self, session: Session, attributes: dict[str, str], raw: bytes) -> None:
        """§4.2."""
        if not isinstance(session.filter, Waiting):
            session.filter = Waiting()

    @on_element(NAMESPACE, "active")
    def active(self, session: Session, attributes: dict[str, str], raw: bytes) -> None:
        """§4.1."""
        if isinstance(session.filter, Waiting):
            waiting, session.filter = session.filter, None
            waiting.flush(session)

    @on_bind(NAMESPACE, "inactive")
    def inactive_when_bound(self, session: Session, asked: Element) -> bytes:
        """XEP-0386 §3.2: the session begins so."""
        self.inactive(session, {}, b"")
        return b""

    @on_bind(NAMESPACE, "active")
    def active_when_bound(self, session: Session, asked: Element) -> bytes:
        """So it begins anyway (§5)."""
        self.active(session, {}, b"")
        return b""

    @on_event("session-resumed")
    def _resumed(self, session: Session) -> None:
        self.active(session, {}, b"")


class Waiting:
    """What waits for one client, in order; a session's filter while it is inactive."""

    __slots__ = ("_last", "_size", "_stanzas")

    def __init__(self) -> None:
        self._stanzas: dict[int, Stanza] = {}
        self._last: dict[tuple[str, ...], int] = {}
        self._size = 0

    def __call__(self, session: Session, stanza: Stanza | None) -> bool:
        """Keep what can wait; send everything before what cannot. See `extension.Filter`."""
        if stanza is None or not can_wait(stanza):
            self.flush(session)
            return False
        self._add(stanza)
        if len(self._stanzas) >= _MOST or self._size >= _MOST_BYTES:
            self.flush(session)
        return True

    def _add(self, stanza: Stanza) -> None:
        number = next(reversed(self._stanzas), 0) + 1
        about = replaces(stanza)
        if about is not None:
            before = self._last.get(about)
            if before is not None:
                self._size -= len(self._stanzas.pop(before).raw)
            self._last[about] = number
        self._stanzas[number] = stanza
        self._size += len(stanza.raw)

    def flush(self, session: Session) -> None:
        """Send all of it."""
        if not self._stanzas:
            return
        stanzas, self._stanzas = self._stanzas, {}
        self._last.clear()
        self._size = 0
        filter, session.filter = session.filter, None
        for stanza in stanzas.values():
            session.send(stanza)
        session.filter = filter
