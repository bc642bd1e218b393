"""Who leaves when a component dies: those who are seen, and no more than are remembered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from msgd.routing import appearances
from msgd.routing.component import Component
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from tests.routing.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A server."""
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def component(world: World) -> Component:
    """A component that is known, and not connected."""
    made = Component(world.router, JID.parse("gate.localhost"))
    world.router.components["gate.localhost"] = world.router.table.destinations["gate.localhost"] = made
    return made


def _shows(component: Component, sender: str, to: str, type: str | None = None) -> None:
    stanza = Stanza.build("presence", to=JID.parse(to), from_=JID.parse(sender), type=type)
    component.appearances.note(stanza)


def test_only_who_is_seen_leaves(world: World, component: Component) -> None:
    world.account("nobody@localhost")
    romeo = world.connects("romeo@localhost/orchard", presence="<presence/>")
    _shows(component, "nurse@gate.localhost/kitchen", "romeo@localhost")
    _shows(component, "nurse@gate.localhost/kitchen", "romeo@localhost")
    _shows(component, "nurse@gate.localhost/kitchen", "nobody@localhost")
    for resource in "ab":
        _shows(component, f"peter@gate.localhost/{resource}", "romeo@localhost")
    _shows(component, "peter@gate.localhost", "romeo@localhost", "unavailable")
    _shows(component, "hall@gate.localhost/a", "romeo@localhost/orchard")
    assert component.appearances.count == 2
    component.appearances.leave()
    world.settle()
    assert sorted(romeo.gets()) == [
        "presence unavailable hall@gate.localhost/a > romeo@localhost/orchard",
        "presence unavailable nurse@gate.localhost/kitchen > romeo@localhost",
    ]
    component.appearances.leave()
    world.settle()
    assert romeo.gets() == []


def test_what_nobody_sees_any_more_is_forgotten(world: World, component: Component) -> None:
    romeo = world.connects("romeo@localhost/orchard", presence="<presence/>")
    other = world.connects("romeo@localhost/street", presence="<presence/>")
    _shows(component, "nurse@gate.localhost/kitchen", "romeo@localhost")
    _shows(component, "hall@gate.localhost/a", "romeo@localhost/orchard")
    romeo.ends()
    assert component.appearances.count == 1
    other.ends()
    assert component.appearances.count == 0
    assert component.appearances._shown == {}


def test_it_is_bounded_and_takes_turns(
    world: World, component: Component, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appearances, "_MOST", 50)
    monkeypatch.setattr(appearances, "_AT_A_TIME", 20)
    romeo = world.connects("romeo@localhost/orchard", presence="<presence/>")
    juliet = world.connects("juliet@localhost/balcony", presence="<presence/>")
    for to in ("romeo@localhost", "juliet@localhost"):
        for number in range(30):
            _shows(component, f"c{number}@gate.localhost/x", to)
    assert component.appearances.count == 30
    romeo.gets()
    juliet.gets()
    component.appearances.leave()
    assert len(juliet.gets()) == 20
    # It comes back meanwhile: first all of them have left.
    component.appearances.come_back()
    assert len(juliet.gets()) == 10
    assert romeo.gets() == []
