"""The registrations of accounts in the database."""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from sqlalchemy import bindparam, delete, select, update

from msgd.accounts.uses import Uses, mark
from msgd.storage.database import Connection
from msgd.storage.schema import push_registration as table
from msgd.storage.statements import upsert
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID

_OF_ACCOUNT: Final = table.c.account_id == bindparam("account")
_ONE: Final = (_OF_ACCOUNT, table.c.jid == bindparam("app"), table.c.node == bindparam("at"))
_ALL: Final = (
    select(
        table.c.jid, table.c.node, table.c.resource, table.c.options, table.c.enabled, table.c.disabled,
        table.c.answer,
    ).where(_OF_ACCOUNT).order_by(table.c.enabled, table.c.jid, table.c.node)
)  # fmt: skip
_KEEP: Final = upsert(table, "resource", "options", "enabled", "disabled", "answer")
_REMOVE: Final = delete(table).where(*_ONE)
_REMOVE_ALL_AT: Final = delete(table).where(_OF_ACCOUNT, table.c.jid == bindparam("app"))
_END: Final = update(table).where(*_ONE).values(disabled=bindparam("when"), answer=bindparam("said"))

#: The fields of the form that goes with each push: var and values.
Options = list[tuple[str, list[str]]]


class Row(NamedTuple):
    """A registration as it is kept; times in seconds since 1970, `disabled` 0 while it is not."""

    jid: JID
    node: str
    resource: str
    options: Options
    enabled: int
    disabled: int = 0
    answer: str = ""


def registrations(connection: Connection, account_id: int) -> list[Row]:
    """All of the account, in the order in which they were enabled."""
    return [
        Row(JID.parse(jid), node, resource, [(var, values) for var, values in json.loads(options)], *rest)
        for jid, node, resource, options, *rest in connection.all(_ALL, {"account": account_id})
    ]


def enable(connection: Connection, account_id: int, row: Row, most: int) -> list[Row]:
    """Keep a registration, in the place of one with the same address and node.

    There are at most `most`; where one that was ended by its app server makes room, it goes. Those that
    went are returned. Raises StanzaError when there is no room.
    """
    others = [
        each for each in registrations(connection, account_id) if (each.jid, each.node) != (row.jid, row.node)
    ]
    gone = [each for each in others if each.disabled][: max(0, len(others) + 1 - most)]
    if len(others) - len(gone) >= most:
        raise StanzaError("resource-constraint", f"at most {most} app servers are told")
    for each in gone:
        connection.run(_REMOVE, {"account": account_id, "app": str(each.jid), "at": each.node})
    connection.run(_KEEP, {
        "account_id": account_id, "jid": str(row.jid), "node": row.node, "resource": row.resource,
        "options": json.dumps(row.options), "enabled": row.enabled, "disabled": 0, "answer": "",
    })  # fmt: skip
    mark(connection, account_id, Uses.PUSH, True)
    return gone


def remove(connection: Connection, account_id: int, jid: JID, node: str | None) -> None:
    """Remove one registration, or without `node` all with this address."""
    if node is None:
        connection.run(_REMOVE_ALL_AT, {"account": account_id, "app": str(jid)})
    else:
        connection.run(_REMOVE, {"account": account_id, "app": str(jid), "at": node})
    _mark(connection, account_id)


def end(connection: Connection, account_id: int, jid: JID, node: str, when: int, answer: str) -> None:
    """The app server does not want it: note that and why."""
    connection.run(_END, {"account": account_id, "app": str(jid), "at": node, "when": when, "said": answer})
    _mark(connection, account_id)


def _mark(connection: Connection, account_id: int) -> None:
    left = any(not row.disabled for row in registrations(connection, account_id))
    mark(connection, account_id, Uses.PUSH, left)
