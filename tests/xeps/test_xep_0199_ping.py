"""Silent clients are found in slices, with one timer for all."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from twisted.internet.task import Clock

from msgd.wire.errors import StreamError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from msgd.xeps import xep_0199_ping
from msgd.xeps.xep_0199_ping import TICK, Ping

if TYPE_CHECKING:
    from msgd.routing.router import Router

INTERVAL, TIMEOUT = 300, 60


class Client:
    """A session as the sweep sees it."""

    def __init__(self, world: World, name: str) -> None:
        self.jid = JID.make(name, "localhost", "r")
        self.last_received = world.clock.seconds()
        self.stream: object | None = object()
        self.sent: list[Stanza] = []
        self.cuts: list[str] = []

    def send(self, stanza: Stanza) -> None:
        self.sent.append(stanza)

    def cut(self, error: StreamError) -> None:
        self.cuts.append(error.condition)
        self.stream = None


class World:
    """The extension, a clock, and the sessions in the table."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.config = SimpleNamespace(ping=SimpleNamespace(interval=INTERVAL, timeout=TIMEOUT))
        self.database = self.accounts = None
        self.table = self
        self.clients: list[Client] = []
        self.looked_at = 0
        self.ping = Ping(cast("Router", self))
        self.ping.start()

    def sessions(self) -> Iterator[Client]:
        for client in self.clients:
            self.looked_at += 1
            yield client

    def add(self, count: int = 1) -> list[Client]:
        added = [Client(self, f"c{number}") for number in range(count)]
        self.clients += added
        return added

    def run(self, seconds: float) -> None:
        """Let time pass second by second, as it does."""
        self.clock.pump([TICK] * int(seconds / TICK))


@pytest.fixture
def world() -> World:
    return World()


def pinged(client: Client) -> int:
    return len(client.sent)


def test_a_silent_client_is_pinged_once(world: World) -> None:
    (client,) = world.add()
    world.run(INTERVAL - 1)
    assert pinged(client) == 0
    world.run(3)
    assert pinged(client) == 1
    ping = client.sent[0]
    assert (ping.kind, ping.type, ping.from_, ping.to) == ("iq", "get", "localhost", client.jid)
    assert ping.raw.endswith(b"><ping xmlns='urn:xmpp:ping'/></iq>")
    world.run(TIMEOUT - 3)
    assert pinged(client) == 1
    assert client.cuts == []


def test_a_client_that_speaks_is_left_alone(world: World) -> None:
    (client,) = world.add()
    for _ in range(20):
        world.run(INTERVAL / 2)
        client.last_received = world.clock.seconds()
    assert pinged(client) == 0


def test_no_answer_ends_the_connection(world: World) -> None:
    (client,) = world.add()
    world.run(INTERVAL + TIMEOUT + 3)
    assert client.cuts == ["connection-timeout"]
    world.run(2 * INTERVAL)
    assert client.cuts == ["connection-timeout"]
    assert not world.ping.pinged


def test_any_byte_is_an_answer_and_later_silence_is_asked_again(world: World) -> None:
    (client,) = world.add()
    world.run(INTERVAL + 2)
    client.last_received = world.clock.seconds()
    world.run(INTERVAL - 1)
    assert (pinged(client), client.cuts) == (1, [])
    world.run(TIMEOUT)
    assert (pinged(client), client.cuts) == (2, [])


@pytest.mark.parametrize("answers", [True, False])
def test_a_clock_that_was_set_back_hides_no_dead_client(world: World, answers: bool) -> None:
    (client,) = world.add()
    world.clock.rightNow -= 365 * 86400
    world.ping.stop()
    world.ping.start()  # the reactor's timers are not what is tested here
    world.run(3)
    assert pinged(client) == 1
    if answers:
        client.last_received = world.clock.seconds()
    world.run(TIMEOUT + 3)
    assert client.cuts == ([] if answers else ["connection-timeout"])
    assert pinged(client) == 1


def test_a_session_without_a_connection_is_not_pinged(world: World) -> None:
    (client,) = world.add()
    client.stream = None
    world.run(2 * INTERVAL)
    assert pinged(client) == 0


def test_a_session_that_ended_is_forgotten(world: World) -> None:
    (client,) = world.add()
    world.run(INTERVAL + 2)
    world.clients.clear()
    world.ping._forget(cast(Any, client))
    assert not world.ping.pinged
    world.run(TIMEOUT + 2)
    assert client.cuts == []


def test_interval_zero_switches_it_off(world: World) -> None:
    world.config.ping.interval = 0
    (client,) = world.add()
    world.run(5 * INTERVAL)
    assert pinged(client) == 0


def test_many_sessions_are_looked_at_in_slices(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xep_0199_ping, "SLICE", 10)
    clients = world.add(25)
    world.run(INTERVAL - 10)
    world.looked_at = 0
    world.run(1)
    assert world.looked_at <= 10
    world.run(20)
    assert [pinged(client) for client in clients] == [1] * 25


def test_one_timer_whatever_the_number_of_sessions(world: World) -> None:
    world.add(50)
    world.run(INTERVAL + 2)
    assert len(world.clock.getDelayedCalls()) == 1
    world.ping.stop()
    assert world.clock.getDelayedCalls() == []
