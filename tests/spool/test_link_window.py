"""How long a message to another server waits for that server's answer before it is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from msgd.links import Links
from msgd.negotiation.link_outcome import LinkFault
from msgd.routing.stream_management import Receipt
from msgd.spool.outbox import Outbox
from msgd.spool.spool import Spool
from msgd.wire.stanza import Stanza
from msgd.wire.tls import ServerContexts
from tests.routing.world import World
from tests.work.test_links import linked

_WINDOW = 0.02
_RAW = b"<message to='nurse@there.example' from='romeo@localhost/orchard'><body>x</body></message>"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A server without doors."""
    made = World(tmp_path)
    made.router.spool = Spool(made.router, window=_WINDOW, batch=500, quota=100, quota_size=10**6)
    yield made
    made.close()


async def never(outbox: Outbox) -> None:
    """No link can be made."""
    raise LinkFault("tcp", "nobody listens")


@pytest.fixture
def links(world: World) -> Links:
    """What goes to other servers."""
    router = world.router
    made = Links(router.config, world.clock, router, ServerContexts(), b"x")
    made.queue.connect = never
    return made


def test_on_a_link_it_waits_ten_windows_whoever_waits(world: World) -> None:
    linked(world)
    links = cast(Links, world.router.table.elsewhere)
    assert links.send(Stanza.from_bytes(_RAW), Receipt())
    for _ in range(9):
        world.clock.advance(_WINDOW)
    assert links.queue._commit.pending == 1
    world.clock.advance(2 * _WINDOW)
    assert links.queue._commit.pending == 0
    world.turns.until(lambda: links.queue._commit.written == 1)


def test_without_a_link_it_waits_for_one_window(links: Links, world: World) -> None:
    receipt = Receipt()
    assert links.send(Stanza.from_bytes(_RAW), receipt)
    for _ in range(2):
        world.clock.advance(_WINDOW / 2)
    assert links.queue._commit.pending == 0
    world.turns.until(lambda: receipt.safe)
