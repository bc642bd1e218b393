"""The roster in a real database: versions, removals, limits, requests that wait."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Select, delete, func, insert, select
from twisted.internet.interfaces import IReactorFromThreads

from msgd.routing import roster_store, subscription
from msgd.routing.roster_store import (
    TOMBSTONES,
    Change,
    Item,
    Removal,
    RequestsFull,
    RosterCopy,
    RosterFull,
)
from msgd.routing.subscription import State
from msgd.storage import schema
from msgd.storage.database import Connection
from msgd.storage.sqlite import SqliteDatabase, open_database
from msgd.wire.jid import JID
from tests.storage.turns import Turns

JULIET = JID.parse("juliet@localhost")
NURSE = JID.parse("nurse@localhost")
TYBALT = JID.parse("tybalt@localhost")
_ADD = insert(schema.account)
_DELETE = delete(schema.account)
_ROWS = {
    table.name: select(func.count()).select_from(table)
    for table in (schema.roster_item, schema.roster_version, schema.subscription_request)
}


class Store:
    """The roster of one account in one database."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        row = {"domain": "localhost", "name": "romeo", "created": 0}
        self.account = database.write_now(lambda connection: connection.insert(_ADD, row))

    def write(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return self._database.write_now(lambda c: work(c, self.account, *arguments))

    def put(self, jid: JID, name: str = "", groups: tuple[str, ...] = (), most: int = 9999) -> Item:
        return cast(Item, self.write(roster_store.put, jid, name, groups, most))

    def remove(self, jid: JID) -> Removal | None:
        return cast("Removal | None", self.write(roster_store.remove, jid))

    def step(
        self,
        direction: str,
        kind: str,
        jid: JID,
        request: bytes = b"",
        most_items: int = 9999,
        most_requests: int = 9999,
    ) -> Change:
        function: Any = subscription.outbound if direction == "sends" else subscription.inbound
        work = roster_store.change
        limits = (most_items, most_requests)
        done = self.write(work, jid, partial(function, kind), request, *limits)
        return cast(Change, done[1])

    def copy(self, known: int | None = None) -> RosterCopy:
        return self._database.read_now(lambda c: roster_store.roster(c, self.account, known))

    def waiting(self) -> tuple[list[bytes], list[JID]]:
        return self._database.read_now(lambda c: roster_store.waiting(c, self.account))

    def summary(self) -> tuple[frozenset[JID], frozenset[JID]]:
        return self._database.read_now(lambda c: roster_store.summary(c, self.account))

    def read(self, statement: Select[Any]) -> object:
        row = self._database.read_now(lambda connection: connection.one(statement))
        assert row is not None
        return row[0]

    def rows(self, table: str) -> int:
        def count(connection: Connection) -> int:
            return cast(int, connection.all(_ROWS[table])[0][0])

        return self._database.read_now(count)

    def delete_account(self) -> None:
        self._database.write_now(lambda connection: connection.run(_DELETE))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """The empty roster of Romeo."""
    reactor = cast(IReactorFromThreads, Turns())
    database = open_database(tmp_path / "data" / "msgd.sqlite", reactor, claim=True)
    yield Store(database)
    database.close_now()


def names(copy: RosterCopy) -> set[str]:
    return {str(item.jid) for item in copy.items}


def test_an_untouched_roster_is_empty(store: Store) -> None:
    assert store.copy() == RosterCopy(0, [], True)
    assert store.summary() == (frozenset(), frozenset())


def test_items_come_back_as_they_were_put(store: Store) -> None:
    put = store.put(NURSE, "Amme <'\"&>", ("Häuser", "a", "[]"))
    assert store.copy() == RosterCopy(put.version, [put], True)
    assert (put.name, put.groups) == ("Amme <'\"&>", ("Häuser", "a", "[]"))


def test_a_set_leaves_the_subscription_alone(store: Store) -> None:
    store.step("sends", "subscribe", JULIET)
    item = store.put(JULIET, "Juliet", ("Friends",))
    assert (item.subscription, item.ask, item.name) == ("none", True, "Juliet")
    assert store.step("sends", "unsubscribe", JULIET).item == item._replace(
        ask=False, version=store.copy().version
    )


def test_versions_grow_with_each_change_and_are_unique(store: Store) -> None:
    versions = [store.put(NURSE, str(n)).version for n in range(50)]
    assert versions == sorted(set(versions))
    assert store.copy().version == versions[-1]


def test_a_client_that_is_up_to_date_gets_nothing(store: Store) -> None:
    version = store.put(NURSE).version
    assert store.copy(version) == RosterCopy(version, [], False)


def test_a_client_that_is_behind_gets_the_changes_in_order(store: Store) -> None:
    for n in range(10):
        store.put(JID.parse(f"servant{n}@localhost"))
    known = store.put(NURSE).version
    store.put(TYBALT)
    store.put(JULIET)
    store.put(JULIET, "Juliet")  # two changes of one item are one
    store.remove(NURSE)
    copy = store.copy(known)
    assert not copy.whole
    changed = [(item.jid, item.name, item.subscription) for item in copy.items]
    assert changed == [(TYBALT, "", "none"), (JULIET, "Juliet", "none"), (NURSE, "", "remove")]
    assert [i.version for i in copy.items] == sorted({i.version for i in copy.items})
    assert copy.items[-1].version == copy.version


def test_the_whole_roster_when_that_is_shorter(store: Store) -> None:
    known = store.put(NURSE).version
    store.put(NURSE, "Nurse")
    assert store.copy(known).whole


def test_the_whole_roster_for_a_version_that_is_not_ours(store: Store) -> None:
    version = store.put(NURSE).version
    assert store.copy(version + 1).whole
    assert store.copy(version - 1).whole is True
    assert store.copy(0).whole
    assert names(store.copy(None)) == {NURSE}


def test_removed_contacts_are_remembered_up_to_a_number(store: Store) -> None:
    for n in range(10):
        store.put(JID.parse(f"servant{n}@localhost"))
    early = store.put(NURSE).version
    for n in range(TOMBSTONES + 1):
        stranger = JID.parse(f"guest{n}@localhost")
        store.put(stranger)
        late = store.remove(stranger)
    assert late is not None
    rest = store.rows("roster_item") - 11
    assert rest <= TOMBSTONES // 2 + 1
    assert store.copy(early).whole
    newest = store.copy(late.item.version - 1)
    assert [item.subscription for item in newest.items] == ["remove"]


def test_a_contact_that_comes_back_is_no_longer_removed(store: Store) -> None:
    store.put(NURSE, "Nurse", ("Servants",))
    store.remove(NURSE)
    assert store.copy().items == []
    item = store.put(NURSE)
    assert (item.name, item.groups, item.subscription) == ("", (), "none")
    assert store.copy().items == [item]


def test_removing_what_is_not_there(store: Store) -> None:
    assert store.remove(NURSE) is None
    store.step("gets", "subscribe", NURSE, b"<presence/>")
    assert store.remove(NURSE) is None
    assert store.waiting()[0] == [b"<presence/>"]
    store.put(NURSE)
    done = store.remove(NURSE)
    assert done is not None
    assert done.state is State.NONE_IN
    assert store.remove(NURSE) is None
    assert store.waiting()[0] == []


def test_a_request_waits_until_it_is_answered(store: Store) -> None:
    change = store.step("gets", "subscribe", JULIET, b"<presence id='1'/>")
    assert change.item is None
    assert store.copy() == RosterCopy(0, [], True)  # a stranger changes nobody's roster
    store.step("gets", "subscribe", JULIET, b"<presence id='2'/>")
    assert store.waiting()[0] == [b"<presence id='1'/>"]
    item = store.step("sends", "subscribed", JULIET).item
    assert item is not None
    assert item.subscription == "from"
    assert store.waiting()[0] == []


def test_what_was_asked_is_known(store: Store) -> None:
    store.step("sends", "subscribe", JULIET)
    store.put(NURSE)
    assert store.waiting()[1] == [JULIET]
    store.step("gets", "subscribed", JULIET)
    assert store.waiting()[1] == []


def test_whether_anything_waits(store: Store) -> None:
    statement = select(roster_store.anything_waits(schema.account.c.id)).where(
        schema.account.c.id == store.account
    )

    def look() -> bool:
        return cast(bool, store.read(statement))

    assert not look()
    store.step("sends", "subscribe", JULIET)
    assert look()
    store.step("gets", "subscribed", JULIET)
    assert not look()
    store.step("gets", "subscribe", NURSE)
    assert look()


def test_the_summary_follows_the_subscriptions(store: Store) -> None:
    store.put(TYBALT)
    store.step("sends", "subscribe", JULIET)
    store.step("gets", "subscribed", JULIET)
    store.step("gets", "subscribe", NURSE)
    store.step("sends", "subscribed", NURSE)
    assert store.summary() == (frozenset({NURSE}), frozenset({JULIET}))
    store.step("gets", "subscribe", JULIET)
    store.step("sends", "subscribed", JULIET)
    assert store.summary() == (frozenset({NURSE, JULIET}), frozenset({JULIET}))
    store.remove(JULIET)
    assert store.summary() == (frozenset({NURSE}), frozenset())


def test_a_full_roster_takes_changes_but_no_contact(store: Store) -> None:
    store.put(NURSE, most=2)
    store.put(TYBALT, most=2)
    with pytest.raises(RosterFull):
        store.put(JULIET, most=2)
    with pytest.raises(RosterFull):
        store.step("sends", "subscribe", JULIET, most_items=2)
    assert store.put(TYBALT, "Tybalt", most=2).name == "Tybalt"
    assert store.step("sends", "subscribe", TYBALT, most_items=2).item is not None
    assert names(store.copy()) == {NURSE, TYBALT}


def test_requests_that_wait_are_bounded(store: Store) -> None:
    store.step("gets", "subscribe", NURSE, most_requests=1)
    store.step("gets", "subscribe", NURSE, most_requests=1)
    with pytest.raises(RequestsFull):
        store.step("gets", "subscribe", JULIET, most_requests=1)
    assert len(store.waiting()[0]) == 1


def test_everything_goes_with_the_account(store: Store) -> None:
    store.put(NURSE)
    store.step("gets", "subscribe", JULIET)
    assert all(store.rows(table) for table in _ROWS)
    store.delete_account()
    assert not any(store.rows(table) for table in _ROWS)
