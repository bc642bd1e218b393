"""When the spool looks which clients without acknowledgements have everything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from msgd.routing.stream_management import Receipt
from msgd.spool.spool import Spool
from tests.routing.world import World

_WINDOW = 0.02


class Socket:
    """Takes everything, and counts how often it was asked whether that has arrived."""

    address, last_received, buffered, closed = "192.0.2.1", 0.0, 0, False

    def __init__(self) -> None:
        self.looks = 0

    def write(self, data: bytes) -> None:
        """See Connection."""

    append = write

    def under_way(self) -> int:
        """See Connection."""
        self.looks += 1
        return 0


class Talk:
    """Romeo, who waits for acknowledgements, writes to Juliet, who gives none."""

    def __init__(self, world: World) -> None:
        self._romeo = world.connects("romeo@localhost/orchard").session
        self.juliet = Socket()
        session = world.connects("juliet@localhost/balcony").session
        session.transport = cast(Any, self.juliet)
        session.available, session.priority = True, 0

    def says(self) -> Receipt:
        """Something; the promise to its sender."""
        receipt = Receipt()
        raw = b"<message to='juliet@localhost/balcony' type='chat'><body>x</body></message>"
        attributes = {"to": "juliet@localhost/balcony", "type": "chat"}
        self._romeo._stanza("message", attributes, ("jabber:client body",), raw, receipt)
        return receipt


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """With a spool."""
    made = World(tmp_path)
    made.router.spool = Spool(made.router, window=_WINDOW, batch=500, quota=100, quota_size=10**6)
    yield made
    made.close()


def test_what_has_just_been_sent_is_looked_at_the_next_time(world: World) -> None:
    talk = Talk(world)
    receipt = talk.says()
    world.clock.advance(_WINDOW / 2)
    assert talk.juliet.looks == 0, "her machine would not have acknowledged it"
    world.clock.advance(_WINDOW / 2)
    assert talk.juliet.looks == 1
    assert receipt.safe
    assert world.router.spool.written == 0


def test_who_wants_all_to_be_stored_has_everything_looked_at(world: World) -> None:
    talk = Talk(world)
    receipt = talk.says()
    world.router.spool.flushed()
    assert talk.juliet.looks == 1
    assert receipt.safe
