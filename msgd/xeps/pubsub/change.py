"""One change of an account's nodes: everything that belongs together, in one job of the database.

`Service.change` begins it; methods look at what is there, write, and note in `after` what is to be done when
all of it is committed: the notifications, in their order. An extension that keeps a node consistent with
something else (`Extension.nodes`) follows within the same job, so there is never one without the other.
Who may ask is decided by those who call.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from msgd.accounts.uses import Uses, mark
from msgd.storage.database import Connection
from msgd.wire.errors import StanzaError
from msgd.xeps.pubsub import notices, store
from msgd.xeps.pubsub.configuration import Configuration, configured
from msgd.xeps.pubsub.errors import no_node, pubsub_error
from msgd.xeps.pubsub.rules import agreed, default, reconfigured, sound
from msgd.xeps.pubsub.store import Item

if TYPE_CHECKING:
    from msgd.routing.account import LiveAccount
    from msgd.routing.router import Router

#: Characters of a node's name, and of an item's id: as long as the longest part of an address.
LONGEST_NAME: Final = 1023
#: Options of a form, by name.
Options = dict[str, list[str]]


class Follower(Protocol):
    """An extension with something to do when certain nodes change."""

    def follow(self, change: Change, node: str, published: Sequence[Item]) -> None:
        """Called within the job, when `node` is changed; `published` is empty when something went away.

        Raises StanzaError to refuse it all.
        """


class Change:
    """See the module's text. `connection` and `account` are for those who follow."""

    def __init__(self, router: Router, connection: Connection, account: LiveAccount) -> None:
        self.router = router
        self.connection = connection
        self.account = account
        #: What is to be done when it is committed.
        self.after: list[Callable[[], None]] = []

    # -- nodes ---------------------------------------------------------------------------------

    def existing(self, node: str) -> Configuration:
        """The configuration of a node. Raises StanzaError where there is none."""
        configuration = store.node(self.connection, self.account.id, node)
        if configuration is None:
            raise no_node()
        return configuration

    def create(self, node: str, options: Options | None, strict: bool = False) -> Configuration:
        """Make a node that is not there (XEP-0060 §8.1); `strict` options are all to be known."""
        limits = self.router.config.pubsub
        if store.node(self.connection, self.account.id, node) is not None:
            raise StanzaError("conflict", "there is such a node")
        count = store.count_nodes(self.connection, self.account.id)
        if count >= limits.nodes:
            raise StanzaError("resource-constraint", f"at most {limits.nodes} nodes", type="cancel")
        wanted = configured(default(node), options or {}, limits.items, strict)
        configuration = sound(node, wanted)
        store.add_node(self.connection, self.account.id, node, configuration)
        if not count:
            self._use(True)
        return configuration

    def configure(self, node: str, options: Options) -> None:
        """Configure a node that exists (§8.2.4)."""
        most = self.router.config.pubsub.items
        before = self.existing(node)
        after = reconfigured(node, before, options, most)
        store.configure(self.connection, self.account.id, node, after)
        if not after.persist_items:
            store.purge(self.connection, self.account.id, node)
        store.evict(self.connection, self.account.id, node, after.max_items or most)
        if after.notify_config:
            self._tell(node, after, notices.configured(node, after))
        self._followed(node, ())

    def delete(self, node: str, elsewhere: str = "") -> None:
        """Delete a node and its items (§8.4); `elsewhere` is the URI of what takes its place."""
        configuration = self.existing(node)
        if configuration.notify_delete:
            self._tell(node, configuration, notices.deleted(node, elsewhere))
        store.remove_node(self.connection, self.account.id, node)
        if not store.count_nodes(self.connection, self.account.id):
            self._use(False)
        self._followed(node, ())

    def purge(self, node: str) -> None:
        """Delete the items of a node (§8.5)."""
        configuration = self.existing(node)
        store.purge(self.connection, self.account.id, node)
        if configuration.notify_retract:
            self._tell(node, configuration, notices.purged(node))
        self._followed(node, ())

    # -- items ---------------------------------------------------------------------------------

    def publish(
        self,
        node: str,
        items: Sequence[tuple[str, bytes]],
        options: Options | None = None,
        followed: bool = True,
    ) -> list[Item]:
        """Publish items, each an id (may be empty) and a payload; the node is made if need be (§7.1).

        `options` are those of §7.1.5. The items with their ids. Raises StanzaError.
        """
        now = int(time.time())
        made = [Item(id or secrets.token_hex(8), now, xml) for id, xml in items]
        configuration = self._published_to(node, options)
        _check(configuration, made)
        self._keep(node, configuration, made)
        self._tell(node, configuration, notices.published(node, made, configuration.deliver_payloads))
        if followed:
            self._followed(node, made)
        return made

    def _published_to(self, node: str, options: Options | None) -> Configuration:
        configuration = store.node(self.connection, self.account.id, node)
        if configuration is None:
            return self.create(node, options, strict=True)
        after = agreed(node, configuration, options or {}, self.router.config.pubsub.items)
        if after != configuration:
            store.configure(self.connection, self.account.id, node, after)
        return after

    def _keep(self, node: str, configuration: Configuration, items: list[Item]) -> None:
        limits = self.router.config.pubsub
        most = configuration.max_items or limits.items
        if len(items) > most:
            raise pubsub_error("not-allowed", "max-items-exceeded", f"a node keeps {most} items")
        if configuration.persist_items:
            for item in items:
                store.put(self.connection, self.account.id, node, item)
            store.evict(self.connection, self.account.id, node, most)
            if store.size(self.connection, self.account.id) > limits.size:
                raise StanzaError("resource-constraint", "too much is published", type="cancel")

    def retract(self, node: str, ids: Sequence[str], notify: bool = False, followed: bool = True) -> None:
        """Delete items by their ids (§7.2); `notify`: whatever the node's configuration says."""
        configuration = self.existing(node)
        for id in ids:
            if not store.retract(self.connection, self.account.id, node, id):
                raise no_node("no such item")
        if notify or configuration.notify_retract:
            self._tell(node, configuration, notices.retracted(node, list(ids)))
        if followed:
            self._followed(node, ())

    # -- what follows --------------------------------------------------------------------------

    def _tell(self, node: str, configuration: Configuration, content: bytes) -> None:
        if configuration.deliver_notifications:
            told = notices.audience(self.connection, self.account.id, node, configuration)
            self.after.append(
                lambda: notices.tell(self.router, self.account, node, configuration, told, content)
            )

    def _followed(self, node: str, published: Sequence[Item]) -> None:
        follower: Follower | None = self.router.extensions.follower(node)
        if follower is not None:
            follower.follow(self, node, published)

    def _use(self, on: bool) -> None:
        """Note whether the account has nodes."""
        mark(self.connection, self.account.id, Uses.PEP, on)
        self.after.append(lambda: self._used(on))

    def _used(self, on: bool) -> None:
        self.account.uses = self.account.uses | Uses.PEP if on else self.account.uses & ~Uses.PEP
        self.router.note("nodes-kept", self.account, on)


def _check(configuration: Configuration, items: Sequence[Item]) -> None:
    """§7.1.3.6: whether items are what the node is for."""
    if not configuration.persist_items and not configuration.deliver_payloads:
        if items:
            raise pubsub_error("bad-request", "item-forbidden", "the node says only that something happened")
    elif not items:
        raise pubsub_error("bad-request", "item-required")
    elif configuration.deliver_payloads and not all(item.xml for item in items):
        raise pubsub_error("bad-request", "payload-required")
