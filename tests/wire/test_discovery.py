"""Where the servers of a domain are, from what DNS says; asked is a resolver that has it all in memory."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.names import dns
from twisted.names.error import DNSNameError, DNSServerError

from msgd.wire.discovery import Discovery, NoAnswer, NotFound, is_public, make_resolver
from tests.links.net import record

A, AAAA = dns.A, dns.AAAA


class Memory:
    """Answers at once."""

    def __init__(self, *records: tuple[str, Any], broken: bool = False) -> None:
        self._records = records
        self._broken = broken

    def _look(self, name: str, *types: int) -> Deferred[Any]:
        if self._broken:
            return fail(DNSServerError())
        found = [
            dns.RRHeader(owner.encode(), payload.TYPE, payload=payload)
            for owner, payload in self._records
            if owner == name and payload.TYPE in types
        ]
        return succeed((found, [], [])) if found else fail(DNSNameError())

    def lookupService(self, name: str) -> Deferred[Any]:
        return self._look(name, dns.SRV)

    def lookupAddress(self, name: str) -> Deferred[Any]:
        return self._look(name, dns.A, dns.CNAME)

    def lookupIPV6Address(self, name: str) -> Deferred[Any]:
        return self._look(name, dns.AAAA, dns.CNAME)


def srv(direct: bool, priority: int, port: int, target: str) -> tuple[str, Any]:
    name = f"_xmpp{'s' if direct else ''}-server._tcp.b.example"
    return name, record(dns.Record_SRV, priority, 0, port, target.encode())


def result(work: Any) -> Any:
    """What comes of it; it needs no time here."""
    found: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(found.append)
    (value,) = found
    if hasattr(value, "raiseException"):
        value.raiseException()
    return value


def targets(*records: tuple[str, Any], domain: str = "b.example") -> list[str]:
    return [str(each) for each in result(Discovery(Memory(*records), False).targets(domain))]


def test_both_kinds_are_mixed_by_priority() -> None:
    found = targets(srv(False, 10, 5269, "c"), srv(True, 20, 5270, "b"), srv(True, 5, 443, "a"))
    assert found == ["a:443 (direct TLS)", "c:5269", "b:5270 (direct TLS)"]


def test_without_records_the_domain_itself_is_asked() -> None:
    assert targets() == ["b.example:5269"]
    assert targets(domain="bücher.example") == ["xn--bcher-kva.example:5269"]
    assert targets(domain="[2001:db8::1]") == ["2001:db8::1:5269"]


def test_one_kind_may_be_refused_and_the_other_served() -> None:
    assert targets(srv(True, 5, 0, ""), srv(False, 5, 5269, "a")) == ["a:5269"]
    with pytest.raises(NotFound, match=r"target '\.'"):
        targets(srv(True, 5, 0, ""))


def test_a_thousand_records_are_not_looked_at() -> None:
    assert len(targets(*(srv(False, 5, 5269, f"h{number}") for number in range(1000)))) == 16


def test_no_answer_is_not_no_record() -> None:
    with pytest.raises(NoAnswer):
        result(Discovery(Memory(broken=True), False).targets("b.example"))
    with pytest.raises(NoAnswer):
        result(Discovery(Memory(broken=True), False).addresses("b.example"))


def test_addresses_in_turn_and_bounded() -> None:
    v4 = [("h", record(dns.Record_A, f"8.8.8.{number}")) for number in range(30)]
    v6 = [("h", record(dns.Record_AAAA, f"2600::{number:x}")) for number in range(1, 3)]
    found = result(Discovery(Memory(*v4, *v6), False).addresses("h"))
    assert found[:4] == ["2600::1", "8.8.8.0", "2600::2", "8.8.8.1"]
    assert len(found) == 10


def test_of_several_addresses_only_the_public_ones_are_tried() -> None:
    mixed = [("h", record(dns.Record_A, address)) for address in ("127.0.0.1", "8.8.8.8", "10.0.0.1")]
    inside = ("h", record(dns.Record_AAAA, "::ffff:127.0.0.1"))
    assert result(Discovery(Memory(*mixed, inside), False).addresses("h")) == ["8.8.8.8"]


def test_aliases_are_followed_but_not_for_ever() -> None:
    chain = [(f"a{number}", record(dns.Record_CNAME, f"a{number + 1}".encode())) for number in range(9)]
    short = Memory(*chain[:3], ("a3", record(dns.Record_A, "8.8.8.8")))
    assert result(Discovery(short, False).addresses("a0")) == ["8.8.8.8"]
    endless = Memory(("x", record(dns.Record_CNAME, b"y")), ("y", record(dns.Record_CNAME, b"x")))
    for where in (endless, Memory(*chain, ("a9", record(dns.Record_A, "8.8.8.8")))):
        with pytest.raises(NotFound):
            result(Discovery(where, False).addresses("x" if where is endless else "a0"))


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2600::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.31.255.255", False),
        ("192.168.1.1", False),
        ("255.255.255.255", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("fc00::1", False),
        ("fec0::1", False),
        ("::", False),
        ("ff02::1", False),
        ("::127.0.0.1", False),
        ("::ffff:100.64.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),
        ("64:ff9b:1::7f00:1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_private_networks(address: str, public: bool) -> None:
    assert is_public(address) is public
    found = Memory(("h", record(dns.Record_AAAA if ":" in address else dns.Record_A, address)))
    if not public:
        with pytest.raises(NotFound, match="private network"):
            result(Discovery(found, False).addresses("h"))
        assert len(result(Discovery(found, True).addresses("h"))) == 1


def test_resolvers_are_written_in_several_ways() -> None:
    from twisted.internet.task import Clock

    made = make_resolver(["192.0.2.1", "192.0.2.2:5353", "[2001:db8::1]:53", "2001:db8::2"], Clock())
    assert made.servers == [("192.0.2.1", 53), ("192.0.2.2", 5353), ("2001:db8::1", 53), ("2001:db8::2", 53)]
