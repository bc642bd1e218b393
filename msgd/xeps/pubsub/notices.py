"""Who is told of what happens at a node, and how it is written.

Told are the sessions of the owner and of those who see his presence, as far as their clients want to hear of
the node (XEP-0163 §4.2) and, in other domains, their presence is known here, and addresses that subscribed
explicitly; always only who may read it, and never against a block.
Sources: XEP-0163 §4.3, XEP-0060 §7.1.2, §8.2.5, §8.4.2.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from msgd.routing.hooks import lets_out
from msgd.storage.database import Connection
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from msgd.wire.xml import escape, serialise
from msgd.xeps.contacts_elsewhere import wanting
from msgd.xeps.interests import interests
from msgd.xeps.pubsub import people
from msgd.xeps.pubsub.access import OWNER, Standing, readable
from msgd.xeps.pubsub.configuration import Configuration, form
from msgd.xeps.pubsub.store import Item

if TYPE_CHECKING:
    from msgd.routing.account import LiveAccount
    from msgd.routing.router import Router

EVENT: Final = "http://jabber.org/protocol/pubsub#event"
_ids: Final = count(1)


class Audience(NamedTuple):
    """What the database knows of those who may be told."""

    subscriptions: list[JID]
    affiliations: dict[JID, str]
    groups: dict[JID, tuple[str, ...]]


def audience(connection: Connection, account_id: int, node: str, configuration: Configuration) -> Audience:
    """Read it; most nodes have neither explicit subscriptions nor affiliations."""
    roster = configuration.access_model == "roster"
    return Audience(
        people.subscriptions(connection, account_id, node),
        people.affiliations(connection, account_id, node),
        people.groups(connection, account_id) if roster else {},
    )


def published(node: str, items: list[Item], payloads: bool) -> bytes:
    """The event of publication."""
    content = b"".join(written(item, payloads) for item in items)
    return _event(f"<items node='{escape(node)}'>".encode() + content + b"</items>")


def retracted(node: str, ids: list[str]) -> bytes:
    """The event of retraction."""
    content = "".join(f"<retract id='{escape(id)}'/>" for id in ids)
    return _event(f"<items node='{escape(node)}'>{content}</items>".encode())


def purged(node: str) -> bytes:
    """The event of all items' removal."""
    return _event(f"<purge node='{escape(node)}'/>".encode())


def deleted(node: str, elsewhere: str = "") -> bytes:
    """The event of the node's removal; `elsewhere` is the URI of what takes its place."""
    redirect = f"<redirect uri='{escape(elsewhere)}'/>" if elsewhere else ""
    return _event(f"<delete node='{escape(node)}'>{redirect}</delete>".encode())


def configured(node: str, configuration: Configuration) -> bytes:
    """The event of another configuration."""
    content = b""
    if configuration.deliver_payloads:
        told = form(configuration)
        told.set("type", "result")
        content = serialise(told, EVENT)
    return _event(f"<configuration node='{escape(node)}'>".encode() + content + b"</configuration>")


def written(item: Item, payload: bool = True) -> bytes:
    """An item as it stands in events and answers."""
    head = f"<item id='{escape(item.id)}'"
    if not payload or not item.xml:
        return (head + "/>").encode()
    return (head + ">").encode() + item.xml + b"</item>"


def _event(content: bytes) -> bytes:
    return f"<event xmlns='{EVENT}'>".encode() + content + b"</event>"


@cache
def _prefix() -> str:
    """Of all ids of this start, which are others than those of the last."""
    return secrets.token_hex(3)


def message(owner: JID, to: JID, content: bytes, type: str = "headline") -> Stanza:
    """A notification."""
    id = f"pubsub{_prefix()}{next(_ids):x}"
    children = (f"{EVENT} event",)
    return Stanza.build("message", to=to, from_=owner, type=type, id=id, content=content, children=children)


def last_message(owner: JID, to: JID, node: str, configuration: Configuration, item: Item) -> Stanza:
    """The last item of a node, for who is new (XEP-0163 §4.3.4)."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(item.published))
    content = published(node, [item], configuration.deliver_payloads)
    content += f"<delay xmlns='urn:xmpp:delay' stamp='{stamp}'/>".encode()
    return message(owner, to, content, configuration.notification_type)


def recipients(
    router: Router, account: LiveAccount, node: str, configuration: Configuration, told: Audience
) -> Iterator[JID]:
    """The addresses to which a notification goes, each once."""

    def may_read(contact: JID) -> bool:
        if contact == account.jid:
            return readable(configuration, OWNER)
        return readable(
            configuration,
            Standing(
                contact in account.subscribers,
                told.groups.get(contact, ()),
                told.affiliations.get(contact, "none"),
            ),
        )

    reached: set[JID] = set()
    for contact in (account.jid, *account.subscribers):
        clients = list(_wanting(router, account, contact, node))
        if clients and may_read(contact):
            reached.add(contact)
            reached.update(clients)
            yield from clients
    for jid in told.subscriptions:
        if jid not in reached and may_read(jid.bare):
            yield jid


def _wanting(router: Router, account: LiveAccount, contact: JID, node: str) -> Iterator[JID]:
    """The available resources of a contact that want to hear of a node of the account."""
    there = router.table.account(contact)
    if there is not None:
        for session in there.sessions.values():
            if session.available and node in interests(session):
                yield session.jid
    else:
        yield from wanting(account, contact, node)


def tell(
    router: Router,
    account: LiveAccount,
    node: str,
    configuration: Configuration,
    told: Audience,
    content: bytes,
) -> None:
    """Send an event to all who are to be told."""
    if not configuration.deliver_notifications:
        return
    for jid in list(recipients(router, account, node, configuration, told)):
        send(router, account, message(account.jid, jid, content, configuration.notification_type))


def send(router: Router, account: LiveAccount, stanza: Stanza) -> None:
    """Send a notification of `account`, unless somebody is in the way."""
    if lets_out(account, stanza):
        router.route(stanza)
