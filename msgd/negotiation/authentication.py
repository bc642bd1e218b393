"""The SASL conversation of one client stream: elements in, elements out (RFC 6120 §6).

The mechanisms are in `sasl.py`; here are their messages in and out of `<auth/>`, `<challenge/>`,
`<response/>`, `<success/>` and `<failure/>`, and how many attempts a connection has. The other way to
speak SASL is `sasl2.py`; both share the attempts, and begin an exchange here.
"""

from __future__ import annotations

import base64
from typing import Final

from twisted.logger import Logger

from msgd.negotiation.sasl import (
    Challenge,
    SaslExchange,
    SaslFailure,
    SaslOptions,
    Success,
    TokenMechanism,
    channel_binding_feature,
    decode_base64,
    offered_mechanisms,
)
from msgd.negotiation.server import Server
from msgd.wire.errors import StreamError
from msgd.wire.jid import JID
from msgd.wire.transport import Connection
from msgd.wire.xml import escape

_log = Logger("msgd.login")

SASL_NAMESPACE: Final = "urn:ietf:params:xml:ns:xmpp-sasl"
#: Failed attempts to log in on one connection (RFC 6120 §6.3.3 recommends 2 to 5).
_ATTEMPTS: Final = 3


def mechanisms_feature(types: tuple[str, ...], options: SaslOptions) -> bytes:
    """The stream feature: SASL mechanisms, and the channel bindings for -PLUS (XEP-0440)."""
    listed = "".join(f"<mechanism>{name}</mechanism>" for name in offered_mechanisms(types, options))
    feature = f"<mechanisms xmlns='{SASL_NAMESPACE}'>{listed}</mechanisms>"
    return feature.encode() + channel_binding_feature(types)


def failure_element(condition: str, text: str = "") -> bytes:
    """The `<failure/>` element (RFC 6120 §6.5)."""
    said = f"<text xml:lang='en'>{escape(text)}</text>" if text else ""
    return f"<failure xmlns='{SASL_NAMESPACE}'><{condition}/>{said}</failure>".encode()


class Authentication:
    """The attempts of one connection to log in to one domain."""

    __slots__ = ("_attempts", "_domain", "_server", "_transport", "exchange", "mechanism")

    def __init__(self, server: Server, transport: Connection, domain: JID) -> None:
        self._server = server
        self._transport = transport
        self._domain = domain
        self._attempts = 0
        #: The attempt under way, and its mechanism.
        self.exchange: SaslExchange | None = None
        self.mechanism = ""

    async def take(self, local: str, attributes: dict[str, str], text: str) -> Success | None:
        """An element of the conversation, named `local`; answers it. `Success` once logged in.

        Raises StreamError after too many failures, and for an element that means nothing.
        """
        try:
            answer = await self._answer(local, attributes, text)
        except SaslFailure as failure:
            self.refuse(failure, failure_element(failure.condition, failure.text))
            return None
        encoded = base64.b64encode(answer.data).decode()
        name = "challenge" if isinstance(answer, Challenge) else "success"
        self._transport.write(f"<{name} xmlns='{SASL_NAMESPACE}'>{encoded}</{name}>".encode())
        return answer if isinstance(answer, Success) else None

    async def _answer(self, local: str, attributes: dict[str, str], text: str) -> Challenge | Success:
        exchange = self.exchange
        if local == "auth":
            if exchange is not None:
                raise SaslFailure("aborted", "a new attempt began")
            exchange = self.begin(attributes.get("mechanism", ""))
        elif local not in ("response", "abort"):
            raise StreamError("unsupported-stanza-type", "this element means nothing here")
        elif exchange is None:
            raise SaslFailure("malformed-request", "no authentication is under way")
        elif local == "abort":
            raise SaslFailure("aborted")
        return await exchange.respond(decode_base64(text))

    def begin(
        self,
        mechanism: str,
        *,
        claimed: JID | None = None,
        offered: tuple[str, ...] = (),
        tokens: TokenMechanism | None = None,
    ) -> SaslExchange:
        """A new attempt; see SaslExchange. Without `offered` it may be any mechanism for passwords."""
        server, bindings = self._server, self._transport.bindings()
        types = bindings.types() if bindings is not None else ()
        exchange = self.exchange = SaslExchange(
            mechanism,
            self._domain,
            server.accounts,
            bindings,
            offered or offered_mechanisms(types, server.sasl_options),
            throttle=server.throttle,
            address=self._transport.address,
            claimed=claimed,
            tokens=tokens,
        )
        self.mechanism = mechanism
        return exchange

    def refuse(self, failure: SaslFailure, element: bytes) -> None:
        """An attempt failed: tell the client so. Raises StreamError after a few."""
        self.exchange = None
        self._attempts += 1
        _log.info(
            "a login from {address} failed: {condition}",
            address=self._transport.address,
            condition=failure.condition,
        )
        self._transport.write(element)
        if self._attempts >= _ATTEMPTS:
            raise StreamError("policy-violation", "too many failed attempts")
