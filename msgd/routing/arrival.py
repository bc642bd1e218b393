"""Messages on a stream without acknowledgements: which of them have arrived in the peer's machine.

The kernel tells how many of the last bytes its TCP has not acknowledged; every message before those has
arrived (`protocol_spec/decisions/0003-delivered-without-acknowledgement.md`). For streams that are no
session's: components, links without XEP-0198.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, NamedTuple

from msgd.routing.stream_management import Receipt
from msgd.wire.reactor import Clock
from msgd.wire.stanza import Stanza
from msgd.wire.transport import Connection

#: Seconds to the first look: half of the window in which the spool asks for its sessions. A look that
#: finds nothing new doubles them.
_FIRST: Final = 0.01
_LONGEST: Final = 1.0


class Sent(NamedTuple):
    """A message under way; `end` is where it ends in the stream, in bytes."""

    end: int
    stanza: Stanza
    receipt: Receipt | None


class Arrivals:
    """Writes to a connection, and settles the receipts of messages when they have arrived."""

    def __init__(self, clock: Clock, transport: Connection) -> None:
        self._clock = clock
        self._transport = transport
        self._written = 0
        self._under_way: deque[Sent] = deque()
        self._timer: Any = None
        self._wait = _FIRST

    def __len__(self) -> int:
        return len(self._under_way)

    @property
    def arrived(self) -> int:
        """How many of the bytes written here have arrived at least."""
        left = self._transport.under_way()
        return self._written - left if left is not None else 0

    def write(self, raw: bytes) -> None:
        """Send what nobody waits for."""
        self._written += len(raw)
        self._transport.write(raw)

    def write_message(self, raw: bytes, stanza: Stanza, receipt: Receipt | None) -> None:
        """Send `raw`, which is `stanza`; `receipt` is settled when it has arrived."""
        self.write(raw)
        self._under_way.append(Sent(self._written, stanza, receipt))
        if self._timer is None:
            self._timer = self._clock.callLater(_FIRST, self._look)

    def _look(self) -> None:
        self._timer = None
        before = len(self._under_way)
        self._settle()
        self._wait = _FIRST if len(self._under_way) < before else min(self._wait * 2, _LONGEST)
        if self._under_way:
            self._timer = self._clock.callLater(self._wait, self._look)

    def _settle(self) -> None:
        arrived, under_way = self.arrived, self._under_way
        while under_way and under_way[0].end <= arrived:
            receipt = under_way.popleft().receipt
            if receipt is not None:
                receipt.settle()

    def stop(self) -> list[Sent]:
        """The connection is over: what is not known to have arrived, in order; its receipts are open."""
        self._settle()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        left, self._under_way = list(self._under_way), deque()
        return left
