"""A survey of all sessions: what waits for them, in all and at most, taken in slices.

A server with many sessions must not stand still while somebody counts: some hundred accounts are looked at in
one turn of the reactor, and then everybody else has theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from twisted.internet.defer import Deferred

from msgd.routing.account import LiveAccount
from msgd.routing.table import Table
from msgd.wire.reactor import Clock

#: Accounts looked at in one turn; less than a millisecond.
_SLICE: Final = 500


@dataclass(slots=True)
class Survey:
    """What was found. `longest_…` is the most of one session, or of one account."""

    accounts: int = 0
    sessions: int = 0
    away: int = 0
    unacknowledged: int = 0
    longest_unacknowledged: int = 0
    socket_bytes: int = 0
    longest_socket_bytes: int = 0
    waiting: int = 0
    longest_waiting: int = 0
    held: int = 0
    draining: int = 0

    def look_at(self, account: LiveAccount) -> None:
        """Add an account and its sessions."""
        self.accounts += 1
        mailbox = account.mailbox
        waiting = len(mailbox.waiting or ())
        self.waiting += waiting
        self.longest_waiting = max(self.longest_waiting, waiting)
        self.held += len(mailbox.held or ())
        self.draining += mailbox.drain is not None
        for session in account.sessions.values():
            self.sessions += 1
            self.away += session.transport is None
            size = session.buffered
            self.socket_bytes += size
            self.longest_socket_bytes = max(self.longest_socket_bytes, size)
            sm = session.stream_management
            length = sm.queue_length if sm is not None else 0
            self.unacknowledged += length
            self.longest_unacknowledged = max(self.longest_unacknowledged, length)

    def replace(self, other: Survey) -> None:
        """Be what `other` is."""
        for field in fields(self):
            setattr(self, field.name, getattr(other, field.name))


async def survey(table: Table, clock: Clock) -> Survey:
    """Look at all accounts in memory."""
    found = Survey()
    for number, account in enumerate(table.accounts(), 1):
        found.look_at(account)
        if not number % _SLICE:
            turn: Deferred[None] = Deferred()
            clock.callLater(0, turn.callback, None)
            await turn
    return found
