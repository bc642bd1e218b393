"""The nodes of accounts: how they are changed and read, for clients and for other extensions.

Each change is one job of the database, in which everything is looked at and done, and then the notifications,
in the order of the jobs. Who may ask is decided by those who call, but for reading.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from msgd.accounts.uses import Uses
from msgd.storage.database import Connection
from msgd.wire.jid import JID
from msgd.xeps.pubsub import access, notices, people, store
from msgd.xeps.pubsub.access import Standing
from msgd.xeps.pubsub.change import Change
from msgd.xeps.pubsub.configuration import Configuration
from msgd.xeps.pubsub.errors import no_node
from msgd.xeps.pubsub.store import Item

if TYPE_CHECKING:
    from msgd.routing.account import LiveAccount
    from msgd.routing.router import Router

#: Explicit subscriptions to one node, and its members and outcasts together.
MOST_SUBSCRIPTIONS: Final = 1000
MOST_AFFILIATIONS: Final = 1000

T = TypeVar("T")


class Service:
    """The nodes of all accounts here. Holds nothing, so each extension may have one."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def change(self, account: LiveAccount, work: Callable[[Change], T]) -> T:
        """Do `work` in one job, tell who is to be told. Raises StanzaError, and nothing has changed then."""

        def job(connection: Connection) -> tuple[T, Change]:
            change = Change(self._router, connection, account)
            return work(change), change

        result, change = await self._router.database.write(job)
        for action in change.after:
            action()
        return result

    async def subscribe(
        self, account: LiveAccount, node: str, jid: JID, work: Callable[[Connection], None]
    ) -> None:
        """Do `work`, which subscribes `jid`, and send it the last item (§6.1.7)."""

        def look(connection: Connection) -> tuple[Configuration, list[Item]]:
            configuration = existing(connection, account.id, node)
            return configuration, store.newest(connection, account.id, node, 1)

        if not account.uses & Uses.PEP:
            raise no_node()
        await self.write(work)
        configuration, items = await self.look(look)
        if items and configuration.send_last_published_item != "never":
            stanza = notices.last_message(account.jid, jid, node, configuration, items[0])
            # Behind the answer, which leaves when the request's coroutine is through.
            self._router.clock.callLater(0, notices.send, self._router, account, stanza)

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
            configuration = existing(connection, account.id, node)
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
    return access.OWNER if bare == account.jid else people.standing(connection, account.id, node, bare)


def existing(connection: Connection, account_id: int, node: str) -> Configuration:
    """The configuration of a node. Raises StanzaError where there is none."""
    configuration = store.node(connection, account_id, node)
    if configuration is None:
        raise no_node()
    return configuration
