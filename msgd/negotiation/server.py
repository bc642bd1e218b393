"""What negotiation asks of the server around it; the app provides it (`msgd/clients.py`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from xml.etree.ElementTree import Element

from OpenSSL import SSL

from msgd.accounts.accounts import Account, Accounts
from msgd.accounts.throttle import LoginThrottle
from msgd.negotiation.sasl import SaslOptions
from msgd.negotiation.strangers import Strangers
from msgd.wire.jid import JID
from msgd.wire.xmlstream import Limits


class Server(Protocol):
    """What negotiation needs of the server; the app provides it."""

    streams: Strangers
    clock: Any
    accounts: Accounts
    throttle: LoginThrottle
    sasl_options: SaslOptions
    limits_before_login: Limits
    limits: Limits
    negotiation_seconds: float
    default_domain: str
    #: How long tokens are good (XEP-0484), 0: there are none; and how many devices an account may have.
    token_seconds: int
    most_devices: int
    #: What can be enabled while binding (XEP-0386), and whether sessions can be resumed.
    bind_features: tuple[str, ...]
    can_resume: bool

    def domain(self, text: str) -> JID | None:
        """The domain of ours that `text` names."""

    def context(self, domain: str | None) -> SSL.Context:
        """The TLS context for a domain."""

    def stream_features(self, domain: JID, authenticated: bool) -> bytes:
        """Features that extensions add."""

    def stranger_handler(self, type: str, payload: str) -> Callable[..., Awaitable[Any]] | None:
        """Who answers an IQ before authentication."""

    def turn(self) -> Awaitable[None] | None:
        """What a step of a login has to wait for while many come at once; None: nothing."""

    async def bind(self, account: Account, resource: str, mechanism: str, device: str = "") -> Any:
        """A new session, not attached yet; earlier ones of its device end. Raises StanzaError."""

    async def resume(self, account: Account, attributes: dict[str, str]) -> tuple[Any, bytes, bytes]:
        """A session to go on with, `<resumed/>`, and what to send then. Raises ResumeRefused, StreamError."""

    def belongs(self, session: Any, device: str) -> None:
        """The session is of this device from now on, if it is of any."""

    def devices_here(self, account: Account) -> frozenset[str]:
        """The devices of an account that have sessions."""

    async def told_when_bound(self, account: Account) -> bytes:
        """What `<bound/>` tells of an account (XEP-0386 §3.2). Raises StanzaError."""

    def enable(self, session: Any, feature: Element) -> bytes:
        """Enable what a client asks for while it binds; the answer in `<bound/>`, or nothing."""

    def started(self, session: Any) -> None:
        """The session is attached and its binding answered."""

    def resumed(self, session: Any) -> None:
        """The session is attached and was sent what it had not got."""


class ResumeRefused(Exception):
    """`<resume/>` cannot be done; `answer` is the `<failed/>` element."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer
