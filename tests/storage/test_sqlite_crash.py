"""What a killed process and a failing disk leave behind, with real processes and real faults."""

import errno
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.shim import Faults

_ROOT = Path(__file__).parents[2]


class Child:
    """The process of `child.py`."""

    def __init__(self, path: Path, faults: Faults) -> None:
        modules = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("child.py"), path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **faults.environment, "PYTHONPATH": os.pathsep.join(modules)},
        )
        assert self.answer() == "ready"

    def answer(self) -> str:
        """Return the next line the child says, "" when it is dead."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def ask(self, line: str) -> str:
        """Send a command and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self.answer()

    def end(self) -> int:
        """Wait for the end of the child and return its code."""
        return self._process.wait(30)

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "msgd.sqlite"


@pytest.fixture
def faults(tmp_path: Path, path: Path) -> Faults:
    return Faults(tmp_path / "control", under=path.parent)


@pytest.fixture
def child(path: Path, faults: Faults) -> Iterator[Child]:
    process = Child(path, faults)
    yield process
    process.kill()


def _rows(path: Path) -> set[str]:
    """Open the database as the next start would, and return the names in it."""
    with sqlite3.connect(path) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = {name for (name,) in plain.execute("SELECT name FROM secret")}
    plain.close()
    return rows


# The writes of one such transaction are fewer than this; the last cases are not reached and then show
# the undisturbed commit.
@pytest.mark.parametrize("skip", range(0, 16, 2))
def test_killed_at_a_write_of_the_commit(path: Path, faults: Faults, child: Child, skip: int) -> None:
    assert child.ask("put a") == "put a=ok"
    faults.kill("write", skip=skip)
    if child.ask("put b") == "put b=ok":
        assert _rows(path) == {"a", "b"}
        return
    assert child.end() == -signal.SIGKILL
    rows = _rows(path)
    assert "a" in rows, "what was reported is there"
    if skip == 0:
        assert rows == {"a"}, "what was not committed is not there"


def test_killed_before_the_sync_nothing_was_reported(path: Path, faults: Faults, child: Child) -> None:
    assert child.ask("put a b") == "put a=ok b=ok"
    faults.kill("sync")
    assert child.ask("put c d") == ""
    assert child.end() == -signal.SIGKILL
    rows = _rows(path)
    assert rows in ({"a", "b"}, {"a", "b", "c"}, {"a", "b", "c", "d"}), "each commit whole or not"


def test_killed_after_the_sync_it_is_there(path: Path, faults: Faults, child: Child) -> None:
    # The first commit of a log also syncs its header; later ones sync once.
    assert child.ask("put a") == "put a=ok"
    faults.kill_after("sync")
    assert child.ask("put b") == ""
    assert child.end() == -signal.SIGKILL
    assert _rows(path) == {"a", "b"}


def test_a_failed_sync_is_not_reported_and_mends(path: Path, faults: Faults, child: Child) -> None:
    assert child.ask("put a") == "put a=ok"
    faults.fail("sync", errno.EIO)
    assert child.ask("put b c") == "put b=DatabaseFault c=DatabaseFault"
    assert child.ask("put b c") == "put b=DatabaseFault c=DatabaseFault"
    assert child.ask("put nothing") == "put nothing=DatabaseFault", "an empty commit proves nothing"
    assert child.ask("health") == "health False"
    faults.clear()
    assert child.ask("put d") == "put d=ok"
    assert child.ask("health") == "health True"
    assert child.ask("put b") == "put b=ok", "a failed job can be tried again"
    child.kill()
    assert _rows(path) == {"a", "b", "d"}


def test_a_full_disk_is_not_reported_and_mends(path: Path, faults: Faults, child: Child) -> None:
    assert child.ask("put a") == "put a=ok"
    faults.disk_full()
    assert child.ask("put b c") == "put b=DatabaseFault c=DatabaseFault"
    assert child.ask("health") == "health False"
    faults.clear()
    assert child.ask("put c") == "put c=ok"
    assert child.ask("health") == "health True"
    assert child.ask("close") == "closed"
    assert _rows(path) == {"a", "c"}


def test_a_disk_that_fails_at_the_checkpoint_is_told_and_loses_nothing(
    path: Path, faults: Faults, child: Child
) -> None:
    # Two syncs each hundred commits belong to the checkpoint: the commits themselves must go on.
    for number in range(99):
        assert child.ask(f"put {number}") == f"put {number}=ok"
    faults.fail("sync", errno.EIO, skip=1)
    assert child.ask("put 99") == "put 99=ok"
    while child.ask("health") == "health True":
        pass
    faults.clear()
    for number in range(100, 201):
        assert child.ask(f"put {number}") == f"put {number}=ok"
    while child.ask("health") == "health False":
        pass
    child.kill()
    assert _rows(path) == {str(number) for number in range(201)}


def test_killed_with_the_log_full_it_is_read_at_the_next_start(
    path: Path, faults: Faults, child: Child
) -> None:
    for number in range(50):
        assert child.ask(f"put {number}") == f"put {number}=ok"
    child.kill()
    again = Child(path, faults)
    assert again.ask("put after") == "put after=ok"
    assert again.ask("close") == "closed"
    assert again.end() == 0
    again.kill()  # closes the pipes
    assert not path.with_name("msgd.sqlite-wal").exists()
    assert _rows(path) == {str(number) for number in range(50)} | {"after"}
