"""The nodes of accounts: everything that changes or reads them, for clients and for other extensions.

Each method is one job of the database, in which everything is looked at and done, and then the notifications,
in the order of the jobs. Who may ask is decided by those who call, but for reading.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from msgd.accounts.uses import Uses, mark
from msgd.storage.database import Connection
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID
from msgd.xeps.pubsub import access, notices, store
from msgd.xeps.pubsub.access import Standing
from msgd.xeps.pubsub.configuration import Configuration, agreed, configured, default, keeping_rules
from msgd.xeps.pubsub.errors import no_node, pubsub_error
from msgd.xeps.pubsub.notices import Audience
from msgd.xeps.pubsub.store import Item

if TYPE_CHECKING:
    from msgd.routing.account import LiveAccount
    from msgd.routing.router import Router

#: Characters of a node's name, and of an item's id: as long as the longest part of an address.
LONGEST_NAME: Final = 1023
#: Explicit subscriptions to one node, and its members and outcasts together.
MOST_SUBSCRIPTIONS: Final = 1000
MOST_AFFILIATIONS: Final = 1000

T = TypeVar("T")
#: Options of a form, by name.
Options = dict[str, list[str]]


class Told(NamedTuple):
    """What is left to do when a change is written: whom to tell what."""

    configuration: Configuration
    audience: Audience


class Service:
    """The nodes of all accounts here. Holds nothing, so each extension may have one."""

    def __init__(self, router: Router) -> None:
        self._router = router

    # -- nodes ---------------------------------------------------------------------------------

    async def create(self, account: LiveAccount, node: str, options: Options | None) -> None:
        """Make a node (XEP-0060 §8.1). Raises StanzaError."""

        def work(connection: Connection) -> None:
            if store.node(connection, account.id, node) is not None:
                raise StanzaError("conflict", "there is such a node")
            self._add(connection, account.id, node, options, strict=False)

        await self._router.database.write(work)
        account.uses |= Uses.PEP

    async def configure(self, account: LiveAccount, node: str, options: Options) -> None:
        """Configure a node that exists (§8.2.4)."""
        most = self._router.config.pubsub.items

        def work(connection: Connection) -> Told:
            before = _existing(connection, account.id, node)
            after = keeping_rules(node, configured(before, options, most))
            store.configure(connection, account.id, node, after)
            if not after.persist_items:
                store.purge(connection, account.id, node)
            store.evict(connection, account.id, node, after.max_items or most)
            return Told(after, notices.audience(connection, account.id, node, after))

        done = await self._router.database.write(work)
        if done.configuration.notify_config:
            self._tell(account, node, done, notices.configured(node, done.configuration))

    async def delete(self, account: LiveAccount, node: str) -> None:
        """Delete a node and its items (§8.4)."""

        def work(connection: Connection) -> tuple[Told, bool]:
            configuration = _existing(connection, account.id, node)
            told = notices.audience(connection, account.id, node, configuration)
            store.remove_node(connection, account.id, node)
            last = not store.count_nodes(connection, account.id)
            if last:
                mark(connection, account.id, Uses.PEP, False)
            return Told(configuration, told), last

        done, last = await self._router.database.write(work)
        if last:
            account.uses &= ~Uses.PEP
        if done.configuration.notify_delete:
            self._tell(account, node, done, notices.deleted(node))

    async def purge(self, account: LiveAccount, node: str) -> None:
        """Delete the items of a node (§8.5)."""

        def work(connection: Connection) -> Told:
            configuration = _existing(connection, account.id, node)
            store.purge(connection, account.id, node)
            return Told(configuration, notices.audience(connection, account.id, node, configuration))

        done = await self._router.database.write(work)
        if done.configuration.notify_retract:
            self._tell(account, node, done, notices.purged(node))

    # -- items ---------------------------------------------------------------------------------

    async def publish(
        self,
        account: LiveAccount,
        node: str,
        items: Sequence[tuple[str, bytes]],
        options: Options | None = None,
    ) -> list[Item]:
        """Publish items, each an id (may be empty) and a payload; the node is made if need be (§7.1).

        `options` are those of §7.1.5. The items with their ids. Raises StanzaError.
        """
        now = int(time.time())
        made = [Item(id or secrets.token_hex(8), now, xml) for id, xml in items]
        done = await self._router.database.write(
            lambda connection: self._publish(connection, account.id, node, made, options)
        )
        account.uses |= Uses.PEP
        self._tell(account, node, done, notices.published(node, made, done.configuration.deliver_payloads))
        return made

    def _publish(
        self, connection: Connection, account_id: int, node: str, items: list[Item], options: Options | None
    ) -> Told:
        limits = self._router.config.pubsub
        configuration = store.node(connection, account_id, node)
        if configuration is None:
            configuration = self._add(connection, account_id, node, options, strict=True)
        elif options:
            after = agreed(node, configuration, options, limits.items)
            if after != configuration:
                store.configure(connection, account_id, node, after)
                configuration = after
        most = configuration.max_items or limits.items
        if len(items) > most:
            raise pubsub_error("not-allowed", "max-items-exceeded", f"a node keeps {most} items")
        if configuration.persist_items:
            for item in items:
                store.put(connection, account_id, node, item)
            store.evict(connection, account_id, node, most)
            if store.size(connection, account_id) > limits.size:
                raise StanzaError("resource-constraint", "too much is published", type="cancel")
        return Told(configuration, notices.audience(connection, account_id, node, configuration))

    def _add(
        self, connection: Connection, account_id: int, node: str, options: Options | None, strict: bool
    ) -> Configuration:
        limits = self._router.config.pubsub
        count = store.count_nodes(connection, account_id)
        if count >= limits.nodes:
            raise StanzaError("resource-constraint", f"at most {limits.nodes} nodes", type="cancel")
        configuration = configured(default(node), options or {}, limits.items, strict)
        configuration = keeping_rules(node, configuration)
        store.add_node(connection, account_id, node, configuration)
        if not count:
            mark(connection, account_id, Uses.PEP, True)
        return configuration

    async def retract(self, account: LiveAccount, node: str, ids: Sequence[str], notify: bool) -> None:
        """Delete items by their ids (§7.2); `notify`: whatever the node's configuration says."""

        def work(connection: Connection) -> Told:
            configuration = _existing(connection, account.id, node)
            for id in ids:
                if not store.retract(connection, account.id, node, id):
                    raise StanzaError("item-not-found", "no such item")
            return Told(configuration, notices.audience(connection, account.id, node, configuration))

        done = await self._router.database.write(work)
        if notify or done.configuration.notify_retract:
            self._tell(account, node, done, notices.retracted(node, list(ids)))

    def _tell(self, account: LiveAccount, node: str, told: Told, content: bytes) -> None:
        notices.tell(self._router, account, node, told.configuration, told.audience, content)

    async def subscribe(
        self, account: LiveAccount, node: str, jid: JID, work: Callable[[Connection], None]
    ) -> None:
        """Do `work`, which subscribes `jid`, and send it the last item (§6.1.7)."""

        def look(connection: Connection) -> tuple[Configuration, list[Item]]:
            configuration = _existing(connection, account.id, node)
            return configuration, store.newest(connection, account.id, node, 1)

        if not account.uses & Uses.PEP:
            raise no_node()
        await self.write(work)
        configuration, items = await self.look(look)
        if items and configuration.send_last_published_item != "never":
            stanza = notices.last_message(account.jid, jid, node, configuration, items[0])
            # Behind the answer, which leaves when the request's coroutine is through.
            self._router.clock.callLater(0, notices.send, self._router, account, stanza)

    # -- reading -------------------------------------------------------------------------------

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Do a job of which nobody is told."""
        return await self._router.database.write(work)

    async def look(self, work: Callable[[Connection], T]) -> T:
        """Do a job that only reads."""
        return await self._router.database.read(work)

    async def read(
        self,
        account: LiveAccount,
        node: str,
        asker: JID,
        look: Callable[[Connection, int, str], T],
    ) -> T:
        """What `look` finds in a node, if `asker` may read it (§6.5). Raises StanzaError."""

        def work(connection: Connection) -> T:
            configuration = _existing(connection, account.id, node)
            refused = access.refusal(configuration, who(connection, account, node, asker))
            if refused is not None:
                raise refused
            return look(connection, account.id, node)

        if not account.uses & Uses.PEP:
            raise no_node()
        return await self._router.database.read(work)


def who(connection: Connection, account: LiveAccount, node: str, asker: JID) -> Standing:
    """What somebody is to the owner of a node."""
    bare = asker.bare
    return access.OWNER if bare == account.jid else store.standing(connection, account.id, node, bare)


def _existing(connection: Connection, account_id: int, node: str) -> Configuration:
    configuration = store.node(connection, account_id, node)
    if configuration is None:
        raise no_node()
    return configuration
