"""The spool's rows in a real database, against a model that is nothing but a dictionary."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, update
from twisted.internet.interfaces import IReactorFromThreads

from msgd.routing.account import LiveAccount
from msgd.spool import store
from msgd.spool.entry import Entry
from msgd.storage import schema
from msgd.storage.sqlite import SqliteDatabase, open_database
from msgd.wire.jid import JID
from tests.storage.turns import Turns

_ADD = insert(schema.account)
_DAMAGE = update(schema.spool).values(stanza=b"<message>not what it was</message>")
_ASIDE = select(schema.spool_corrupt.c.id, schema.spool_corrupt.c.stanza)


class Store:
    """A database with two accounts."""

    def __init__(self, path: Path) -> None:
        self.database: SqliteDatabase = open_database(
            path / "data" / "msgd.sqlite", cast(IReactorFromThreads, Turns()), claim=True
        )
        self.accounts = [self._account("romeo"), self._account("juliet")]

    def _account(self, name: str) -> LiveAccount:
        row = {"domain": "localhost", "name": name, "created": 0}
        number = self.database.write_now(lambda connection: connection.insert(_ADD, row))
        return LiveAccount(number, JID.parse(f"{name}@localhost"))

    def write(self, entries: list[Entry], deleted: list[tuple[int, int]]) -> None:
        gone = [(account, id, False) for account, id in deleted]
        self.database.write_now(lambda connection: store.write(connection, entries, gone))

    def everything(self, account: int, most: int, most_bytes: int) -> tuple[dict[int, bytes], list[int]]:
        """All rows of an account, read page by page, and the ids of the damaged ones."""
        after = 0
        rows: dict[int, bytes] = {}
        damaged: list[int] = []
        while True:
            found, corrupt, after = self.database.read_now(
                partial(store.page, account=account, after=after, most=most, most_bytes=most_bytes)
            )
            assert len(found) + len(corrupt) <= most
            assert len(found) <= 1 or sum(len(row.raw) for row in found) <= most_bytes
            rows.update((row.id, row.raw) for row in found)
            damaged += corrupt
            if not after:
                return rows, damaged


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.database.close_now()


_BATCHES = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 1), st.integers(1, 60), st.binary(max_size=300)), max_size=20),
        st.lists(st.tuples(st.integers(0, 1), st.integers(1, 60)), max_size=10),
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=_BATCHES, most=st.integers(1, 30), most_bytes=st.integers(1, 2000))
def test_what_was_written_and_not_deleted_is_there_in_order(
    stored: Store, batches: list[Any], most: int, most_bytes: int
) -> None:
    model: list[dict[int, bytes]] = [{}, {}]
    everything = [(account.id, id) for account in stored.accounts for id in range(1, 61)]
    stored.write([], everything)
    for written, deleted in batches:
        # An entry's row may be offered twice, never with other bytes.
        fresh = {(who, id): raw for who, id, raw in written if id not in model[who]}
        stored.write(
            [Entry(id, stored.accounts[who], raw) for (who, id), raw in fresh.items()],
            [(stored.accounts[who].id, id) for who, id in deleted],
        )
        for (who, id), raw in fresh.items():
            model[who][id] = raw
        for who, id in deleted:
            model[who].pop(id, None)
    for account, expected in zip(stored.accounts, model, strict=True):
        rows, damaged = stored.everything(account.id, most, most_bytes)
        assert list(rows.items()) == sorted(expected.items())
        assert not damaged
    count, size = stored.database.read_now(store.totals)
    last = stored.database.read_now(store.greatest_id)
    assert count == sum(map(len, model))
    assert size == sum(len(raw) for rows in model for raw in rows.values())
    assert last == max((id for rows in model for id in rows), default=0)


def test_a_batch_may_be_written_again(stored: Store) -> None:
    """It failed within its commit, and was there after all."""
    romeo = stored.accounts[0]
    for _ in range(2):
        stored.write([Entry(1, romeo, b"<message/>")], [])
    assert stored.everything(romeo.id, 10, 1000) == ({1: b"<message/>"}, [])


def test_a_large_row_comes_alone_and_stops_nothing(stored: Store) -> None:
    romeo = stored.accounts[0]
    rows = {1: b"a" * 10, 2: b"b" * 5000, 3: b"c" * 10}
    stored.write([Entry(id, romeo, raw) for id, raw in rows.items()], [])
    assert stored.everything(romeo.id, 10, 100) == (rows, [])


def test_damaged_rows_are_found_and_set_aside(stored: Store) -> None:
    romeo, juliet = stored.accounts
    stored.write([Entry(id, romeo, b"<message/>") for id in (1, 2, 3)], [])
    stored.write([Entry(2, juliet, b"<message/>")], [])
    where = (schema.spool.c.account_id == romeo.id, schema.spool.c.id == 2)
    stored.database.write_now(lambda connection: connection.run(_DAMAGE.where(*where)))
    rows, damaged = stored.everything(romeo.id, 10, 1000)
    assert list(rows) == [1, 3]
    assert damaged == [2]
    stored.database.write_now(lambda connection: store.set_aside(connection, romeo.id, damaged, "damaged"))
    assert stored.everything(romeo.id, 10, 1000) == (rows, [])
    kept = stored.database.read_now(lambda connection: [tuple(row) for row in connection.all(_ASIDE)])
    assert kept == [(2, b"<message>not what it was</message>")]
    assert stored.everything(juliet.id, 10, 1000) == ({2: b"<message/>"}, [])


def test_a_row_that_was_moved_to_another_account_is_damaged(stored: Store) -> None:
    """The checksum covers whose it is: nobody gets another's mail through a broken file."""
    romeo, juliet = stored.accounts
    stored.write([Entry(1, romeo, b"<message/>")], [])
    moved = update(schema.spool).values(account_id=juliet.id)
    stored.database.write_now(lambda connection: connection.run(moved))
    assert stored.everything(juliet.id, 10, 1000) == ({}, [1])


def test_what_is_old_is_found_with_its_owner(stored: Store) -> None:
    romeo, juliet = stored.accounts
    stored.write([Entry(5, romeo, b"<message/>"), Entry(9, juliet, b"<message/>")], [])
    found = stored.database.read_now(lambda connection: store.expired(connection, 9, 10))
    assert found == [store.Expired(romeo.id, 5, 10, False, b"<message/>", "romeo@localhost")]
