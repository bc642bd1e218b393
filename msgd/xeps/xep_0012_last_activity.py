"""XEP-0012 Last Activity: uptime of the server, and how long ago an account was last there.

Only contacts that see the account's presence learn it (§7). Kept per account is when its last
available session left, with the status that it said then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
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
    .values(last_active=bindparam("when"), last_status=bindparam("status"))
)
_STATUS: Final = "{jabber:client}status"
_log = Logger("msgd.xeps")


class Left(NamedTuple):
    """When an account was last there (seconds since 1970), and what it said when it left."""

    account_id: int
    when: int
    status: str


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
        self._noted: dict[int, Left] = {}  # not written yet
        self._writing = False

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
        noted = self._noted.get(live.id)
        if noted is not None:
            return self._since(noted)

        def look(connection: Connection) -> tuple[int, str] | None:
            return connection.one(_FIND, {"account_id": live.id})

        found = await self.database.read(look)
        if found is None or not found[0]:
            raise StanzaError("item-not-found", "it was never there")
        return self._since(Left(live.id, *found))

    def _since(self, left: Left) -> Element:
        return _answer(self.router.clock.seconds() - left.when, left.status)

    # -- writing it down -----------------------------------------------------------------------

    @on_event("session-unavailable")
    def remember(self, session: Session) -> None:
        """The last available session of an account is gone: note when, and its last words."""
        if session.account.available():
            return
        when = int(self.router.clock.seconds())
        left = Left(session.account.id, when, _last_status(session))
        self._noted[left.account_id] = left
        if not self._writing:
            self._write()

    def _write(self) -> None:
        """One job at a time: whoever comes and goes many times meanwhile is written once."""
        self._writing = True
        written = list(self._noted.values())
        rows = [left._asdict() for left in written]
        self.database.write_soon(
            lambda connection: connection.run_many(_KEEP, rows),
            lambda error: self._written(written, error),
        )

    def _written(self, written: list[Left], error: Exception | None) -> None:
        self._writing = False
        if error is not None:
            _log.warn("last activities could not be stored: {error}", error=str(error))
        for left in written:
            if self._noted[left.account_id] is left:
                del self._noted[left.account_id]
        if self._noted:
            self._write()


def _last_status(session: Session) -> str:
    """The status of the unavailable presence that the session sent, if it did."""
    presence = session.presence
    if presence is None or presence.type != "unavailable" or b"status" not in presence.raw:
        return ""
    return presence.tree.findtext(_STATUS) or ""


def _answer(seconds: float, status: str = "") -> Element:
    return element(NAMESPACE, "query", {"seconds": str(max(0, int(seconds)))}, status)
