"""What goes wrong between two servers: certificates, DNS, outages, and servers that are killed."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta

import pytest
from twisted.names import dns

from msgd.wire.certificates import self_signed
from tests.links.net import record
from tests.links.traffic import Traffic, hears_all
from tests.links.waiting import until_attempts_failed, until_none_waits, waiting
from tests.links.world import CLIENT, Someone, World

OURS, THEIRS = "a.example", "b.example"


def _why(server: object, domain: str) -> str:
    answer: str = server.command(f"why {domain}")  # type: ignore[attr-defined]  # an Msgd
    return answer


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("expired", "certificate has expired"),
        ("wrong name", "its certificate is for other.example"),
        ("self-signed", "self-signed certificate"),
        ("common name only", "its certificate is for no domain"),
    ],
)
def test_bad_certificates_are_refused_and_the_reason_told(world: World, kind: str, reason: str) -> None:
    authority = world.authority
    if kind == "expired":
        now = datetime.now(UTC)
        pair = authority.issue("bad", THEIRS, not_before=now - timedelta(9), not_after=now - timedelta(1))
    elif kind == "wrong name":
        pair = authority.issue("bad", "other.example")
    elif kind == "common name only":
        pair = authority.issue("bad", common_name=THEIRS)
    else:
        pair = world.directory / "self.crt", world.directory / "self.key"
        for file, content in zip(pair, self_signed(THEIRS), strict=True):
            file.write_bytes(content)
            file.chmod(0o600)
    a, b = world.msgd(OURS, ["romeo"]), world.msgd(THEIRS, ["juliet"], pair=pair)
    told = _why(a, THEIRS)
    assert "identity" in told and reason in told, told
    assert "remedy: its operator has to renew the certificate" in told
    # The other way the same certificate convinces nobody either, and both operators read why.
    assert "our certificate" in _why(b, OURS) or "ends the stream: not-authorized" in _why(b, OURS)
    assert reason in _why(a, THEIRS).partition("to this server:")[2]
    romeo = Someone(a, "romeo", managed=True).arrives()
    answer = romeo.asks(THEIRS, "<ping xmlns='urn:xmpp:ping'/>")
    assert (
        answer.find(CLIENT + "error/{urn:ietf:params:xml:ns:xmpp-stanzas}remote-server-timeout") is not None
    )


def test_dialback_is_enough_where_the_operator_says_so(world: World) -> None:
    pairs = []
    for domain in (OURS, THEIRS):
        pair = world.directory / f"{domain}.crt", world.directory / f"{domain}.key"
        for file, content in zip(pair, self_signed(domain), strict=True):
            file.write_bytes(content)
            file.chmod(0o600)
        pairs.append(pair)
    a = world.msgd(OURS, ["romeo"], [f'federation.dialback = ["{THEIRS}"]'], pairs[0])
    b = world.msgd(THEIRS, ["juliet"], ['federation.dialback = ["*"]'], pairs[1])
    romeo, juliet = Someone(a, "romeo").arrives(), Someone(b, "juliet").arrives()
    romeo.says(juliet, "by DNS")
    assert juliet.hears() == "by DNS"
    juliet.says(romeo, "likewise")
    assert romeo.hears() == "likewise"
    assert "dialback" in a.command("links")


@pytest.mark.parametrize(
    ("zone", "told"),
    [
        ("nothing", "b.example has no address"),
        ("dot", "target '.'"),
        ("loop", "has no address"),
        ("silence", "does not answer the question for SRV records"),
        ("servfail", "does not answer the question for SRV records"),
        ("closed port", "Connection refused"),
        ("port 0", "has no address"),
    ],
)
def test_faults_of_dns_and_tcp(world: World, zone: str, told: str) -> None:
    a = world.msgd(OURS, ["romeo"])
    service = f"_xmpp-server._tcp.{THEIRS}"
    if zone == "dot":
        world.dns.service(THEIRS, "", 0)
    elif zone == "port 0":
        world.dns.service(THEIRS, "localhost", 0)
    elif zone == "loop":
        world.dns.add(THEIRS, record(dns.Record_CNAME, f"x.{THEIRS}".encode()))
        world.dns.add(f"x.{THEIRS}", record(dns.Record_CNAME, THEIRS.encode()))
    elif zone in ("silence", "servfail"):
        world.dns.faults[service] = None if zone == "silence" else dns.ESERVER
    elif zone == "closed port":
        with socket.create_server(("127.0.0.1", 0)) as once:
            world.dns.service(THEIRS, "localhost", once.getsockname()[1])
    answer = _why(a, THEIRS)
    assert told in answer, answer
    if zone in ("nothing", "dot"):
        romeo = Someone(a, "romeo").arrives()
        romeo.says(f"juliet@{THEIRS}", "hello?")
        assert romeo.hears() == "error remote-server-not-found"


def test_private_addresses_are_refused(world: World) -> None:
    world.msgd(THEIRS)
    a = world.msgd(OURS, ["romeo"], ["federation.private_addresses = false"])
    assert "in a private network (127.0.0.1)" in _why(a, THEIRS)


def test_blocked_domains(world: World) -> None:
    a = world.msgd(OURS, ["romeo"], ['federation.block = ["*.example"]'])
    b = world.msgd(THEIRS, ["juliet"])
    assert "not allowed here" in _why(a, THEIRS)
    assert "policy-violation" in _why(b, OURS)
    romeo = Someone(a, "romeo").arrives()
    romeo.says(f"juliet@{THEIRS}", "hello?")
    assert romeo.hears() == "error remote-server-not-found"


def test_a_server_that_is_down_gets_its_messages_later_in_order(world: World) -> None:
    a, b = world.msgd(OURS, ["romeo"]), world.msgd(THEIRS, ["juliet"], start=False)
    romeo = Someone(a, "romeo", managed=True).arrives()
    for number in range(20):
        romeo.says(f"juliet@{THEIRS}", str(number))
    ping = romeo.asks(THEIRS, "<ping xmlns='urn:xmpp:ping'/>")
    assert ping.get("type") == "error"
    romeo.until_safe()
    assert "20 messages wait" in a.command(f"routes juliet@{THEIRS}")
    a.kill()
    a.start()
    b.start()
    juliet = Someone(b, "juliet").arrives()
    assert [juliet.hears() for _ in range(20)] == list(map(str, range(20)))


def test_after_its_time_a_message_comes_back(world: World) -> None:
    options = ["federation.lifetime = 1", "federation.notice = 0", "ping.interval = 0"]
    a = world.msgd(OURS, ["romeo"], options, movable=True)
    world.msgd(THEIRS, start=False)
    romeo = Someone(a, "romeo").arrives()
    romeo.says(f"juliet@{THEIRS}", "patience")
    assert romeo.asks(OURS, "<ping xmlns='urn:xmpp:ping'/>").get("type") == "result"
    # An attempt fails in the time of the kernel, which does not move.
    for number in (1, 2, 3):
        until_attempts_failed(a, THEIRS, number)
        assert waiting(a, THEIRS) == 1
        a.advance(1300)
    assert romeo.hears() == "error remote-server-timeout"
    until_none_waits(a, THEIRS)


@pytest.mark.parametrize("victim", ["peer", "both"])
def test_nothing_is_lost_when_servers_are_killed_under_traffic(world: World, victim: str) -> None:
    a, b = world.msgd(OURS, ["romeo"], movable=True), world.msgd(THEIRS, ["juliet"])
    traffic = Traffic(a, b, f"juliet@{THEIRS}", total=400)
    traffic.flows(kills=3, ours_too=victim == "both")
    hears_all(Someone(b, "juliet", managed=True).arrives(), traffic.texts)
