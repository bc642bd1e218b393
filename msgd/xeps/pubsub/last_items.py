"""The last items of nodes, for who has just come or become interested (XEP-0163 §4.3.4).

One read finds what is wanted, whosever it is; what it finds is sent at the pace of the client, as somebody
with many contacts gets some thousand messages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from twisted.internet.defer import Deferred

from msgd.accounts.uses import Uses
from msgd.routing.hooks import lets_out
from msgd.storage.database import Connection
from msgd.wire.jid import JID
from msgd.xeps.pubsub import access, people, store
from msgd.xeps.pubsub.configuration import Configuration
from msgd.xeps.pubsub.notices import last_message
from msgd.xeps.pubsub.store import Item

if TYPE_CHECKING:
    from msgd.routing.account import LiveAccount
    from msgd.routing.router import Router
    from msgd.routing.session import Session

#: Owners looked at in one read, so that others' reads come between.
_OWNERS: Final = 100
#: Seconds after which a client that had too much to do is looked at again.
_PAUSE: Final = 0.2


class Found(NamedTuple):
    """The last item of a node."""

    owner: JID
    node: str
    configuration: Configuration
    item: Item
    blocking: bool


async def send_last_items(
    router: Router, session: Session, owners: Iterable[JID], wanted: Collection[str]
) -> None:
    """Send a session the last items of those nodes of `owners` (bare JIDs) that are `wanted`."""
    asker = session.account.jid
    candidates = [owner for owner in owners if _may_have_nodes(router, owner)]
    for start in range(0, len(candidates), _OWNERS):
        some = candidates[start : start + _OWNERS]
        for found in await router.database.read(lambda c, some=some: last_items(c, some, asker, wanted)):  # type: ignore[misc]  # the default binds the loop's variable
            while session.congested() and not session.ended:
                await _pause(router)
            if session.ended or not session.available:
                return
            stanza = last_message(found.owner, session.jid, found.node, found.configuration, found.item)
            owner = await router.load(found.owner) if found.blocking else router.table.account(found.owner)
            if owner is None or lets_out(owner, stanza):
                router.route(stanza)


async def send_last_items_elsewhere(
    router: Router, account: LiveAccount, jid: JID, wanted: Collection[str]
) -> None:
    """Send `jid`, a client of a contact in another domain, the last items of the account's `wanted` nodes."""

    def look(connection: Connection) -> list[Found]:
        return last_items(connection, (account.jid,), jid.bare, wanted)

    for found in await router.database.read(look):
        stanza = last_message(account.jid, jid, found.node, found.configuration, found.item)
        if lets_out(account, stanza):
            router.route(stanza)


def _may_have_nodes(router: Router, owner: JID) -> bool:
    """Accounts in memory say so themselves; other servers send what they have."""
    if not router.table.is_local(owner.domain):
        return False
    account = router.table.account(owner)
    return account is None or bool(account.uses & Uses.PEP)


def _pause(router: Router) -> Deferred[None]:
    waiting: Deferred[None] = Deferred()
    router.clock.callLater(_PAUSE, waiting.callback, None)
    return waiting


def last_items(
    connection: Connection, owners: Iterable[JID], asker: JID, wanted: Collection[str]
) -> list[Found]:
    """The last items of `wanted` nodes that `asker` (bare) may read and that are sent to who comes."""
    found = []
    for owner in owners:
        account = store.account(connection, owner)
        if account is None or not account[1] & Uses.PEP:
            continue
        account_id, blocking = account[0], bool(account[1] & Uses.BLOCKING)
        for node, configuration in store.nodes(connection, account_id).items():
            if node not in wanted or not _is_sent(configuration):
                continue
            standing = (
                access.OWNER if owner == asker else people.standing(connection, account_id, node, asker)
            )
            if access.readable(configuration, standing):
                items = store.newest(connection, account_id, node, 1)
                found += [Found(owner, node, configuration, item, blocking) for item in items]
    return found


def _is_sent(configuration: Configuration) -> bool:
    return (
        configuration.deliver_notifications
        and configuration.send_last_published_item == "on_sub_and_presence"
    )
