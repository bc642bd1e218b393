"""Clients that owe an answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from msgd.routing.extension import Extension, Rfc, on_event
from msgd.routing.liveness import Liveness
from msgd.routing.resumption import Resumption
from msgd.routing.session import Session
from tests.routing.world import Client, World


class Watcher(Extension):
    """Hears of those who do not answer."""

    xep = Rfc(6120)
    heard: int = 0

    @on_event("session-unresponsive")
    def unresponsive(self, session: Session) -> None:
        """Another one."""
        self.heard += 1


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A server without doors."""
    made = World(tmp_path)
    yield made
    made.close()


def _managed(world: World, jid: str) -> Client:
    world.router.resumption = Resumption(world.router, 600)
    client = world.connects(jid)
    world.router.resumption.enable(client.session, {"resume": "true"})
    client.session._request_answer()
    return client


def test_it_is_told_of_once(world: World) -> None:
    watcher = Watcher(world.router)
    world.router.extensions.load(watcher)
    client = _managed(world, "juliet@localhost/balcony")
    liveness = Liveness(world.router)
    world.clock.advance(29)
    liveness.look()
    assert watcher.heard == 0
    world.clock.advance(1)
    liveness.look()
    liveness.look()
    assert watcher.heard == 1
    client.wire.last_received = 30
    liveness.look()
    client.wire.last_received = 0
    world.clock.advance(31)
    liveness.look()
    assert watcher.heard == 2


def test_who_sends_something_is_there(world: World) -> None:
    watcher = Watcher(world.router)
    world.router.extensions.load(watcher)
    client = _managed(world, "juliet@localhost/balcony")
    world.clock.advance(100)
    client.wire.last_received = 99
    Liveness(world.router).look()
    assert watcher.heard == 0
