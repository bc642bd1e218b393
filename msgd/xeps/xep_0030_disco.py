"""XEP-0030 Service Discovery: what a domain or an account is and can do.

Answers disco#info and disco#items for the domains of this server and on behalf of its accounts, out
of what the loaded extensions declared. Presence is not leaked (§8): of an account that does not let
the asker see its presence nothing is told, as if there were no such account.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

from msgd.routing.extension import (
    ACCOUNT,
    HOST,
    OWN,
    At,
    Extension,
    Identity,
    Information,
    ListedItem,
    Xep,
    on_iq,
)
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from msgd.wire.xml import element
from msgd.xeps.permission import owner_of, require_account, sender_of

INFO = "http://jabber.org/protocol/disco#info"
ITEMS = "http://jabber.org/protocol/disco#items"


class ServiceDiscovery(Extension):
    """XEP-0030 Service Discovery."""

    xep = Xep(30, "2.5.0")
    features = frozenset({INFO, ITEMS})
    account_features = frozenset({INFO, ITEMS})
    identities = (Identity("server", "im", "msgd"),)
    account_identities = (Identity("account", "registered"),)
    proves = "xep_0030/*"

    @on_iq("get", INFO, "query", at=(HOST,))
    async def describe_domain(self, stanza: Stanza) -> Element:
        """§3: the domain, or one of its nodes."""
        assert stanza.to is not None  # it was addressed to a domain
        return self._describe(HOST, stanza.to, stanza)

    @on_iq("get", INFO, "query", at=(OWN, ACCOUNT))
    async def describe_account(self, stanza: Stanza) -> Element:
        """§3.1, §8: an account, to those who see its presence; a node of it, to those who may read that."""
        node = _node(stanza)
        owner = await self.router.load(owner_of(stanza)) if node is not None else None
        if owner is not None and node is not None:
            for extension in self.router.extensions.loaded:
                found = await extension.account_node(owner, sender_of(stanza), node)
                if found is not None:
                    return write_information(found, node)
        account = await require_account(self, stanza)
        return self._describe(ACCOUNT, account.jid, stanza)

    def _describe(self, at: At, to: JID, stanza: Stanza) -> Element:
        node = _node(stanza)
        if node is None:
            return write_information(self.router.extensions.information(at, to.domain))
        information = self.router.extensions.node_information(at, to, node)
        if information is None:
            raise StanzaError("item-not-found", "no such node")
        return write_information(information, node)

    @on_iq("get", ITEMS, "query", at=(HOST,))
    async def list_domain(self, stanza: Stanza) -> Element:
        """§4: the services that belong to a domain."""
        assert stanza.to is not None  # it was addressed to a domain
        node = _node(stanza)
        if node is None:
            answer = element(ITEMS, "query")
            answer.extend(map(_item, self.router.extensions.items(stanza.to.domain)))
            return answer
        if self.router.extensions.node_information(HOST, stanza.to, node) is None:
            raise StanzaError("item-not-found", "no such node")
        return element(ITEMS, "query", {"node": node})

    @on_iq("get", ITEMS, "query", at=(OWN, ACCOUNT))
    async def list_account(self, stanza: Stanza) -> Element:
        """§4.2, §8: the available resources of an account, to those who see its presence, and its nodes.

        Everybody gets only what he may know: mostly an empty list, whether the account exists or not.
        """
        node, asker = _node(stanza), sender_of(stanza)
        answer = element(ITEMS, "query", {"node": node} if node is not None else None)
        account = await self.router.load(owner_of(stanza))
        if account is None:
            return answer
        visible = account.shows_presence_to(asker)
        if node is None and visible:
            for session in account.available():
                answer.append(element(ITEMS, "item", {"jid": str(session.jid)}))
        lists = [
            await extension.account_items(account, asker, node) for extension in self.router.extensions.loaded
        ]
        if visible and all(found is None for found in lists):
            raise StanzaError("item-not-found", "no such node")
        answer.extend(_item(listed) for found in lists for listed in found or ())
        return answer


def _item(listed: ListedItem) -> Element:
    attributes = {"jid": str(listed.jid)}
    if listed.node:
        attributes["node"] = listed.node
    if listed.name:
        attributes["name"] = listed.name
    return element(ITEMS, "item", attributes)


def _node(stanza: Stanza) -> str | None:
    payload = stanza.payload
    return payload.get("node") if payload is not None else None


def write_information(information: Information, node: str | None = None) -> Element:
    """The disco#info `<query/>` with `information`; `node` is mirrored (§3.2)."""
    query = element(INFO, "query", {"node": node} if node is not None else None)
    for identity in information.identities:
        attributes = {"category": identity.category, "type": identity.type}
        if identity.name:
            attributes["name"] = identity.name
        query.append(element(INFO, "identity", attributes))
    for feature in information.features:
        query.append(element(INFO, "feature", {"var": feature}))
    query.extend(information.forms)
    return query
