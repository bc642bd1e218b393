"""The file: permissions, claim, migrations from nothing and from the first revision."""

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, insert, select
from twisted.internet.interfaces import IReactorFromThreads

from msgd.storage import migrations
from msgd.storage.database import DatabaseFault, DatabaseInUse, DatabaseUnusable
from msgd.storage.schema import account, metadata
from msgd.storage.sqlite import SqliteDatabase, open_database
from msgd.storage.sqlite_file import Claim

_ROMEO = {"domain": "montague.lit", "name": "romeo", "created": 1}


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_can_read_it(database: SqliteDatabase) -> None:
    database.write_now(lambda c: c.insert(insert(account), _ROMEO))
    directory = database.path.parent
    assert _mode(directory) == 0o700
    files = {path.name: _mode(path) for path in directory.iterdir()}
    assert files == dict.fromkeys(
        ("msgd.sqlite", "msgd.sqlite-wal", "msgd.sqlite-shm", "msgd.sqlite.lock"), 0o600
    )


def test_a_readable_file_is_closed_to_others(tmp_path: Path, reactor: IReactorFromThreads) -> None:
    path = tmp_path / "msgd.sqlite"
    path.touch()
    path.chmod(0o644)
    open_database(path, reactor).close_now()
    assert _mode(path) == 0o600


def test_every_commit_is_synced(database: SqliteDatabase) -> None:
    connection = database._file.writing()
    assert connection.command("PRAGMA synchronous") == [(2,)]
    assert connection.command("PRAGMA journal_mode") == [("wal",)]
    assert connection.command("PRAGMA foreign_keys") == [(1,)]


def test_the_log_is_emptied_at_the_end(database: SqliteDatabase) -> None:
    log = database.path.with_name("msgd.sqlite-wal")
    database.write_now(lambda c: c.insert(insert(account), _ROMEO))
    assert log.stat().st_size > 0
    database.close_now()
    assert not log.exists() or log.stat().st_size == 0


def test_the_log_is_emptied_even_while_another_process_has_it_open(
    database: SqliteDatabase,
) -> None:
    database.write_now(lambda c: c.insert(insert(account), _ROMEO))
    other = sqlite3.connect(database.path)
    assert other.execute("SELECT name FROM account").fetchall() == [("romeo",)]
    database.close_now()
    assert database.path.with_name("msgd.sqlite-wal").stat().st_size == 0
    other.close()


def test_what_was_written_is_there_after_reopening(tmp_path: Path, reactor: IReactorFromThreads) -> None:
    path = tmp_path / "msgd.sqlite"
    first = open_database(path, reactor)
    first.write_now(lambda c: c.insert(insert(account), _ROMEO))
    first.close_now()
    second = open_database(path, reactor)
    assert second.read_now(lambda c: c.all(select(account.c.name))) == [("romeo",)]
    second.close_now()


def test_a_second_server_is_refused_and_short_commands_are_not(
    database: SqliteDatabase, reactor: IReactorFromThreads
) -> None:
    with pytest.raises(DatabaseInUse, match=r"in use by another msgd server \(process \d+\)"):
        open_database(database.path, reactor, claim=True)
    command_line = open_database(database.path, reactor)
    command_line.write_now(lambda c: c.insert(insert(account), _ROMEO))
    command_line.close_now()
    assert database.read_now(lambda c: c.all(select(account.c.name))) == [("romeo",)]


def test_the_claim_holds_between_processes_and_ends_with_them(tmp_path: Path) -> None:
    path = tmp_path / "msgd.sqlite"
    program = (
        "import sys; from pathlib import Path; from msgd.storage.sqlite_file import Claim\n"
        "claim = Claim(Path(sys.argv[1])); print('claimed', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"claimed\n"
        with pytest.raises(DatabaseInUse, match=f"process {process.pid}"):
            Claim(path)
    finally:
        process.kill()
        process.communicate()
    Claim(path).release()


def test_closing_gives_the_claim_back(tmp_path: Path, reactor: IReactorFromThreads) -> None:
    for _ in range(2):
        open_database(tmp_path / "msgd.sqlite", reactor, claim=True).close_now()


def test_the_migrations_make_the_schema(database: SqliteDatabase) -> None:
    engine = create_engine(f"sqlite:///{database.path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        assert migrations.current(connection) == migrations.HEAD
    engine.dispose()


def test_head_is_the_newest_step_and_every_step_only_goes_forward() -> None:
    config = Config()
    config.set_main_option("script_location", "msgd.storage:migrations")
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [migrations.HEAD]
    for script in scripts.walk_revisions():
        assert not hasattr(script.module, "downgrade"), script.revision


@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0004", "0005"])
def test_an_older_database_is_brought_up_with_its_data(
    tmp_path: Path, reactor: IReactorFromThreads, revision: str
) -> None:
    path = tmp_path / "msgd.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", "msgd.storage:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.execute(insert(account), _ROMEO)
    engine.dispose()
    opened = open_database(path, reactor)
    assert opened.read_now(lambda c: c.all(select(account.c.name))) == [("romeo",)]
    opened.close_now()
    with sqlite3.connect(path) as plain:
        assert plain.execute("SELECT version_num FROM alembic_version").fetchall() == [(migrations.HEAD,)]


def test_a_database_of_a_newer_msgd_is_refused(
    database: SqliteDatabase, reactor: IReactorFromThreads
) -> None:
    database.close_now()
    with sqlite3.connect(database.path) as plain:
        plain.execute("UPDATE alembic_version SET version_num = '9999'")
    plain.close()
    with pytest.raises(DatabaseUnusable, match="9999.* newer msgd"):
        open_database(database.path, reactor, claim=True)
    Claim(database.path).release()  # the refusal gave the claim back


def test_a_short_command_does_not_migrate_under_a_running_server(
    tmp_path: Path, reactor: IReactorFromThreads
) -> None:
    path = tmp_path / "msgd.sqlite"
    running = Claim(path)
    with pytest.raises(DatabaseInUse):
        open_database(path, reactor)
    running.release()
    open_database(path, reactor).close_now()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path, reactor: IReactorFromThreads) -> None:
    path = tmp_path / "msgd.sqlite"
    path.write_bytes(b"once upon a time there was no database here at all" * 100)
    with pytest.raises(DatabaseUnusable, match="not an SQLite database") as caught:
        open_database(path, reactor)
    assert "\n" not in str(caught.value)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path, reactor: IReactorFromThreads) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnusable, match="file"):
        open_database(tmp_path / "file" / "msgd.sqlite", reactor)


def test_work_after_closing_fails(database: SqliteDatabase) -> None:
    database.close_now()
    with pytest.raises(DatabaseFault, match="closed"):
        database.read_now(lambda c: None)
