"""XEP-0054 vcard-temp: the card of an account in its old form, which everybody may ask for.

What it is made of is in `msgd/xeps/profile/`. Sources: XEP-0054 §3; §3.3 for what strangers learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgd.routing.account import LiveAccount
from msgd.routing.extension import ACCOUNT, OWN, Extension, Xep, on_iq
from msgd.wire.errors import StanzaError
from msgd.wire.stanza import Stanza
from msgd.wire.xml import serialise
from msgd.xeps.permission import owner_of, require_account, sender_of
from msgd.xeps.profile import card
from msgd.xeps.pubsub.service import Service

if TYPE_CHECKING:
    from msgd.routing.router import Router

NAMESPACE: Final = "vcard-temp"


class VCardTemp(Extension):
    """XEP-0054 vcard-temp."""

    xep = Xep(54, "1.3.0")
    features = frozenset({NAMESPACE})
    account_features = frozenset({NAMESPACE})
    proves = "xep_0054/*"

    def __init__(self, router: Router) -> None:
        super().__init__(router)
        self._service = Service(router)

    @on_iq("get", NAMESPACE, "vCard", at=(OWN,))
    async def fetch_own(self, stanza: Stanza) -> bytes:
        """§3.1."""
        account = await require_account(self, stanza)
        return await self._fetch(account, stanza, "item-not-found")

    @on_iq("get", NAMESPACE, "vCard", at=(ACCOUNT,))
    async def fetch(self, stanza: Stanza) -> bytes:
        """§3.3: no vCard and no account are the same to the asker."""
        account = await self.router.table.load(owner_of(stanza))
        if account is None:
            raise StanzaError("service-unavailable")
        return await self._fetch(account, stanza, "service-unavailable")

    async def _fetch(self, account: LiveAccount, stanza: Stanza, otherwise: str) -> bytes:
        asker = sender_of(stanza)
        found = await self.database.read(lambda connection: card.read(connection, account, asker))
        if found is None:
            raise StanzaError(otherwise)
        return found

    @on_iq("set", NAMESPACE, "vCard", at=(OWN,))
    async def keep(self, stanza: Stanza) -> None:
        """§3.2: the whole vCard is replaced; an empty one removes it."""
        account = await require_account(self, stanza)
        written = stanza.payload
        assert written is not None  # it is what this IQ was dispatched by
        if len(serialise(written)) > self.config.vcard.size:
            raise StanzaError("policy-violation", "the vCard is too large")
        await self._service.change(account, lambda change: card.write(change, written))

    @on_iq("set", NAMESPACE, "vCard", at=(ACCOUNT,))
    async def refuse(self, stanza: Stanza) -> None:
        """§3.2: nobody writes the vCard of another."""
        raise StanzaError("forbidden")
