"""XEP-0012 Last Activity: uptime of the server, and how long ago an account was last there.

Only contacts that see the account's presence learn it (§7). Kept per account is one time, that of
the last moment at which it had a session, with the status it left behind; written when that session
ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element

from sqlalchemy import bindparam, select, update
from twisted.logger import Logger

from msgd.routing.extension import ACCOUNT, HOST, OWN, Extension, Xep, on_event, on_iq
from msgd.storage.database import Connection
from msgd.storage.schema import account
from msgd.wire.errors import StanzaError
from msgd.wire.stanza import Stanza
from msgd.wire.xml import element
from msgd.xeps.permission import require_account

if TYPE_CHECKING:
    from msgd.routing.session import Session

NAMESPACE: Final = "jabber:iq:last"

_FIND: Final = select(account.c.last_active, account.c.last_status).where(
    account.c.id == bindparam("account_id")
)
_KEEP: Final = (
    update(account)
    .where(account.c.id == bindparam("account_id"))
    .values(last_active=bindparam("now"), last_status=bindparam("status"))
)
_STATUS: Final = "{jabber:client}status"
_log = Logger("msgd.xeps")


class LastActivity(Extension):
    """XEP-0012 Last Activity."""

    xep = Xep(12, "2.0")
    features = frozenset({NAMESPACE})
    account_features = frozenset({NAMESPACE})
    # §4: a request to one resource goes to the client, but not from everybody.
    guarded = frozenset({f"{NAMESPACE} query"})
    proves = "xep_0012/*"

    def start(self) -> None:
        """The server runs from now on."""
        self._started = self.router.clock.seconds()

    @on_iq("get", NAMESPACE, "query", at=(HOST,))
    async def tell_uptime(self, stanza: Stanza) -> Element:
        """§5: seconds since the server was started."""
        return _answer(self.router.clock.seconds() - self._started)

    @on_iq("get", NAMESPACE, "query", at=(OWN, ACCOUNT))
    async def tell_absence(self, stanza: Stanza) -> Element:
        """§3: seconds since the account had its last session, 0 while it has one."""
        live = await require_account(self, stanza, "forbidden")
        if live.sessions:
            return _answer(0)

        def look(connection: Connection) -> tuple[int, str] | None:
            return connection.one(_FIND, {"account_id": live.id})

        found = await self.database.read(look)
        if found is None or not found[0]:
            raise StanzaError("item-not-found", "it was never there")
        return _answer(self.router.clock.seconds() - found[0], found[1])

    @on_event("session-ended")
    def remember(self, session: Session) -> None:
        """The last session of an account is gone: write down when, and its last words."""
        if session.account.sessions:
            return
        values = {
            "account_id": session.account.id,
            "now": int(self.router.clock.seconds()),
            "status": _last_status(session),
        }
        self.database.write_soon(lambda connection: connection.run(_KEEP, values), _written)


def _last_status(session: Session) -> str:
    """The status of the unavailable presence that the session sent, if it did."""
    presence = session.presence
    if presence is None or presence.type != "unavailable":
        return ""
    return presence.tree.findtext(_STATUS) or ""


def _written(error: Exception | None) -> None:
    if error is not None:
        _log.warn("the time of a last activity could not be stored: {error}", error=str(error))


def _answer(seconds: float, status: str = "") -> Element:
    return element(NAMESPACE, "query", {"seconds": str(max(0, int(seconds)))}, status)
