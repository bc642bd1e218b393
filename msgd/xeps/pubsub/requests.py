"""What anybody may ask of an account's nodes: publish, retract, create, items, subscriptions.

Each function answers one element of XEP-0060 §5 to §7 and §8.1; `ACTIONS` finds them by type and name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from msgd.routing.account import LiveAccount
from msgd.storage.database import Connection
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID, JIDError
from msgd.wire.xml import escape, serialise
from msgd.xeps.data_forms import NAMESPACE as FORMS
from msgd.xeps.pubsub import access, notices, people, store
from msgd.xeps.pubsub.change import LONGEST_NAME, Options
from msgd.xeps.pubsub.configuration import NODE_CONFIG, PUBLISH_OPTIONS, submitted
from msgd.xeps.pubsub.errors import no_node, pubsub_error, unsupported
from msgd.xeps.pubsub.service import MOST_SUBSCRIPTIONS, Service, existing, who
from msgd.xeps.pubsub.store import Item
from msgd.xeps.xep_0059_result_sets import NAMESPACE as RSM
from msgd.xeps.xep_0059_result_sets import Wanted, told, wanted

NAMESPACE: Final = "http://jabber.org/protocol/pubsub"
#: Bytes of an answer with items, from which on it is cut; the asker is told how many there are.
_LONGEST_ANSWER: Final = 1024 * 1024
_ALL: Final = 10**9
#: What payloads are written in, so that they name their own namespace.
_NOWHERE: Final = "-"


class Request(NamedTuple):
    """One request: to whose nodes, by whom, the whole payload and the element that says what is wanted.

    `account` is None where there is no such account.
    """

    service: Service
    account: LiveAccount | None
    asker: JID
    payload: Element
    action: Element

    @property
    def owned(self) -> LiveAccount:
        """The account, if it is the asker's own; nobody else changes anything."""
        if self.account is None or self.asker.bare != self.account.jid:
            raise StanzaError("forbidden")
        return self.account

    @property
    def existing(self) -> LiveAccount:
        """The account."""
        if self.account is None:
            raise no_node()
        return self.account

    @property
    def node(self) -> str:
        """The node that is named. Raises StanzaError."""
        node = self.action.get("node", "")
        if not node:
            raise pubsub_error("bad-request", "nodeid-required")
        if len(node) > LONGEST_NAME:
            raise StanzaError("not-acceptable", f"a node's name has at most {LONGEST_NAME} characters")
        return node

    def form(self, name: str, form_type: str) -> Options | None:
        """The form in the element `name` beside the action."""
        found = self.payload.find(f"{{{NAMESPACE}}}{name}")
        if found is None or not len(found):
            return None
        return submitted(found.find(f"{{{FORMS}}}x"), form_type)


Action = Callable[[Request], Awaitable[bytes]]


def _pubsub(content: bytes) -> bytes:
    return f"<pubsub xmlns='{NAMESPACE}'>".encode() + content + b"</pubsub>"


# -- publishing ------------------------------------------------------------------------------------


async def publish(request: Request) -> bytes:
    """§7.1."""
    account, node = request.owned, request.node
    options = request.form("publish-options", PUBLISH_OPTIONS)
    items = [_published(item) for item in request.action.findall(f"{{{NAMESPACE}}}item")]
    ids = [id for id, _ in items if id]
    if len(set(ids)) < len(ids):
        raise pubsub_error("bad-request", "item-required", "items, each with an id of its own, are wanted")
    made = await request.service.change(account, lambda change: change.publish(node, items, options))
    named = b"".join(notices.written(item, payload=False) for item in made)
    return _pubsub(f"<publish node='{escape(node)}'>".encode() + named + b"</publish>")


def _published(item: Element) -> tuple[str, bytes]:
    if len(item) > 1:
        raise pubsub_error("bad-request", "invalid-payload", "an item has one payload")
    return _id(item, required=False), b"".join(serialise(payload, _NOWHERE) for payload in item)


def _id(item: Element, required: bool = True) -> str:
    id = item.get("id", "")
    if required and not id:
        raise pubsub_error("bad-request", "item-required", "an item is named by its id")
    if len(id) > LONGEST_NAME:
        raise StanzaError("not-acceptable", f"an item's id has at most {LONGEST_NAME} characters")
    return id


async def retract(request: Request) -> bytes:
    """§7.2."""
    account, node = request.owned, request.node
    ids = [_id(item) for item in request.action.findall(f"{{{NAMESPACE}}}item")]
    if not ids:
        raise pubsub_error("bad-request", "item-required")
    notify = request.action.get("notify") in ("1", "true")
    await request.service.change(account, lambda change: change.retract(node, ids, notify))
    return b""


async def create(request: Request) -> bytes:
    """§8.1."""
    account = request.owned
    if not request.action.get("node"):
        raise pubsub_error("not-acceptable", "nodeid-required", "nodes are named by who makes them")
    node, options = request.node, request.form("configure", NODE_CONFIG)
    await request.service.change(account, lambda change: change.create(node, options))
    return b""


# -- reading ---------------------------------------------------------------------------------------


class _Page(NamedTuple):
    """Items of a node, the newest first: those asked for, how many there are, and the place of the first."""

    items: list[Item]
    total: int = 0
    place: int = 0


async def items(request: Request) -> bytes:
    """§6.5: all items, the newest first; the newest ones; a page (§6.5.4); or those that are named."""
    node, action = request.node, request.action
    ids = [_id(item) for item in action.findall(f"{{{NAMESPACE}}}item")]
    most = _most(action.get("max_items"))
    paged = request.payload.find(f"{{{RSM}}}set") is not None
    page = wanted(request.payload, most)

    def look(connection: Connection, account_id: int, name: str) -> _Page:
        if ids:
            named = (store.item(connection, account_id, name, id) for id in ids)
            return _Page([item for item in named if item is not None])
        if paged or most < _ALL:
            return _page(connection, account_id, name, page)
        found = store.newest(connection, account_id, name, most)
        return _Page(found, len(found))

    found = await request.service.read(request.existing, node, request.asker, look)
    content: list[bytes] = []
    size = 0
    for item in found.items:
        size += len(item.xml)
        if size > _LONGEST_ANSWER and content:
            break
        content.append(notices.written(item))
    answer = f"<items node='{escape(node)}'>".encode() + b"".join(content) + b"</items>"
    if paged or len(content) < len(found.items):
        answer += _told(found, len(content))
    return _pubsub(answer)


def _page(connection: Connection, account_id: int, name: str, page: Wanted) -> _Page:
    count = store.count(connection, account_id, name)
    if page.most == 0:
        return _Page([], count)
    if not page.after and not page.backwards:
        return _Page(store.newest(connection, account_id, name, page.most), count)
    edge = page.before or page.after
    found = store.page(connection, account_id, name, edge, page.most, page.backwards)
    if found is None:
        raise no_node("no such item")
    return _Page(found[0], count, found[1])


def _told(page: _Page, sent: int) -> bytes:
    """The `<set/>` of an answer with the first `sent` items of a page."""
    if not sent:
        return told(None, None, page.total, None)
    return told(page.items[0].id, page.items[sent - 1].id, page.total, page.place)


def _most(text: str | None) -> int:
    if text is None:
        return _ALL
    if not (text.isascii() and text.isdigit() and text.strip("0")):
        raise StanzaError("bad-request", "max_items is a number from 1 on")
    return int(text) if len(text) < 10 else _ALL


# -- subscriptions ---------------------------------------------------------------------------------


async def subscribe(request: Request) -> bytes:
    """§6.1: who may read a node may subscribe to it; he gets the last item."""
    account, node, jid = request.existing, request.node, _subscriber(request)
    if request.payload.find(f"{{{NAMESPACE}}}options") is not None:
        raise unsupported("subscription-options")

    def work(connection: Connection) -> None:
        configuration = existing(connection, account.id, node)
        refused = access.refusal(configuration, who(connection, account, node, request.asker))
        if refused is not None:
            raise refused
        people.subscribe(connection, account.id, node, jid)
        if len(people.subscriptions(connection, account.id, node)) > MOST_SUBSCRIPTIONS:
            raise pubsub_error("policy-violation", "too-many-subscriptions")

    await request.service.subscribe(account, node, jid, work)
    answer = f"<subscription node='{escape(node)}' jid='{escape(jid)}' subscription='subscribed'/>"
    return _pubsub(answer.encode())


async def unsubscribe(request: Request) -> bytes:
    """§6.2."""
    account, node, jid = request.existing, request.node, _subscriber(request)

    def work(connection: Connection) -> None:
        existing(connection, account.id, node)
        if not people.unsubscribe(connection, account.id, node, jid):
            raise pubsub_error("unexpected-request", "not-subscribed", type="cancel")

    await request.service.write(work)
    return b""


def _subscriber(request: Request) -> JID:
    """The address that is to be subscribed: the asker's own (§6.1.3.1)."""
    try:
        jid = JID.parse(request.action.get("jid", ""))
    except JIDError:
        raise pubsub_error("bad-request", "invalid-jid") from None
    if jid not in (request.asker, request.asker.bare):
        raise pubsub_error("bad-request", "invalid-jid", "everybody subscribes only himself")
    return jid


async def subscriptions(request: Request) -> bytes:
    """§5.6: the asker's explicit subscriptions."""
    account, bare = request.account, request.asker.bare
    only = request.action.get("node")
    found: list[tuple[str, JID]] = []
    if account is not None:
        found = await request.service.look(lambda c: people.all_subscriptions(c, account.id))
    content = "".join(
        f"<subscription node='{escape(node)}' jid='{escape(jid)}' subscription='subscribed'/>"
        for node, jid in found
        if jid.bare == bare and only in (None, node)
    )
    return _pubsub(f"<subscriptions>{content}</subscriptions>".encode())


async def affiliations(request: Request) -> bytes:
    """§5.7: what the asker is at the nodes here."""
    account, bare = request.account, request.asker.bare

    def work(connection: Connection) -> dict[str, str]:
        if account is None:
            return {}
        if bare == account.jid:
            return dict.fromkeys(store.nodes(connection, account.id), "owner")
        return people.affiliations_of(connection, account.id, bare)

    found = await request.service.look(work)
    only = request.action.get("node")
    content = "".join(
        f"<affiliation node='{escape(node)}' affiliation='{affiliation}'/>"
        for node, affiliation in found.items()
        if only in (None, node)
    )
    return _pubsub(f"<affiliations>{content}</affiliations>".encode())


ACTIONS: Final[dict[tuple[str, str], Action]] = {
    ("set", "publish"): publish,
    ("set", "retract"): retract,
    ("set", "create"): create,
    ("set", "subscribe"): subscribe,
    ("set", "unsubscribe"): unsubscribe,
    ("get", "items"): items,
    ("get", "subscriptions"): subscriptions,
    ("get", "affiliations"): affiliations,
}
