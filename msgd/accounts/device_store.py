"""Devices and their tokens in the database: the statements, as work for `Database.read` and `Database.write`.

`Devices` is what the server uses. What is written at a login is one job: `keep_visit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_, bindparam, delete, func, insert, select, update

from msgd.accounts.store import Account
from msgd.accounts.tokens import CURRENT, NEW, StoredToken, Token, mask, unmask
from msgd.accounts.uses import Uses, mark
from msgd.storage.database import Connection
from msgd.storage.schema import account, device, device_token
from msgd.storage.statements import upsert
from msgd.wire.jid import JID

_OF_ACCOUNT: Final = device.c.account_id == bindparam("of_account")
_THIS: Final = (_OF_ACCOUNT, device.c.id == bindparam("of_device"))
_TOKENS: Final = (
    device_token.c.account_id == bindparam("of_account"),
    device_token.c.device == bindparam("of_device"),
)
_ONE_TOKEN: Final = (*_TOKENS, device_token.c.salt == bindparam("of_salt"))

_FIND: Final = (
    select(
        account.c.id, account.c.disabled,
        device.c.software, device.c.name, device.c.tag, device.c.last_seen,
        device_token.c.slot, device_token.c.mechanism, device_token.c.salt, device_token.c.masked,
        device_token.c.issued, device_token.c.expires,
    )
    .select_from(
        account
        .outerjoin(device, and_(device.c.account_id == account.c.id, device.c.id == bindparam("of_device")))
        .outerjoin(
            device_token,
            and_(device_token.c.account_id == account.c.id, device_token.c.device == bindparam("of_device")),
        )
    )
    .where(account.c.domain == bindparam("of_domain"), account.c.name == bindparam("of_name"))
)  # fmt: skip
_LIST: Final = (
    select(
        device.c.id, device.c.software, device.c.name, device.c.tag, device.c.last_seen,
        func.coalesce(func.max(device_token.c.expires), 0),
    )
    .select_from(
        device.outerjoin(
            device_token,
            and_(device_token.c.account_id == device.c.account_id, device_token.c.device == device.c.id),
        )
    )
    .where(_OF_ACCOUNT)
    .group_by(device.c.id, device.c.software, device.c.name, device.c.tag, device.c.last_seen)
    .order_by(device.c.last_seen, device.c.id)
)  # fmt: skip
_KEEP: Final = upsert(device, "software", "name", "tag", "last_seen")
_THERE: Final = select(device.c.id).where(*_THIS)
_IDS: Final = select(device.c.id).where(_OF_ACCOUNT).order_by(device.c.last_seen, device.c.id)
_REMOVE: Final = delete(device).where(*_THIS)
_SEEN: Final = update(device).where(*_THIS).values(last_seen=bindparam("when"))

_KEEP_TOKEN: Final = insert(device_token)
_TOKEN_THERE: Final = select(device_token.c.slot).where(*_ONE_TOKEN)
_COUNT: Final = (
    update(device_token)
    .where(*_ONE_TOKEN, device_token.c.count < bindparam("new_count"))
    .values(count=bindparam("new_count"))
)
_PROMOTE: Final = update(device_token).where(*_ONE_TOKEN).values(slot=CURRENT)
_REMOVE_SLOT: Final = delete(device_token).where(*_TOKENS, device_token.c.slot == bindparam("of_slot"))
_REMOVE_OLDER: Final = delete(device_token).where(*_TOKENS, device_token.c.expires < bindparam("of_expiry"))
_REMOVE_TOKENS: Final = delete(device_token).where(*_TOKENS)


class TokenSpent(Exception):
    """The token with which somebody logged in is gone meanwhile, or its count was used before."""


@dataclass(frozen=True, slots=True)
class UserAgent:
    """What a client says of itself (XEP-0388 §2.3). `id` is its secret as well: it unmasks its tokens."""

    id: str
    software: str
    device: str


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an account and of one device of it: `said` is software, name, tag; None if new."""

    account: Account | None
    said: tuple[str, str, str] | None
    last_seen: int
    tokens: tuple[StoredToken, ...]


@dataclass(frozen=True, slots=True)
class Visit:
    """A login by a device, with the token `used` or otherwise; `give` is the token it gets.

    `count` guards `used` against replays, `invalidate` ends all tokens that it has; both mean something with
    `used` alone.
    """

    account_id: int
    device: str
    agent: UserAgent
    tag: str
    now: int
    used: StoredToken | None = None
    count: int | None = None
    invalidate: bool = False
    give: Token | None = None


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """A line of the list of devices. Times are seconds since 1970; 0: it has no token."""

    id: str
    software: str
    name: str
    tag: str
    last_seen: int
    token_expires: int


def find(connection: Connection, jid: JID, device_id: str, agent_id: str) -> Known:
    """What is known of an account's device, in one read."""
    key = {"of_domain": jid.domain, "of_name": jid.local, "of_device": device_id}
    rows = connection.all(_FIND, key)
    if not rows:
        return Known(None, None, 0, ())
    number, disabled, software, name, tag, seen = rows[0][:6]
    tokens = (
        StoredToken(Token(unmask(masked, agent_id, salt), mechanism, issued, expires), slot, salt)
        for *_, slot, mechanism, salt, masked, issued, expires in rows
        if slot is not None
    )
    said = None if software is None else (software, name, tag)
    return Known(Account(number, jid, disabled), said, seen or 0, tuple(tokens))


def keep_visit(connection: Connection, visit: Visit, most: int, busy: frozenset[str]) -> bool:
    """Write a login down. False when there is no room for one more device. Raises TokenSpent.

    Of more than `most` devices the one not seen for longest gives way, unless it is one of `busy`.
    """
    key = {"of_account": visit.account_id, "of_device": visit.device}
    if visit.used is not None:
        _use(connection, visit, visit.used)
    new = connection.one(_THERE, key) is None
    if new and not _make_room(connection, visit.account_id, most, busy):
        return False
    row = {
        "account_id": visit.account_id, "id": visit.device, "software": visit.agent.software,
        "name": visit.agent.device, "tag": visit.tag, "last_seen": visit.now,
    }  # fmt: skip
    connection.run(_KEEP, row)
    if new:
        mark(connection, visit.account_id, Uses.DEVICES, True)
    if visit.used is not None and visit.invalidate:
        connection.run(_REMOVE_TOKENS, key)
    if visit.give is not None:
        _give(connection, visit, visit.give)
    return True


def _use(connection: Connection, visit: Visit, used: StoredToken) -> None:
    """XEP-0484 §4.5, §6.1: a new token that was used becomes the current one. Raises TokenSpent."""
    key = {"of_account": visit.account_id, "of_device": visit.device, "of_salt": used.salt}
    if visit.count is not None and not connection.run(_COUNT, {**key, "new_count": visit.count}):
        raise TokenSpent
    found = connection.one(_TOKEN_THERE, key)
    if found is None:
        raise TokenSpent
    this = {"of_account": visit.account_id, "of_device": visit.device}
    connection.run(_REMOVE_OLDER, {**this, "of_expiry": used.token.expires})
    if found[0] == NEW:
        connection.run(_REMOVE_SLOT, {**this, "of_slot": CURRENT})
        connection.run(_PROMOTE, key)


def _make_room(connection: Connection, account_id: int, most: int, busy: frozenset[str]) -> bool:
    ids = [row[0] for row in connection.all(_IDS, {"of_account": account_id})]
    idle = (each for each in ids if each not in busy)
    for _ in range(len(ids) - most + 1):
        oldest = next(idle, None)
        if oldest is None:
            return False
        connection.run(_REMOVE, {"of_account": account_id, "of_device": oldest})
    return True


def _give(connection: Connection, visit: Visit, token: Token) -> None:
    """The token goes into the slot for new ones; one there that was never used is void."""
    key = {"of_account": visit.account_id, "of_device": visit.device}
    connection.run(_REMOVE_SLOT, {**key, "of_slot": NEW})
    salt, masked = mask(token, visit.agent.id)
    row = {
        "account_id": visit.account_id, "device": visit.device, "slot": NEW, "salt": salt, "masked": masked,
        "mechanism": token.mechanism, "issued": token.issued, "expires": token.expires,
    }  # fmt: skip
    connection.run(_KEEP_TOKEN, row)


def list_devices(connection: Connection, account_id: int) -> list[DeviceRecord]:
    """All devices of an account, the one not seen for longest first."""
    return [DeviceRecord(*row) for row in connection.all(_LIST, {"of_account": account_id})]


def remove(connection: Connection, account_id: int, device_id: str) -> bool:
    """Forget a device, with its tokens. False when there is none."""
    if not connection.run(_REMOVE, {"of_account": account_id, "of_device": device_id}):
        return False
    if connection.one(_IDS, {"of_account": account_id}) is None:
        mark(connection, account_id, Uses.DEVICES, False)
    return True


def seen(connection: Connection, when: dict[tuple[int, str], int]) -> None:
    """Note when devices were there last, by account and id."""
    rows = [
        {"of_account": number, "of_device": each, "when": moment} for (number, each), moment in when.items()
    ]
    connection.run_many(_SEEN, rows)
