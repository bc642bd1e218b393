"""XEP-0441 Message Archive Management Preferences: what an account wants to have archived.

Nothing is, unless the account asks for it or the operator decided otherwise. Where something is, this hangs
on the account and has what it sends recorded; what it receives the spool keeps by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element

from sqlalchemy import bindparam, select

from msgd.accounts.uses import Uses, mark
from msgd.routing.archiving import ALWAYS, NEVER, ROSTER, Preference
from msgd.routing.extension import ACCOUNT, OWN, Extension, Xep, on_event, on_iq
from msgd.storage.database import Connection
from msgd.storage.schema import archive_preference
from msgd.storage.statements import upsert
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID, JIDError
from msgd.wire.stanza import Stanza
from msgd.wire.xml import element
from msgd.xeps.archive_query import NAMESPACE
from msgd.xeps.permission import sender_of

if TYPE_CHECKING:
    from msgd.routing.account import LiveAccount
    from msgd.routing.roster_store import Item
    from msgd.routing.session import Session
    from msgd.routing.stream_management import Receipt

_FIND: Final = select(
    archive_preference.c.default, archive_preference.c.always, archive_preference.c.never
).where(archive_preference.c.account_id == bindparam("account"))
_KEEP: Final = upsert(archive_preference, "default", "always", "never")


class ArchivePreferences(Extension):
    """XEP-0441 Message Archive Management Preferences."""

    xep = Xep(441, "0.2.0")
    uses = Uses.ARCHIVE
    proves = "xep_0441/*"

    def start(self) -> None:
        """The operator's default may be for everybody."""
        if self.config.archive.default != NEVER:
            self.load_all()

    def load(self, connection: Connection, account: LiveAccount) -> None:
        """See Extension.load: what the account said, or the operator."""
        row = connection.one(_FIND, {"account": account.id}) if account.uses & Uses.ARCHIVE else None
        preference = Preference(row[0], _set(row[1]), _set(row[2])) if row is not None else self._default()
        preference.read_contacts(connection, account.id)
        self._apply(account, preference)

    def _default(self) -> Preference:
        return Preference(self.config.archive.default)

    def _apply(self, account: LiveAccount, preference: Preference) -> None:
        if preference.anything:
            account.archive = preference
            account.hook(self)
        else:
            account.archive = None
            account.unhook(self)

    def outgoing(
        self, account: LiveAccount, session: Session, stanza: Stanza, receipt: Receipt | None
    ) -> Stanza:
        """See Acting.outgoing."""
        copy: Stanza = self.router.archive.record(account, stanza, receipt)
        return copy

    @on_event("roster-changed")
    def follow_roster(self, account: LiveAccount, item: Item) -> None:
        """§2.3.1: contacts may be those who are archived."""
        if account.archive is not None and account.archive.default == ROSTER:
            contacts = account.archive.contacts
            removed = item.subscription == "remove"
            account.archive.contacts = contacts - {item.jid} if removed else contacts | {item.jid}

    @on_iq("get", NAMESPACE, "prefs", at=(OWN,))
    async def tell(self, stanza: Stanza) -> Element:
        """§2.1: what holds now."""
        account = self._account(stanza)
        row = await self.database.look_up(lambda connection: connection.one(_FIND, {"account": account.id}))
        if row is None:
            return _prefs(self._default())
        return _prefs(Preference(row[0], _set(row[1]), _set(row[2])))

    @on_iq("set", NAMESPACE, "prefs", at=(OWN,))
    async def change(self, stanza: Stanza) -> Element:
        """§2.1: what is to hold from now on."""
        account = self._account(stanza)
        preference = self._read(stanza)

        def store(connection: Connection) -> None:
            connection.run(_KEEP, {
                "account_id": account.id,
                "default": preference.default,
                "always": _text(preference.always),
                "never": _text(preference.never),
            })  # fmt: skip
            mark(connection, account.id, Uses.ARCHIVE, True)
            preference.read_contacts(connection, account.id)

        await self.database.write(store)
        account.uses |= Uses.ARCHIVE
        self._apply(account, preference)
        return _prefs(preference)

    @on_iq("get", NAMESPACE, "prefs", at=(ACCOUNT,))
    @on_iq("set", NAMESPACE, "prefs", at=(ACCOUNT,))
    async def refuse(self, stanza: Stanza) -> None:
        """Nobody decides for another."""
        raise StanzaError("forbidden", "an archive is its owner's alone")

    def _account(self, stanza: Stanza) -> LiveAccount:
        session = self.router.table.session(sender_of(stanza))
        if session is None:
            raise StanzaError("forbidden", "an archive is its owner's alone")
        return session.account

    def _read(self, stanza: Stanza) -> Preference:
        """What a client wants. Raises StanzaError."""
        prefs = stanza.payload
        default = prefs.get("default") if prefs is not None else None
        if prefs is None or default not in (ALWAYS, NEVER, ROSTER):
            raise StanzaError("bad-request", "the default is one of always, never, roster")
        always, never = _rules(prefs, "always"), _rules(prefs, "never")
        most = self.config.archive.most_rules
        if len(always) + len(never) > most:
            raise StanzaError("policy-violation", f"there are at most {most} rules")
        return Preference(default, always, never)


def _rules(prefs: Element, name: str) -> frozenset[JID]:
    """The addresses in the list of this name (§2.1.2, §2.1.3)."""
    listed = prefs.findall(f"{{{NAMESPACE}}}{name}/{{{NAMESPACE}}}jid")
    try:
        return frozenset(JID.parse((each.text or "").strip()) for each in listed)
    except JIDError as error:
        raise StanzaError("jid-malformed", str(error)) from None


def _prefs(preference: Preference) -> Element:
    prefs = element(NAMESPACE, "prefs", {"default": preference.default})
    for name, rules in (("always", preference.always), ("never", preference.never)):
        listed = element(NAMESPACE, name)
        listed.extend(element(NAMESPACE, "jid", None, jid) for jid in sorted(rules))
        prefs.append(listed)
    return prefs


def _set(text: str) -> frozenset[JID]:
    return frozenset(map(JID.parse, json.loads(text)))


def _text(rules: Iterable[JID]) -> str:
    return json.dumps(sorted(rules))
