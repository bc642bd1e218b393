"""A message on its way to another server, from its acceptance until that server has it."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from msgd.routing.stream_management import Receipt
from msgd.spool.entry import Filing
from msgd.wire.jid import JID

if TYPE_CHECKING:
    from msgd.spool.backlog import Backlog


class LinkEntry:
    """A message of a backlog; `raw` is as a client would be sent it. See `entry.Entry`."""

    __slots__ = ("backlog", "done", "id", "raw", "receipt", "size", "stored", "writing")

    #: No archive keeps what goes to another server.
    archived = False
    filing: Filing | None = None

    def __init__(self, id: int, backlog: Backlog, raw: bytes, receipt: Receipt | None = None) -> None:
        self.id = id
        self.backlog = backlog
        self.raw = raw
        self.size = len(raw)
        self.receipt = receipt
        self.stored = self.writing = self.done = False

    @property
    def pair(self) -> tuple[JID, JID]:
        """Of our domain from which it comes, and theirs to which it goes."""
        return self.backlog.pair

    @property
    def gone(self) -> tuple[str, int, str]:
        """What `link_store` has to know to delete its row."""
        ours, theirs = self.pair
        return theirs, self.id, ours

    def settle(self) -> None:
        """It is safe: the sender may be told."""
        receipt, self.receipt = self.receipt, None
        if receipt is not None:
            receipt.settle()


def checksum(theirs: str, ours: str, id: int, raw: bytes) -> int:
    """What a row's bytes are checked against when it is read (CRC-32 of bytes and key)."""
    return zlib.crc32(f"{theirs} {ours} {id}".encode(), zlib.crc32(raw))
