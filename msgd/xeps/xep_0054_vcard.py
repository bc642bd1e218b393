"""XEP-0054 vcard-temp: one vCard for each account, which everybody may read.

Sources: XEP-0054 §3; §3.3 for what strangers learn.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, delete, select

from msgd.routing.extension import ACCOUNT, OWN, Extension, Xep, on_iq
from msgd.storage.database import Connection
from msgd.storage.schema import vcard
from msgd.storage.statements import upsert
from msgd.wire.errors import StanzaError
from msgd.wire.stanza import Stanza
from msgd.wire.xml import serialise
from msgd.xeps.permission import owner_of, require_account

NAMESPACE: Final = "vcard-temp"

_OF_ACCOUNT: Final = vcard.c.account_id == bindparam("account_id")
_FIND: Final = select(vcard.c.xml).where(_OF_ACCOUNT)
_REMOVE: Final = delete(vcard).where(_OF_ACCOUNT)
_KEEP: Final = upsert(vcard, "xml")


class VCardTemp(Extension):
    """XEP-0054 vcard-temp."""

    xep = Xep(54, "1.3.0")
    features = frozenset({NAMESPACE})
    account_features = frozenset({NAMESPACE})
    proves = "xep_0054/*"

    @on_iq("get", NAMESPACE, "vCard", at=(OWN,))
    async def fetch_own(self, stanza: Stanza) -> bytes:
        """§3.1."""
        account = await require_account(self, stanza)
        return await self._fetch(account.id, "item-not-found")

    @on_iq("get", NAMESPACE, "vCard", at=(ACCOUNT,))
    async def fetch(self, stanza: Stanza) -> bytes:
        """§3.3: no vCard and no account are the same to the asker."""
        account = await self.router.table.load(owner_of(stanza))
        if account is None:
            raise StanzaError("service-unavailable")
        return await self._fetch(account.id, "service-unavailable")

    async def _fetch(self, account_id: int, otherwise: str) -> bytes:
        def look(connection: Connection) -> tuple[bytes] | None:
            return connection.one(_FIND, {"account_id": account_id})

        found = await self.database.read(look)
        if found is None:
            raise StanzaError(otherwise)
        return found[0]

    @on_iq("set", NAMESPACE, "vCard", at=(OWN,))
    async def keep(self, stanza: Stanza) -> None:
        """§3.2: the whole vCard is replaced; an empty one removes it."""
        account = await require_account(self, stanza)
        card = stanza.payload
        assert card is not None  # it is what this IQ was dispatched by
        xml = serialise(card)
        if len(xml) > self.config.vcard.size:
            raise StanzaError("policy-violation", "the vCard is too large")

        def store(connection: Connection) -> None:
            if len(card):
                connection.run(_KEEP, {"account_id": account.id, "xml": xml})
            else:
                connection.run(_REMOVE, {"account_id": account.id})

        await self.database.write(store)

    @on_iq("set", NAMESPACE, "vCard", at=(ACCOUNT,))
    async def refuse(self, stanza: Stanza) -> None:
        """§3.2: nobody writes the vCard of another."""
        raise StanzaError("forbidden")
