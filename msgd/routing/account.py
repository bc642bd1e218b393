"""A live account: what the server remembers of an account while stanzas for it come by.

Exists while the account has sessions or was needed recently; the table (`table.py`) bounds how many.
Knows its sessions and the two sets of the roster on which presence depends; everything else of the
roster stays in the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgd.wire.jid import JID

if TYPE_CHECKING:
    from msgd.routing.session import Session


class LiveAccount:
    """One account of this server.

    `subscribers` are the contacts that see this account's presence (roster 'from' and 'both'),
    `subscriptions` those whose presence it sees ('to' and 'both'), both None until the roster was
    read (`roster.py` loads and keeps them).
    """

    __slots__ = ("id", "jid", "sessions", "spool", "subscribers", "subscriptions")

    def __init__(self, id: int, jid: JID) -> None:
        self.id = id
        self.jid = jid
        self.sessions: dict[str, Session] = {}
        self.subscribers: frozenset[JID] | None = None
        self.subscriptions: frozenset[JID] | None = None
        self.spool: object | None = None

    def available(self) -> list[Session]:
        """The sessions that sent available presence, whatever their priority."""
        return [session for session in self.sessions.values() if session.available]

    def reachable(self) -> list[Session]:
        """The available sessions with a non-negative priority (RFC 6121 §8.5.2.1)."""
        return [s for s in self.sessions.values() if s.available and s.priority >= 0]
