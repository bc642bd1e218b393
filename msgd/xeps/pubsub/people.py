"""Who is what at a node, in the database: affiliations, explicit subscriptions, the owner's roster.

As in `store.py`, every function runs inside one job, and nothing here decides who may do what.
"""

from __future__ import annotations

import json
from typing import Final

from sqlalchemy import BindParameter, bindparam, delete, select

from msgd.storage import schema
from msgd.storage.database import Connection
from msgd.storage.statements import upsert
from msgd.wire.jid import JID
from msgd.xeps.pubsub.access import Standing

_affiliation, _subscription = schema.pubsub_affiliation, schema.pubsub_subscription
_roster = schema.roster_item
_OWNER: Final[BindParameter[int]] = bindparam("account_id")
_NAME: Final[BindParameter[str]] = bindparam("name")
_JID: Final[BindParameter[str]] = bindparam("jid")

_AFFILIATION: Final = select(_affiliation.c.affiliation).where(
    _affiliation.c.account_id == _OWNER, _affiliation.c.node == _NAME, _affiliation.c.jid == _JID
)
_AFFILIATIONS: Final = select(_affiliation.c.jid, _affiliation.c.affiliation).where(
    _affiliation.c.account_id == _OWNER, _affiliation.c.node == _NAME
)
_AFFILIATIONS_OF: Final = select(_affiliation.c.node, _affiliation.c.affiliation).where(
    _affiliation.c.account_id == _OWNER, _affiliation.c.jid == _JID
)
_AFFILIATE: Final = upsert(_affiliation, "affiliation")
_DISMISS: Final = delete(_affiliation).where(
    _affiliation.c.account_id == _OWNER, _affiliation.c.node == _NAME, _affiliation.c.jid == _JID
)
_SUBSCRIPTIONS: Final = select(_subscription.c.jid).where(
    _subscription.c.account_id == _OWNER, _subscription.c.node == _NAME
)
_ALL_SUBSCRIPTIONS: Final = select(_subscription.c.node, _subscription.c.jid).where(
    _subscription.c.account_id == _OWNER
)
_SUBSCRIBE: Final = upsert(_subscription)
_UNSUBSCRIBE: Final = delete(_subscription).where(
    _subscription.c.account_id == _OWNER, _subscription.c.node == _NAME, _subscription.c.jid == _JID
)
_CONTACT: Final = select(_roster.c.subscription, _roster.c.groups).where(
    _roster.c.account_id == _OWNER, _roster.c.jid == _JID
)
_GROUPS: Final = select(_roster.c.jid, _roster.c.groups).where(_roster.c.account_id == _OWNER)


def standing(connection: Connection, account_id: int, name: str, jid: JID) -> Standing:
    """What `jid` (bare) is to the owner of a node."""
    key: dict[str, object] = {"account_id": account_id, "jid": str(jid)}
    contact = connection.one(_CONTACT, key)
    affiliation = connection.one(_AFFILIATION, {**key, "name": name})
    return Standing(
        contact is not None and contact[0] in ("from", "both"),
        tuple(json.loads(contact[1])) if contact is not None else (),
        affiliation[0] if affiliation is not None else "none",
    )


def affiliations(connection: Connection, account_id: int, name: str) -> dict[JID, str]:
    """Who is a member or an outcast of a node."""
    found = connection.all(_AFFILIATIONS, {"account_id": account_id, "name": name})
    return {JID.parse(jid): affiliation for jid, affiliation in found}


def affiliations_of(connection: Connection, account_id: int, jid: JID) -> dict[str, str]:
    """What somebody is at the nodes of an account."""
    return dict(connection.all(_AFFILIATIONS_OF, {"account_id": account_id, "jid": str(jid)}))


def affiliate(connection: Connection, account_id: int, name: str, jid: JID, affiliation: str) -> None:
    """Make somebody a member or an outcast, or with 'none' neither."""
    row = {"account_id": account_id, "jid": str(jid)}
    if affiliation == "none":
        connection.run(_DISMISS, {**row, "name": name})
    else:
        connection.run(_AFFILIATE, {**row, "node": name, "affiliation": affiliation})


def subscriptions(connection: Connection, account_id: int, name: str) -> list[JID]:
    """Who asked to be subscribed to a node."""
    found = connection.all(_SUBSCRIPTIONS, {"account_id": account_id, "name": name})
    return [JID.parse(jid) for (jid,) in found]


def all_subscriptions(connection: Connection, account_id: int) -> list[tuple[str, JID]]:
    """The same for all nodes of the account."""
    return [
        (name, JID.parse(jid)) for name, jid in connection.all(_ALL_SUBSCRIPTIONS, {"account_id": account_id})
    ]


def subscribe(connection: Connection, account_id: int, name: str, jid: JID) -> None:
    """Subscribe an address to a node."""
    connection.run(_SUBSCRIBE, {"account_id": account_id, "node": name, "jid": str(jid)})


def unsubscribe(connection: Connection, account_id: int, name: str, jid: JID) -> bool:
    """Undo it; False when it was not subscribed."""
    return connection.run(_UNSUBSCRIBE, {"account_id": account_id, "name": name, "jid": str(jid)}) > 0


def groups(connection: Connection, account_id: int) -> dict[JID, tuple[str, ...]]:
    """The roster groups of all contacts."""
    found = connection.all(_GROUPS, {"account_id": account_id})
    return {JID.parse(jid): tuple(json.loads(text)) for jid, text in found}
