"""Failed logins are counted, and further ones refused for a while: by address and by account.

Negotiation asks before it looks at a password or proof, and tells how it ended. Each address and each
account has a bucket of failures that refills with time; an empty one means 'not now'. Somebody who keeps
failing for another's account must not lock its owner out, so an address from which the account was
logged in to lately is held to the address's bucket alone. Whether the account exists makes no
difference. Memory is bounded: the buckets not touched for longest give way.
"""

import ipaddress
from typing import Protocol

from msgd.wire.jid import JID

#: Failures that one address may make at once, and seconds for each further one. An address can be a
#: whole office or a mobile network behind one NAT, hence many.
ADDRESS_BURST, ADDRESS_SECONDS = 30, 10.0

#: Failures for one account from all addresses it is not used from, and seconds for each further one:
#: at most 2,890 guesses a day.
ACCOUNT_BURST, ACCOUNT_SECONDS = 10, 30.0

#: How many addresses, accounts, and pairs of both are remembered (each about 200 bytes).
REMEMBERED = 20_000

# The prefix of IPv6 that one customer gets at least: within it addresses cost nothing.
_IPV6_PREFIX = 64

# Failures that were under way when the bucket became empty count too, up to this many buckets' worth.
_DEBT = 4


class Clock(Protocol):
    """What this needs of Twisted's reactor, or of its `task.Clock`."""

    def seconds(self) -> float:
        """Return the time in seconds."""


class _Buckets:
    """Token buckets by key; a key that is not there has a full one."""

    def __init__(self, clock: Clock, burst: float, seconds: float, remembered: int) -> None:
        self._clock = clock
        self._burst = burst
        self._seconds = seconds
        self._remembered = remembered
        self._levels: dict[str, tuple[float, float]] = {}  # tokens, and when there were that many

    def __len__(self) -> int:
        return len(self._levels)

    def level(self, key: str) -> float:
        found = self._levels.get(key)
        if found is None:
            return self._burst
        tokens, then = found
        now = self._clock.seconds()
        if now < then:
            # The clock was set back: nobody shall wait until it is there again.
            self._levels[key] = tokens, now
            return tokens
        return min(self._burst, tokens + (now - then) / self._seconds)

    def wait(self, key: str) -> float:
        """Return the seconds until there is a token, 0 when there is one."""
        # Rounded, since refilling by seconds does not add up to whole tokens exactly.
        return max(0.0, round((1 - self.level(key)) * self._seconds, 3))

    def take(self, key: str) -> None:
        level = max(self.level(key) - 1, -_DEBT * self._burst)
        self._levels.pop(key, None)
        self._levels[key] = level, self._clock.seconds()
        if len(self._levels) > self._remembered:
            del self._levels[next(iter(self._levels))]


class LoginThrottle:
    """Counts failed logins. The clock is Twisted's reactor, or its `task.Clock`.

    `address_burst` 0 switches the limit for addresses off, `account_burst` 0 that for accounts.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        address_burst: int = ADDRESS_BURST,
        address_seconds: float = ADDRESS_SECONDS,
        account_burst: int = ACCOUNT_BURST,
        account_seconds: float = ACCOUNT_SECONDS,
        remembered: int = REMEMBERED,
    ) -> None:
        self._addresses = _Buckets(clock, address_burst, address_seconds, remembered)
        self._accounts = _Buckets(clock, account_burst, account_seconds, remembered)
        self._limit_addresses = address_burst > 0
        self._limit_accounts = account_burst > 0
        self._remembered = remembered
        self._used_from: dict[tuple[str, str], None] = {}

    def wait(self, address: str, account: JID) -> float:
        """Return for how many seconds a login from `address` to `account` is refused, 0 if it is not.

        `address` is an IP address as text; anything else (a unix socket's "") is one place of its own.
        """
        place = _place(address)
        seconds = self._addresses.wait(place) if self._limit_addresses else 0.0
        if self._limit_accounts and (place, account) not in self._used_from:
            seconds = max(seconds, self._accounts.wait(account))
        return seconds

    def failed(self, address: str, account: JID) -> None:
        """Count a wrong password or proof."""
        place = _place(address)
        if self._limit_addresses:
            self._addresses.take(place)
        if self._limit_accounts and (place, account) not in self._used_from:
            self._accounts.take(account)

    def succeeded(self, address: str, account: JID) -> None:
        """Remember that the account is used from this address."""
        if not self._limit_accounts:
            return
        pair = _place(address), account
        self._used_from.pop(pair, None)
        self._used_from[pair] = None
        if len(self._used_from) > self._remembered:
            del self._used_from[next(iter(self._used_from))]

    def forget_account(self, account: JID) -> None:
        """Drop from where an account is used, when it is deleted or its password changed."""
        for pair in [pair for pair in self._used_from if pair[1] == account]:
            del self._used_from[pair]


def _place(address: str) -> str:
    """Return what is counted as one address: an IPv4 address, or an IPv6 network of one customer."""
    if ":" not in address:
        return address
    try:
        number = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if number.ipv4_mapped is not None:
        return str(number.ipv4_mapped)
    return str(ipaddress.IPv6Network((number, _IPV6_PREFIX), strict=False))
