"""The backlog of an outbox: more than memory takes, in order, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from msgd.spool import backlog as module
from msgd.spool import link_store
from msgd.spool.backlog import Backlog
from msgd.spool.link_entry import LinkEntry
from msgd.storage.sqlite import open_database
from msgd.wire.jid import JID

_queue = link_store._queue
OURS, THEIRS = JID.parse("a.example"), JID.parse("b.example")


class Reactor(Clock):
    """A clock; what the database's threads tell is not waited for."""

    def callFromThread(self, *_: object) -> None:
        """Nobody is there."""


class Queue:
    """As much of a link queue as a backlog needs, on a real database read at once."""

    def __init__(self, database: Any) -> None:
        self.database = self
        self.clock = Clock()
        self.deleting: set[int] = set()
        self._database = database

    async def read(self, work: Any) -> Any:
        return self._database.read_now(work)

    async def write(self, work: Any) -> Any:
        return self._database.write_now(work)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    """With an empty database."""
    database = open_database(tmp_path / "x.sqlite", Reactor(), claim=True)  # type: ignore[arg-type]  # no more is needed
    yield Queue(database)
    database.close_now()


def made(queue: Queue) -> Backlog:
    """The backlog of the pair, with nothing in it."""
    return Backlog(queue, OURS, THEIRS)  # type: ignore[arg-type]  # as much of a queue as is needed


def store(queue: Queue, backlog: Backlog, *ids: int) -> None:
    """Messages that are accepted, and committed."""
    for id in ids:
        entry = LinkEntry(id, backlog, b"<message id='%d'/>" % id)
        backlog.add(entry)
        queue._database.write_now(lambda c, entry=entry: link_store.write(c, [entry], []))
        entry.stored = True
        backlog.stored(entry)


def drained(backlog: Backlog) -> list[int]:
    """What comes out, in order."""
    out: list[int] = []
    while True:
        if backlog.unread:
            Deferred.fromCoroutine(backlog.read())
        elif backlog.first is None:
            return out
        else:
            out.append(backlog.take().id)


def test_more_than_memory_takes_comes_out_in_order(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_UNSENT", 5)
    monkeypatch.setattr(module, "_PAGE", 3)
    backlog = made(queue)
    store(queue, backlog, *range(1, 21))
    assert backlog.count == 20
    assert drained(backlog) == list(range(1, 21))
    backlog.send_again()
    assert drained(backlog) == list(range(1, 21))


def test_what_was_there_before_comes_first(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_UNSENT", 2)
    monkeypatch.setattr(module, "_PAGE", 3)
    store(queue, made(queue), 1, 2, 3, 4)  # by a process that is gone
    backlog = made(queue)
    backlog.waits(4, 100, 1)
    store(queue, backlog, 5, 6, 7, 8, 9)
    assert drained(backlog) == list(range(1, 10))


def test_a_damaged_row_is_set_aside(queue: Queue) -> None:
    store(queue, made(queue), 1, 2)
    bad = LinkEntry(3, made(queue), b"<message/>")
    queue._database.write_now(lambda c: link_store.write(c, [bad], []))
    connection: Any = queue._database
    connection.write_now(lambda c: c.run(_queue.update().values(stanza=b"x").where(_queue.c.id == 3)))
    backlog = made(queue)
    backlog.waits(3, 100, 1)
    assert drained(backlog) == [1, 2]
    assert backlog.count == 2
