"""The routing table: which addresses are ours, and where they lead.

Accounts are loaded when they are first needed. Those with sessions stay; of the others the most
recently used are remembered, so that a message for somebody absent costs no look-up each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from sqlalchemy import bindparam, exists, func, select
from twisted.internet.defer import Deferred

from msgd.accounts.uses import Uses
from msgd.coroutines import begin
from msgd.routing import roster_store
from msgd.routing.account import LiveAccount
from msgd.routing.destination import Destination
from msgd.routing.session import Session
from msgd.storage import schema
from msgd.storage.database import Connection, Database, DatabaseFault
from msgd.wire.jid import JID

_account = schema.account
#: The account, and whether there is anything to be read of what few accounts have.
_FIND: Final = select(
    _account.c.id,
    _account.c.uses,
    roster_store.anything_waits(_account.c.id),
    exists().where(schema.spool.c.account_id == _account.c.id, schema.WAITING),
).where(_account.c.domain == bindparam("domain"), _account.c.name == bindparam("name"))
_STORED: Final = select(
    func.count(), func.coalesce(func.sum(schema.spool.c.size), 0)
).where(schema.spool.c.account_id == bindparam("account_id"), schema.WAITING)  # fmt: skip


class Loader(Protocol):
    """Who reads more of an account that uses something."""

    def load(self, connection: Connection, account: LiveAccount) -> None:
        """Called within the look-up, perhaps in another thread; nobody else knows the account yet."""


class Table:
    """Domains, accounts and sessions of this server."""

    def __init__(self, database: Database, domains: list[JID], remembered: int) -> None:
        self.domains = frozenset(domains)
        #: Who takes the stanzas for domains that are not ours, and for all others.
        self.destinations: dict[str, Destination] = {}
        self.elsewhere: Destination  # set by the router
        #: Who reads more of accounts that use something, and of those that do not: extensions add themselves.
        self.loaders: list[tuple[Uses, Loader]] = []
        self.default_loaders: list[tuple[Uses, Loader]] = []
        self._database = database
        self._remembered = remembered
        self._accounts: dict[JID, LiveAccount] = {}
        self._idle: dict[JID, None] = {}  # of those, the ones without sessions, oldest first
        self._loading: dict[JID, list[Deferred[LiveAccount | None]]] = {}

    def is_local(self, domain: str) -> bool:
        """Whether `domain` is one of this server's own, with accounts."""
        return domain in self.domains

    def destination(self, domain: str) -> Destination:
        """Who takes the stanzas for `domain`, which is not local."""
        return self.destinations.get(domain, self.elsewhere)

    def account(self, bare: JID) -> LiveAccount | None:
        """The account, if it is in memory."""
        return self._accounts.get(bare)

    def ready(self, bare: JID) -> LiveAccount | None:
        """The account, if it is in memory and nothing waits for it; else `load` keeps the order."""
        return self._accounts.get(bare) if bare not in self._loading else None

    def session(self, full: JID) -> Session | None:
        """The session with exactly this address."""
        account = self._accounts.get(full.bare)
        return account.sessions.get(full.resource) if account is not None else None

    def sessions(self) -> Iterator[Session]:
        """All sessions, those included that wait to be resumed."""
        for account in list(self._accounts.values()):
            yield from list(account.sessions.values())

    def accounts(self) -> Iterator[LiveAccount]:
        """All accounts in memory."""
        yield from list(self._accounts.values())

    def load(self, bare: JID) -> Deferred[LiveAccount | None]:
        """The account, read from the database where it has to be; None when there is none.

        Results come in the order of the calls for one account. Fails with DatabaseFault.
        """
        waiting: Deferred[LiveAccount | None] = Deferred()
        known = self._accounts.get(bare)
        if known is not None:
            waiting.callback(known)
        elif bare in self._loading:
            self._loading[bare].append(waiting)
        else:
            self._loading[bare] = [waiting]
            reading = self._database.look_up(lambda c: self._read(c, bare))
            begin(reading, lambda account: self._loaded(bare, account), lambda e: self._not_loaded(bare, e))
        return waiting

    def load_now(self, accounts: Iterable[JID]) -> None:
        """As `load`, of many and at once: for start-up. Afterwards `account` knows those that there are."""
        wanted = [bare for bare in accounts if bare not in self._accounts]

        def read(connection: Connection) -> None:
            for bare in wanted:
                found = self._read(connection, bare)
                if found is not None:
                    self._accounts[bare] = found

        self._database.read_now(read)

    def waiting_for(self, bare: JID) -> int:
        """How many wait for this look-up."""
        return len(self._loading.get(bare, ()))

    @property
    def loading(self) -> int:
        """Accounts that are being looked up."""
        return len(self._loading)

    async def settled(self) -> None:
        """Wait until nothing is being looked up; what waited for that has gone its way then."""
        while self._loading:
            try:
                await self.load(next(iter(self._loading)))
            except DatabaseFault:
                pass  # those who wait for it are told

    def _loaded(self, bare: JID, account: LiveAccount | None) -> None:
        if account is not None:
            account = self._accounts.setdefault(bare, account)
            self.cool(account)
        for waiting in self._loading.pop(bare):
            waiting.callback(account)

    def _not_loaded(self, bare: JID, error: Exception) -> None:
        for waiting in self._loading.pop(bare):
            waiting.errback(error)

    def add(self, session: Session) -> None:
        """Enter a session under its address."""
        account = session.account
        self._accounts[account.jid] = account
        self._idle.pop(account.jid, None)
        account.sessions[session.jid.resource] = session

    def remove(self, session: Session) -> None:
        """Take a session out; another that took over its address stays."""
        sessions = session.account.sessions
        if sessions.get(session.jid.resource) is session:
            del sessions[session.jid.resource]
        self.cool(session.account)

    def cool(self, account: LiveAccount) -> None:
        """An account may be forgotten when nothing in memory hangs on it."""
        if account.sessions or account.jid not in self._accounts:
            return
        self._idle.pop(account.jid, None)
        self._idle[account.jid] = None
        while len(self._idle) > self._remembered:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            candidate = self._accounts.get(oldest)
            if candidate is not None and candidate.mailbox.idle and not candidate.sessions:
                del self._accounts[oldest]

    def forget(self, bare: JID) -> None:
        """The account is deleted: nothing of it stays in memory."""
        self._accounts.pop(bare, None)
        self._idle.pop(bare, None)

    def _read(self, connection: Connection, bare: JID) -> LiveAccount | None:
        found = connection.one(_FIND, {"domain": bare.domain, "name": bare.local})
        if found is None:
            return None
        id, uses, requests_wait, messages_wait = found
        account = LiveAccount(id, bare)
        account.waiting = requests_wait
        account.subscribers, account.subscriptions = roster_store.summary(connection, id)
        stored = connection.one(_STORED, {"account_id": id}) if messages_wait else None
        if stored is not None:
            account.mailbox.count, account.mailbox.size = stored
        if uses:
            account.uses = Uses(uses)
            for use, loader in self.loaders:
                if account.uses & use:
                    loader.load(connection, account)
        for use, loader in self.default_loaders:
            if not account.uses & use:
                loader.load(connection, account)
        return account
