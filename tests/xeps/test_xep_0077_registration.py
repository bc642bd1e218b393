"""Registration by strangers who hurry, and answers that precede the end of streams."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.python.failure import Failure

from msgd.routing.account import LiveAccount
from msgd.routing.router import Router
from msgd.sections import Registration as Options
from msgd.storage.database import DatabaseFault
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from msgd.xeps.xep_0077_registration import Registration
from tests.accounts.world import World

ROMEO = JID.parse("romeo@localhost")


@dataclass
class Stream:
    """A client that has not logged in."""

    address: str = "192.0.2.1"
    domain: JID | None = JID.parse("localhost")


class Place:
    """The extension on real accounts, with one session of Romeo."""

    def __init__(self, world: World, per_hour: int) -> None:
        self.world = world
        self.happened: list[str] = []
        self.spared: Any = None
        self.live = LiveAccount(1, ROMEO)
        self.session = SimpleNamespace(send=self._sent)
        self.config = SimpleNamespace(registration=Options(open=True, per_hour=per_hour))
        self.clock = world
        self.database, self.accounts = world.database, world.accounts
        self.table = SimpleNamespace(load=self._load, session=lambda jid: self.session)
        self.accounts.changed.append(self._end_sessions)
        self.extension = Registration(cast(Router, self))
        self.extension.start()

    async def _load(self, jid: JID) -> LiveAccount | None:
        return self.live if jid == ROMEO else None

    def _sent(self, stanza: Stanza) -> None:
        self.happened.append(f"answered {stanza.type}")

    def _end_sessions(self, jid: JID, what: str) -> None:
        spared = "all" if self.spared is None else "all others"
        self.happened.append(f"{what}: {spared} ended")

    def register(self, name: str, address: str = "192.0.2.1") -> list[Any]:
        return self._begin(
            self.extension.register(
                _set(f"<username>{name}</username><password>p</password>"), Stream(address)
            )
        )

    def change(self, content: str) -> list[Any]:
        stanza = _set(content)
        stanza.from_ = ROMEO.with_resource("orchard")
        stanza.to = ROMEO
        return self._begin(self.extension.change(stanza))

    def _begin(self, work: Coroutine[Any, Any, Any]) -> list[Any]:
        return self.world.start(work)

    def outcome(self, begun: list[Any]) -> str:
        while not begun:
            self.world.turn()
        result = begun[0]
        if not isinstance(result, Failure):
            return "done"
        assert isinstance(result.value, StanzaError), result
        assert not result.value.quote
        return result.value.condition


def _set(content: str) -> Stanza:
    query = f"<query xmlns='jabber:iq:register'>{content}</query>".encode()
    return Stanza.build("iq", to=None, from_=None, type="set", id="r1", content=query)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def test_two_who_want_one_name_at_once(world: World) -> None:
    place = Place(world, per_hour=0)
    begun = [place.register("romeo"), place.register("ROMEO"), place.register("romeo")]
    assert sorted(map(place.outcome, begun)) == ["conflict", "conflict", "done"]


def test_the_limit_is_for_the_network_of_one_customer(world: World) -> None:
    place = Place(world, per_hour=3)
    addresses = [f"2001:db8:1:2::{number:x}" for number in range(1, 6)]
    outcomes = [
        place.outcome(place.register(f"user{number}", address)) for number, address in enumerate(addresses)
    ]
    assert outcomes == ["done"] * 3 + ["resource-constraint"] * 2
    assert place.outcome(place.register("other", "2001:db8:1:3::1")) == "done"
    world.now += 1200
    assert place.outcome(place.register("later", addresses[0])) == "done"


def test_no_limit_where_the_operator_wants_none(world: World) -> None:
    place = Place(world, per_hour=0)
    outcomes = {place.outcome(place.register(f"user{number}")) for number in range(20)}
    assert outcomes == {"done"}


def test_the_result_comes_before_the_sessions_end(world: World) -> None:
    place = Place(world, per_hour=0)
    assert place.outcome(place.register("romeo")) == "done"
    content = "<username>romeo</username><password>new</password>"
    assert place.outcome(place.change(content)) == "done"
    assert place.outcome(place.change("<remove/>")) == "done"
    assert place.happened == [
        "answered result", "password: all others ended",
        "answered result", "deleted: all ended",
    ]  # fmt: skip
    assert place.spared is None


def test_changes_by_others_are_not_answered(world: World) -> None:
    place = Place(world, per_hour=0)
    place.outcome(place.register("romeo"))
    world.wait(world.accounts.set_password(ROMEO, "new"))
    assert place.happened == ["password: all ended"]


def test_one_change_at_a_time(world: World) -> None:
    place = Place(world, per_hour=0)
    place.outcome(place.register("romeo"))
    first = place.change("<username>romeo</username><password>one</password>")
    second = place.change("<username>romeo</username><password>two</password>")
    assert place.outcome(second) == "resource-constraint"
    assert place.outcome(first) == "done"
    assert world.wait(world.accounts.check_password(ROMEO, "one")) is not None


def test_a_database_at_fault_is_no_success(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(world, per_hour=0)
    place.outcome(place.register("romeo"))

    async def fail(jid: JID) -> None:
        raise DatabaseFault("the disk is full")

    monkeypatch.setattr(world.accounts, "delete", fail)
    assert place.outcome(place.change("<remove/>")) == "internal-server-error"
    assert place.happened == []
