"""Group commit: what waits goes together, each job fails alone, and a fault reports nothing as safe."""

import sqlite3
from collections.abc import Callable
from threading import Event, get_ident
from typing import Any

import pytest
from sqlalchemy import bindparam, func, insert, select, text
from twisted.internet.defer import Deferred, gatherResults

from msgd.storage import sqlite_connection, writer
from msgd.storage.database import Conflict, Connection, DatabaseError, DatabaseFault
from msgd.storage.schema import secret
from msgd.storage.sqlite import SqliteDatabase
from tests.storage.turns import Turns

_ADD = insert(secret)
_NAMES = select(secret.c.name).order_by(secret.c.name)
_COUNT = select(func.count()).select_from(secret)
_FIND = select(secret.c.name).where(secret.c.name == bindparam("name"))

_SMALL_DISK = text("PRAGMA max_page_count = 60")
_LARGE_DISK = text("PRAGMA max_page_count = 1000000")
_PAGES = text("PRAGMA max_page_count")

Outcomes = dict[str, Exception | None]


class Gate:
    """A write job that keeps the writer busy, so that what follows is queued together."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._entered, self._open = Event(), Event()
        database.write_soon(self._pass, lambda error: None)
        assert self._entered.wait(30)

    def _pass(self, _: Connection) -> None:
        self._entered.set()
        assert self._open.wait(30)

    def open(self) -> None:
        self._open.set()


def _add(name: str, size: int = 1) -> Callable[[Connection], object]:
    return lambda c: c.run(_ADD, {"name": name, "value": bytes(size)})


def _write_together(
    database: SqliteDatabase, turns: Turns, jobs: dict[str, Callable[[Connection], object]]
) -> Outcomes:
    """Queue `jobs` for one transaction and return how each ended."""
    outcomes: Outcomes = {}
    gate = Gate(database)
    for name, work in jobs.items():

        def done(error: Exception | None, name: str = name) -> None:
            outcomes[name] = error

        database.write_soon(work, done)
    gate.open()
    turns.until(lambda: len(outcomes) == len(jobs))
    return outcomes


def _names(database: SqliteDatabase) -> list[str]:
    return [row[0] for row in database.read_now(lambda c: c.all(_NAMES))]


def test_what_waits_is_committed_together(database: SqliteDatabase, turns: Turns) -> None:
    before = database.commits
    jobs = {f"{number:03}": _add(f"{number:03}") for number in range(300)}
    outcomes = _write_together(database, turns, jobs)
    assert set(outcomes.values()) == {None}
    assert list(outcomes) == list(jobs), "results come in the order of the jobs"
    assert database.commits - before == 2, "one for the gate, one for all others"
    assert _names(database) == sorted(jobs)


def test_a_transaction_is_bounded(
    database: SqliteDatabase, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_MOST_JOBS", 100)
    before = database.commits
    _write_together(database, turns, {str(number): _add(str(number)) for number in range(250)})
    assert database.commits - before == 4


def test_done_is_called_after_the_commit_in_the_reactors_thread(
    database: SqliteDatabase, turns: Turns
) -> None:
    seen: list[tuple[int, list[str]]] = []

    def done(error: Exception | None) -> None:
        assert error is None
        seen.append((get_ident(), _names(database)))  # another connection sees only what is committed

    database.write_soon(_add("a"), done)
    turns.until(lambda: bool(seen))
    assert seen == [(get_ident(), ["a"])]


def test_write_returns_the_result_and_a_read_then_sees_it(database: SqliteDatabase, turns: Turns) -> None:
    async def scene() -> None:
        assert await database.write(_add("a")) == 1
        assert await database.read(lambda c: c.one(_COUNT)) == (1,)

    turns.wait(scene())


def test_a_failing_job_takes_back_its_own_work_alone(database: SqliteDatabase, turns: Turns) -> None:
    def half(connection: Connection) -> None:
        _add("half")(connection)
        raise LookupError("no")

    outcomes = _write_together(
        database,
        turns,
        {"before": _add("before"), "half": half, "again": _add("before"), "after": _add("after")},
    )
    assert isinstance(outcomes["half"], LookupError)
    assert isinstance(outcomes["again"], Conflict)
    assert outcomes["before"] is None and outcomes["after"] is None
    assert _names(database) == ["after", "before"]
    assert database.healthy


def test_a_failing_job_that_is_alone_is_rolled_back(database: SqliteDatabase, turns: Turns) -> None:
    def half(connection: Connection) -> None:
        _add("half")(connection)
        raise LookupError("no")

    with pytest.raises(LookupError):
        turns.wait(database.write(half))
    turns.wait(database.write(_add("after")))
    assert _names(database) == ["after"]


def test_a_full_disk_fails_the_whole_transaction_and_is_told(database: SqliteDatabase, turns: Turns) -> None:
    told: list[object] = []
    database.on_fault.append(told.append)
    database.on_recovered.append(lambda: told.append("recovered"))
    turns.wait(database.write(lambda c: c.one(_SMALL_DISK)))

    jobs = {"small": _add("small"), "big": _add("big", 4_000_000), "next": _add("next")}
    outcomes = _write_together(database, turns, jobs)
    for error in outcomes.values():
        assert isinstance(error, DatabaseFault)
        assert "no space left" in str(error)
    assert not database.healthy
    assert database.fault is told[0]
    assert len(told) == 1
    assert _names(database) == []

    turns.wait(database.write(lambda c: c.one(_LARGE_DISK)))
    assert database.healthy
    outcomes = _write_together(database, turns, jobs)
    assert set(outcomes.values()) == {None}
    assert told[1:] == ["recovered"]


def test_work_that_hides_a_fault_is_not_taken_as_done(database: SqliteDatabase, turns: Turns) -> None:
    def careless(connection: Connection) -> None:
        _add("small")(connection)
        try:
            _add("big", 4_000_000)(connection)
        except DatabaseError:
            pass

    turns.wait(database.write(lambda c: c.one(_SMALL_DISK)))
    with pytest.raises(DatabaseFault, match="no space left"):
        turns.wait(database.write(careless))
    assert _names(database) == []


def test_the_end_of_a_fault_is_found_without_being_asked(
    database: SqliteDatabase, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_PROBE_INTERVAL", 0.02)
    told: list[str] = []
    database.on_fault.append(lambda fault: told.append("fault"))
    database.on_recovered.append(lambda: told.append("recovered"))
    turns.wait(database.write(lambda c: c.one(_SMALL_DISK)))
    with pytest.raises(DatabaseFault):
        turns.wait(database.write(_add("big", 4_000_000)))
    turns.until(lambda: told == ["fault", "recovered"])
    assert database.healthy


def test_a_database_that_was_moved_away_takes_no_commits(database: SqliteDatabase, turns: Turns) -> None:
    turns.wait(database.write(_add("before")))
    elsewhere = database.path.with_name("elsewhere")
    database.path.rename(elsewhere)
    with pytest.raises(DatabaseFault, match="No such file"):
        turns.wait(database.write(_add("during")))
    elsewhere.rename(database.path)
    turns.wait(database.write(_add("after")))
    assert database.healthy


def test_a_database_that_was_replaced_takes_no_commits(database: SqliteDatabase, turns: Turns) -> None:
    turns.wait(database.write(_add("before")))
    database.path.rename(database.path.with_name("elsewhere"))
    database.path.touch()
    for _ in range(2):
        with pytest.raises(DatabaseFault, match="replaced"):
            turns.wait(database.write(_add("during")))


def test_a_log_that_was_removed_takes_no_commits(database: SqliteDatabase, turns: Turns) -> None:
    turns.wait(database.write(_add("before")))
    database.path.with_name("msgd.sqlite-wal").unlink()
    with pytest.raises(DatabaseFault, match="No such file"):
        turns.wait(database.write(_add("during")))


def test_a_lock_held_too_long_is_a_fault(
    database: SqliteDatabase, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns.wait(database.write(lambda c: c.one(text("PRAGMA busy_timeout = 20"))))
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseFault, match="locked"):
        turns.wait(database.write(_add("a")))
    other.execute("ROLLBACK")
    other.close()
    turns.wait(database.write(_add("a")))
    assert database.healthy


def test_the_log_is_moved_into_the_file_now_and_then(
    database: SqliteDatabase, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_COMMITS_PER_CHECKPOINT", 3)
    log = database.path.with_name("msgd.sqlite-wal")
    for number in range(300):
        turns.wait(database.write(_add(str(number), 3000)))
    assert log.stat().st_size < 30 * 4200, "300 commits of two pages or more would be 2.5 MB"


def test_a_reader_does_not_stop_the_checkpoint_or_the_writer(
    database: SqliteDatabase, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_COMMITS_PER_CHECKPOINT", 1)
    entered, leave = Event(), Event()

    def long_read(connection: Connection) -> list[int]:
        first = connection.one(_COUNT)
        entered.set()
        assert leave.wait(30)
        second = connection.one(_COUNT)
        assert first is not None and second is not None
        return [first[0], second[0]]

    async def scene() -> None:
        await database.write(_add("a"))
        reading = Deferred.fromCoroutine(database.read(long_read))
        assert entered.wait(30)
        for name in "bcdef":
            await database.write(_add(name))
        assert await database.read(lambda c: c.one(_COUNT)) == (6,)
        leave.set()
        assert await reading == [1, 1], "a read has one snapshot"

    turns.wait(scene())
    assert database.healthy


def test_reads_run_beside_each_other(database: SqliteDatabase, turns: Turns) -> None:
    first, second = Event(), Event()

    def one(_: Connection) -> bool:
        first.set()
        return second.wait(30)

    def other(_: Connection) -> bool:
        second.set()
        return first.wait(30)

    async def scene() -> list[bool]:
        reads = [Deferred.fromCoroutine(database.read(work)) for work in (one, other)]
        result: list[bool] = await gatherResults(reads)
        return result

    assert turns.wait(scene()) == [True, True]


def test_a_failing_read_raises_and_the_next_one_works(database: SqliteDatabase, turns: Turns) -> None:
    async def scene() -> None:
        for _ in range(4):
            with pytest.raises(DatabaseError):
                await database.read(lambda c: c.all(text("SELECT nothing FROM nowhere")))
        assert await database.read(lambda c: c.one(_COUNT)) == (0,)

    turns.wait(scene())


def test_closing_finishes_what_was_given(database: SqliteDatabase, turns: Turns) -> None:
    outcomes: list[Exception | None] = []
    gate = Gate(database)
    for name in "abc":
        database.write_soon(_add(name), outcomes.append)
    closing = Deferred.fromCoroutine(database.close())
    database.write_soon(_add("late"), outcomes.append)
    gate.open()
    turns.until(lambda: bool(closing.called) and len(outcomes) == 4)
    late = [error for error in outcomes if error is not None]
    assert len(late) == 1 and isinstance(late[0], DatabaseFault)
    with sqlite3.connect(database.path) as plain:
        names = plain.execute("SELECT name FROM secret ORDER BY name").fetchall()
    assert names == [("a",), ("b",), ("c",)]


def test_a_faulty_callback_harms_no_other(database: SqliteDatabase, turns: Turns) -> None:
    outcomes: list[Any] = []

    def faulty(error: Exception | None) -> None:
        raise RuntimeError("a defect")

    gate = Gate(database)
    database.write_soon(_add("a"), faulty)
    database.write_soon(_add("b"), outcomes.append)
    gate.open()
    turns.until(lambda: bool(outcomes))
    assert outcomes == [None]


def test_threads_that_write_at_once(database: SqliteDatabase, turns: Turns) -> None:
    assert sqlite_connection.BUSY_TIMEOUT > 0
    written = [database.write(_add(f"{number}")) for number in range(50)]
    started = [Deferred.fromCoroutine(each) for each in written]
    for number in range(20):
        database.write_now(_add(f"now {number}"))  # as another process would
    turns.until(lambda: all(each.called for each in started))
    assert database.read_now(lambda c: c.one(_COUNT)) == (70,)
