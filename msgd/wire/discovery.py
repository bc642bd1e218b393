"""Where the servers of a domain are: SRV records, or the domain itself.

`_xmpps-server` (direct TLS) and `_xmpp-server` (STARTTLS) are one list, mixed by priority and weight
(XEP-0368 §2, RFC 2782); a domain without either is asked itself, on port 5269 (RFC 6120 §3.2). What strangers
put into their zones is bounded: records, aliases, time, and where they may point.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList
from twisted.names import dns
from twisted.names.client import Resolver
from twisted.names.error import DNSNameError, DNSServerError

from msgd.wire.domain import ascii_domain

PORT: Final = 5269
#: Direct TLS and STARTTLS.
_SERVICES: Final = ("xmpps-server", "xmpp-server")
#: SRV records of one service, and addresses of one host, that are looked at.
_MOST_RECORDS: Final = 16
_MOST_ADDRESSES: Final = 8
#: Aliases (CNAME) that are followed one after the other.
_MOST_ALIASES: Final = 5
#: Seconds until a question is asked again, and given up at last.
_TIMEOUTS: Final = (1, 3, 6)
#: Seconds that one question may take in all, asked over UDP and then over TCP.
_PATIENCE: Final = 20.0
#: Characters of a domain, so that its services still have a name in DNS (RFC 1035 §2.3.4).
_LONGEST_NAME: Final = 253 - len("_xmpps-server._tcp.")
#: Addresses of IPv4 within IPv6 (RFC 6052).
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
#: All that is given out for the internet (RFC 4291 §2.4); the rest has, or had, other meanings.
_GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")


class NotFound(Exception):
    """There is no server for the domain; `str()` says how that was found out."""


class NoAnswer(Exception):
    """DNS could not be asked; later it may."""


@dataclass(frozen=True)
class Target:
    """A host and port at which the domain can be reached."""

    host: str
    port: int
    direct_tls: bool

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" + (" (direct TLS)" if self.direct_tls else "")


class _Resolver(Resolver):
    """Twisted's, with an end to everything: one question over TCP, and so long for all of it."""

    def filterAnswers(self, message: Any) -> Any:
        """What an answer over UDP says; one that did not fit is asked for over TCP."""
        plain: Any = super()  # Twisted's have no types
        if message.trunc and message.queries:
            # Its own would ask over TCP again, and again, for one that does not fit there either.
            return plain.queryTCP(message.queries).addCallback(self._whole)
        return self._whole(message)

    def _whole(self, message: Any) -> Any:
        plain: Any = super()
        if message.trunc or not message.queries:
            raise DNSServerError(message)  # it does not say that there is nothing, nor all that there is
        return plain.filterAnswers(message)

    def _lookup(self, name: Any, cls: Any, type: Any, timeout: Any) -> Any:
        plain: Any = super()
        return plain._lookup(name, cls, type, timeout).addTimeout(_PATIENCE, self._reactor)


def make_resolver(servers: Iterable[str], reactor: Any) -> Resolver:
    """A resolver that asks `servers` ("address" or "address:port"), or those of the system."""
    chosen = [_server(text) for text in servers]
    return _Resolver(
        resolv=None if chosen else "/etc/resolv.conf",
        servers=chosen or None,
        timeout=_TIMEOUTS,
        reactor=reactor,
    )  # type: ignore[no-untyped-call]  # Twisted's are untyped


def _server(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.endswith("]")):
        return host.strip("[]"), int(port)
    return text.strip("[]"), dns.PORT


class Discovery:
    """Asks DNS. `private` allows addresses of private networks, also of this machine."""

    def __init__(self, resolver: Any, private: bool) -> None:
        self._resolver = resolver
        self.private = private

    async def targets(self, domain: str) -> list[Target]:
        """Where to try, in this order. Raises NotFound, NoAnswer."""
        if _is_address(domain):
            return [Target(domain.strip("[]"), PORT, False)]
        name = ascii_domain(domain)
        if len(name) > _LONGEST_NAME:
            raise NotFound("its name is too long for DNS")
        results = await DeferredList(
            [self._resolver.lookupService(f"_{service}._tcp.{name}") for service in _SERVICES],
            consumeErrors=True,
        )
        found: list[tuple[int, int, Target]] = []
        refused = asked = False
        for (succeeded, result), direct in zip(results, (True, False), strict=True):
            if not succeeded:
                asked = asked or not _is_missing(result.value)
                continue
            records = [each.payload for each in result[0] if each.type == dns.SRV][:_MOST_RECORDS]
            for record in records:
                host = record.target.name.decode("ascii", "replace").rstrip(".")
                refused = refused or not host
                if host and record.port:
                    found.append((record.priority, record.weight, Target(host, record.port, direct)))
        if found:
            return _ordered(found)
        if refused:
            raise NotFound("its SRV records say that there is no server (target '.')")
        if asked:
            raise NoAnswer("DNS does not answer the question for SRV records")
        return [Target(name, PORT, False)]

    async def addresses(self, host: str) -> list[str]:
        """The addresses of a host, IPv6 and IPv4 in turn (RFC 8305 §4). Raises NotFound, NoAnswer."""
        if _is_address(host):
            found = [host.strip("[]")]
        else:
            answers: list[tuple[bool, Any]] = await DeferredList(
                [
                    Deferred.fromCoroutine(self._follow(host, self._resolver.lookupIPV6Address, dns.AAAA)),
                    Deferred.fromCoroutine(self._follow(host, self._resolver.lookupAddress, dns.A)),
                ],
                consumeErrors=True,
            )
            found = _in_turn([result for succeeded, result in answers if succeeded])
            if not found and any(
                not succeeded and not _is_missing(result.value) for succeeded, result in answers
            ):
                raise NoAnswer(f"DNS does not answer the question for the address of {host}")
        if not found:
            raise NotFound(f"{host} has no address")
        allowed = [address for address in found if self.private or is_public(address)]
        if not allowed:
            raise NotFound(f"{host} is in a private network ({found[0]}), where links must not go")
        return allowed

    async def _follow(self, host: str, look_up: Any, type: int) -> list[str]:
        """The addresses of `host`, by way of aliases."""
        name = host.lower()
        for _ in range(_MOST_ALIASES + 1):
            answers, _authority, _additional = await look_up(name)
            aliases = {
                str(each.name).lower(): str(each.payload.name).lower()
                for each in answers[:64]
                if each.type == dns.CNAME
            }
            for _ in range(_MOST_ALIASES + 1):
                addresses = [
                    each.payload.dottedQuad() if type == dns.A else _ipv6(each.payload.address)
                    for each in answers[:64]
                    if each.type == type and str(each.name).lower() == name
                ]
                if addresses or name not in aliases:
                    break
                name = aliases[name]
            if addresses or not aliases:
                return addresses[:_MOST_ADDRESSES]
        return []


def _ipv6(packed: bytes) -> str:
    return str(ipaddress.IPv6Address(packed))


def _is_missing(error: BaseException) -> bool:
    """Whether DNS said that there is no such name, rather than nothing."""
    return isinstance(error, DNSNameError)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def is_public(address: str) -> bool:
    """Whether an address belongs to the internet: not to this machine or a private network (SSRF)."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if inner is None and parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if parsed not in _GLOBAL_UNICAST:
            return False
    return parsed.is_global and not parsed.is_multicast


def _in_turn(lists: list[list[str]]) -> list[str]:
    longest = max(map(len, lists), default=0)
    return [each[i] for i in range(longest) for each in lists if i < len(each)]


def _ordered(found: list[tuple[int, int, Target]]) -> list[Target]:
    """By priority, and within one by chance, the weights counting (RFC 2782)."""
    ordered = []
    for priority in sorted({each[0] for each in found}):
        left = [(weight, target) for p, weight, target in found if p == priority]
        while left:
            at = random.uniform(0, sum(weight for weight, _ in left))
            for each in sorted(left, key=lambda pair: pair[0]):
                at -= each[0]
                if at <= 0:
                    break
            ordered.append(each[1])
            left.remove(each)
    return ordered[:_MOST_RECORDS]
