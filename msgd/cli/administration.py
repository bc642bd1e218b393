"""How commands reach the accounts: by the console of a running server, else straight in the database.

By the console a change holds at once, and sessions of the account end. A server whose console is switched
off sees a change in its database within seconds (`accounts.CACHED_SECONDS`) and ends no session.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from typing import Protocol

from msgd.accounts import store
from msgd.accounts.accounts import AccountRecord, Accounts, open_accounts
from msgd.accounts.credentials import new_verifiers
from msgd.accounts.errors import AccountError
from msgd.accounts.passwords import prepare_password
from msgd.cli.settings import DATABASE
from msgd.config import Config
from msgd.console.client import ConsoleClient, NoConsole
from msgd.storage.sqlite import SqliteDatabase, open_database
from msgd.wire.jid import JID

#: Accounts read at once for the list.
_PAGE = 1000


class Administration(Protocol):
    """What `msgd user` needs. All methods raise AccountError, DatabaseError."""

    #: Whether a change ends the sessions of the account.
    ends_sessions: bool

    def must_be_new(self, jid: JID) -> None:
        """Refuse before a password is asked for."""

    def must_exist(self, jid: JID) -> None:
        """Refuse before a password is asked for."""

    def add(self, jid: JID, password: str) -> None:
        """Make an account."""

    def set_password(self, jid: JID, password: str) -> None:
        """Change its password."""

    def disable(self, jid: JID) -> None:
        """Lock it."""

    def enable(self, jid: JID) -> None:
        """Unlock it."""

    def delete(self, jid: JID) -> None:
        """Delete it."""

    def every(self, domain: str) -> Iterator[AccountRecord]:
        """All accounts of a domain by name."""

    def close(self) -> None:
        """Let go of the database."""

    def __enter__(self) -> Administration: ...

    def __exit__(self, kind: object, error: object, trace: object) -> None: ...


def open_administration(config: Config) -> Administration:
    """The accounts of this configuration. Raises DatabaseError."""
    if config.console_socket is not None:
        try:
            return ConsoleAdministration(config, ConsoleClient(config.console_socket))
        except NoConsole:
            pass  # no server runs here
    return DirectAdministration(config)


class DirectAdministration:
    """The accounts in the database, without a server."""

    ends_sessions = False

    def __init__(self, config: Config) -> None:
        from twisted.internet import reactor

        self._iterations = config.login.iterations
        self._database: SqliteDatabase = open_database(
            config.data / DATABASE,
            reactor,
        )
        self._accounts: Accounts = open_accounts(
            self._database,
            reactor,
            self._iterations,
        )

    def must_be_new(self, jid: JID) -> None:
        self._accounts.check_address(jid)
        if self._database.read_now(lambda connection: store.find(connection, jid)) is not None:
            raise AccountError("conflict", "the account exists already")

    def must_exist(self, jid: JID) -> None:
        if self._database.read_now(lambda connection: store.find(connection, jid)) is None:
            raise store.missing()

    def add(self, jid: JID, password: str) -> None:
        self._accounts.check_address(jid)
        verifiers = new_verifiers(prepare_password(password), self._iterations)
        now = int(time.time())
        self._database.write_now(lambda connection: store.add(connection, jid, verifiers, now))

    def set_password(self, jid: JID, password: str) -> None:
        verifiers = new_verifiers(prepare_password(password), self._iterations)
        now = int(time.time())
        self._database.write_now(lambda connection: store.set_password(connection, jid, verifiers, now))

    def disable(self, jid: JID) -> None:
        self._database.write_now(lambda connection: store.set_disabled(connection, jid, True))

    def enable(self, jid: JID) -> None:
        self._database.write_now(lambda connection: store.set_disabled(connection, jid, False))

    def delete(self, jid: JID) -> None:
        self._database.write_now(lambda connection: store.remove(connection, jid))

    def every(self, domain: str) -> Iterator[AccountRecord]:
        after = ""
        while True:
            page = self._page(domain, after)
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].jid.local

    def _page(self, domain: str, after: str) -> list[AccountRecord]:
        return self._database.read_now(
            lambda connection: store.list_accounts(connection, domain, after, _PAGE)
        )

    def close(self) -> None:
        self._database.close_now()

    def __enter__(self) -> DirectAdministration:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()


class ConsoleAdministration(DirectAdministration):
    """Reads the database, and leaves every change to the server that runs on it."""

    ends_sessions = True

    def __init__(self, config: Config, console: ConsoleClient) -> None:
        super().__init__(config)
        self._console = console

    def _ask(self, *words: str) -> None:
        try:
            answer = self._console.ask(shlex.join(["user", *words]))
        except NoConsole as error:
            raise AccountError("internal-server-error", str(error)) from None
        if not answer["ok"]:
            raise AccountError("not-acceptable", str(answer["error"]))

    def add(self, jid: JID, password: str) -> None:
        self._ask("add", jid, password)

    def set_password(self, jid: JID, password: str) -> None:
        self._ask("passwd", jid, password)

    def disable(self, jid: JID) -> None:
        self.must_exist(jid)
        self._ask("disable", jid)

    def enable(self, jid: JID) -> None:
        self.must_exist(jid)
        self._ask("enable", jid)

    def delete(self, jid: JID) -> None:
        self.must_exist(jid)
        self._ask("delete", jid)

    def close(self) -> None:
        self._console.close()
        super().close()
