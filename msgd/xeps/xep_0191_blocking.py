"""XEP-0191 Blocking Command: nothing comes from whom an account blocks, and nothing goes there.

The list is in the database, and in memory of accounts that have one (`Uses.BLOCKING`), on which this
extension hangs. Blocking happens before delivery, storing, copies and push. A report that comes with it goes
to `xep_0377_reporting.py`.
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element

from sqlalchemy import bindparam, delete, insert, select

from msgd.accounts.uses import Uses, mark
from msgd.routing.account import LiveAccount
from msgd.routing.extension import OWN, Extension, Xep, on_iq
from msgd.routing.hooks import Dropped
from msgd.storage.database import Connection
from msgd.storage.schema import blocked_address
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID, JIDError
from msgd.wire.stanza import Stanza
from msgd.wire.xml import escape
from msgd.xeps.permission import sender_of
from msgd.xeps.xep_0377_reporting import Report, report_of, tell_log

if TYPE_CHECKING:
    from msgd.routing.session import Session

NAMESPACE: Final = "urn:xmpp:blocking"
_ITEM: Final = f"{{{NAMESPACE}}}item"
_EXTRA: Final = "blocking"
_NOT_SENT: Final = b"<blocked xmlns='urn:xmpp:blocking:errors'/>"

_ALL: Final = select(blocked_address.c.jid).where(blocked_address.c.account_id == bindparam("account_id"))
_KEEP: Final = insert(blocked_address)
_REMOVE: Final = delete(blocked_address).where(
    blocked_address.c.account_id == bindparam("account_id"), blocked_address.c.jid == bindparam("jid")
)
_REMOVE_ALL: Final = delete(blocked_address).where(blocked_address.c.account_id == bindparam("account_id"))

#: Whom an account blocks.
Blocked = frozenset[JID]
_NOBODY: Final[Blocked] = frozenset()


class Blocking(Extension):
    """XEP-0191 Blocking Command."""

    xep = Xep(191, "1.3")
    features = frozenset({NAMESPACE})
    account_features = frozenset({NAMESPACE})
    uses = Uses.BLOCKING
    proves = "xep_0191/*"

    def load(self, connection: Connection, account: LiveAccount) -> None:
        """See Extension."""
        self._have(account, _read(connection, account.id))

    def _have(self, account: LiveAccount, blocked: Blocked) -> None:
        """The account blocks these from now on."""
        if account.extras is None:
            account.extras = {}
        account.extras[Blocking] = blocked
        if blocked:
            account.uses |= Uses.BLOCKING
            account.hook(self)
        else:
            account.uses &= ~Uses.BLOCKING
            account.unhook(self)

    # -- the list ------------------------------------------------------------------------------

    @on_iq("get", NAMESPACE, "blocklist", at=(OWN,))
    async def fetch(self, stanza: Stanza) -> bytes:
        """§3.2; who asks is told of changes."""
        account, session = self._asking(stanza)
        if session.extras is None:
            session.extras = {}
        session.extras[_EXTRA] = True
        return _element("blocklist", sorted(_blocked(account)))

    @on_iq("set", NAMESPACE, "block", at=(OWN,))
    async def block(self, stanza: Stanza) -> None:
        """§3.3, and XEP-0377 §6."""
        account, _ = self._asking(stanza)
        items = _items(stanza)
        if not items:
            raise StanzaError("bad-request", "nobody is named who is to be blocked")
        reports = [Report(jid, *found) for jid, item in items if (found := report_of(item)) is not None]
        named = frozenset(jid for jid, _ in items)
        most = self.config.limits.blocked
        blocked = await self.database.write(partial(_add, account.id, named, most, reports))
        tell_log(reports)
        new = named - _blocked(account)
        self.router.presence.hide(account, lambda jid: _matches(new, jid), new)
        self._have(account, blocked)
        self._push(account, "block", sorted(named))

    @on_iq("set", NAMESPACE, "unblock", at=(OWN,))
    async def unblock(self, stanza: Stanza) -> None:
        """§3.4; without items: everybody (§3.5)."""
        account, _ = self._asking(stanza)
        named = frozenset(jid for jid, _ in _items(stanza))
        blocked = await self.database.write(partial(_remove, account.id, named))
        freed = _blocked(account) - blocked
        self._have(account, blocked)
        self._push(account, "unblock", sorted(named))
        self.router.presence.reveal(account, lambda jid: _matches(freed, jid), freed)

    def _asking(self, stanza: Stanza) -> tuple[LiveAccount, Session]:
        session = self.router.table.session(sender_of(stanza))
        if session is None:
            raise StanzaError("recipient-unavailable", "the session is over")
        return session.account, session

    def _push(self, account: LiveAccount, what: str, named: list[JID]) -> None:
        """To each resource that has asked for the list (§3.3, §3.4)."""
        content = _element(what, named)
        for session in list(account.sessions.values()):
            if session.extras is not None and _EXTRA in session.extras:
                id = secrets.token_hex(4)
                session.send(
                    Stanza.build("iq", to=session.jid, from_=account.jid, type="set", id=id, content=content)
                )

    # -- blocking ------------------------------------------------------------------------------

    def permit_in(self, account: LiveAccount, stanza: Stanza) -> None:
        """§3.3: to whom is blocked the account looks as if it were not there."""
        sender = stanza.from_
        if sender is None or sender.bare == account.jid or not _matches(_blocked(account), sender):
            return
        if stanza.kind == "presence" or stanza.wants_no_reply:
            raise Dropped
        raise StanzaError("service-unavailable")

    def permit_late(self, account: LiveAccount, stanza: Stanza) -> None:
        """§3.3: what somebody sent before he was blocked is not delivered any more."""
        sender = stanza.from_
        if sender is not None and sender.bare != account.jid and _matches(_blocked(account), sender):
            raise Dropped

    def permit_out(self, account: LiveAccount, stanza: Stanza) -> None:
        """§3.3, the last rule."""
        to = stanza.to
        if to is None or to.bare == account.jid or not _matches(_blocked(account), to):
            return
        if to == account.jid.domain_jid:
            return  # who blocks the domain means the people there, not the server that acts for him
        if stanza.wants_no_reply:
            raise Dropped
        raise StanzaError("not-acceptable", "you have blocked this address", type="cancel", app=_NOT_SENT)


def _blocked(account: LiveAccount) -> Blocked:
    return account.extras.get(Blocking, _NOBODY) if account.extras is not None else _NOBODY


def _matches(blocked: Blocked, jid: JID) -> bool:
    """§5: the whole address, the account, a resource of its domain, the domain."""
    if jid in blocked or jid.bare in blocked or jid.domain_jid in blocked:
        return True
    return bool(jid.resource) and jid.domain_jid.with_resource(jid.resource) in blocked


def _items(stanza: Stanza) -> list[tuple[JID, Element]]:
    """The addresses that are named, each with its element. Raises StanzaError."""
    payload = stanza.payload
    found = []
    for item in payload.iterfind(_ITEM) if payload is not None else ():
        try:
            found.append((JID.parse(item.get("jid", "")), item))
        except JIDError as error:
            raise StanzaError("jid-malformed", str(error)) from None
    return found


def _element(name: str, named: list[JID]) -> bytes:
    items = "".join(f"<item jid='{escape(jid)}'/>" for jid in named)
    return f"<{name} xmlns='{NAMESPACE}'>{items}</{name}>".encode()


def _read(connection: Connection, account_id: int) -> Blocked:
    rows = connection.all(_ALL, {"account_id": account_id})
    return frozenset(JID.parse(row[0]) for row in rows)


def _add(
    account_id: int, named: Blocked, most: int, reports: list[Report], connection: Connection
) -> Blocked:
    before = _read(connection, account_id)
    after = before | named
    if len(after) > most:
        raise StanzaError("resource-constraint", f"at most {most} addresses can be blocked")
    connection.run_many(_KEEP, [{"account_id": account_id, "jid": str(jid)} for jid in named - before])
    mark(connection, account_id, Uses.BLOCKING, True)
    for report in reports:
        report.keep(connection, account_id)
    return after


def _remove(account_id: int, named: Blocked, connection: Connection) -> Blocked:
    if named:
        for jid in named:
            connection.run(_REMOVE, {"account_id": account_id, "jid": str(jid)})
    else:
        connection.run(_REMOVE_ALL, {"account_id": account_id})
    left = _read(connection, account_id)
    if not left:
        mark(connection, account_id, Uses.BLOCKING, False)
    return left
