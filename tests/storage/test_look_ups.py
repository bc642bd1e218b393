"""Look-ups: at once while the database answers at once, by a thread while it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import current_thread, main_thread

import pytest
from sqlalchemy import func, insert, select

from msgd.storage import schema
from msgd.storage.database import Connection, DatabaseFault, StatementError
from msgd.storage.look_ups import LookUps
from msgd.storage.sqlite import SqliteDatabase, open_database
from msgd.storage.sqlite_file import SqliteFile
from tests.storage.turns import Turns

_ADD = insert(schema.account).values(domain="localhost", name="juliet", created=0)
_COUNT = select(func.count()).select_from(schema.account)


def _count(connection: Connection) -> int:
    row = connection.one(_COUNT)
    assert row is not None
    return int(row[0])


class Disk:
    """A clock in which each look-up takes as long as one is told, and reads as much."""

    def __init__(self) -> None:
        self.now = 100.0
        self.takes = 0.0
        self.reads = 0
        self.read = 0

    def seconds(self) -> float:
        return self.now

    def work(self, connection: Connection) -> int:
        self.now += self.takes
        self.read += self.reads
        return _count(connection)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SqliteFile]:
    made = SqliteFile(tmp_path / "msgd.sqlite", claim=True)
    yield made
    made.close()


def test_a_slow_look_up_sends_the_next_ones_to_the_threads(file: SqliteFile) -> None:
    disk = Disk()
    look_ups = LookUps(file, disk.seconds, lambda: disk.read)
    for takes, reads, quick in (
        (0.0, 0, True),
        (0.0019, 0, True),
        (0.0021, 0, True),
        (0.0021, 8, False),
    ):
        disk.takes, disk.reads = takes, reads
        assert look_ups.do(disk.work) == 0
        assert look_ups.quick is quick
    disk.now += 1.0
    assert look_ups.quick
    look_ups.close()


def test_a_look_up_sees_what_was_written_and_writes_nothing(tmp_path: Path) -> None:
    turns = Turns()
    database = open_database(tmp_path / "msgd.sqlite", turns)  # type: ignore[arg-type]  # all of it that is used
    assert turns.wait(database.look_up(_count)) == 0
    turns.wait(database.write(lambda connection: connection.insert(_ADD)))
    assert turns.wait(database.look_up(_count)) == 1
    with pytest.raises((DatabaseFault, StatementError)):
        turns.wait(database.look_up(lambda connection: connection.insert(_ADD)))
    assert turns.wait(database.look_up(_count)) == 1
    database.close_now()


def test_where_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns()
    database = open_database(tmp_path / "msgd.sqlite", turns)  # type: ignore[arg-type]  # all of it that is used
    assert isinstance(database, SqliteDatabase)
    assert turns.wait(database.look_up(lambda _: current_thread())) is main_thread()
    monkeypatch.setattr(database._look_ups, "_not_before", float("inf"))
    assert turns.wait(database.look_up(lambda _: current_thread())) is not main_thread()
    database.close_now()


def test_an_exception_of_the_work_is_raised(file: SqliteFile) -> None:
    look_ups = LookUps(file)

    def fail(connection: Connection) -> None:
        raise LookupError("not there")

    with pytest.raises(LookupError):
        look_ups.do(fail)
    assert look_ups.do(_count) == 0
    look_ups.close()


def test_after_the_end_there_is_a_fault(tmp_path: Path) -> None:
    turns = Turns()
    database = open_database(tmp_path / "msgd.sqlite", turns)  # type: ignore[arg-type]  # all of it that is used
    database.close_now()
    with pytest.raises(DatabaseFault):
        turns.wait(database.look_up(_count))
