"""The group commit: what is written when, what is never written, and who is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from msgd.routing.stream_management import Receipt
from msgd.spool import store
from msgd.spool.spool import Spool
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from tests.routing.world import Client, World

_ROMEO = JID.parse("romeo@localhost/orchard")


class Spooled:
    """A world with a spool, in batches of two."""

    def __init__(self, path: Path) -> None:
        self.world = World(path)
        self.spool = Spool(self.world.router, window=0.05, batch=2, quota=1000, quota_size=100_000)
        self.world.router.spool = self.spool
        self.told: list[str] = []
        self.jobs = self.most_jobs = 0
        self._write_soon = self.world.database.write_soon
        self.world.database.write_soon = self._counted  # type: ignore[method-assign]  # to count them
        self.juliet = self.world.connects("juliet@localhost/balcony")

    def _counted(self, work: Callable[..., Any], done: Callable[[Exception | None], None]) -> None:
        def finished(error: Exception | None) -> None:
            self.jobs -= 1
            done(error)

        self.jobs += 1
        self.most_jobs = max(self.jobs, self.most_jobs)
        self._write_soon(work, finished)

    def arrives(self, id: str, *targets: Client) -> None:
        """A message for Juliet is accepted."""
        raw = f"<message id='{id}' from='{_ROMEO}' to='juliet@localhost'><body>{id}</body></message>"
        stanza = Stanza.from_bytes(raw.encode())
        account = self.juliet.session.account
        receipt = Receipt()
        receipt.told = lambda: self.told.append(id)
        assert self.spool.accept(account, stanza, receipt, [each.session for each in targets])

    def settle(self) -> None:
        """All that was accepted is safe."""
        done: list[object] = []
        self.spool.flushed().addCallback(done.append)
        self.world.turns.until(lambda: bool(done) and not self.jobs)

    def rows(self) -> list[bytes]:
        """The ids of the messages that are stored, in order."""
        account = self.juliet.session.account.id
        page = self.world.database.read_now(lambda c: store.page(c, account, 0, 1000, 10**7))
        return [cast(str, Stanza.from_bytes(row.raw).id).encode() for row in page[0]]


@pytest.fixture
def spooled(tmp_path: Path) -> Iterator[Spooled]:
    made = Spooled(tmp_path)
    yield made
    made.world.close()


def _under_way(client: Client, count: int) -> None:
    """The client's machine has acknowledged all but the last `count` bytes."""
    client.wire.under_way = lambda: count  # type: ignore[attr-defined]  # the wire here has no kernel


def test_batches_do_not_queue_up(spooled: Spooled) -> None:
    """While one is written the next one gathers: a slow disk gets fewer and larger ones."""
    ids = [str(number) for number in range(100)]
    for id in ids:
        spooled.arrives(id)
    assert spooled.told == []
    spooled.settle()
    assert spooled.most_jobs == 1
    assert spooled.told == ids
    assert spooled.rows() == [id.encode() for id in ids]


def test_what_is_delivered_while_the_disk_is_busy_is_not_written(spooled: Spooled) -> None:
    _under_way(spooled.juliet, 10**6)
    for id in "abcdef":
        spooled.arrives(id, spooled.juliet)
    _under_way(spooled.juliet, 0)
    spooled.settle()
    assert spooled.spool.status()["written"] == 2, "only the batch that was on its way already"
    assert spooled.spool.spared == 4
    assert sorted(spooled.told) == list("abcdef")
    spooled.settle()
    assert spooled.rows() == []


def test_what_is_delivered_in_time_never_touches_the_disk(spooled: Spooled) -> None:
    _under_way(spooled.juliet, 0)
    for id in "abcd":
        spooled.arrives(id, spooled.juliet)
    spooled.settle()
    assert spooled.most_jobs == 0
    assert spooled.told == list("abcd")
    assert spooled.juliet.session.account.mailbox.count == 0


def test_what_may_not_have_arrived_is_written(spooled: Spooled) -> None:
    _under_way(spooled.juliet, 1)
    for id in "ab":
        spooled.arrives(id, spooled.juliet)
    spooled.settle()
    assert spooled.told == list("ab")
    assert spooled.rows() == [b"b"]


def test_what_a_vanished_client_did_not_get_goes_to_the_next(spooled: Spooled) -> None:
    _under_way(spooled.juliet, 10**6)
    for id in "abc":
        spooled.arrives(id, spooled.juliet)
    spooled.settle()
    spooled.juliet.session.transport = None
    spooled.juliet.session.end()
    assert spooled.rows() == [b"a", b"b", b"c"]
    again = spooled.world.connects("juliet@localhost/balcony")
    _under_way(again, 0)
    again.session.available, again.session.priority = True, 0
    spooled.spool.drain(again.session.account)
    spooled.world.turns.until(lambda: len(again.wire.written) == 3)
    assert [element.get("id") for element in again.elements()] == ["a", "b", "c"]
    spooled.settle()
    spooled.settle()
    assert spooled.rows() == []
    assert spooled.juliet.session.account.mailbox.count == 0
