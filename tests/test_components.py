"""Components on a whole server: one that does not read, the end of either side, another configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from xml.etree.ElementTree import Element

import pytest

from tests.forks import ForkServer
from tests.harness import Msgd, NewAccount
from tests.specification.actor import Actor
from tests.specification.component import ComponentActor
from tests.specification.connection import PATIENCE, End, Late
from tests.specification.schema import check_nothing
from tests.specification.transcript import Role

AnyActor = TypeVar("AnyActor", bound=Actor)
DOMAIN, SECRET = "gate.localhost", "open sesame"
OPTIONS = (f'component."{DOMAIN}".secret = "{SECRET}"',)
PING = "<ping xmlns='urn:xmpp:ping'/>"
#: A message that fills sockets quickly.
BODY = "x" * 60_000


class Scene:
    """A server, and who is connected to it."""

    def __init__(self, server: Msgd) -> None:
        self.server = server
        self._cast: list[Actor] = []

    def gate(self, domain: str = DOMAIN) -> ComponentActor:
        """The component, connected."""
        role = Role("Gate", "", domain, "", exists=False, secret=SECRET)
        return self._connected(ComponentActor(role, "", self.server, check_nothing))

    def romeo(self, managed: bool = False) -> Actor:
        """A client; with stream management `<r/>` and `<a/>` are the test's affair."""
        role = Role("Romeo", "romeo", "localhost", "orchard", by_hand=managed)
        return self._connected(Actor(role, "romeo", self.server, check_nothing))

    def _connected(self, actor: AnyActor) -> AnyActor:
        self._cast.append(actor)
        actor.connect()
        return actor

    def end(self) -> None:
        """Everybody goes."""
        for actor in self._cast:
            if actor.connection is not None:
                actor.connection.close()


def played(data: Path, forks: ForkServer | None) -> Iterator[Scene]:
    """A scene, from its beginning to its end."""
    server = Msgd(data, OPTIONS, [NewAccount("romeo")], movable=True, forks=forks)
    server.start()
    made = Scene(server)
    yield made
    made.end()
    server.kill()
    assert "Traceback" not in server.log.read_text()


@pytest.fixture
def scene(tmp_path: Path, forks: ForkServer) -> Iterator[Scene]:
    yield from played(tmp_path / "data", forks)


@pytest.fixture
def measured(tmp_path: Path) -> Iterator[Scene]:
    """One in which the server's memory can be measured."""
    yield from played(tmp_path / "data", None)


def following(actor: Actor, seconds: float = PATIENCE) -> Element:
    """The next element."""
    event = actor.take(seconds)
    assert not isinstance(event, End), "the stream ended"
    return event


def until(actor: Actor, wanted: Callable[[Element], bool], seconds: float = PATIENCE) -> list[Element]:
    """What comes before what is wanted. Raises Late when nothing comes for a while."""
    found: list[Element] = []
    while not wanted(event := following(actor, seconds)):
        found.append(event)
    return found


def tagged(name: str, **attributes: str) -> Callable[[Element], bool]:
    """Whether it is an element of this name with these attributes."""

    def matches(event: Element) -> bool:
        return event.tag.endswith("}" + name) and attributes.items() <= dict(event.items()).items()

    return matches


def numbers(events: list[Element]) -> list[int]:
    """Which of the messages of `fill` these are."""
    return [int(event.get("id", "")[1:]) for event in events if event.tag.endswith("}message")]


def fill(client: Actor, count: int, first: int = 0) -> list[Element]:
    """Send large messages to the component; those that were refused, once the server has all."""
    for number in range(first, first + count):
        client.send(f"<message to='{DOMAIN}' type='chat' id='m{number}'><body>{BODY}</body></message>")
    client.send(f"<iq type='get' id='p{first}' to='localhost'>{PING}</iq>")
    return until(client, tagged("iq", id=f"p{first}"))


def test_a_component_that_does_not_read_takes_a_bounded_amount_of_memory(measured: Scene) -> None:
    component, client = measured.gate(), measured.romeo()
    before, refused, count = measured.server.memory(), 0, 600
    for first in range(0, count, 20):
        refused += len(fill(client, 20, first))
    grown = measured.server.memory() - before
    sent = count * len(BODY) >> 20
    print(f"\n{sent} MiB for a component that does not read: {grown >> 10} MiB more, {refused} refused")
    assert 0 < refused < count
    assert grown < 24 * 1024
    # What was not refused comes, in order, and then it is as if nothing had been.
    got: list[int] = []
    while len(got) < count - refused:
        got += numbers([following(component)])
    assert got == sorted(got)
    client.send(f"<iq to='{DOMAIN}' type='get' id='q'>{PING}</iq>")
    assert until(component, tagged("iq", id="q")) == []


def until_away(server: Msgd) -> None:
    """The component is gone when this returns; each question is a turn of the server."""
    for _ in range(1000):
        if "gate.localhost away" in server.command("components"):
            return
    raise AssertionError("the component is still connected")


def test_a_component_that_takes_nothing_for_a_minute_is_cut_off(scene: Scene) -> None:
    scene.gate()
    client = scene.romeo()
    assert fill(client, 300)
    assert "gate.localhost away" not in scene.server.command("components")
    # What the system holds for it may still have come in the first minute.
    for _ in range(2):
        scene.server.advance(61)
    until_away(scene.server)
    # Who sent what had not arrived is told.
    assert tagged("message", type="error")(following(client))


def test_a_component_that_asks_and_does_not_read_is_not_read_and_then_cut_off(measured: Scene) -> None:
    component = measured.gate()
    assert component.connection is not None
    asks = f"<iq type='get' id='q' to='localhost' from='{DOMAIN}'><x xmlns='urn:x'>{BODY}</x></iq>".encode()
    before = measured.server.memory()
    # Past the runner's connection, which reads whenever something comes.
    component.connection.socket.settimeout(2)
    with pytest.raises(TimeoutError):
        component.connection.socket.sendall(asks * 1000)
    assert measured.server.memory() - before < 24 * 1024
    for _ in range(2):
        measured.server.advance(61)
    until_away(measured.server)


def test_what_has_not_arrived_is_not_acknowledged(scene: Scene) -> None:
    component, client = scene.gate(), scene.romeo(managed=True)
    count = 200
    for number in range(count):
        client.send(f"<message to='{DOMAIN}' type='chat' id='m{number}'><body>{BODY}</body></message>")
    client.send("<r xmlns='urn:xmpp:sm:3'/>")
    with pytest.raises(Late):
        until(client, tagged("a", h=str(count)), 2)
    # It reads: what was not refused is delivered, and all is acknowledged.
    component.send(f"<iq type='get' id='p' to='localhost' from='{DOMAIN}'>{PING}</iq>")
    assert numbers(until(component, tagged("iq", id="p")))
    until(client, tagged("a", h=str(count)))


def test_the_sender_is_told_when_the_component_goes_before_it_has_a_message(scene: Scene) -> None:
    component, client = scene.gate(), scene.romeo()
    refused = fill(client, 200)
    component.drop()
    told = [following(client)]
    assert tagged("message", type="error")(told[0])
    client.send(f"<message to='{DOMAIN}' type='chat' id='after'/>")
    told += until(client, tagged("message", id="after"))
    assert numbers(told) == sorted(numbers(told))
    assert not set(numbers(told)) & set(numbers(refused))


def test_the_server_stops_and_the_component_is_told(scene: Scene) -> None:
    component = scene.gate()
    scene.server.stop()
    assert following(component)[0].tag == "{urn:ietf:params:xml:ns:xmpp-streams}system-shutdown"
    assert isinstance(component.take(), End)
    scene.server.start()
    scene.gate()


def test_another_configuration_counts_from_the_reload_on(scene: Scene) -> None:
    first = scene.gate()
    scene.server.configure([f'component."other.localhost".secret = "{SECRET}"'])
    scene.server.command("reload")
    assert following(first)[0].tag == "{urn:ietf:params:xml:ns:xmpp-streams}host-gone"
    scene.gate("other.localhost")
    assert "other.localhost for" in scene.server.command("components")
    assert "gate.localhost" not in scene.server.command("components")


def test_the_first_component_opens_the_port(tmp_path: Path, forks: ForkServer) -> None:
    server = Msgd(tmp_path / "data", forks=forks)
    server.start()
    assert "component" not in server.ready
    server.configure(OPTIONS)
    server.command("reload")
    assert "gate.localhost away" in server.command("components")
    server.stop()
