"""The table: accounts that are looked up while the server stops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred

from msgd.routing.table import Table
from msgd.storage.database import Connection, Database, DatabaseFault
from msgd.wire.jid import JID

JULIET = JID.parse("juliet@localhost")


class SlowDatabase:
    """Answers when told to."""

    def __init__(self) -> None:
        self.asked: list[Deferred[Any]] = []

    async def look_up(self, work: Callable[[Connection], Any]) -> Any:
        self.asked.append(Deferred())
        return await self.asked[-1]


def _table() -> tuple[Table, SlowDatabase]:
    database = SlowDatabase()
    return Table(cast(Database, database), [JID.parse("localhost")], 100), database


def test_settled_comes_after_what_waited_for_a_look_up() -> None:
    table, database = _table()
    happened: list[str] = []
    table.load(JULIET).addCallback(lambda _: happened.append("looked up"))
    settled = Deferred.fromCoroutine(table.settled())
    settled.addCallback(lambda _: happened.append("settled"))
    assert happened == []
    database.asked[0].callback(None)
    assert happened == ["looked up", "settled"]


def test_settled_at_once_when_nothing_is_looked_up() -> None:
    table, _ = _table()
    assert Deferred.fromCoroutine(table.settled()).called


def test_settled_waits_for_what_begins_meanwhile() -> None:
    table, database = _table()
    romeo = JID.parse("romeo@localhost")
    table.load(JULIET).addCallback(lambda _: table.load(romeo))
    settled = Deferred.fromCoroutine(table.settled())
    database.asked[0].callback(None)
    assert not settled.called
    database.asked[1].callback(None)
    assert settled.called


def test_settled_though_the_database_fails() -> None:
    table, database = _table()
    failed: list[object] = []
    table.load(JULIET).addErrback(failed.append)
    settled = Deferred.fromCoroutine(table.settled())
    database.asked[0].errback(DatabaseFault("gone"))
    assert settled.called
    assert failed
