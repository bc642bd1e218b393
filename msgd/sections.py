"""The sections of the configuration that are not limits (those are in `limits`).

Each field is an option; see `options`. Attribute and key in the file have the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from msgd.options import option


@dataclass(frozen=True, slots=True)
class Listen:
    """Where clients connect to."""

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
