"""Accounts in the database: the statements, as work for `Database.read` and `Database.write`.

`Accounts` is what the server uses. These functions alone serve where no reactor runs (the command line):
`database.write_now(lambda c: store.add(c, jid, new_verifiers(prepare_password(password)), now))`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, insert, select, update

from msgd.accounts.credentials import Verifier
from msgd.accounts.errors import AccountError
from msgd.storage.database import Conflict, Connection
from msgd.storage.schema import account, credential, device_token
from msgd.wire.jid import JID

_THIS = (account.c.domain == bindparam("of_domain"), account.c.name == bindparam("of_name"))

_ADD = insert(account)
_FIND = select(account.c.id, account.c.disabled).where(*_THIS)
_DELETE = delete(account).where(*_THIS)
_DISABLE = update(account).where(*_THIS).values(disabled=bindparam("new_disabled"))
_PASSWORD_CHANGED = update(account).where(*_THIS).values(password_changed=bindparam("now"))
_ADD_CREDENTIAL = insert(credential)
_DELETE_CREDENTIALS = delete(credential).where(credential.c.account_id == bindparam("account"))
_DELETE_TOKENS = delete(device_token).where(device_token.c.account_id == bindparam("account"))
_WITH_CREDENTIALS = (
    select(
        account.c.id,
        account.c.disabled,
        credential.c.mechanism,
        credential.c.salt,
        credential.c.iterations,
        credential.c.stored_key,
        credential.c.server_key,
    )
    .select_from(account.outerjoin(credential, credential.c.account_id == account.c.id))
    .where(*_THIS)
)
_LIST = (
    select(
        account.c.id,
        account.c.name,
        account.c.disabled,
        account.c.created,
        account.c.password_changed,
        account.c.last_active,
    )
    .where(account.c.domain == bindparam("of_domain"), account.c.name > bindparam("after"))
    .order_by(account.c.name)
    .limit(bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class Account:
    """An account: `id` is never used again, `jid` is its bare address."""

    id: int
    jid: JID
    disabled: bool


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """A line of the list of accounts. Times are seconds since 1970, 0 for never."""

    id: int
    jid: JID
    disabled: bool
    created: int
    password_changed: int
    last_active: int


def _key(jid: JID) -> dict[str, object]:
    return {"of_domain": jid.domain, "of_name": jid.local}


def add(connection: Connection, jid: JID, verifiers: Mapping[str, Verifier], now: int) -> Account:
    """Make an account. Raises AccountError "conflict" if there is one."""
    row = {"domain": jid.domain, "name": jid.local, "created": now, "password_changed": now}
    try:
        number = connection.insert(_ADD, row)
    except Conflict:
        raise AccountError("conflict", "the account exists already") from None
    _add_credentials(connection, number, verifiers)
    return Account(number, jid, disabled=False)


def find(connection: Connection, jid: JID) -> Account | None:
    """Return the account of a bare address, None if there is none."""
    row = connection.one(_FIND, _key(jid))
    return None if row is None else Account(row[0], jid, row[1])


def with_verifiers(connection: Connection, jid: JID) -> tuple[Account | None, dict[str, Verifier]]:
    """Return the account of a bare address and its verifiers by mechanism, in one read."""
    rows = connection.all(_WITH_CREDENTIALS, _key(jid))
    if not rows:
        return None, {}
    found = Account(rows[0][0], jid, rows[0][1])
    return found, {row[2]: Verifier(*row[3:]) for row in rows if row[2] is not None}


def set_password(connection: Connection, jid: JID, verifiers: Mapping[str, Verifier], now: int) -> None:
    """Replace all verifiers of an account; its tokens are void. Raises AccountError "item-not-found"."""
    found = find(connection, jid)
    if found is None:
        raise missing()
    connection.run(_PASSWORD_CHANGED, {**_key(jid), "now": now})
    connection.run(_DELETE_CREDENTIALS, {"account": found.id})
    connection.run(_DELETE_TOKENS, {"account": found.id})
    _add_credentials(connection, found.id, verifiers)


def set_disabled(connection: Connection, jid: JID, disabled: bool) -> None:
    """Let an account log in, or not; then its tokens are void. Raises AccountError "item-not-found"."""
    found = find(connection, jid)
    if found is None:
        raise missing()
    connection.run(_DISABLE, {**_key(jid), "new_disabled": disabled})
    if disabled:
        connection.run(_DELETE_TOKENS, {"account": found.id})


def remove(connection: Connection, jid: JID) -> None:
    """Delete an account and everything kept under it. Raises AccountError "item-not-found"."""
    if not connection.run(_DELETE, _key(jid)):
        raise missing()


def list_accounts(
    connection: Connection, domain: str, after: str = "", most: int = 1000
) -> list[AccountRecord]:
    """Return up to `most` accounts of a domain by name, those behind the name `after`."""
    rows = connection.all(_LIST, {"of_domain": domain, "after": after, "most": most})
    return [AccountRecord(row[0], JID.make(row[1], domain), *row[2:]) for row in rows]


def missing() -> AccountError:
    """The error for an account that does not exist."""
    return AccountError("item-not-found", "there is no such account")


def _add_credentials(connection: Connection, number: int, verifiers: Mapping[str, Verifier]) -> None:
    connection.run_many(
        _ADD_CREDENTIAL,
        [
            {
                "account_id": number,
                "mechanism": mechanism,
                "salt": verifier.salt,
                "iterations": verifier.iterations,
                "stored_key": verifier.stored_key,
                "server_key": verifier.server_key,
            }
            for mechanism, verifier in verifiers.items()
        ],
    )
