"""What negotiation asks of the server around it; the app provides it (`msgd/clients.py`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

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

    async def bind(self, account: Account, resource: str, mechanism: str) -> Any:
        """A new session, not attached yet. Raises StanzaError."""

    async def resume(self, account: Account, attributes: dict[str, str]) -> tuple[Any, bytes]:
        """A session to go on with, and what to send first. Raises ResumeRefused, StreamError."""

    def started(self, session: Any) -> None:
        """The session is attached and its binding answered."""

    def resumed(self, session: Any) -> None:
        """The session is attached and was sent what it had not got."""


class ResumeRefused(Exception):
    """`<resume/>` cannot be done; `answer` is the `<failed/>` element."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer
