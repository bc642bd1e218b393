"""Answers to presence probes: who asks for an account's presence gets it, if it may have it.

Source: RFC 6121 §4.3.2, and §4.6.6 for those who only got directed presence.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, select
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.routing.broadcast import addressed
from msgd.storage import schema
from msgd.storage.database import Connection, DatabaseError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.account import LiveAccount
    from msgd.routing.router import Router

_log = Logger("msgd.presence")
_LAST_ACTIVE: Final = select(schema.account.c.last_active).where(
    schema.account.c.id == bindparam("account_id")
)


def answer_probe(router: Router, account: LiveAccount, probe: Stanza) -> None:
    """Answer a probe for a local account, at its bare or a full JID."""
    asker, to = probe.from_, probe.to
    assert asker is not None and to is not None  # the router stamped both
    if asker.bare != account.jid and asker.bare not in account.subscribers:
        if to.resource and _was_directed(account, to, asker):
            _tell_mere_presence(router, account, probe)
        else:
            router.route(_answer(probe, account.jid, "unsubscribed"))
    elif to.resource:
        _tell_mere_presence(router, account, probe)
    else:
        available = account.available()
        for session in available:
            if session.presence is not None:
                router.route(addressed(session.presence, asker))
        if not available:
            Deferred.fromCoroutine(_tell_absence(router, account, probe))


def refuse_probe(router: Router, probe: Stanza) -> None:
    """A probe for an account that does not exist is answered as one that is not allowed."""
    if probe.to is not None and probe.from_ is not None:
        router.route(_answer(probe, probe.to.bare, "unsubscribed"))


def _was_directed(account: LiveAccount, to: JID, asker: JID) -> bool:
    """Whether the resource `to` sent its presence to who asks now (§4.6.6)."""
    session = account.sessions.get(to.resource)
    return (
        session is not None
        and session.directed is not None
        and (asker in session.directed or asker.bare in session.directed)
    )


def _tell_mere_presence(router: Router, account: LiveAccount, probe: Stanza) -> None:
    """A probe to a full JID: whether that resource is there, and nothing else."""
    assert probe.to is not None  # the caller looked at its resource
    assert probe.from_ is not None  # stamped
    session = account.sessions.get(probe.to.resource)
    there = (session is not None and session.available) or _was_directed(account, probe.to, probe.from_)
    router.route(_answer(probe, probe.to, None if there else "unavailable"))


async def _tell_absence(router: Router, account: LiveAccount, probe: Stanza) -> None:
    """No resource is available: since when (§4.3.2, third rule; XEP-0203). Never fails."""
    since = 0

    def look(connection: Connection) -> int:
        found = connection.one(_LAST_ACTIVE, {"account_id": account.id})
        return found[0] if found is not None else 0

    try:
        since = await router.database.read(look)
    except DatabaseError as error:
        _log.error("the last activity could not be read: {error}", error=str(error))
    content = b""
    if since and not account.sessions:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
        by = account.jid.attribute.decode()
        content = f"<delay xmlns='urn:xmpp:delay' from='{by}' stamp='{stamp}'/>".encode()
    if not account.available():
        router.route(_answer(probe, account.jid, "unavailable", content))


def _answer(probe: Stanza, from_: JID, type: str | None, content: bytes = b"") -> Stanza:
    """Presence for who probed; it has the probe's id (§4.3.2.1) unless it is a resource's own."""
    id = probe.id if type is not None else None
    return Stanza.build("presence", to=probe.from_, from_=from_, type=type, id=id, content=content)
