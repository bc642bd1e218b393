"""Statements: compiled once, parameters by name, results in the types of the schema."""

import pytest
from sqlalchemy import bindparam, delete, func, insert, select, text, update
from sqlalchemy.dialects import postgresql

from msgd.storage.database import Conflict, Connection, StatementError
from msgd.storage.schema import account, private_xml, roster_item, secret, spool
from msgd.storage.secret import secret as get_secret
from msgd.storage.sqlite import SqliteDatabase
from msgd.storage.statements import upsert

_ADD = insert(account)
_FIND = select(account.c.name, account.c.disabled).where(account.c.id == bindparam("id"))
_SPOOL = insert(spool)


def _account(name: str = "romeo") -> dict[str, object]:
    return {"domain": "montague.lit", "name": name, "created": 1}


def test_insert_returns_the_number_and_booleans_come_back_as_such(database: SqliteDatabase) -> None:
    number = database.write_now(lambda c: c.insert(_ADD, {**_account(), "disabled": True}))
    assert database.read_now(lambda c: c.one(_FIND, {"id": number})) == ("romeo", True)
    row = database.read_now(lambda c: c.all(_FIND, {"id": number}))[0]
    assert row[1] is True


def test_one_insert_serves_several_sets_of_columns(database: SqliteDatabase) -> None:
    database.write_now(lambda c: c.insert(_ADD, _account("a")))
    database.write_now(lambda c: c.insert(_ADD, {**_account("b"), "last_status": "gone"}))
    database.write_now(lambda c: c.insert(_ADD, _account("c")))
    rows = database.read_now(
        lambda c: c.all(select(account.c.name, account.c.last_status).order_by(account.c.name))
    )
    assert rows == [("a", ""), ("b", "gone"), ("c", "")]


def test_one_returns_none_when_there_is_no_row(database: SqliteDatabase) -> None:
    assert database.read_now(lambda c: c.one(_FIND, {"id": 7})) is None


def test_run_tells_how_many_rows_changed(database: SqliteDatabase) -> None:
    rows = [_account(name) for name in "abc"]
    database.write_now(lambda c: c.run_many(_ADD, rows))
    rename = update(account).where(account.c.name != bindparam("but")).values(domain=bindparam("to"))
    assert database.write_now(lambda c: c.run(rename, {"but": "a", "to": "capulet.lit"})) == 2
    assert database.write_now(lambda c: c.run(delete(account).where(account.c.name == "a"))) == 1


def test_constants_in_a_statement_and_returning(database: SqliteDatabase) -> None:
    database.write_now(lambda c: c.run_many(_ADD, [_account(name) for name in "abc"]))
    taken = (
        delete(account)
        .where(account.c.name == bindparam("name"), account.c.created == 1)
        .returning(account.c.name, account.c.disabled)
    )
    assert database.write_now(lambda c: c.all(taken, {"name": "b"})) == [("b", False)]


def test_run_many_of_nothing(database: SqliteDatabase) -> None:
    database.write_now(lambda c: c.run_many(_ADD, []))
    assert database.read_now(lambda c: c.one(select(func.count()).select_from(account))) == (0,)


@pytest.mark.parametrize("parameters", [{}, {"nme": 1}, {"id": 1, "more": 2}])
def test_wrong_parameter_names_are_refused(database: SqliteDatabase, parameters: dict[str, object]) -> None:
    with pytest.raises(StatementError, match="'id'.* wanted"):
        database.read_now(lambda c: c.one(_FIND, parameters))


def test_an_unknown_column_is_refused(database: SqliteDatabase) -> None:
    with pytest.raises(StatementError):
        database.write_now(lambda c: c.insert(_ADD, {**_account(), "nick": "R"}))


def test_rows_with_unlike_names_are_refused_whole(database: SqliteDatabase) -> None:
    rows = [_account("a"), {**_account("b"), "last_status": "gone"}]
    with pytest.raises(StatementError):
        database.write_now(lambda c: c.run_many(_ADD, rows))
    assert database.read_now(lambda c: c.all(select(account.c.name))) == []


def test_lists_of_values_are_refused(database: SqliteDatabase) -> None:
    statement = select(account.c.name).where(account.c.id.in_([1, 2]))
    with pytest.raises(StatementError, match="lists"):
        database.read_now(lambda c: c.all(statement))


def test_broken_sql_is_a_statement_error(database: SqliteDatabase) -> None:
    with pytest.raises(StatementError):
        database.read_now(lambda c: c.all(text("SELECT nothing FROM nowhere")))


def test_uniqueness_and_foreign_keys_are_conflicts(database: SqliteDatabase) -> None:
    database.write_now(lambda c: c.insert(_ADD, _account()))
    with pytest.raises(Conflict):
        database.write_now(lambda c: c.insert(_ADD, _account()))
    orphan = {"account_id": 99, "id": 1, "size": 1, "checksum": 0, "stanza": b"x"}
    with pytest.raises(Conflict):
        database.write_now(lambda c: c.run(_SPOOL, orphan))


def test_a_deleted_account_takes_all_with_it_and_its_number_is_not_used_again(
    database: SqliteDatabase,
) -> None:
    number = database.write_now(lambda c: c.insert(_ADD, _account()))
    entry = {"account_id": number, "id": 1, "size": 1, "checksum": 0, "stanza": b"x"}
    database.write_now(lambda c: c.run(_SPOOL, entry))
    database.write_now(
        lambda c: c.run(insert(roster_item), {"account_id": number, "jid": "juliet@capulet.lit"})
    )
    database.write_now(
        lambda c: c.run(delete(account).where(account.c.id == bindparam("id")), {"id": number})
    )
    left = database.read_now(lambda c: c.all(select(spool)) + c.all(select(roster_item)))
    assert left == []
    assert database.write_now(lambda c: c.insert(_ADD, _account())) > number


def test_readers_cannot_write(database: SqliteDatabase) -> None:
    with pytest.raises(Exception, match="read-?only"):
        database.read_now(lambda c: c.insert(_ADD, _account()))


def test_upsert_replaces_only_what_it_is_told(database: SqliteDatabase) -> None:
    number = database.write_now(lambda c: c.insert(_ADD, _account()))
    key = {"account_id": number, "namespace": "urn:x", "name": "x"}
    replace, keep = upsert(private_xml, "xml"), upsert(private_xml)

    def work(connection: Connection) -> None:
        for statement, xml in ((replace, b"1"), (replace, b"2"), (keep, b"3")):
            connection.run(statement, {**key, "xml": xml})

    database.write_now(work)
    assert database.read_now(lambda c: c.all(select(private_xml.c.xml))) == [(b"2",)]


def test_upsert_is_postgresql_too() -> None:
    for statement in (upsert(private_xml, "xml"), upsert(private_xml)):
        compiled = str(statement.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call] # SQLAlchemy's dialects are not annotated
        assert "ON CONFLICT (account_id, namespace, name) DO" in compiled


def test_a_secret_is_made_once(database: SqliteDatabase) -> None:
    first = database.write_now(lambda c: get_secret(c, "salt"))
    assert len(first) == 32
    assert database.write_now(lambda c: get_secret(c, "salt")) == first
    assert database.write_now(lambda c: get_secret(c, "other", 16)) != first
    assert len(database.read_now(lambda c: c.all(select(secret)))) == 2
