"""The accounts of this server: who exists, whose password it is, and who is told when that changes.

Stands between the database and everything that asks for an account: negotiation at login, routing for
the addressee of a stanza, console and command line for their care. Keeps what was asked lately in memory,
until the login for which it was asked succeeds; names that have no account are kept and answered the same
way, so that time does not tell them apart.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar, cast

from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from msgd.accounts import store
from msgd.accounts.credentials import (
    FOR_PLAIN,
    ITERATIONS,
    LEAST_ITERATIONS,
    MOST_ITERATIONS,
    Verifier,
    is_password,
    new_verifiers,
    pretended_verifier,
)
from msgd.accounts.devices import Devices
from msgd.accounts.errors import AccountError
from msgd.accounts.passwords import prepare_password
from msgd.accounts.store import Account, AccountRecord
from msgd.storage.database import Connection, Database
from msgd.storage.secret import secret as stored_secret
from msgd.wire.jid import JID

__all__ = ["Account", "AccountError", "AccountRecord", "Accounts", "Reactor", "open_accounts"]

#: The longest account name in octets. An address may have 1023; no person types that, and names go
#: into lists, file names of exports and other services, many of which end at 255.
LONGEST_NAME = 255

#: Names kept in memory with their verifiers (about 2 KiB each), with or without an account.
CACHED_NAMES = 4096

#: Seconds after which a name is read again. What this process changes is seen at once; this is for
#: changes by others, such as `msgd user` on the database of a running server.
CACHED_SECONDS = 10.0

#: Computations of passwords that may wait for a thread (4 to 15 ms each), before more are refused.
MOST_WAITING = 100

_SECRET = "pretended verifiers"

_log = Logger()
_T = TypeVar("_T")


class Reactor(Protocol):
    """What the accounts need of Twisted's reactor, which besides is an IReactorFromThreads."""

    def seconds(self) -> float:
        """Return the time in seconds since 1970."""

    def getThreadPool(self) -> ThreadPool:
        """Return the threads for computations."""


class _Name:
    """What is known of one name until `expires`."""

    __slots__ = ("account", "expires", "pretended", "verifiers")

    def __init__(self, account: Account | None, verifiers: dict[str, Verifier], expires: float) -> None:
        self.account = account
        self.verifiers = verifiers
        self.pretended: dict[str, Verifier] = {}
        self.expires = expires


def open_accounts(database: Database, reactor: Reactor, iterations: int = ITERATIONS) -> "Accounts":
    """Return the accounts in `database`, with the server's secret for them. Blocks: for the start."""
    secret = database.write_now(lambda connection: stored_secret(connection, _SECRET))
    return Accounts(database, reactor, secret, iterations)


class Accounts:
    """The accounts in one database. All methods belong to the reactor's thread.

    `secret` is 32 random bytes that stay the same as long as the database. Every method that asks the
    database can raise DatabaseFault.
    """

    def __init__(
        self,
        database: Database,
        reactor: Reactor,
        secret: bytes,
        iterations: int = ITERATIONS,
        longest_name: int = LONGEST_NAME,
    ) -> None:
        if not LEAST_ITERATIONS <= iterations <= MOST_ITERATIONS:
            raise ValueError(f"iterations: {LEAST_ITERATIONS} to {MOST_ITERATIONS}")
        self._database = database
        self._reactor = reactor
        self._secret = secret
        self._iterations = iterations
        self._longest_name = longest_name
        self._names: dict[JID, _Name] = {}
        self._forgotten = 0
        self._waiting = 0
        #: Called after the commit with the bare address and "password", "disabled" or "deleted": its
        #: sessions have to end.
        self.changed: list[Callable[[JID, str], None]] = []
        #: Awaited with the bare address before an account is deleted: what is to be told of it
        #: afterwards has to be known before.
        self.leaving: list[Callable[[JID], Awaitable[object]]] = []
        #: The clients that name themselves when they log in.
        self.devices = Devices(database, reactor, secret)

    async def find(self, jid: JID) -> Account | None:
        """Return the account of an address (its resource does not matter), None if there is none."""
        return (await self._name(jid.bare)).account

    async def create(self, jid: JID, password: str) -> Account:
        """Make an account. Raises AccountError: jid-malformed, not-acceptable, conflict …"""
        self.check_address(jid)
        prepared = prepare_password(password)
        if await self._database.read(lambda connection: store.find(connection, jid)) is not None:
            raise AccountError("conflict", "the account exists already")
        verifiers = await self._compute(lambda: new_verifiers(prepared, self._iterations))
        now = int(self._reactor.seconds())
        return await self._change(jid, lambda c: store.add(c, jid, verifiers, now))

    async def set_password(self, jid: JID, password: str) -> None:
        """Give an account another password. Raises AccountError: item-not-found, not-acceptable …"""
        prepared = prepare_password(password)
        if await self._database.read(lambda connection: store.find(connection, jid)) is None:
            raise store.missing()
        verifiers = await self._compute(lambda: new_verifiers(prepared, self._iterations))
        now = int(self._reactor.seconds())
        await self._change(jid, lambda c: store.set_password(c, jid, verifiers, now), "password")

    async def disable(self, jid: JID) -> None:
        """Let an account log in no more; it keeps what it has. Raises AccountError: item-not-found."""
        await self._change(jid, lambda c: store.set_disabled(c, jid, True), "disabled")

    async def enable(self, jid: JID) -> None:
        """Let a disabled account log in again. Raises AccountError: item-not-found."""
        await self._change(jid, lambda c: store.set_disabled(c, jid, False))

    async def delete(self, jid: JID) -> None:
        """Delete an account with everything kept for it. Raises AccountError: item-not-found.

        Who gets the name afterwards is another account: nothing is kept by name.
        """
        for prepare in self.leaving:
            await prepare(jid.bare)
        await self._change(jid, lambda c: store.remove(c, jid), "deleted")

    async def list(self, domain: str, after: str = "", most: int = 1000) -> list[AccountRecord]:
        """Return up to `most` accounts of a domain in order of names, beginning behind `after`."""
        return await self._database.read(lambda c: store.list_accounts(c, domain, after, most))

    async def credential(self, jid: JID, mechanism: str) -> Verifier | None:
        """Return an account's verifier for a mechanism of `HASHES`, None if there is no account."""
        name = await self._name(jid)
        return None if name.account is None else name.verifiers.get(mechanism)

    async def for_login(self, jid: JID, mechanism: str) -> tuple[Account | None, Verifier]:
        """Return the account of a bare address and a verifier for a mechanism of `HASHES`.

        Without an account the verifier is one that no password fits, the same each time. Nobody who
        tries to log in may learn more before their proof is checked against it.
        """
        name = await self._name(jid)
        return name.account, self._verifier(jid, name, mechanism)

    def logged_in(self, jid: JID) -> None:
        """A login to a bare address succeeded: its verifiers need not be kept in memory for another."""
        self._names.pop(jid, None)

    async def check_password(self, jid: JID, password: str) -> Account | None:
        """Return the account if this is its password, None if it is not or there is no account.

        Raises AccountError "not-allowed" if it is and the account is disabled, "resource-constraint"
        when too many passwords wait to be checked.
        """
        try:
            prepared = prepare_password(password)
        except AccountError:
            return None
        name = await self._name(jid)
        verifier = self._verifier(jid, name, FOR_PLAIN)
        if not await self._compute(lambda: is_password(verifier, prepared)):
            return None
        if name.account is not None and name.account.disabled:
            raise AccountError("not-allowed", "the account is disabled")
        return name.account

    def check_address(self, jid: JID) -> None:
        """Raise AccountError "jid-malformed" unless `jid` can be the address of an account."""
        if not jid.local or jid.resource:
            raise AccountError("jid-malformed", "an account's address is name@domain")
        if len(jid.local.encode()) > self._longest_name:
            text = f"the name is longer than {self._longest_name} octets"
            raise AccountError("jid-malformed", text)

    def forget(self) -> None:
        """Read all accounts anew when they are next asked for."""
        self._names.clear()
        self._forgotten += 1

    async def _name(self, jid: JID) -> _Name:
        now = self._reactor.seconds()
        # Taken out and put back, so that the first in the dictionary is the one not asked longest.
        name = self._names.pop(jid, None)
        if name is None or not now < name.expires <= now + CACHED_SECONDS:
            forgotten = self._forgotten
            name = await self._read(jid)
            if forgotten != self._forgotten:
                return name  # something changed since the read began: right then, not to be kept
        self._names[jid] = name
        if len(self._names) > CACHED_NAMES:
            del self._names[next(iter(self._names))]
        return name

    async def _read(self, jid: JID) -> _Name:
        account, verifiers = await self._database.look_up(lambda c: store.with_verifiers(c, jid), alone=True)
        return _Name(account, verifiers, self._reactor.seconds() + CACHED_SECONDS)

    def _verifier(self, jid: JID, name: _Name, mechanism: str) -> Verifier:
        # Made for all, so that a name with an account is not answered sooner.
        pretended = name.pretended.get(mechanism)
        if pretended is None:
            pretended = pretended_verifier(self._secret, jid, mechanism, self._iterations)
            name.pretended[mechanism] = pretended
        return name.verifiers.get(mechanism, pretended)

    async def _change(self, jid: JID, work: Callable[[Connection], _T], what: str | None = None) -> _T:
        try:
            result = await self._database.write(work)
        finally:
            # Also after a fault: what was not reported as written can be there all the same.
            self._names.pop(jid, None)
            self._forgotten += 1
        if what is not None:
            for tell in tuple(self.changed):
                try:
                    tell(jid, what)
                except Exception:  # the others have to hear of it all the same
                    _log.failure("a listener for changes of accounts failed")
        return result

    @property
    def waiting(self) -> int:
        """Passwords that wait to be computed, or are."""
        return self._waiting

    async def _compute(self, work: Callable[[], _T]) -> _T:
        """Run `work` in a thread. Raises AccountError "resource-constraint" when too many wait."""
        if self._waiting >= MOST_WAITING:
            raise AccountError("resource-constraint", "too many passwords wait to be computed")
        self._waiting += 1
        try:
            reactor = cast(IReactorFromThreads, self._reactor)
            result: _T = await deferToThreadPool(reactor, self._reactor.getThreadPool(), work)
            return result
        finally:
            self._waiting -= 1
