"""SASL2: the login and what belongs to it in one go (XEP-0388), with tokens (XEP-0484).

The exchange itself is that of `sasl.py`, as for classic SASL; here are its messages in and out of the
elements, and around it what the client says of itself. No stream begins anew after the login.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, replace

from msgd.accounts.accounts import Account
from msgd.accounts.device_store import Known, TokenSpent, UserAgent, Visit
from msgd.accounts.tokens import Token
from msgd.negotiation.authentication import SASL_NAMESPACE, Authentication
from msgd.negotiation.fast import NAMESPACE as FAST
from msgd.negotiation.fast import TokenLogin, fast_mechanisms, is_fast, token_to_give
from msgd.negotiation.inline import Inline, resume_or_bind
from msgd.negotiation.sasl import Challenge, SaslExchange, SaslFailure, Success, decode_data
from msgd.negotiation.sasl2_request import NAMESPACE, Request, read_request
from msgd.negotiation.server import Server
from msgd.storage.database import DatabaseError
from msgd.wire.errors import StreamError
from msgd.wire.jid import JID, JIDError
from msgd.wire.transport import Connection
from msgd.wire.xml import escape, text_of

__all__ = ["NAMESPACE", "LoggedIn", "Sasl2"]


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A client is logged in: what to send, and the session that it has already, if it has one.

    `device` stands for the client, and is empty when it did not name itself.
    """

    account: Account
    device: str
    success: bytes
    inline: Inline


class Sasl2:
    """The SASL2 conversation of one stream. `claimed` is the `from` of its header."""

    __slots__ = ("_authentication", "_claimed", "_domain", "_request", "_server", "_tokens", "_transport")

    def __init__(
        self,
        server: Server,
        transport: Connection,
        domain: JID,
        authentication: Authentication,
        claimed: str | None,
    ) -> None:
        self._server = server
        self._transport = transport
        self._domain = domain
        self._authentication = authentication
        self._claimed = _bare(claimed, domain)
        self._request: Request | None = None
        self._tokens: TokenLogin | None = None

    async def take(self, local: str, raw: bytes) -> LoggedIn | None:
        """An element of the conversation; answers a challenge or failure itself. `LoggedIn` when it is over.

        Raises StreamError after too many failures, and for an element that means nothing.
        """
        try:
            answer = await self._answer(local, raw)
            if isinstance(answer, Success):
                assert self._request is not None  # a success is one of a request
                return await self._logged_in(answer, self._request)
        except SaslFailure as failure:
            self._request = self._tokens = None
            self._authentication.refuse(failure, _failure(failure))
            return None
        self._transport.write(f"<challenge xmlns='{NAMESPACE}'>{_encoded(answer.data)}</challenge>".encode())
        return None

    @property
    def under_way(self) -> bool:
        """A challenge was sent: nothing but its answer may come."""
        return self._request is not None

    async def _answer(self, local: str, raw: bytes) -> Challenge | Success:
        if local == "authenticate":
            if self._request is not None:
                raise StreamError("policy-violation", "an authentication is under way")
            request = read_request(raw, self._domain)
            exchange = self._begin(request)
            self._request = request
            return await exchange.respond(request.initial)
        if local not in ("response", "abort"):
            raise StreamError("unsupported-stanza-type", "this element means nothing here")
        under_way = self._authentication.exchange if self._request is not None else None
        if under_way is None:
            raise SaslFailure("malformed-request", "no authentication is under way")
        if local == "abort":
            raise SaslFailure("aborted")
        return await under_way.respond(decode_data(text_of(raw).strip()))

    def _begin(self, request: Request) -> SaslExchange:
        """Begin the exchange. Raises SaslFailure for a request that cannot be fulfilled."""
        bindings = self._transport.bindings()
        offered: tuple[str, ...] = ()
        if self._server.token_seconds:
            offered = fast_mechanisms(bindings.types() if bindings is not None else ())
        if request.token_for and request.token_for not in offered:
            raise SaslFailure("invalid-mechanism", "there are no tokens for that mechanism")
        if not is_fast(request.mechanism):
            return self._authentication.begin(request.mechanism, claimed=self._claimed)
        if request.mechanism not in offered:
            raise SaslFailure("invalid-mechanism")
        if request.agent is None or not request.fast or request.initial is None:
            raise SaslFailure("malformed-request", "a login with a token names the client and says <fast/>")
        self._tokens = TokenLogin(self._server.accounts.devices, request.agent, request.mechanism, bindings)
        return self._authentication.begin(
            request.mechanism, claimed=self._claimed, offered=offered, tokens=self._tokens
        )

    # -- logged in -----------------------------------------------------------------------------

    async def _logged_in(self, success: Success, request: Request) -> LoggedIn:
        account, device, token = success.account, "", None
        if request.agent is not None:
            device, token = await self._visit(account, request, request.agent)
        inline = await resume_or_bind(self._server, account, self._authentication.mechanism, request, device)
        self._authentication.exchange = None
        self._request = None
        return LoggedIn(account, device, _success(success, inline, token), inline)

    async def _visit(self, account: Account, request: Request, agent: UserAgent) -> tuple[str, Token | None]:
        """Note who has come. What stands for the client, and a token if it is to have one.

        Raises SaslFailure when the token it came with is void meanwhile.
        """
        server, devices = self._server, self._server.accounts.devices
        used = self._tokens.used if self._tokens is not None else None
        give = token_to_give(request.token_for, used, request.invalidate, devices.now, server.token_seconds)
        try:
            known = await self._known(account, agent)
            visit = Visit(
                account.id, devices.id_of(account.jid, agent), *_said(request, agent, known), devices.now,
                used, request.count, request.invalidate, give,
            )  # fmt: skip
            kept = await devices.keep(visit, known, server.most_devices, server.devices_here(account))
        except TokenSpent:
            assert self._authentication.exchange is not None  # it has just succeeded
            raise self._authentication.exchange.wrong(account.jid) from None
        except DatabaseError:
            if used is not None:
                raise SaslFailure("temporary-auth-failure") from None
            return "", None  # the password was right; that is no reason to keep anybody out
        return (visit.device, give) if kept else ("", None)

    async def _known(self, account: Account, agent: UserAgent) -> Known:
        if self._tokens is not None and self._tokens.known is not None:
            return self._tokens.known
        return await self._server.accounts.devices.find(account.jid, agent)


def _said(request: Request, agent: UserAgent, known: Known) -> tuple[UserAgent, str]:
    """What a client says of itself, and its tag; what it does not say now is what it said before."""
    software, name, tag = known.said or ("", "", "")
    agent = replace(agent, software=agent.software or software, device=agent.device or name)
    return agent, request.bind.tag if request.bind is not None else tag


def _bare(claimed: str | None, domain: JID) -> JID | None:
    """Whose stream it is by its header (XEP-0388 §2.1). Raises StreamError for another domain's."""
    if not claimed:
        return None
    try:
        jid = JID.parse(claimed).bare
    except JIDError:
        raise StreamError("invalid-from", "the header's 'from' is no address") from None
    if jid.domain != domain:
        raise StreamError("invalid-from", "the header's 'from' is of another domain")
    return jid if jid.local else None


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _failure(failure: SaslFailure) -> bytes:
    said = f"<text>{escape(failure.text)}</text>" if failure.text else ""
    condition = f"<{failure.condition} xmlns='{SASL_NAMESPACE}'/>"
    return f"<failure xmlns='{NAMESPACE}'>{condition}{said}</failure>".encode()


def _success(success: Success, inline: Inline, token: Token | None) -> bytes:
    data = f"<additional-data>{_encoded(success.data)}</additional-data>" if success.data else ""
    jid = success.account.jid if inline.session is None else inline.session.jid
    head = f"<success xmlns='{NAMESPACE}'>{data}<authorization-identifier>{escape(jid)}"
    given = ""
    if token is not None:
        expiry = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(token.expires))
        given = f"<token xmlns='{FAST}' token='{token.text}' expiry='{expiry}'/>"
    return (head + "</authorization-identifier>").encode() + inline.told + given.encode() + b"</success>"
