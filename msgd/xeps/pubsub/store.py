"""Nodes and items in the database: the statements, each in a function with a name.

Every function runs inside one job of the database; what belongs together is called inside one job by
`service.py`. Nothing here decides who may do what.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import BindParameter, bindparam, delete, func, insert, select, update

from msgd.storage import schema
from msgd.storage.database import Connection
from msgd.storage.statements import upsert
from msgd.wire.jid import JID
from msgd.xeps.pubsub.configuration import Configuration, loaded
from msgd.xeps.pubsub.rules import sound

_node, _item = schema.pubsub_node, schema.pubsub_item
_affiliation, _subscription = schema.pubsub_affiliation, schema.pubsub_subscription
_OWNER: Final[BindParameter[int]] = bindparam("account_id")
_NAME: Final[BindParameter[str]] = bindparam("name")

_ACCOUNT: Final = select(schema.account.c.id, schema.account.c.uses).where(
    schema.account.c.domain == bindparam("domain"), schema.account.c.name == bindparam("name")
)
_NODE: Final = select(_node.c.configuration).where(_node.c.account_id == _OWNER, _node.c.name == _NAME)
_NODES: Final = (
    select(_node.c.name, _node.c.configuration).where(_node.c.account_id == _OWNER).order_by(_node.c.name)
)
_COUNT_NODES: Final = select(func.count()).select_from(_node).where(_node.c.account_id == _OWNER)
_ADD_NODE: Final = insert(_node)
_CONFIGURE: Final = (
    update(_node)
    .where(_node.c.account_id == bindparam("owner"), _node.c.name == bindparam("node"))
    .values(configuration=bindparam("new"))
)
_OF_NODE: Final = (_item.c.account_id == _OWNER, _item.c.node == _NAME)
_REMOVE: Final = (
    delete(_node).where(_node.c.account_id == _OWNER, _node.c.name == _NAME),
    delete(_item).where(*_OF_NODE),
    delete(_affiliation).where(_affiliation.c.account_id == _OWNER, _affiliation.c.node == _NAME),
    delete(_subscription).where(_subscription.c.account_id == _OWNER, _subscription.c.node == _NAME),
)
_PURGE: Final = delete(_item).where(*_OF_NODE)

_PUT: Final = upsert(_item, "number", "published", "size", "xml")
_NEXT: Final = select(func.coalesce(func.max(_item.c.number), 0) + 1).where(*_OF_NODE)
_COUNT: Final = select(func.count()).select_from(_item).where(*_OF_NODE)
_SIZE: Final = select(func.coalesce(func.sum(_item.c.size), 0)).where(_item.c.account_id == _OWNER)
_SIZES: Final = (
    select(_item.c.node, func.count(), func.sum(_item.c.size))
    .where(_item.c.account_id == _OWNER)
    .group_by(_item.c.node)
)
_OLDEST_KEPT: Final = (
    select(_item.c.number).where(*_OF_NODE).order_by(_item.c.number.desc()).limit(1).offset(bindparam("most"))
)
_EVICT: Final = delete(_item).where(*_OF_NODE, _item.c.number <= bindparam("number"))
_RETRACT: Final = delete(_item).where(*_OF_NODE, _item.c.id == bindparam("id"))
_IDS: Final = select(_item.c.id).where(*_OF_NODE).order_by(_item.c.number.desc())
_COLUMNS: Final = (_item.c.id, _item.c.published, _item.c.xml)
_ITEM: Final = select(*_COLUMNS).where(*_OF_NODE, _item.c.id == bindparam("id"))
_NEWEST: Final = select(*_COLUMNS).where(*_OF_NODE).order_by(_item.c.number.desc()).limit(bindparam("most"))
_NUMBER: Final = select(_item.c.number).where(*_OF_NODE, _item.c.id == bindparam("id"))
_BEHIND: Final = (
    select(*_COLUMNS)
    .where(*_OF_NODE, _item.c.number < bindparam("number"))
    .order_by(_item.c.number.desc())
    .limit(bindparam("most"))
)
_BEFORE: Final = (
    select(*_COLUMNS)
    .where(*_OF_NODE, _item.c.number > bindparam("number"))
    .order_by(_item.c.number)
    .limit(bindparam("most"))
)
_PLACE: Final = select(func.count()).select_from(_item).where(*_OF_NODE, _item.c.number > bindparam("number"))


class Item(NamedTuple):
    """One item: its id, when it was published (seconds since 1970), its payload as bytes (may be empty).

    The payload is written so that it stands in any namespace.
    """

    id: str
    published: int
    xml: bytes


def account(connection: Connection, jid: JID) -> tuple[int, int] | None:
    """The number of an account and what it uses."""
    found = connection.one(_ACCOUNT, {"domain": jid.domain, "name": jid.local})
    return (found[0], found[1]) if found is not None else None


# -- nodes -----------------------------------------------------------------------------------------


def node(connection: Connection, account_id: int, name: str) -> Configuration | None:
    """The configuration of a node; None where there is none."""
    found = connection.one(_NODE, {"account_id": account_id, "name": name})
    return sound(name, loaded(found[0])) if found is not None else None


def nodes(connection: Connection, account_id: int) -> dict[str, Configuration]:
    """All nodes of an account."""
    return {
        name: sound(name, loaded(text)) for name, text in connection.all(_NODES, {"account_id": account_id})
    }


def repair(connection: Connection, account_id: int) -> dict[str, Configuration]:
    """Write down what `sound` makes of nodes that were configured otherwise; what those were before."""
    before = {name: loaded(text) for name, text in connection.all(_NODES, {"account_id": account_id})}
    wrong = {name: stored for name, stored in before.items() if sound(name, stored) != stored}
    for name, stored in wrong.items():
        configure(connection, account_id, name, sound(name, stored))
    return wrong


def listing(connection: Connection, account_id: int) -> list[tuple[str, Configuration, int, int]]:
    """All nodes of an account, each with the number of its items and their bytes."""
    sizes = {name: (count, size) for name, count, size in connection.all(_SIZES, {"account_id": account_id})}
    found = nodes(connection, account_id).items()
    return [(name, configuration, *sizes.get(name, (0, 0))) for name, configuration in found]


def count_nodes(connection: Connection, account_id: int) -> int:
    """How many nodes it has."""
    found = connection.one(_COUNT_NODES, {"account_id": account_id})
    return found[0] if found is not None else 0


def add_node(connection: Connection, account_id: int, name: str, configuration: Configuration) -> None:
    """Make a node, which must not be there."""
    row = {"account_id": account_id, "name": name, "configuration": configuration.stored()}
    connection.run(_ADD_NODE, row)


def configure(connection: Connection, account_id: int, name: str, configuration: Configuration) -> None:
    """Replace the configuration of a node."""
    connection.run(_CONFIGURE, {"owner": account_id, "node": name, "new": configuration.stored()})


def remove_node(connection: Connection, account_id: int, name: str) -> None:
    """Delete a node and everything of it."""
    for statement in _REMOVE:
        connection.run(statement, {"account_id": account_id, "name": name})


# -- items -----------------------------------------------------------------------------------------


def put(connection: Connection, account_id: int, name: str, item: Item) -> None:
    """Add an item as the newest, in place of one with its id."""
    key = {"account_id": account_id, "name": name}
    number = connection.one(_NEXT, key)
    assert number is not None  # an aggregate has a row
    row = {"account_id": account_id, "node": name, "number": number[0], "size": len(item.xml)}
    connection.run(_PUT, {**row, "id": item.id, "published": item.published, "xml": item.xml})


def evict(connection: Connection, account_id: int, name: str, most: int) -> None:
    """Keep only the `most` newest items."""
    key: dict[str, object] = {"account_id": account_id, "name": name}
    found = connection.one(_OLDEST_KEPT, {**key, "most": most})
    if found is not None:
        connection.run(_EVICT, {**key, "number": found[0]})


def retract(connection: Connection, account_id: int, name: str, id: str) -> bool:
    """Delete an item; False when there is none."""
    return connection.run(_RETRACT, {"account_id": account_id, "name": name, "id": id}) > 0


def purge(connection: Connection, account_id: int, name: str) -> None:
    """Delete all items of a node."""
    connection.run(_PURGE, {"account_id": account_id, "name": name})


def size(connection: Connection, account_id: int) -> int:
    """Bytes of all items of an account."""
    found = connection.one(_SIZE, {"account_id": account_id})
    return int(found[0]) if found is not None else 0


def count(connection: Connection, account_id: int, name: str) -> int:
    """How many items a node has."""
    found = connection.one(_COUNT, {"account_id": account_id, "name": name})
    return found[0] if found is not None else 0


def item(connection: Connection, account_id: int, name: str, id: str) -> Item | None:
    """One item by its id."""
    found = connection.one(_ITEM, {"account_id": account_id, "name": name, "id": id})
    return Item(*found) if found is not None else None


def ids(connection: Connection, account_id: int, name: str) -> list[str]:
    """The ids of all items, the newest first."""
    return [id for (id,) in connection.all(_IDS, {"account_id": account_id, "name": name})]


def has(connection: Connection, account_id: int, name: str, id: str) -> bool:
    """Whether there is an item with this id."""
    return connection.one(_NUMBER, {"account_id": account_id, "name": name, "id": id}) is not None


def newest(connection: Connection, account_id: int, name: str, most: int) -> list[Item]:
    """The newest items, the last one first; all of them for -1."""
    found = connection.all(_NEWEST, {"account_id": account_id, "name": name, "most": most})
    return [Item(*row) for row in found]


def page(
    connection: Connection, account_id: int, name: str, id: str, most: int, backwards: bool
) -> tuple[list[Item], int] | None:
    """Items older than the one with this id (or newer, `backwards`), the newest first; and its place.

    None when there is no item with that id; an empty id stands for the oldest end, going backwards.
    """
    key: dict[str, object] = {"account_id": account_id, "name": name}
    number = 0
    if id:
        found = connection.one(_NUMBER, {**key, "id": id})
        if found is None:
            return None
        number = found[0]
    statement = _BEFORE if backwards else _BEHIND
    rows = connection.all(statement, {**key, "number": number, "most": most})
    items = [Item(*row) for row in (reversed(rows) if backwards else rows)]
    if not items:
        return items, 0
    first = connection.one(_NUMBER, {**key, "id": items[0].id})
    place = connection.one(_PLACE, {**key, "number": first[0] if first is not None else 0})
    return items, place[0] if place is not None else 0
