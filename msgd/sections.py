"""The sections of the configuration that are not limits (those are in `limits`).

Each field is an option; see `options`. Attribute and key in the file have the same name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from msgd.options import option


@dataclass(frozen=True, slots=True)
class Listen:
    """Where clients and other servers connect to."""

    addresses: tuple[str, ...] = option(
        ("0.0.0.0", "::"),
        "The addresses to listen on: all of IPv4 and all of IPv6, unless others are named.",
        restart=True,
    )
    client: int | None = option(
        5222,
        "The port for clients that begin in the clear and go over to TLS (STARTTLS); false: none.",
        maximum=65535,
        restart=True,
    )
    client_tls: int | None = option(
        5223,
        "The port for clients that begin with TLS (XEP-0368); false: none.",
        maximum=65535,
        restart=True,
    )
    server: int | None = option(
        5269,
        "The port for other servers, which begin in the clear and go over to TLS; false: none.",
        maximum=65535,
        restart=True,
    )
    server_tls: int | None = option(
        5270,
        """The port for other servers that begin with TLS (XEP-0368); false: none. Who is to use it reads so
        in DNS: `_xmpps-server._tcp`.""",
        maximum=65535,
        restart=True,
    )
    component: int | None = option(
        5347,
        "The port for components (XEP-0114), open when there is a [component] section; false: none.",
        maximum=65535,
        restart=True,
    )
    component_addresses: tuple[str, ...] = option(
        ("127.0.0.1",),
        """The addresses for components. What they say is not encrypted: name others only inside a network
        that is trusted as this machine is.""",
        restart=True,
    )
    metrics: int | None = option(
        None,
        """The port for a monitoring system, over HTTP: `/metrics` (OpenMetrics) and `/health`; false: none.
        They hold figures, and no address of anybody.""",
        maximum=65535,
        restart=True,
    )
    metrics_address: str = option(
        "127.0.0.1",
        "The address of that port. It asks for no password, and HTTP is not encrypted: not for the internet.",
        restart=True,
    )


@dataclass(frozen=True, slots=True)
class Tls:
    """Encryption. Nobody logs in without it."""

    certificate: Path | None = option(
        None,
        """The certificate with its chain (PEM), for every domain that has none of its own. Empty: for
        each domain a self-signed one is made under the data directory at the first start; clients
        have to be told to trust it.""",
    )
    key: Path | None = option(
        None, "The private key of the certificate (PEM); only msgd should be able to read it."
    )
    minimum: str = option(
        "1.2",
        "The oldest version of TLS that is spoken (RFC 7590).",
        choices=("1.2", "1.3"),
    )


@dataclass(frozen=True, slots=True)
class Login:
    """How clients prove who they are (SASL)."""

    plain: bool = option(
        False,
        """Offer PLAIN too, for clients that know nothing better (go-sendxmpp, mcabber). Inside TLS, but
        the server sees the password.""",
    )
    iterations: int = option(
        10_000,
        """The work that guessing a password from stolen verifiers takes for each guess, and that a client
        does at each login (RFC 7677). It counts for passwords set from now on.""",
        unit="iterations of PBKDF2",
        minimum=4096,
        maximum=1_000_000,
        restart=True,
    )
    failures_per_address: int = option(
        30,
        """Failed logins from one address at once, then one each 10 seconds; 0: no limit. An office can
        share an address.""",
        unit="failures",
        restart=True,
    )
    failures_per_account: int = option(
        10,
        """Failed logins to one account from places it is not used from, then one each 30 seconds; 0: no
        limit.""",
        unit="failures",
        restart=True,
    )

    token_days: int = option(
        21,
        """A client that was logged in may log in again with a token instead of the password (XEP-0484). It
        is replaced as it is used, and void when the client has not come for so long; 0: no tokens.""",
        unit="days",
        maximum=365,
    )
    devices: int = option(
        25,
        """Devices of one account that are remembered. The one not seen for longest is forgotten for one
        more, and has to log in with the password next time.""",
        unit="devices",
        minimum=1,
        maximum=1000,
    )


@dataclass(frozen=True, slots=True)
class Registration:
    """New accounts by the client itself (XEP-0077). Who has one may always change or delete it."""

    open: bool = option(
        False, "Let everybody make an account. An open server is found by spammers within days."
    )
    per_hour: int = option(
        3,
        "Accounts made from one address in an hour; 0: no limit.",
        unit="accounts",
        maximum=100_000,
    )


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom to write to about this service (XEP-0157), as URIs: `"mailto:…"`, `"xmpp:…"`."""

    abuse: tuple[str, ...] = option((), "About spam and other abuse by users of this server.")
    admin: tuple[str, ...] = option((), "The people who run it.")
    feedback: tuple[str, ...] = option((), "For praise and blame.")
    sales: tuple[str, ...] = option((), "For questions of money.")
    security: tuple[str, ...] = option((), "About holes in its security.")
    status: tuple[str, ...] = option((), "Where it is told whether the service works.")
    support: tuple[str, ...] = option((), "For users who need help.")


@dataclass(frozen=True, slots=True)
class Service:
    """One external service."""

    type: str = option("", 'What it is: "stun", "turn", "stuns", "turns" …', required=True)
    host: str = option("", "Its domain name or IP address.", required=True)
    port: int | None = option(None, "Its port.", minimum=1, maximum=65535)
    transport: str = option("udp", "What is spoken below.", choices=("udp", "tcp"))
    name: str = option("", "What it is called, for people.")
    secret: str = option(
        "",
        """What the server shares with a TURN relay (coturn: `static-auth-secret`): each user gets a name and
        a password of his own, which expire.""",
    )
    lifetime: int = option(
        86400,
        "How long such a password is good; a call that has begun goes on.",
        unit="seconds",
        minimum=60,
        maximum=30 * 86400,
    )
    username: str = option("", "A name that is the same for all users, where there is no secret.")
    password: str = option("", "Its password.")
    restricted: bool = option(
        False, "It wants a password that this server does not know. With one it says so by itself."
    )

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """What does not fit together."""
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9.-]*", self.type):
            yield "type", "is not the name of a kind of service", 'write "stun" or "turn"'
        if not re.fullmatch(r"[A-Za-z0-9.-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", self.host):
            yield "host", "is not a domain name or an IP address", "leave out what stands around it"
        if self.secret and (self.username or self.password):
            yield "secret", "makes names and passwords itself", "remove username and password, or the secret"
        elif bool(self.username) != bool(self.password):
            missing = "password" if self.username else "username"
            yield missing, "is missing", "write both or none"

    @property
    def identity(self) -> tuple[str, str, int | None, str]:
        """By what clients tell it from others."""
        return self.type, self.host, self.port, self.transport


@dataclass(frozen=True, slots=True)
class ExternalServices:
    """Services outside of this server that clients are told of (XEP-0215): relays for calls, above all."""

    service: tuple[Service, ...] = option(
        (),
        """The services; each has a section `[[external_services.service]]` of its own, with the options named
        here.""",
    )

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """What stands there twice."""
        seen = set()
        for number, service in enumerate(self.service, 1):
            if service.identity in seen:
                yield f"service[{number}]", "stands there twice", "remove one"
            seen.add(service.identity)


@dataclass(frozen=True, slots=True)
class Version:
    """What is told of the software (XEP-0092)."""

    show_os: bool = option(False, "Name the operating system too.")


@dataclass(frozen=True, slots=True)
class Console:
    """The console for operators."""

    socket: str = option(
        "console",
        """The unix socket of the console, below the data directory unless the path is absolute; empty:
        none. It is open to root and to the user msgd runs as.""",
        restart=True,
    )
    tcp: int | None = option(
        None,
        """A port on 127.0.0.1 for telnet, with the user and password below; false: none. The line is not
        encrypted.""",
        maximum=65535,
        restart=True,
    )
    user: str = option("", "The user name for the TCP console.")
    password: str = option(
        "", "Its password, hashed; `msgd console --hash-password` asks for it and prints this."
    )


@dataclass(frozen=True, slots=True)
class Log:
    """What the server tells. It never tells what people write."""

    level: str = option(
        "info",
        "The least important lines that are written.",
        choices=("debug", "info", "warn", "error", "critical"),
    )
    jids: bool = option(
        False,
        """Write addresses of users into the log. Else a short keyed hash stands for each: enough to follow
        one user through the log, not to find out who it is.""",
    )


@dataclass(frozen=True, slots=True)
class Host:
    """What is different for one domain: `[host."example.org"]`."""

    certificate: Path | None = option(None, "The certificate of this domain with its chain (PEM).")
    key: Path | None = option(None, "The private key of this certificate (PEM).")


@dataclass(frozen=True, slots=True)
class Component:
    """A program that speaks for a domain of its own, a gateway for instance (XEP-0114):
    `[component."gateway.example.org"]`."""

    secret: str = option(
        "", "What the component proves that it knows. A long random one: it needs no memory."
    )
    name: str = option("", "What service discovery calls it.")
    conflict: str = option(
        "refuse",
        "When it connects while it is connected: refuse the new connection, or let it replace the old one.",
        choices=("refuse", "replace"),
    )
