"""Last activity is noted when the last available session leaves, and known before it is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from sqlalchemy import select

from msgd.routing.account import LiveAccount
from msgd.storage.schema import account as accounts
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from msgd.wire.xml import serialise
from msgd.xeps.xep_0012_last_activity import LastActivity
from tests.accounts.world import World

if TYPE_CHECKING:
    from msgd.routing.router import Router

ROMEO = JID.parse("romeo@localhost")
_ALL = select(accounts.c.last_active, accounts.c.last_status)


class Place:
    """The extension, with Romeo's account in the database."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.config = None
        self.clock = world
        self.database, self.accounts = world.database, world.accounts
        self.live = LiveAccount(world.wait(world.accounts.create(ROMEO, "p")).id, ROMEO)
        self.table = SimpleNamespace(load=self._load)
        self.extension = LastActivity(cast("Router", self))
        self.extension.start()

    async def _load(self, jid: JID) -> LiveAccount:
        return self.live

    def session(self, resource: str) -> Any:
        session = SimpleNamespace(account=self.live, available=True, presence=None)
        self.live.sessions[resource] = cast(Any, session)
        return session

    def leave(self, resource: str, status: str = "") -> None:
        session = cast(Any, self.live.sessions[resource])
        content = f"<status>{status}</status>".encode() if status else b""
        session.available = False
        session.presence = Stanza.build("presence", to=None, from_=ROMEO, type="unavailable", content=content)
        self.extension.remember(session)
        del self.live.sessions[resource]

    def ask(self) -> bytes:
        question = Stanza.build("iq", to=ROMEO, from_=ROMEO.with_resource("r"), type="get", id="1")
        return serialise(self.world.wait(self.extension.tell_absence(question)))

    def settle(self) -> None:
        while self.extension._writing:
            self.world.turn()

    def stored(self) -> tuple[Any, ...] | None:
        return self.world.database.read_now(lambda connection: connection.one(_ALL))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    world = World(tmp_path)
    yield Place(world)
    world.close()


def test_known_at_once_and_stored(place: Place) -> None:
    place.session("orchard")
    place.leave("orchard", "Heading home")
    expected = b"<query xmlns='jabber:iq:last' seconds='7'>Heading home</query>"
    place.world.now += 7
    assert place.ask() == expected
    place.settle()
    assert place.extension._noted == {}
    assert place.ask() == expected
    assert place.stored() == (1_000_000, "Heading home")


def test_only_the_last_session_counts(place: Place) -> None:
    place.session("orchard")
    place.session("phone")
    place.leave("orchard", "not this")
    place.world.now += 60
    assert place.ask() == b"<query xmlns='jabber:iq:last' seconds='0'/>"
    place.leave("phone")
    place.settle()
    assert place.stored() == (1_000_060, "")


def test_many_changes_are_few_writes(place: Place) -> None:
    writes = place.world.database.commits
    for number in range(100):
        place.session("orchard")
        place.world.now += 1
        place.leave("orchard", f"status {number}")
    place.settle()
    assert place.stored() == (1_000_100, "status 99")
    assert place.world.database.commits - writes <= 2


def test_an_account_that_was_never_there(place: Place) -> None:
    with pytest.raises(StanzaError) as caught:
        place.ask()
    assert caught.value.condition == "item-not-found"
