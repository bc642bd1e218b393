"""An entry of the spool: one message for one account, from its acceptance until it is delivered."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

from msgd.routing.account import LiveAccount
from msgd.routing.stream_management import Receipt

#: Bits of an id below its milliseconds.
_SHIFT: Final = 20
_MASK: Final = (1 << _SHIFT) - 1


class Ids:
    """Ids ordered by time: milliseconds since 1970, and a counter within each.

    Never twice the same, never backwards, whatever the clock does; `last` is the greatest in use.
    """

    def __init__(self, seconds: Callable[[], float], last: int = 0) -> None:
        self._seconds = seconds
        self.last = last

    def next(self) -> int:
        """A new id."""
        self.last = max(self.last + 1, int(self._seconds() * 1000) << _SHIFT)
        return self.last


def accepted_at(id: int) -> float:
    """When the entry of this id was accepted, unix time."""
    return (id >> _SHIFT) / 1000


def id_at(moment: float) -> int:
    """The smallest id of an entry accepted at `moment`, unix time."""
    return int(moment * 1000) << _SHIFT


class Entry:
    """A message that is kept.

    `raw` is the stanza as it is delivered, its stanza-id included; `size` is what counts against the
    quota; `resource` is the one it was addressed to, if any. `holders` counts the sessions to
    which it was sent and which have not acknowledged it. `stored` tells that its row is committed,
    `writing` that it is on its way there, `done` that it has been delivered or given up, `shown` that
    extensions saw it.
    """

    __slots__ = ("account", "done", "holders", "id", "raw", "receipt", "resource", "shown", "size", "stored",
                 "writing")  # fmt: skip

    def __init__(
        self,
        id: int,
        account: LiveAccount,
        raw: bytes,
        receipt: Receipt | None = None,
        resource: str = "",
    ) -> None:
        self.id = id
        self.account = account
        self.raw = raw
        self.size = len(raw)
        self.resource = resource
        self.receipt = receipt
        self.holders = 0
        self.stored = False
        self.writing = False
        self.done = False
        self.shown = False

    def settle(self) -> None:
        """It is safe: the sender may be told."""
        receipt = self.receipt
        if receipt is not None:
            self.receipt = None
            receipt.settle()


def checksum(account_id: int, id: int, raw: bytes) -> int:
    """What a row's bytes are checked against when it is read (CRC-32 of bytes and key)."""
    return zlib.crc32(b"%d %d" % (account_id, id), zlib.crc32(raw))
