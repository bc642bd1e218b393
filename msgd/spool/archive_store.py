"""The archive's rows: those of the spool that stay when they are delivered, and what accounts sent.

What is written here is in one transaction with the spool's other rows. Sources: XEP-0313, XEP-0424 §4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import LargeBinary, Select, bindparam, cast, delete, false, func, select, update

from msgd.spool.entry import Entry, Filing, accepted_at, checksum
from msgd.spool.filing import RETRACT_NAMESPACE
from msgd.storage import schema
from msgd.storage.database import Connection
from msgd.storage.schema import ARCHIVED
from msgd.storage.statements import upsert
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from msgd.wire.xml import escape

#: Greater than every id.
END: Final = 2**63 - 1
#: Of one conversation, the messages among which a retracted one is looked for.
_LOOKED_AT: Final = 10_000
#: Entries up to which they are counted for somebody who reads a page of them.
_COUNTED: Final = 10_000

_spool = schema.spool
_BYTES: Final = cast(_spool.c.stanza, LargeBinary)
_MINE: Final = (_spool.c.account_id == bindparam("account"), ARCHIVED)
_PEER: Final = _spool.c.peer == bindparam("peer")
_RANGE: Final = (*_MINE, _spool.c.id > bindparam("after"), _spool.c.id < bindparam("before"))

# Tried again after a commit that failed, an entry may have been delivered meanwhile.
_INSERT: Final = upsert(_spool, "waiting")
_ROW: Final = select(
    _spool.c.id, _spool.c.size, _spool.c.waiting, _spool.c.checksum, _BYTES,
    _spool.c.peer, _spool.c.peer_resource,
).where(*_MINE, _spool.c.id == bindparam("entry"))  # fmt: skip


def _variants(selected: Select[Any]) -> tuple[Select[Any], Select[Any], Select[Any]]:
    """The statement for everybody, for one bare address and for one full address."""
    one = selected.where(_PEER)
    return selected, one, one.where(_spool.c.peer_resource == bindparam("resource"))


_IDS: Final = select(_spool.c.id, _spool.c.size).where(*_RANGE)
_FORWARDS: Final = _variants(_IDS.order_by(_spool.c.id).limit(bindparam("most")))
_BACKWARDS: Final = _variants(_IDS.order_by(_spool.c.id.desc()).limit(bindparam("most")))
_FIRST_AND_LAST: Final = select(
    select(func.min(_spool.c.id)).where(*_RANGE).scalar_subquery(),
    select(func.max(_spool.c.id)).where(*_RANGE).scalar_subquery(),
)
_FIGURES: Final = select(func.count(), func.coalesce(func.sum(_spool.c.size), 0)).where(*_MINE)


def _counting(ids: Select[Any]) -> Select[Any]:
    return select(func.count()).select_from(ids.limit(bindparam("most")).subquery())


_COUNT: Final = tuple(_counting(each) for each in _variants(select(_spool.c.id).where(*_RANGE)))

# What an account of a conversation may have retracted: the latest of it, from one side.
_latest = (
    select(_spool.c.id, _spool.c.message, _spool.c.sent)
    .where(*_MINE, _PEER, _spool.c.id < bindparam("before"))
    .order_by(_spool.c.id.desc())
    .limit(_LOOKED_AT)
    .subquery()
)
_RETRACTED: Final = (
    select(_latest.c.id)
    .where(_latest.c.message == bindparam("message"), _latest.c.sent.is_(bindparam("sent")))
    .order_by(_latest.c.id.desc())
    .limit(1)
)
_REPLACE: Final = (
    update(_spool)
    .where(_spool.c.account_id == bindparam("account"), _spool.c.id == bindparam("entry"))
    .values(stanza=bindparam("raw"), checksum=bindparam("new_checksum"), message="")
)

# The accounts that have rows, one look at the index for each; then the newest row of each.
_first = select(func.min(_spool.c.account_id).label("account_id")).cte("owners", recursive=True)
_owners = _first.union_all(
    select(
        select(func.min(_spool.c.account_id))
        .where(_spool.c.account_id > _first.c.account_id)
        .scalar_subquery()
    ).where(_first.c.account_id.is_not(None))
)
#: The greatest id of all rows, waiting or not; None when there are none.
GREATEST_ID: Final = select(
    func.max(
        select(func.max(_spool.c.id)).where(_spool.c.account_id == _owners.c.account_id).scalar_subquery()
    )
)

_NEXT_OWNER: Final = select(func.min(_spool.c.account_id)).where(_spool.c.account_id > bindparam("after"))
_OLD: Final = (*_MINE, _spool.c.waiting.is_(false()), _spool.c.id < bindparam("before"))
_HAS_OLD: Final = select(_spool.c.id).where(*_OLD).limit(1)
_oldest = select(_spool.c.id).where(*_OLD).order_by(_spool.c.id).limit(bindparam("most")).scalar_subquery()
_DELETE_OLD: Final = delete(_spool).where(
    _spool.c.account_id == bindparam("account"), _spool.c.id.in_(_oldest)
)


@dataclass(frozen=True, slots=True)
class Query:
    """Which entries are asked for: ids between `after` and `before`, exclusive; `peer` None for all.

    A `peer` with a resource means only that one. `ids` are exactly those that may be meant, None for all.
    Ids in `known` have to be in the archive, and not below `oldest`.
    """

    account: int
    after: int
    before: int
    peer: JID | None = None
    ids: frozenset[int] | None = None
    known: frozenset[int] = frozenset()
    oldest: int = 0


@dataclass(frozen=True, slots=True)
class Archived:
    """One entry of an archive; `waiting` tells that it is not delivered yet."""

    id: int
    size: int
    waiting: bool
    raw: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """A page, oldest first; `first` and `last` are the ids at its ends, None for an empty one.

    `complete`: nothing of what was asked for lies beyond its far end. `count` is how much was asked for
    altogether, and `index` how much of that comes before the page; None where counting takes too long.
    """

    entries: list[Archived]
    first: int | None
    last: int | None
    complete: bool
    damaged: int
    count: int | None
    index: int | None


class NotFound(Exception):
    """An id that is to be in the archive is not."""


def write(connection: Connection, entries: Sequence[Entry]) -> None:
    """Insert entries that are filed, then do what those say that retract an earlier one."""
    rows = []
    for entry in entries:
        filing = entry.filing
        assert filing is not None  # it is there until the row is
        # Whether it is delivered may change while this runs; who is told of the commit looks again.
        entry.waits = not entry.done
        rows.append(_row(entry, filing))
    connection.run_many(_INSERT, rows)
    for entry in entries:
        if entry.filing is not None and entry.filing.retracts:
            _retract(connection, entry, entry.filing)


def _row(entry: Entry, filing: Filing) -> dict[str, object]:
    return {
        "account_id": entry.account.id,
        "id": entry.id,
        "size": entry.size,
        "checksum": checksum(entry.account.id, entry.id, entry.raw),
        "stanza": entry.raw,
        "waiting": entry.waits,
        "archived": True,
        "sent": filing.sent,
        "peer": filing.peer.bare,
        "peer_resource": filing.peer.resource,
        "message": filing.message,
    }


def _retract(connection: Connection, entry: Entry, filing: Filing) -> None:
    """XEP-0424 §4: a tombstone in the place of what the same author said. Nobody else's is touched."""
    account = entry.account.id
    found = connection.one(
        _RETRACTED,
        {"account": account, "peer": filing.peer.bare, "before": entry.id, "message": filing.retracts,
         "sent": filing.sent},
    )  # fmt: skip
    row = connection.one(_ROW, {"account": account, "entry": found[0]}) if found is not None else None
    if row is None or checksum(account, row[0], row[4]) != row[3]:
        return
    raw = tombstone(row[4], filing.message, accepted_at(entry.id))
    connection.run(
        _REPLACE,
        {"account": account, "entry": row[0], "raw": raw, "new_checksum": checksum(account, row[0], raw)},
    )


def tombstone(raw: bytes, retraction: str, moment: float) -> bytes:
    """What is left of a message: who, to whom, its ids; `retraction` is the id of what took it back."""
    stanza = Stanza.from_bytes(raw)
    id = escape(retraction)
    content = f"<retracted xmlns='{RETRACT_NAMESPACE}' id='{id}' stamp='{stamp(moment)}'/>".encode()
    rest = stanza.filtered(lambda child: child.tag == "{urn:xmpp:sid:0}stanza-id")
    return rest.raw_with_child(content)


def stamp(moment: float) -> str:
    """A moment, unix time, as XEP-0082 writes it."""
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def page(
    connection: Connection, query: Query, whole: Query, backwards: bool, most: int, most_bytes: int
) -> Page:
    """The first entries of what is asked for, or with `backwards` the last. Raises NotFound.

    At most `most`, and so many that they have no more than `most_bytes`, or one. `query` is the part of
    `whole` in which the page lies; all of that is counted.
    """
    if not all(id >= query.oldest and has(connection, query.account, id) for id in query.known):
        raise NotFound
    candidates = (
        _named(connection, query, query.ids, backwards)
        if query.ids is not None
        else connection.all(_statement(_BACKWARDS if backwards else _FORWARDS, query),
                            {**_parameters(query), "most": most + 1})
    )  # fmt: skip
    chosen: list[int] = []
    for id, size in candidates[:most]:
        if chosen and size > most_bytes:
            break
        chosen.append(id)
        most_bytes -= size
    complete = len(chosen) == len(candidates)
    if backwards:
        chosen.reverse()
    entries = []
    for id in chosen:
        row = connection.one(_ROW, {"account": query.account, "entry": id})
        if row is not None and checksum(query.account, id, row[4]) == row[3]:
            entries.append(Archived(id, row[1], bool(row[2]), row[4]))
    counted = count(connection, whole, _COUNTED + 1)
    if not chosen:
        ends: tuple[int | None, int | None] = None, None
        index = None
    else:
        ends = chosen[0], chosen[-1]
        index = count(connection, replace(whole, before=min(whole.before, chosen[0])), _COUNTED + 1)
    return Page(
        entries, *ends, complete, len(chosen) - len(entries),
        counted if counted <= _COUNTED else None, index if counted <= _COUNTED else None,
    )  # fmt: skip


def _named(
    connection: Connection, query: Query, ids: frozenset[int], backwards: bool
) -> list[tuple[int, int]]:
    """(id, size) of those among `ids` that the rest of the query lets through."""
    found = []
    for id in sorted(ids, reverse=backwards):
        row = connection.one(_ROW, {"account": query.account, "entry": id})
        if row is None or not query.after < id < query.before:
            continue
        peer = query.peer
        if peer is None or (row[5] == peer.bare and peer.resource in ("", row[6])):
            found.append((id, row[1]))
    return found


def _statement(variants: Sequence[Select[Any]], query: Query) -> Select[Any]:
    if query.peer is None:
        return variants[0]
    return variants[2] if query.peer.resource else variants[1]


def _parameters(query: Query) -> dict[str, object]:
    found: dict[str, object] = {"account": query.account, "after": query.after, "before": query.before}
    if query.peer is not None:
        found["peer"] = query.peer.bare
        if query.peer.resource:
            found["resource"] = query.peer.resource
    return found


def count(connection: Connection, query: Query, most: int) -> int:
    """How many entries are meant; never more than `most`, at which the counting stops."""
    if query.ids is not None:
        return len(_named(connection, query, query.ids, backwards=False))
    row = connection.one(_statement(_COUNT, query), {**_parameters(query), "most": most})
    return int(row[0]) if row is not None else 0


def has(connection: Connection, account: int, id: int) -> bool:
    """Whether the archive has an entry of this id."""
    return connection.one(_ROW, {"account": account, "entry": id}) is not None


def first_and_last(connection: Connection, query: Query) -> tuple[int, int] | None:
    """The ids of the oldest and the newest entry between the ids of `query`, None when there is none."""
    row = connection.one(
        _FIRST_AND_LAST, {"account": query.account, "after": query.after, "before": query.before}
    )
    return (row[0], row[1]) if row is not None and row[0] is not None else None


def figures(connection: Connection, account: int) -> tuple[int, int]:
    """How many entries an archive has, and their bytes."""
    row = connection.one(_FIGURES, {"account": account})
    return (row[0], row[1]) if row is not None else (0, 0)


def has_older(connection: Connection, account: int, before: int) -> bool:
    """Whether an archive has entries with ids below `before`."""
    return connection.one(_HAS_OLD, {"account": account, "before": before}) is not None


def next_owner(connection: Connection, after: int) -> int | None:
    """The number of the next account that has rows at all."""
    row = connection.one(_NEXT_OWNER, {"after": after})
    return row[0] if row is not None else None


def forget(connection: Connection, account: int, before: int, most: int) -> int:
    """Delete the oldest entries of an archive, those with ids below `before`; how many there were.

    At most `most`. What still waits to be delivered stays until it is.
    """
    return connection.run(_DELETE_OLD, {"account": account, "before": before, "most": most})
