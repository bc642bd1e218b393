"""What the tests of the storage share: a hand-over run by the test, and an open database."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from twisted.internet.interfaces import IReactorFromThreads

from msgd.storage import writer
from msgd.storage.sqlite import SqliteDatabase, open_database
from tests.storage.turns import Turns


@pytest.fixture
def turns() -> Turns:
    """The hand-over of this test."""
    return Turns()


@pytest.fixture
def reactor(turns: Turns) -> IReactorFromThreads:
    """The same, as the database wants it."""
    return cast(IReactorFromThreads, turns)


@pytest.fixture
def database(
    tmp_path: Path, reactor: IReactorFromThreads, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SqliteDatabase]:
    """An open database in a directory of its own, which does not try by itself after a fault."""
    monkeypatch.setattr(writer, "_PROBE_INTERVAL", 3600.0)
    opened = open_database(tmp_path / "data" / "msgd.sqlite", reactor, claim=True)
    yield opened
    opened.close_now()
