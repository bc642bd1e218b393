"""What DNS can say, or not, to a server that looks for another one: real sockets, and a zone of the test."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from twisted.names import dns

from tests.harness import Msgd, free_ports
from tests.links.waiting import rows, until_told, wait_until
from tests.links.world import Someone, World, link_port

OURS, THEIRS = "a.example", "b.example"
_SERVICE = f"_xmpp-server._tcp.{THEIRS}"


@pytest.fixture
def a(world: World) -> Msgd:
    """Ours."""
    return world.msgd(OURS, ["romeo"], movable=True)


def _talks(world: World, a: Msgd, b: Msgd) -> None:
    romeo, juliet = Someone(a, "romeo").arrives(), Someone(b, "juliet").arrives()
    romeo.says(juliet, "found")
    assert juliet.hears() == "found"


def _failed(told: str, stage: str) -> list[str]:
    """What became of the attempts that `why` tells of."""
    return re.findall(rf"^  {stage} +failed: (.+)$", told, re.MULTILINE)


def test_an_answer_that_is_too_large_for_udp_is_asked_for_over_tcp(world: World, a: Msgd) -> None:
    b = world.msgd(THEIRS, ["juliet"])
    for number in range(30):
        world.dns.service(THEIRS, f"spare{number}.{THEIRS}", 5269, priority=50)
    _talks(world, a, b)
    assert _SERVICE in world.dns.asked_by_tcp


@pytest.mark.parametrize("tcp", ["closed", "truncated", "silent"])
def test_an_answer_that_does_not_come_over_tcp_either_is_none(world: World, a: Msgd, tcp: str) -> None:
    b = world.msgd(THEIRS, ["juliet"])
    for number in range(30):
        world.dns.service(THEIRS, f"spare{number}.{THEIRS}", 5269, priority=50)
    world.dns.tcp = tcp
    romeo = Someone(a, "romeo").arrives()
    romeo.says(f"juliet@{THEIRS}", "patience")
    wait_until(lambda: _SERVICE in world.dns.asked_by_tcp, "it was asked over TCP")
    if tcp != "truncated":
        a.advance(30)  # nothing more comes
    until_told(a, f"link {THEIRS}", "DNS does not answer the question for SRV records")
    assert world.dns.asked_by_tcp.count(_SERVICE) == 1
    (waits,) = rows(a, f"link {THEIRS}")
    assert waits["messages"] == 1
    world.dns.tcp = "served"
    a.advance(30)
    assert Someone(b, "juliet").arrives().hears() == "patience"


def _was_asked(world: World, times: int) -> bool:
    return world.dns.asked.count((_SERVICE, dns.SRV)) >= times


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x81\x80\0\1\0\1\0\0\0\0",  # a question and an answer are announced, and none is there
        b"\x81\x80\0\1\0\0\0\0\0\0\xc0\x0c\0\x21\0\1",  # a name that points to itself
    ],
    ids=["nothing", "less than announced", "circle"],
)
def test_answers_that_are_none(world: World, a: Msgd, answer: bytes) -> None:
    world.dns.faults[_SERVICE] = answer
    romeo = Someone(a, "romeo").arrives()
    romeo.says(f"juliet@{THEIRS}", "patience")
    for asked in (1, 2, 3):  # it is asked again, and given up at last
        wait_until(partial(_was_asked, world, asked), f"it is asked {asked} times")
        a.advance(7)
    until_told(a, f"link {THEIRS}", "DNS does not answer the question for SRV records")
    assert "Traceback" not in a.tail(1000)


def test_a_thousand_records_are_sixteen_attempts(world: World, a: Msgd) -> None:
    (closed,) = free_ports(1)
    for _ in range(1000):
        world.dns.service(THEIRS, "localhost", closed)
    told = a.command(f"why {THEIRS}")
    assert len(_failed(told, "tcp")) == 16
    assert all("Connection refused" in each for each in _failed(told, "tcp"))


def test_what_comes_first_may_be_dead(world: World, a: Msgd) -> None:
    b = world.msgd(THEIRS, ["juliet"], published=False)
    (closed,) = free_ports(1)
    with _closes_at_once() as rude:
        world.dns.service(THEIRS, "localhost", closed, priority=1)
        world.dns.service(THEIRS, f"nowhere.{THEIRS}", 5269, priority=2)
        world.dns.service(THEIRS, "localhost", rude, direct=True, priority=3)
        world.dns.service(THEIRS, "localhost", link_port(b), priority=4)
        world.dns.service(THEIRS, "localhost", closed, priority=5)
        told = a.command(f"why {THEIRS}")
    assert ["Connection refused" in each for each in _failed(told, "tcp")] == [True]
    assert _failed(told, "dns") == [f"nowhere.{THEIRS} has no address"]
    assert len(_failed(told, "tls")) == 1
    assert "  there is a link" in told
    _talks(world, a, b)


@contextmanager
def _closes_at_once() -> Iterator[int]:
    """A port where connections are taken and closed again."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    listening.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


_PRIVATE = (
    "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fd00::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1",
    "::ffff:100.64.0.1", "::127.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:1::",
)  # fmt: skip


def test_nobody_is_led_into_a_private_network(world: World) -> None:
    a = world.msgd(OURS, options=["federation.private_addresses = false"])
    with socket.create_server(("", 0)) as listening:
        port = listening.getsockname()[1]
        for number, address in enumerate(_PRIVATE):
            world.dns.host(f"h{number}.example", address)
            world.dns.service(f"d{number}.example", f"h{number}.example", port)
            told = a.command(f"why d{number}.example")
            assert "is in a private network" in told, (address, told)
        for literal in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"):
            assert "is in a private network" in a.command(f"why {literal}")
        for name in ("127.1", "2130706433", "0x7f.1"):  # for some an address, in DNS a name
            assert f"{name} has no address" in a.command(f"why {name}")
        listening.settimeout(0)
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_a_name_that_dns_cannot_have_does_not_exist(world: World, a: Msgd) -> None:
    domain = "a." * 120 + "example"
    romeo = Someone(a, "romeo").arrives()
    romeo.says(f"juliet@{domain}", "hello?")
    assert romeo.hears() == "error remote-server-not-found"
