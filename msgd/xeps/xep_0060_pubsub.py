"""XEP-0060 Publish-Subscribe: as much of it as personal eventing needs, at the accounts' own addresses.

The dispatch of requests; what they do is in `msgd/xeps/pubsub/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element

from msgd.accounts.uses import Uses
from msgd.routing.account import LiveAccount
from msgd.routing.extension import (
    ACCOUNT,
    OWN,
    Extension,
    Identity,
    Information,
    ListedItem,
    Xep,
    on_iq,
)
from msgd.storage.database import Connection
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from msgd.xeps.permission import owner_of, sender_of
from msgd.xeps.pubsub import access, owner_requests, requests, store
from msgd.xeps.pubsub.configuration import metadata
from msgd.xeps.pubsub.errors import unsupported
from msgd.xeps.pubsub.requests import Action, Request
from msgd.xeps.pubsub.service import Service, existing, who

if TYPE_CHECKING:
    from msgd.routing.router import Router

#: Actions of the XEP that are not done here, and the feature by which it calls them (§10).
_UNSUPPORTED: Final = {
    "options": "subscription-options",
    "default": "retrieve-default-sub",
}
_FEATURES: Final = (
    "access-open", "access-presence", "access-roster", "access-whitelist", "auto-create", "config-node",
    "config-node-max", "create-and-configure", "create-nodes", "delete-items", "delete-nodes", "item-ids",
    "last-published", "manage-subscriptions", "member-affiliation", "meta-data", "modify-affiliations",
    "multi-items", "outcast-affiliation",
    "persistent-items", "presence-notifications", "presence-subscribe", "publish", "publish-options",
    "purge-nodes", "retract-items", "retrieve-affiliations", "retrieve-default", "retrieve-items",
    "retrieve-subscriptions", "rsm", "subscribe",
)  # fmt: skip


class PublishSubscribe(Extension):
    """XEP-0060 Publish-Subscribe."""

    xep = Xep(60, "1.30.0")
    account_features = frozenset(
        {requests.NAMESPACE, *(f"{requests.NAMESPACE}#{feature}" for feature in _FEATURES)}
    )
    proves = "xep_0060/*"
    without = "What personal eventing needs, at accounts: no collections, no options, no approval."

    def __init__(self, router: Router) -> None:
        super().__init__(router)
        self._service = Service(router)

    @on_iq("get", requests.NAMESPACE, "pubsub", at=(OWN, ACCOUNT))
    @on_iq("set", requests.NAMESPACE, "pubsub", at=(OWN, ACCOUNT))
    async def answer(self, stanza: Stanza) -> bytes:
        """§5 to §7 and §8.1."""
        return await self._do(stanza, requests.NAMESPACE, requests.ACTIONS)

    @on_iq("get", owner_requests.NAMESPACE, "pubsub", at=(OWN, ACCOUNT))
    @on_iq("set", owner_requests.NAMESPACE, "pubsub", at=(OWN, ACCOUNT))
    async def answer_owner(self, stanza: Stanza) -> bytes:
        """§8."""
        return await self._do(stanza, owner_requests.NAMESPACE, owner_requests.ACTIONS)

    # -- discovery (§5.2 to §5.5) --------------------------------------------------------------

    async def account_node(self, account: LiveAccount, asker: JID, node: str) -> Information | None:
        """§5.3, §5.4: a node, for those who may read it."""

        def look(connection: Connection, account_id: int, name: str) -> Element:
            return metadata(existing(connection, account_id, name), str(account.jid))

        try:
            found = await self._service.read(account, node, asker, look)
        except StanzaError:
            return None
        return Information((Identity("pubsub", "leaf"),), (requests.NAMESPACE,), (found,))

    async def account_items(
        self, account: LiveAccount, asker: JID, node: str | None
    ) -> list[ListedItem] | None:
        """§5.2, §5.5: the nodes, or the items of one, as far as one may read them."""
        if node is not None:
            try:
                ids = await self._service.read(account, node, asker, store.ids)
            except StanzaError:
                return None
            return [ListedItem(account.jid, name=id) for id in ids]
        if not account.uses & Uses.PEP:
            return []

        def look(connection: Connection) -> list[ListedItem]:
            return [
                ListedItem(account.jid, name, configuration.title)
                for name, configuration in store.nodes(connection, account.id).items()
                if access.readable(configuration, who(connection, account, name, asker))
            ]

        return await self._service.look(look)

    # -- requests ------------------------------------------------------------------------------

    async def _do(self, stanza: Stanza, namespace: str, actions: Mapping[tuple[str, str], Action]) -> bytes:
        payload = stanza.payload
        assert payload is not None  # the dispatch found it by its name
        element = _action(payload, namespace)
        name = element.tag.rpartition("}")[2]
        action = actions.get((stanza.type or "", name))
        if action is None:
            if name in _UNSUPPORTED:
                raise unsupported(_UNSUPPORTED[name])
            raise StanzaError("bad-request", "there is no such request")
        account = await self.router.table.load(owner_of(stanza))
        return await action(Request(self._service, account, sender_of(stanza), payload, element))


def _action(payload: Element, namespace: str) -> Element:
    """The child that says what is wanted; others only say how."""
    for child in payload:
        if child.tag.startswith(f"{{{namespace}}}"):
            return child
    raise StanzaError("bad-request", "nothing is asked for")
