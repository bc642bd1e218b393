"""What the owner asks about his nodes: configuration, deletion, members, subscribers (XEP-0060 §8)."""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element

from msgd.storage.database import Connection
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID, JIDError
from msgd.wire.xml import element, escape, serialise
from msgd.xeps.data_forms import NAMESPACE as FORMS
from msgd.xeps.pubsub import people
from msgd.xeps.pubsub.change import LONGEST_NAME
from msgd.xeps.pubsub.configuration import DEFAULT, NODE_CONFIG, form, submitted
from msgd.xeps.pubsub.errors import pubsub_error
from msgd.xeps.pubsub.requests import Action, Request
from msgd.xeps.pubsub.service import MOST_AFFILIATIONS, existing

NAMESPACE: Final = "http://jabber.org/protocol/pubsub#owner"
_AFFILIATIONS: Final = frozenset({"member", "outcast", "none"})


def _answer(*children: Element) -> bytes:
    return serialise(element(NAMESPACE, "pubsub", None, *children))


async def get_configuration(request: Request) -> bytes:
    """§8.2.1."""
    account, node = request.owned, request.node
    found = await request.service.look(lambda c: existing(c, account.id, node))
    return _answer(element(NAMESPACE, "configure", {"node": node}, form(found)))


async def configure(request: Request) -> bytes:
    """§8.2.4; a form of type 'cancel' changes nothing."""
    account, node = request.owned, request.node
    sent = request.action.find(f"{{{FORMS}}}x")
    if sent is None or sent.get("type") != "cancel":
        options = submitted(sent, NODE_CONFIG)
        await request.service.change(account, lambda change: change.configure(node, options))
    return b""


async def get_default(request: Request) -> bytes:
    """§8.3: what a node is that nobody configures."""
    assert request.owned
    return _answer(element(NAMESPACE, "default", None, form(DEFAULT)))


async def delete(request: Request) -> bytes:
    """§8.4; who was subscribed is told where to look instead, if the owner says so."""
    account, node = request.owned, request.node
    redirect = request.action.find(f"{{{NAMESPACE}}}redirect")
    elsewhere = redirect.get("uri", "") if redirect is not None else ""
    if len(elsewhere) > LONGEST_NAME:
        raise StanzaError("not-acceptable", f"a URI has at most {LONGEST_NAME} characters")
    await request.service.change(account, lambda change: change.delete(node, elsewhere))
    return b""


async def purge(request: Request) -> bytes:
    """§8.5."""
    account, node = request.owned, request.node
    await request.service.change(account, lambda change: change.purge(node))
    return b""


# -- people ----------------------------------------------------------------------------------------


async def get_affiliations(request: Request) -> bytes:
    """§8.9.1."""
    account, node = request.owned, request.node

    def work(connection: Connection) -> dict[JID, str]:
        existing(connection, account.id, node)
        return people.affiliations(connection, account.id, node)

    found = {account.jid: "owner", **await request.service.look(work)}
    content = "".join(
        f"<affiliation jid='{escape(jid)}' affiliation='{affiliation}'/>"
        for jid, affiliation in found.items()
    )
    return _listed("affiliations", node, content)


async def set_affiliations(request: Request) -> bytes:
    """§8.9.2: members, outcasts, and those that are neither."""
    account, node = request.owned, request.node
    changes = {}
    for child in request.action.findall(f"{{{NAMESPACE}}}affiliation"):
        jid, affiliation = _address(child), child.get("affiliation", "")
        if jid == account.jid:
            raise StanzaError("not-acceptable", "the account owns its nodes")
        if affiliation not in _AFFILIATIONS:
            raise StanzaError("not-acceptable", "there are members and outcasts")
        changes[jid.bare] = affiliation

    def work(connection: Connection) -> None:
        existing(connection, account.id, node)
        for jid, affiliation in changes.items():
            people.affiliate(connection, account.id, node, jid, affiliation)
        if len(people.affiliations(connection, account.id, node)) > MOST_AFFILIATIONS:
            raise StanzaError("resource-constraint", "too many affiliations", type="cancel")

    await request.service.write(work)
    return b""


async def get_subscriptions(request: Request) -> bytes:
    """§8.8.1: those that were asked for."""
    account, node = request.owned, request.node

    def work(connection: Connection) -> list[JID]:
        existing(connection, account.id, node)
        return people.subscriptions(connection, account.id, node)

    found = await request.service.look(work)
    content = "".join(f"<subscription jid='{escape(jid)}' subscription='subscribed'/>" for jid in found)
    return _listed("subscriptions", node, content)


async def set_subscriptions(request: Request) -> bytes:
    """§8.8.2: the owner ends subscriptions; he makes none for others."""
    account, node = request.owned, request.node
    gone = []
    for child in request.action.findall(f"{{{NAMESPACE}}}subscription"):
        if child.get("subscription") != "none":
            raise StanzaError("not-acceptable", "everybody subscribes himself")
        gone.append(_address(child))

    def work(connection: Connection) -> None:
        existing(connection, account.id, node)
        for jid in gone:
            people.unsubscribe(connection, account.id, node, jid)

    await request.service.write(work)
    return b""


def _listed(name: str, node: str, content: str) -> bytes:
    inside = f"<{name} node='{escape(node)}'>{content}</{name}>"
    return f"<pubsub xmlns='{NAMESPACE}'>{inside}</pubsub>".encode()


def _address(child: Element) -> JID:
    try:
        return JID.parse(child.get("jid", ""))
    except JIDError:
        raise pubsub_error("bad-request", "invalid-jid") from None


ACTIONS: Final[dict[tuple[str, str], Action]] = {
    ("get", "configure"): get_configuration,
    ("set", "configure"): configure,
    ("get", "default"): get_default,
    ("set", "delete"): delete,
    ("set", "purge"): purge,
    ("get", "affiliations"): get_affiliations,
    ("set", "affiliations"): set_affiliations,
    ("get", "subscriptions"): get_subscriptions,
    ("set", "subscriptions"): set_subscriptions,
}
