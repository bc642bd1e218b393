"""Deliberate defects, so that the harness is known to find them. Each breaks the promise in one way.

acknowledge-early   a message is acknowledged when it is accepted, before it is committed
forget-on-write     a message leaves the store when it is written to the socket, as is usual elsewhere
reverse             what was stored is delivered in the wrong order
unarchived          a message is acknowledged when its recipient has it, before archives have
new-ids             what is delivered from the store gets another stanza-id each time
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any, Final

from msgd.routing.account import LiveAccount
from msgd.routing.session import Session
from msgd.routing.stream_management import Receipt
from msgd.spool import delay, drain, store
from msgd.spool.entry import Copy, Entry
from msgd.spool.spool import Spool
from msgd.storage.database import Connection
from msgd.wire.stanza import Stanza

_ID: Final = re.compile(rb"(<stanza-id [^>]*\bid=')[^']*")


def _acknowledge_early() -> None:
    accept = Spool.accept

    def broken(
        self: Spool, account: LiveAccount, stanza: Stanza, receipt: Receipt | None, targets: list[Session]
    ) -> bool:
        taken = accept(self, account, stanza, receipt, targets)
        if receipt is not None:
            receipt.settle()
        return taken

    _replace(Spool, "accept", broken)


def _forget_on_write() -> None:
    hand_over = Spool.hand_over

    def broken(self: Spool, entry: Entry, session: Session, copy: Copy | None = None) -> None:
        hand_over(self, entry, session, copy)
        self.acknowledged(entry)

    _replace(Spool, "hand_over", broken)


def _reverse() -> None:
    page = store.page

    def broken(
        connection: Connection, account: int, after: int, most: int, most_bytes: int
    ) -> tuple[list[store.Row], list[int], int]:
        rows, corrupt, last = page(connection, account, after, most, most_bytes)
        return rows[::-1], corrupt, last

    _replace(store, "page", broken)


def _unarchived() -> None:
    acknowledged = Spool.acknowledged

    def broken(self: Spool, kept: object) -> None:
        acknowledged(self, kept)
        if isinstance(kept, Entry):
            kept.settle()

    _replace(Spool, "acknowledged", broken)
    _replace(Receipt, "share", lambda self: None)


def _new_ids() -> None:
    with_delay = delay.with_delay

    def broken(raw: bytes, id: int, domain: str) -> bytes:
        other = secrets.token_hex(8).encode()
        return _ID.sub(rb"\g<1>" + other, with_delay(raw, id, domain))

    _replace(drain, "with_delay", broken)


def _replace(owner: Any, name: str, by: Callable[..., Any]) -> None:
    setattr(owner, name, by)


VARIANTS: Final = {
    "acknowledge-early": _acknowledge_early,
    "forget-on-write": _forget_on_write,
    "reverse": _reverse,
    "unarchived": _unarchived,
    "new-ids": _new_ids,
}


def apply(variant: str) -> None:
    """Break this process."""
    VARIANTS[variant]()
