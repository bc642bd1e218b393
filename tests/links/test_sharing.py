"""Several domains on one link: two msgd of two domains each, and components' domains."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Msgd
from tests.links.relay import Relay
from tests.links.world import Someone, World, connections, link_port
from tests.specification.component import ComponentActor
from tests.specification.schema import check_nothing
from tests.specification.transcript import Role

OURS, THEIRS = ("a.example", "a2.example"), ("b.example", "b2.example")


def made(server: Msgd, peer: Msgd, port: int = 0) -> int:
    """TCP connections that `server` has to the port where `peer` takes those of servers, or another."""
    inodes = set()
    for each in Path(f"/proc/{server.pid}/fd").iterdir():
        try:
            inodes.add(os.readlink(each))
        except OSError:
            pass  # closed meanwhile
    wanted = f":{port or link_port(peer):04X}"
    lines = Path(f"/proc/{server.pid}/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return sum(
        each[2].endswith(wanted) and each[3] == "01" and f"socket:[{each[9]}]" in inodes for each in fields
    )


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Until it holds; what is asked for and goes away is not gone at once."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def two(world: World, options: tuple[str, ...] = (), others: tuple[str, ...] = ()) -> tuple[Msgd, Msgd]:
    """Ours with `options`, the other with `others`."""
    a = world.msgd(OURS[0], ["romeo", f"benvolio@{OURS[1]}"], options, others=OURS[1:])
    b = world.msgd(THEIRS[0], ["juliet", f"nurse@{THEIRS[1]}"], others, others=THEIRS[1:])
    return a, b


def people(a: Msgd, b: Msgd) -> tuple[list[Someone], list[Someone]]:
    """One of each domain."""
    return (
        [Someone(a, "romeo", True).arrives(), Someone(a, "benvolio", True, OURS[1]).arrives()],
        [Someone(b, "juliet", True).arrives(), Someone(b, "nurse", True, THEIRS[1]).arrives()],
    )


def waiting(server: Msgd) -> str:
    """What goes to the other domains."""
    return "".join(server.command(f"routes x@{domain}") for domain in THEIRS)


def talk(one: Someone, other: Someone, mark: str = "") -> None:
    """A message there, and one back."""
    one.says(other, f"from {one.bare}{mark}")
    assert other.hears() == f"from {one.bare}{mark}"
    other.says(one, f"from {other.bare}{mark}")
    assert one.hears() == f"from {other.bare}{mark}"


def test_two_domains_of_each_side_share_one_connection(world: World) -> None:
    a, b = two(world)
    ours, theirs = people(a, b)
    for one in ours:
        for other in theirs:
            talk(one, other)
    until(lambda: made(b, a) == 0)  # those on which keys were verified
    assert made(a, b) == 1
    (line,) = a.command("links").splitlines()
    assert line.startswith("both a.example, a2.example b.example, b2.example EXTERNAL True")
    (line,) = b.command("links").splitlines()
    assert line.startswith("both b.example, b2.example a.example, a2.example EXTERNAL True")
    told = a.command("why b2.example")
    assert "accepted by dialback on the stream of a.example to b.example" in told, told
    assert told.count("there is a link") == 2
    assert "a link to a.example, a2.example by EXTERNAL, 4 stanzas came" in told


def test_the_side_that_was_connected_to_shares_too(world: World) -> None:
    a, b = two(world)
    (romeo, benvolio), (juliet, nurse) = people(a, b)
    talk(romeo, juliet)
    talk(benvolio, juliet)  # so a asks for more than it began with, and can be asked
    nurse.says(romeo, "one")
    assert romeo.hears() == "one"
    romeo.says(nurse, "two")
    assert nurse.hears() == "two"
    until(lambda: made(b, a) == 0)
    assert made(a, b) == 1


@pytest.mark.parametrize("by_dns", [False, True])
def test_domains_with_certificates_of_their_own(world: World, by_dns: bool) -> None:
    """Each domain has its own, so a stream proves one; where DNS is enough, more may be asked for on it."""
    options = []
    for domain in OURS[1:]:
        certificate, key = world.authority.issue(domain, domain)
        options += [f'host."{domain}".certificate = "{certificate}"', f'host."{domain}".key = "{key}"']
    allowed = 'federation.dialback = ["*.example"]' if by_dns else ""
    a = world.msgd(
        OURS[0],
        ["romeo", f"benvolio@{OURS[1]}"],
        options,
        world.authority.issue("a", OURS[0]),
        others=OURS[1:],
    )
    b = world.msgd(THEIRS[0], ["juliet"], [allowed])
    romeo, benvolio = Someone(a, "romeo").arrives(), Someone(a, "benvolio", domain=OURS[1]).arrives()
    juliet = Someone(b, "juliet").arrives()
    talk(romeo, juliet)
    talk(benvolio, juliet)
    until(lambda: made(b, a) == 0)
    assert made(a, b) == (1 if by_dns else 2)
    told = a.command("why b.example")
    wanted = "accepted by dialback on the stream" if by_dns else "dialback: error not-authorized"
    assert wanted in told, told


# -- the network fails ---------------------------------------------------------------------------


@pytest.fixture
def relayed(world: World) -> Iterator[tuple[Msgd, Msgd, Relay]]:
    """Two servers; what the first sends goes by a relay."""
    a, b = two(world)
    relay = Relay(link_port(b))
    for domain in THEIRS:
        world.dns.forget(domain)
        world.dns.service(domain, "localhost", relay.port)
    yield a, b, relay
    relay.close()


def test_a_link_that_broke_goes_on_with_all_its_pairs(relayed: tuple[Msgd, Msgd, Relay]) -> None:
    a, b, relay = relayed
    ours, theirs = people(a, b)
    for one in ours:
        for other in theirs:
            talk(one, other)
    until(lambda: made(b, a) == 0 and not re.search("[1-9][0-9]* messages wait", waiting(a)))
    relay.cut()
    until(lambda: not a.command("links") and not b.command("links"))
    talk(ours[1], theirs[1], " again")
    for one in ours:
        for other in theirs:
            talk(one, other, " once more")
    assert made(a, b, relay.port) == 1 and made(b, a) == 0
    assert len(a.command("links").splitlines()) == 1
    assert "the link that broke goes on" in a.command("why b.example")


def test_nothing_is_lost_when_the_network_fails_under_traffic(
    relayed: tuple[Msgd, Msgd, Relay],
) -> None:
    a, b, relay = relayed
    ours, theirs = people(a, b)
    for one in ours:
        for other in theirs:
            talk(one, other)
    total = 200

    def cut() -> None:
        for _ in range(3):
            time.sleep(0.4)
            relay.cut()

    cutting = threading.Thread(target=cut)
    cutting.start()
    for number in range(total):
        ours[0].says(theirs[0], str(number))
        ours[1].says(theirs[1], str(number))
        theirs[0].says(ours[1], str(number))
        time.sleep(0.008)
    cutting.join()
    wanted = [str(number) for number in range(total)]
    for hearing in (theirs[0], theirs[1], ours[1]):
        heard: list[str] = []
        while len(set(heard)) < total:
            heard.append(hearing.hears(60))
        assert list(dict.fromkeys(heard)) == wanted


# -- components (XEP-0114) -----------------------------------------------------------------------


class Gate(ComponentActor):
    """A component that is connected."""

    def __init__(self, server: Msgd, domain: str) -> None:
        role = Role("Gate", "", domain, "", secret="secret")
        super().__init__(role, "", server, check_nothing)
        self.connect()
        assert self.connection is not None
        connections.append(self.connection)

    def says(self, to: Someone, text: str) -> None:
        """A message."""
        self.send(
            f"<message from='bot@{self.role.domain}' to='{to.bare}' type='chat'><body>{text}</body></message>"
        )


GATE = "gate.a.example"
COMPONENT = f'component."{GATE}".secret = "secret"'


@pytest.mark.parametrize("named", [True, False])
def test_a_component_shares_the_link(world: World, named: bool) -> None:
    """Its domain is proved by the certificate of a domain here that names it, or where DNS is enough."""
    pair = world.authority.issue("a", "a.example", *([GATE] if named else []))
    a = world.msgd("a.example", ["romeo"], [COMPONENT], pair)
    world.dns.service(GATE, "localhost", link_port(a))
    b = world.msgd("b.example", ["juliet"], [] if named else [f'federation.dialback = ["{GATE}"]'])
    romeo, juliet, gate = Someone(a, "romeo").arrives(), Someone(b, "juliet").arrives(), Gate(a, GATE)
    talk(romeo, juliet)
    gate.says(juliet, "from outside")
    assert juliet.hears() == "from outside"
    until(lambda: made(b, a) == 0)
    assert made(a, b) == 1
    assert a.command("links").startswith(f"both a.example, {GATE} b.example")


@pytest.mark.parametrize("named", [True, False])
def test_a_component_alone(world: World, named: bool) -> None:
    """The certificate that is shown is one that names the component, whosever it is."""
    options = [COMPONENT]
    names = ["a2.example", *([GATE] if named else [])]
    certificate, key = world.authority.issue("a2", *names)
    options += [f'host."a2.example".certificate = "{certificate}"', f'host."a2.example".key = "{key}"']
    a = world.msgd("a.example", [], options, world.authority.issue("a", "a.example"), others=["a2.example"])
    world.dns.service(GATE, "localhost", link_port(a))
    b = world.msgd("b.example", ["juliet"])
    juliet, gate = Someone(b, "juliet").arrives(), Gate(a, GATE)
    gate.says(juliet, "from outside")
    if named:
        assert juliet.hears() == "from outside"
        assert a.command("links").startswith(f"both {GATE} b.example EXTERNAL")
        juliet.says(f"bot@{GATE}", "and in")
        assert gate.expect("{jabber:client}message").findtext("{jabber:client}body") == "and in"
    told = a.command("why b.example").partition(f"from {GATE}")[2]
    if named:
        assert "there is a link" in told and "remedy" not in told
    else:
        assert f"no certificate of this server is for {GATE}" in told
        assert f"{GATE}: its certificate is for a.example" in told  # so says the other server
        assert f"remedy: have the certificate of a domain here issued for {GATE} too" in told
        # Its operator reads it too, on both ways.
        told = b.command(f"why {GATE}")
        assert told.count("its certificate is for a.example") == 2
