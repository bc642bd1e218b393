"""An entry of the spool: one message for one account, from its acceptance until it is delivered."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from random import getrandbits
from typing import Final

from msgd.routing.account import LiveAccount
from msgd.routing.stream_management import Receipt
from msgd.wire.jid import JID

#: Bits of an id below its milliseconds.
_SHIFT: Final = 20


class Ids:
    """Ids ordered by time: milliseconds since 1970, and within each a counter that begins anywhere.

    Never twice the same, never backwards, whatever the clock does; `last` is the greatest in use. They are
    not to be guessed (XEP-0313 §3): nothing is protected by that, so the generator is a simple one.
    """

    def __init__(self, seconds: Callable[[], float], last: int = 0) -> None:
        self._seconds = seconds
        self.last = last

    def next(self) -> int:
        """A new id."""
        id = int(self._seconds() * 1000) << _SHIFT | getrandbits(_SHIFT - 1)
        if id <= self.last:
            id = self.last + 1
        self.last = id
        return id


def accepted_at(id: int) -> float:
    """When the entry of this id was accepted, unix time."""
    return (id >> _SHIFT) / 1000


def id_at(moment: float) -> int:
    """The smallest id of an entry accepted at `moment`, unix time."""
    return id_at_millisecond(int(moment * 1000))


def id_at_millisecond(number: int) -> int:
    """The smallest id of an entry accepted in that millisecond, counted from 1970; 0 before."""
    return min(max(0, number) << _SHIFT, 2**63 - 1)


class Filing:
    """Under what an entry is found in its account's archive.

    `peer` is the other side, `sent` tells that the account sent it, `message` is the id that its sender gave
    it, `retracts` that of an earlier message which it takes back (XEP-0424).
    """

    __slots__ = ("message", "peer", "retracts", "sent")

    def __init__(self, peer: JID, sent: bool, message: str, retracts: str = "") -> None:
        self.peer = peer
        self.sent = sent
        self.message = message
        self.retracts = retracts


class Entry:
    """A message that is kept.

    `raw` is the stanza as it is delivered, its stanza-id included; `size` is what counts against the
    quota; `resource` is the one it was addressed to, if any. `holders` counts the sessions to
    which it was sent and which have not acknowledged it. `stored` tells that its row is committed,
    `writing` that it is on its way there, `done` that it has been delivered or given up, `shown` that
    extensions saw it. `archived` tells that its row stays then: `filing` has what the row says besides, until
    it is written, and `waits` whether it says that the entry is not delivered.
    """

    __slots__ = ("account", "archived", "done", "filing", "holders", "id", "raw", "receipt", "resource",
                 "shown", "size", "stored", "waits", "writing")  # fmt: skip

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
        self.archived = False
        self.filing: Filing | None = None
        self.waits = True

    @property
    def gone(self) -> tuple[int, int, bool]:
        """What `store` has to know to take its row out of what waits."""
        return self.account.id, self.id, self.archived

    def file(self, filing: Filing) -> None:
        """Have it stay in the account's archive."""
        self.archived = True
        self.filing = filing

    def settle(self) -> None:
        """It is safe: the sender may be told."""
        receipt = self.receipt
        if receipt is not None:
            self.receipt = None
            receipt.settle()


class Copy:
    """Other bytes with which an entry goes to a session: as a result from the archive (XEP-0313 §5), as
    a copy of what another device got (XEP-0280).

    Stands in the place of the entry with that session: acknowledged, the entry is.
    """

    __slots__ = ("entry", "raw")

    def __init__(self, entry: Entry, raw: bytes) -> None:
        self.entry = entry
        self.raw = raw

    @property
    def id(self) -> int:
        """That of the entry."""
        return self.entry.id

    @property
    def done(self) -> bool:
        """Whether the entry is."""
        return self.entry.done

    @property
    def archived(self) -> bool:
        """Whether the entry is."""
        return self.entry.archived

    @property
    def size(self) -> int:
        """That of the entry."""
        return self.entry.size


def checksum(account_id: int, id: int, raw: bytes) -> int:
    """What a row's bytes are checked against when it is read (CRC-32 of bytes and key)."""
    return zlib.crc32(b"%d %d" % (account_id, id), zlib.crc32(raw))
