"""The archive's rows in a real database: pages, counts, tombstones, what is too old, and its indexes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert
from twisted.internet.interfaces import IReactorFromThreads

from msgd.routing.account import LiveAccount
from msgd.spool import archive_store, store
from msgd.spool.archive_store import END, NotFound, Page, Query
from msgd.spool.entry import Entry, Filing
from msgd.storage import schema
from msgd.storage.sqlite import open_database
from msgd.wire.jid import JID
from tests.storage.turns import Turns

_ROMEO, _NURSE = JID.parse("romeo@localhost/orchard"), JID.parse("nurse@localhost")
_ADD = insert(schema.account)


class Archives:
    """Juliet's archive, and Paris's beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path / "data" / "msgd.sqlite"
        self.database = open_database(self.path, cast(IReactorFromThreads, Turns()), claim=True)
        self.juliet, self.paris = self._account("juliet"), self._account("paris")

    def _account(self, name: str) -> LiveAccount:
        row = {"domain": "localhost", "name": name, "created": 0}
        number = self.database.write_now(lambda connection: connection.insert(_ADD, row))
        return LiveAccount(number, JID.parse(f"{name}@localhost"))

    def entry(
        self, id: int, peer: JID = _ROMEO, *, sent: bool = False, retracts: str = "", done: bool = True
    ) -> Entry:
        """One of Juliet's; its sender calls it m{id}."""
        raw = (
            f"<message id='m{id}'><body>{id}</body><stanza-id xmlns='urn:xmpp:sid:0' id='{id:x}'/></message>"
        )
        entry = Entry(id, self.juliet, raw.encode())
        entry.done = done
        entry.file(Filing(peer, sent, f"m{id}", retracts))
        return entry

    def write(self, *entries: Entry, gone: list[store.Gone] | None = None) -> None:
        """In one transaction."""
        self.database.write_now(lambda connection: store.write(connection, list(entries), gone or []))

    def page(self, query: Query, backwards: bool = False, most: int = 100, size: int = 10**6) -> Page:
        """A page of what is asked for."""
        return self.database.read_now(
            lambda connection: archive_store.page(connection, query, query, backwards, most, size)
        )

    @property
    def all(self) -> Query:
        """Everything of Juliet's."""
        return Query(self.juliet.id, 0, END)

    def texts(self) -> list[bytes]:
        """What is in Juliet's archive."""
        return [entry.raw for entry in self.page(self.all).entries]


@pytest.fixture
def archives(tmp_path: Path) -> Iterator[Archives]:
    made = Archives(tmp_path)
    yield made
    made.database.close_now()


def test_what_is_delivered_stays_and_waits_no_more(archives: Archives) -> None:
    waiting = archives.entry(5, done=False)
    archives.write(waiting)
    assert waiting.waits
    assert [entry.waiting for entry in archives.page(archives.all).entries] == [True]
    archives.write(gone=[(archives.juliet.id, 5, True)])
    assert [entry.waiting for entry in archives.page(archives.all).entries] == [False]
    rows = archives.database.read_now(lambda c: store.page(c, archives.juliet.id, 0, 10, 1000))
    assert rows == ([], [], 0)


def test_written_again_after_a_doubtful_commit_it_waits_no_more(archives: Archives) -> None:
    entry = archives.entry(5, done=False)
    archives.write(entry)
    entry.done = True
    archives.write(entry)
    assert not entry.waits
    assert [found.waiting for found in archives.page(archives.all).entries] == [False]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    ids=st.lists(st.integers(1, 40), max_size=12, unique=True),
    after=st.integers(0, 41),
    before=st.integers(0, 41),
    peer=st.sampled_from([None, _ROMEO, _ROMEO.bare, _NURSE]),
    named=st.none() | st.frozensets(st.integers(1, 40), max_size=6),
    backwards=st.booleans(),
    most=st.integers(0, 8),
)
def test_pages_against_a_model(
    tmp_path_factory: pytest.TempPathFactory,
    ids: list[int],
    after: int,
    before: int,
    peer: JID | None,
    named: frozenset[int] | None,
    backwards: bool,
    most: int,
) -> None:
    archives = Archives(tmp_path_factory.mktemp("archive"))
    try:
        archives.write(*(archives.entry(id, _NURSE if id % 3 else _ROMEO) for id in ids))
        query = Query(archives.juliet.id, after, before, peer, named)
        matching = [
            id for id in sorted(ids)
            if after < id < before
            and (peer is None or peer.bare == (_NURSE if id % 3 else _ROMEO).bare)
            and (named is None or id in named)
        ]  # fmt: skip
        expected = (matching[-most:] if most else []) if backwards else matching[:most]
        page = archives.page(query, backwards, most)
        assert [entry.id for entry in page.entries] == expected
        assert (page.first, page.last) == ((expected[0], expected[-1]) if expected else (None, None))
        assert page.complete == (len(expected) == len(matching))
        assert page.count == len(matching)
        assert page.index == (matching.index(expected[0]) if expected else None)
    finally:
        archives.database.close_now()


def test_a_page_ends_where_its_bytes_do(archives: Archives) -> None:
    archives.write(*map(archives.entry, range(1, 6)))
    size = archives.page(archives.all).entries[0].size
    page = archives.page(archives.all, size=2 * size)
    assert ([entry.id for entry in page.entries], page.complete, page.count) == ([1, 2], False, 5)
    assert len(archives.page(archives.all, size=1).entries) == 1


def test_an_id_that_is_to_be_there_and_is_not(archives: Archives) -> None:
    archives.write(archives.entry(5))
    for known, oldest in (({4}, 0), ({5, 6}, 0), ({5}, 6)):
        with pytest.raises(NotFound):
            archives.page(replace(archives.all, known=frozenset(known), oldest=oldest))
    assert archives.page(replace(archives.all, known=frozenset({5}), oldest=5)).entries


def test_the_archive_of_another_is_not_touched(archives: Archives) -> None:
    archives.write(archives.entry(5))
    assert archives.page(Query(archives.paris.id, 0, END)).entries == []
    assert archives.page(Query(archives.paris.id, 0, END)).count == 0


@pytest.mark.parametrize(
    ("author", "sent", "taken_back"),
    [
        (_ROMEO, False, True),
        (JID.parse("romeo@localhost/elsewhere"), False, True),
        (_NURSE, False, False),
        (_ROMEO, True, False),
    ],
    ids=["the author", "another of his devices", "somebody else", "the recipient"],
)
def test_a_tombstone_only_for_the_author(
    archives: Archives, author: JID, sent: bool, taken_back: bool
) -> None:
    archives.write(archives.entry(5), archives.entry(6, author, sent=sent, retracts="m5"))
    first, second = archives.texts()
    assert (b"<body>5" not in first) == taken_back
    assert (b"<retracted xmlns='urn:xmpp:message-retract:1' id='m6'" in first) == taken_back
    assert b"id='m5'" in first and b"id='5'" in first
    assert b"<body>6" in second


def test_what_is_taken_back_again_stays_as_it_is(archives: Archives) -> None:
    archives.write(archives.entry(5), archives.entry(6, retracts="m5"))
    once = archives.texts()[0]
    archives.write(archives.entry(7, retracts="m5"))
    assert archives.texts()[0] == once


def test_what_is_old_goes_and_what_still_waits_stays(archives: Archives) -> None:
    archives.write(*map(archives.entry, range(1, 6)), archives.entry(6, done=False), archives.entry(9))
    id = archives.juliet.id

    def forget(most: int) -> int:
        return archives.database.write_now(lambda c: archive_store.forget(c, id, 8, most))

    assert archives.database.read_now(lambda c: archive_store.next_owner(c, 0)) == id
    assert archives.database.read_now(lambda c: archive_store.next_owner(c, id)) is None
    assert [forget(3), forget(3), forget(3)] == [3, 2, 0]
    assert [entry.id for entry in archives.page(archives.all).entries] == [6, 9]
    assert not archives.database.read_now(lambda c: archive_store.has_older(c, id, 8))


def test_totals_are_of_what_waits_and_the_greatest_id_of_all(archives: Archives) -> None:
    empty = archives.database.read_now(store.totals)
    assert archives.database.read_now(store.greatest_id) == 0
    archives.write(archives.entry(5, done=False), archives.entry(9), Entry(7, archives.paris, b"<message/>"))
    count, size = archives.database.read_now(store.totals)
    assert archives.database.read_now(store.waiting) == 2
    assert (empty, count, archives.database.read_now(store.greatest_id)) == ((0, 0), 2, 9)
    assert size == archives.page(archives.all).entries[0].size + len(b"<message/>")
    assert archives.database.read_now(lambda c: archive_store.figures(c, archives.juliet.id))[0] == 2


def test_what_waits_and_what_is_said_to_one_is_found_by_an_index(archives: Archives) -> None:
    with sqlite3.connect(archives.path) as plain:
        for statement, index in (
            ("SELECT id FROM spool WHERE account_id = 1 AND waiting IS 1 AND id > 5", "ix_spool_waiting"),
            ("SELECT id FROM spool WHERE waiting IS 1 AND id < 5", "ix_spool_waiting"),
            (
                "SELECT id FROM spool WHERE account_id = 1 AND archived IS 1 AND id > 1 AND id < 9 "
                "AND peer = 'x' ORDER BY id DESC LIMIT 5",
                "ix_spool_archived",
            ),
            (
                "SELECT id FROM spool WHERE account_id = 1 AND archived IS 1 AND id > 1 AND id < 9 "
                "ORDER BY id LIMIT 5",
                "sqlite_autoindex_spool_1",
            ),
        ):
            plan = " ".join(row[3] for row in plain.execute(f"EXPLAIN QUERY PLAN {statement}"))
            assert index in plan and "TEMP B-TREE" not in plan, (statement, plan)
