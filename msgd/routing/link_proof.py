"""What has arrived on a link without stream management: what the peer answers a ping behind.

A server that answers a ping (XEP-0199) has taken what came before it on the same stream (RFC 6120 §10.1). The
kernel's acknowledgement says less: what only that has dies with the process that is killed. It is believed of
servers that do not answer, or to which no answer finds the way back (decisions 0003 and 0010).
"""

from __future__ import annotations

import secrets
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from msgd.routing.stream_management import Kept

if TYPE_CHECKING:
    from msgd.routing.link import Link

#: Seconds from a message to the ping behind it, so that one does for all that follow: see `link_management`.
_GATHER: Final = 0.01
#: Seconds after which a server that has never answered on this link is believed what its kernel tells.
_SILENT: Final = 10.0
#: Messages, and their bytes, without a proof from which on the queue keeps what comes.
_MOST: Final = 5000
_MOST_BYTES: Final = 1024 * 1024


class Proof:
    """The messages on one link that may not have arrived."""

    def __init__(self, link: Link) -> None:
        self._link = link
        #: Those sent, in order.
        self.unproven: deque[Kept] = deque()
        self._size = 0
        #: The id of the ping that waits for its answer, since when, and how many messages it is behind of.
        self.ping = ""
        self._asked_at = 0.0
        self._covered = 0
        self._timer: Any = None
        self._answers = False  # a ping was answered on this link
        self._silent = False  # none will be

    def __bool__(self) -> bool:
        return bool(self.unproven)

    def full(self) -> bool:
        """Enough is on its way."""
        return len(self.unproven) >= _MOST or self._size > _MOST_BYTES

    def add(self, kept: Kept) -> None:
        """A message was sent."""
        self.unproven.append(kept)
        self._size += len(kept.raw)
        self._ask_soon()

    def waits_since(self) -> float | None:
        """Since when a server that answers owes an answer."""
        return self._asked_at if self.ping and self._answers else None

    # -- the ping ------------------------------------------------------------------------------

    def _ask_soon(self) -> None:
        if self._timer is None and not self.ping and not self._silent:
            self._timer = self._link.owner.clock.callLater(_GATHER, self._ask)

    def _ask(self) -> None:
        self._timer = None
        link = self._link
        if link.ended or link.closing or not self.unproven:
            return
        self.ping = secrets.token_urlsafe(12)
        self._asked_at = link.owner.clock.seconds()
        self._covered = len(self.unproven)
        link.send_ping(self.ping)

    def answered(self, id: str) -> None:
        """The peer answered a ping, be it with an error."""
        if id != self.ping:
            return
        self.ping = ""
        self._answers, self._silent = True, False
        self._arrived(min(self._covered, len(self.unproven)))
        if self.unproven:
            self._ask_soon()
        self._link.owner.has_room(self._link)

    def _arrived(self, count: int) -> None:
        """So many of the first."""
        arrived = [self.unproven.popleft() for _ in range(count)]
        self._size -= sum([len(kept.raw) for kept in arrived])
        self._link.owner.acknowledged(arrived)

    # -- the kernel ----------------------------------------------------------------------------

    def look(self) -> None:
        """Now and then: what the kernel proves, where nothing better is to be had."""
        if self.ping and not self._answers:
            self._silent = self._link.owner.clock.seconds() - self._asked_at > _SILENT
        if not self._silent or not self.unproven:
            return
        left = self._link.transport.under_way()
        if left is None:
            return
        doubtful = 0
        for kept in reversed(self.unproven):
            if left <= 0:
                break
            left -= len(kept.raw)
            doubtful += 1
        self._covered -= min(self._covered, len(self.unproven) - doubtful)
        self._arrived(len(self.unproven) - doubtful)
        self._link.owner.has_room(self._link)
