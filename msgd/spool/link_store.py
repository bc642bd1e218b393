"""The rows of messages that wait for other servers."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import LargeBinary, bindparam, cast, delete, false, func, select, update

from msgd.spool.link_entry import LinkEntry, checksum
from msgd.storage import schema
from msgd.storage.database import Connection
from msgd.storage.statements import upsert

_queue = schema.link_queue
_PAIR: Final = (_queue.c.theirs == bindparam("pair_theirs"), _queue.c.ours == bindparam("pair_ours"))
_SENT: Final = _queue.c.set_aside.is_(false())
# A batch that failed within its commit may be there after all when it is tried again.
_INSERT: Final = upsert(_queue)
_DELETE: Final = delete(_queue).where(*_PAIR, _queue.c.id == bindparam("entry"))
_SET_ASIDE: Final = update(_queue).where(*_PAIR, _queue.c.id == bindparam("entry")).values(set_aside=True)
_PAGE: Final = (
    select(_queue.c.id, _queue.c.checksum, cast(_queue.c.stanza, LargeBinary))
    .where(*_PAIR, _SENT, _queue.c.id > bindparam("after"))
    .order_by(_queue.c.id)
    .limit(bindparam("most"))
)
_PAIRS: Final = (
    select(
        _queue.c.ours,
        _queue.c.theirs,
        func.count(),
        func.coalesce(func.sum(_queue.c.size), 0),
        func.min(_queue.c.id),
    )
    .where(_SENT)
    .group_by(_queue.c.ours, _queue.c.theirs)
)
_LAST: Final = select(func.max(_queue.c.id))


def write(connection: Connection, entries: list[LinkEntry], gone: list[Any]) -> None:
    """Insert `entries` and delete the rows of `gone`, in one transaction."""
    if entries:
        connection.run_many(
            _INSERT,
            [
                {
                    "ours": entry.pair[0],
                    "theirs": entry.pair[1],
                    "id": entry.id,
                    "size": entry.size,
                    "checksum": checksum(entry.pair[1], entry.pair[0], entry.id, entry.raw),
                    "stanza": entry.raw,
                }
                for entry in entries
            ],
        )
    if gone:
        connection.run_many(
            _DELETE,
            [{"pair_theirs": theirs, "pair_ours": ours, "entry": id} for theirs, id, ours in gone],
        )


def page(
    connection: Connection, ours: str, theirs: str, after: int, most: int
) -> tuple[list[tuple[int, bytes]], list[int], int]:
    """The next rows of a pair behind id `after`: (id, bytes) of the sound ones, the ids of the others,
    and the last id (0 when there are no more)."""
    rows = connection.all(_PAGE, {"pair_theirs": theirs, "pair_ours": ours, "after": after, "most": most})
    sound: list[tuple[int, bytes]] = []
    corrupt: list[int] = []
    for id, expected, raw in rows:
        if checksum(theirs, ours, id, raw) == expected:
            sound.append((id, raw))
        else:
            corrupt.append(id)
    return sound, corrupt, rows[-1][0] if len(rows) == most else 0


def set_aside(connection: Connection, ours: str, theirs: str, ids: list[int]) -> None:
    """Leave rows that cannot be sent for the operator to look at."""
    connection.run_many(_SET_ASIDE, [{"pair_theirs": theirs, "pair_ours": ours, "entry": id} for id in ids])


def pairs(connection: Connection) -> tuple[list[tuple[str, str, int, int, int]], int]:
    """(ours, theirs, messages, bytes, least id) of each pair for which something waits; the greatest id."""
    last = connection.one(_LAST)
    rows = [(row[0], row[1], row[2], row[3], row[4]) for row in connection.all(_PAIRS)]
    return rows, (last[0] if last is not None else None) or 0
