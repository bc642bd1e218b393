"""What a client asks for together with its login is done here: resume or bind (XEP-0198 §9, XEP-0386).

Between SASL2, which knows who the client is, and the server, which has the sessions. What is enabled while
binding is the business of the extensions that offer it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final

from twisted.logger import Logger

from msgd.accounts.accounts import Account
from msgd.negotiation.sasl2_request import BIND, Request
from msgd.negotiation.server import ResumeRefused, Server
from msgd.storage.database import DatabaseError
from msgd.wire.errors import StanzaError

_log = Logger("msgd.login")
#: Random bytes behind the tag of a client that has not named itself.
_RESOURCE_BYTES: Final = 9


@dataclass(frozen=True, slots=True)
class Inline:
    """What came of it: the session, if there is one, what `<success/>` says of it, and what follows that."""

    session: Any = None
    told: bytes = b""
    behind: bytes = b""
    resumed: bool = False


async def resume_or_bind(
    server: Server, account: Account, mechanism: str, request: Request, device: str
) -> Inline:
    """Resume if that is asked for; else, or if it cannot be done, bind if that is (XEP-0386 §3.2).

    `device` is what stands for the client, or empty. Raises StreamError.
    """
    told = b""
    if request.resume is not None:
        try:
            session, resumed, again = await server.resume(account, request.resume)
        except ResumeRefused as refused:
            told = refused.answer
        else:
            server.belongs(session, device)
            return Inline(session, resumed, again, True)
    if request.bind is None:
        return Inline(told=told)
    resource = f"{request.bind.tag}/" if request.bind.tag else ""
    resource += device or secrets.token_urlsafe(_RESOURCE_BYTES)
    known = await _told(server, account)
    try:
        session = await server.bind(account, resource, mechanism, device)
    except StanzaError as error:
        # The client learns from its bare address that nothing is bound; what is wrong, when it binds.
        _log.info("a client could not be bound: {condition}", condition=error.condition)
        return Inline(told=told)
    answers = b"".join(server.enable(session, feature) for feature in request.bind.features)
    return Inline(session, told + f"<bound xmlns='{BIND}'>".encode() + known + answers + b"</bound>")


async def _told(server: Server, account: Account) -> bytes:
    """What there is to tell; nothing while storage is in trouble, which is no reason not to bind."""
    try:
        return await server.told_when_bound(account)
    except (StanzaError, DatabaseError):
        return b""
