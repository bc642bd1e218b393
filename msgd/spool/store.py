"""The spool's rows: the statements that write, read and delete them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from sqlalchemy import LargeBinary, bindparam, cast, delete, false, func, select, update

from msgd.spool import archive_store
from msgd.spool.entry import Entry, checksum
from msgd.storage import schema
from msgd.storage.database import Connection
from msgd.storage.schema import WAITING
from msgd.storage.statements import upsert

_spool = schema.spool

#: An entry that is not to wait any more: account, id, whether its row stays in the archive.
Gone = tuple[int, int, bool]

# A batch that failed within its commit may be there after all when it is tried again.
_INSERT: Final = upsert(_spool)
_DELETE: Final = delete(_spool).where(
    _spool.c.account_id == bindparam("account"), _spool.c.id == bindparam("entry")
)
_DELIVERED: Final = (
    update(_spool)
    .where(_spool.c.account_id == bindparam("account"), _spool.c.id == bindparam("entry"))
    .values(waiting=false())
)
# A damaged row may have become text that is no text, which could not even be read.
_BYTES: Final = cast(_spool.c.stanza, LargeBinary)
_PAGE: Final = (
    select(_spool.c.id, _spool.c.size, _spool.c.archived, _spool.c.checksum, _BYTES)
    .where(
        _spool.c.account_id == bindparam("account"),
        WAITING,
        _spool.c.id > bindparam("after"),
        _spool.c.id <= bindparam("last"),
    )
    .order_by(_spool.c.id)
)
_SIZES: Final = (
    select(_spool.c.id, func.length(_spool.c.stanza))
    .where(_spool.c.account_id == bindparam("account"), WAITING, _spool.c.id > bindparam("after"))
    .order_by(_spool.c.id)
    .limit(bindparam("most"))
)
_LIST: Final = (
    select(_spool.c.id, _spool.c.size)
    .where(_spool.c.account_id == bindparam("account"), WAITING)
    .order_by(_spool.c.id)
    .limit(bindparam("most"))
)
_EXPIRED: Final = (
    select(_spool.c.account_id, _spool.c.id, _spool.c.size, _spool.c.archived, _BYTES,
           schema.account.c.domain, schema.account.c.name)
    .join(schema.account, schema.account.c.id == _spool.c.account_id)
    .where(WAITING, _spool.c.id < bindparam("before"))
    .limit(bindparam("most"))
)  # fmt: skip
_TOTALS: Final = select(func.count(), func.coalesce(func.sum(_spool.c.size), 0)).where(WAITING)
_WAITING: Final = select(func.count()).select_from(_spool).where(WAITING)
_SET_ASIDE: Final = upsert(schema.spool_corrupt)


@dataclass(frozen=True, slots=True)
class Row:
    """One stored entry."""

    id: int
    raw: bytes
    size: int
    archived: bool


@dataclass(frozen=True, slots=True)
class Expired:
    """One that waited too long. `jid` is whose it is."""

    account: int
    id: int
    size: int
    archived: bool
    raw: bytes
    jid: str


def write(connection: Connection, entries: list[Entry], gone: list[Gone]) -> None:
    """Insert `entries`, and take the rows of `gone` out of what waits, in one transaction."""
    if entries:
        connection.run_many(
            _INSERT,
            [
                {
                    "account_id": entry.account.id,
                    "id": entry.id,
                    "size": len(entry.raw),
                    "checksum": checksum(entry.account.id, entry.id, entry.raw),
                    "stanza": entry.raw,
                }
                for entry in entries
                if not entry.archived
            ],
        )
        archive_store.write(connection, [entry for entry in entries if entry.archived])
    if gone:
        connection.run_many(
            _DELETE, [{"account": account, "entry": id} for account, id, archived in gone if not archived]
        )
        connection.run_many(
            _DELIVERED, [{"account": account, "entry": id} for account, id, archived in gone if archived]
        )


def page(
    connection: Connection, account: int, after: int, most: int, most_bytes: int
) -> tuple[list[Row], list[int], int]:
    """The next rows of an account that wait, behind id `after`: the sound ones, the ids of the others,
    and the id up to which was read (0 when there are no more).

    At most `most` rows, and so many that they have no more than `most_bytes`, or one.
    """
    sizes = connection.all(_SIZES, {"account": account, "after": after, "most": most})
    last, ahead = 0, len(sizes)
    for id, size in sizes:
        if last and size > most_bytes:
            break
        last, ahead, most_bytes = id, ahead - 1, most_bytes - size
    rows: list[Row] = []
    corrupt: list[int] = []
    found = connection.all(_PAGE, {"account": account, "after": after, "last": last})
    for id, size, archived, expected, raw in found:
        if checksum(account, id, raw) == expected:
            rows.append(Row(id, raw, size, archived))
        else:
            corrupt.append(id)
    return rows, corrupt, last if ahead or len(sizes) == most else 0


def set_aside(connection: Connection, account: int, ids: list[int], reason: str) -> None:
    """Move rows that cannot be delivered out of the way, for the operator to look at."""
    for id in ids:
        row = connection.one(_PAGE, {"account": account, "after": id - 1, "last": id})
        if row is None:
            continue
        connection.run(
            _SET_ASIDE,
            {"account_id": account, "id": id, "stanza": row[-1], "reason": reason,
             "found": int(time.time())},
        )  # fmt: skip
        connection.run(_DELETE, {"account": account, "entry": id})


def listing(connection: Connection, account: int, most: int) -> list[tuple[int, int]]:
    """(id, size) of the first rows of an account that wait, for the console."""
    return [(row[0], row[1]) for row in connection.all(_LIST, {"account": account, "most": most})]


def expired(connection: Connection, before: int, most: int) -> list[Expired]:
    """The rows that wait and have ids below `before`."""
    found = connection.all(_EXPIRED, {"before": before, "most": most})
    return [
        Expired(account, id, size, archived, raw, f"{name}@{domain}")
        for account, id, size, archived, raw, domain, name in found
    ]


def totals(connection: Connection) -> tuple[int, int]:
    """How many rows wait, and their bytes. Looks at each of them."""
    row = connection.one(_TOTALS)
    return (row[0], row[1]) if row is not None else (0, 0)


def waiting(connection: Connection) -> int:
    """How many rows wait; an index knows."""
    row = connection.one(_WAITING)
    return int(row[0]) if row is not None else 0


def greatest_id(connection: Connection) -> int:
    """The greatest id of all rows, 0 when there are none. Looks at the accounts that have any."""
    last = connection.one(archive_store.GREATEST_ID)
    return (last[0] if last is not None else None) or 0
