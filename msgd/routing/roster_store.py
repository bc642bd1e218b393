"""The roster in the database: statements, and the steps that must happen whole.

Every function runs inside one job of the database, on its connection; what reads and then writes is
called inside one write job, so that two clients of an account cannot overtake each other.
Source: RFC 6121 §2, §2.6 (versions), §3.1.3 (requests that wait).

Versions are milliseconds since 1970, or one more than the last where the clock stands still: so
they grow for each account, and are not used again when an account is deleted and made anew, or when
an older copy of the database is put back.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from sqlalchemy import BindParameter, ColumnElement, bindparam, delete, exists, func, or_, select, update

from msgd.routing.account import NOBODY
from msgd.routing.subscription import Contact, Inbound, Outbound, State
from msgd.storage import schema
from msgd.storage.database import Connection
from msgd.storage.statements import upsert
from msgd.wire.jid import JID

#: Removed contacts that are remembered for clients with an older roster; when there are more, the
#: older half is forgotten, and clients older than those get the whole roster.
TOMBSTONES: Final = 200
#: So many unanswered requests of an account, the latest, are sent again at a log-in.
ASKED_AGAIN: Final = 50

_item = schema.roster_item
_request = schema.subscription_request
_version = schema.roster_version
_OWNER: Final[BindParameter[int]] = bindparam("account_id")
_REMOVED: Final = "remove"

_COLUMNS: Final = (
    _item.c.jid, _item.c.name, _item.c.groups, _item.c.subscription, _item.c.ask,
    _item.c.approved, _item.c.version,
)  # fmt: skip
_ITEM: Final = select(*_COLUMNS).where(_item.c.account_id == _OWNER, _item.c.jid == bindparam("jid"))
_ITEMS: Final = select(*_COLUMNS).where(_item.c.account_id == _OWNER, _item.c.subscription != _REMOVED)
_CHANGED: Final = (
    select(*_COLUMNS)
    .where(_item.c.account_id == _OWNER, _item.c.version > bindparam("since"))
    .order_by(_item.c.version)
)
_COUNT: Final = (
    select(func.count())
    .select_from(_item)
    .where(_item.c.account_id == _OWNER, _item.c.subscription != _REMOVED)
)
_SUBSCRIPTIONS: Final = select(_item.c.jid, _item.c.subscription).where(
    _item.c.account_id == _OWNER,
    _item.c.subscription != "none",
    _item.c.subscription != _REMOVED,
)
_ASKED: Final = (
    select(_item.c.jid)
    .where(_item.c.account_id == _OWNER, _item.c.ask)
    .order_by(_item.c.version.desc())
    .limit(ASKED_AGAIN)
)
_PUT: Final = upsert(_item, "name", "groups", "subscription", "ask", "approved", "version")
_TOMBSTONE_COUNT: Final = (
    select(func.count())
    .select_from(_item)
    .where(_item.c.account_id == _OWNER, _item.c.subscription == _REMOVED)
)
_NEWEST_FORGOTTEN: Final = (
    select(_item.c.version)
    .where(_item.c.account_id == _OWNER, _item.c.subscription == _REMOVED)
    .order_by(_item.c.version.desc())
    .limit(1)
    .offset(TOMBSTONES // 2)
)
_FORGET: Final = delete(_item).where(
    _item.c.account_id == _OWNER,
    _item.c.subscription == _REMOVED,
    _item.c.version <= bindparam("horizon"),
)
_VERSION: Final = select(_version.c.version, _version.c.horizon).where(_version.c.account_id == _OWNER)
_PUT_VERSION: Final = upsert(_version, "version")
_RAISE_HORIZON: Final = (
    update(_version)
    .where(_version.c.account_id == bindparam("owner"))
    .values(horizon=bindparam("new_horizon"))
)
_REQUEST: Final = select(_request.c.jid).where(
    _request.c.account_id == _OWNER, _request.c.jid == bindparam("jid")
)
_REQUESTS: Final = (
    select(_request.c.jid, _request.c.stanza)
    .where(_request.c.account_id == _OWNER)
    .order_by(_request.c.received)
)
_REQUEST_COUNT: Final = select(func.count()).select_from(_request).where(_request.c.account_id == _OWNER)
_PUT_REQUEST: Final = upsert(_request, "stanza", "received")
_DROP_REQUEST: Final = delete(_request).where(
    _request.c.account_id == _OWNER, _request.c.jid == bindparam("jid")
)


class RosterFull(Exception):
    """The account has as many contacts as it may have."""


class RequestsFull(Exception):
    """As many requests as may wait for the account's answer do."""


class Item(NamedTuple):
    """One contact as clients see it (§2.1.2); `subscription` 'remove' says that it is gone."""

    jid: JID
    name: str = ""
    groups: tuple[str, ...] = ()
    subscription: str = "none"
    ask: bool = False
    approved: bool = False
    version: int = 0


class RosterCopy(NamedTuple):
    """An answer to a client that asks for the roster.

    `items` are all of it or, when not `whole`, what changed since the version it has, in order.
    """

    version: int
    items: list[Item]
    whole: bool


Outcome = TypeVar("Outcome", Inbound, Outbound)


class Change(NamedTuple):
    """What a subscription stanza did: the contact before and after, and the item to be pushed."""

    before: Contact
    after: Contact
    item: Item | None


class Removal(NamedTuple):
    """A contact that was removed: its state until then, and the item to be pushed."""

    state: State
    item: Item


def summary(connection: Connection, account_id: int) -> tuple[frozenset[JID], frozenset[JID]]:
    """The contacts that see the account's presence, and those whose presence it sees."""
    rows = connection.all(_SUBSCRIPTIONS, {"account_id": account_id})
    if not rows:
        return NOBODY, NOBODY
    subscribers = frozenset(JID.parse(jid) for jid, kind in rows if kind != "to")
    return subscribers, frozenset(JID.parse(jid) for jid, kind in rows if kind != "from")


def roster(connection: Connection, account_id: int, known: int | None) -> RosterCopy:
    """The roster for a client that has version `known` of it; None when it has none (§2.6.3).

    Only the changes where that is known to be all that happened, and shorter than the whole.
    """
    version, horizon = _current(connection, account_id)
    if known is not None and horizon <= known <= version:
        changed = connection.all(_CHANGED, {"account_id": account_id, "since": known})
        # A push costs about as much as two items of the whole roster.
        if 2 * len(changed) <= _size(connection, account_id):
            return RosterCopy(version, list(map(_made, changed)), False)
    rows = connection.all(_ITEMS, {"account_id": account_id})
    return RosterCopy(version, list(map(_made, rows)), True)


def put(
    connection: Connection,
    account_id: int,
    jid: JID,
    name: str,
    groups: tuple[str, ...],
    most_items: int,
) -> Item:
    """Write name and groups of a contact, new or not (§2.3, §2.4). Raises RosterFull."""
    item, contact = _look(connection, account_id, jid)
    if not contact.listed and _size(connection, account_id) >= most_items:
        raise RosterFull
    return _write(connection, account_id, item._replace(name=name, groups=groups))


def remove(connection: Connection, account_id: int, jid: JID) -> Removal | None:
    """Remove a contact, with its request if one waits (§2.5). None when it is not in the roster."""
    _, contact = _look(connection, account_id, jid)
    if not contact.listed:
        return None
    if contact.state.pending_in:
        connection.run(_DROP_REQUEST, {"account_id": account_id, "jid": str(jid)})
    item = _write(connection, account_id, Item(jid, subscription=_REMOVED))
    if connection.all(_TOMBSTONE_COUNT, {"account_id": account_id})[0][0] > TOMBSTONES:
        _forget_old_removals(connection, account_id)
    return Removal(contact.state, item)


def change(
    connection: Connection,
    account_id: int,
    jid: JID,
    step: Callable[[Contact], Outcome],
    request: bytes,
    most_items: int,
    most_requests: int,
) -> tuple[Outcome, Change]:
    """Take one step of the handshake with a contact; `step` says what it leads to.

    `request` is the stanza that is kept when a request of the contact begins to wait.
    Raises RosterFull, RequestsFull.
    """
    item, before = _look(connection, account_id, jid)
    outcome = step(before)
    after: Contact = outcome.contact
    key = {"account_id": account_id, "jid": str(jid)}
    if after.state.pending_in and not before.state.pending_in:
        if connection.all(_REQUEST_COUNT, {"account_id": account_id})[0][0] >= most_requests:
            raise RequestsFull
        connection.run(_PUT_REQUEST, {**key, "stanza": request, "received": int(time.time())})
    elif before.state.pending_in and not after.state.pending_in:
        connection.run(_DROP_REQUEST, key)
    if after.shown == before.shown:
        return outcome, Change(before, after, None)
    if not before.listed and _size(connection, account_id) >= most_items:
        raise RosterFull
    changed = item._replace(
        subscription=after.state.subscription, ask=after.state.ask, approved=after.approved
    )
    return outcome, Change(before, after, _write(connection, account_id, changed))


def waiting(connection: Connection, account_id: int) -> tuple[list[bytes], list[JID]]:
    """The requests that wait for the account's answer (stanzas), and whom it has asked itself."""
    requests = connection.all(_REQUESTS, {"account_id": account_id})
    asked = connection.all(_ASKED, {"account_id": account_id})
    return [stanza for _, stanza in requests], [JID.parse(jid) for (jid,) in asked]


def anything_waits(account_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether `waiting` has anything to tell, as a part of another statement."""
    return or_(
        exists().where(_request.c.account_id == account_id),
        exists().where(_item.c.account_id == account_id, _item.c.ask),
    )


def _current(connection: Connection, account_id: int) -> tuple[int, int]:
    """The version of the roster, and its horizon. An untouched roster is version 0."""
    found = connection.one(_VERSION, {"account_id": account_id})
    return (found[0], found[1]) if found is not None else (0, 0)


def _size(connection: Connection, account_id: int) -> int:
    count: int = connection.all(_COUNT, {"account_id": account_id})[0][0]
    return count


def _look(connection: Connection, account_id: int, jid: JID) -> tuple[Item, Contact]:
    """What is stored of a contact; an empty item when nothing is."""
    key = {"account_id": account_id, "jid": str(jid)}
    row = connection.one(_ITEM, key)
    item = _made(row) if row is not None and row[3] != _REMOVED else None
    pending_in = connection.one(_REQUEST, key) is not None
    if item is None:
        return Item(jid), Contact(State.of("none", False, pending_in))
    state = State.of(item.subscription, item.ask, pending_in)
    return item, Contact(state, item.approved, True)


def _write(connection: Connection, account_id: int, item: Item) -> Item:
    """Store `item` as the newest change, and return it with its version."""
    version, _ = _current(connection, account_id)
    new = max(version + 1, time.time_ns() // 1_000_000)
    # The horizon is set with the first change of all: nobody can have an older roster than that.
    connection.run(_PUT_VERSION, {"account_id": account_id, "version": new, "horizon": new - 1})
    connection.run(
        _PUT,
        {
            "account_id": account_id,
            "jid": str(item.jid),
            "name": item.name,
            "groups": json.dumps(item.groups, ensure_ascii=False),
            "subscription": item.subscription,
            "ask": item.ask,
            "approved": item.approved,
            "version": new,
        },
    )
    return item._replace(version=new)


def _forget_old_removals(connection: Connection, account_id: int) -> None:
    """Keep the newer half of the tombstones; older rosters than those are answered whole."""
    found = connection.one(_NEWEST_FORGOTTEN, {"account_id": account_id})
    if found is not None:
        connection.run(_FORGET, {"account_id": account_id, "horizon": found[0]})
        connection.run(_RAISE_HORIZON, {"owner": account_id, "new_horizon": found[0]})


def _made(row: tuple[str, str, str, str, bool, bool, int]) -> Item:
    jid, name, groups, subscription, ask, approved, version = row
    listed = tuple(json.loads(groups)) if groups != "[]" else ()  # most have none, and a roster is long
    return Item(JID.parse(jid), name, listed, subscription, ask, approved, version)
