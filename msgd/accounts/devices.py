"""The devices of accounts: the installations of clients that log in and name themselves (XEP-0388 §2.3).

A client names itself by an id of its own, which is as good as a key (`tokens.py`): it is kept nowhere and
told nobody. What stands for it everywhere else, in the database, in the resource of its sessions and on the
console, is a keyed hash. Negotiation notes each login here; whoever removes a device ends its sessions
(`removed`).
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from twisted.logger import Logger

from msgd.accounts import device_store
from msgd.accounts.device_store import DeviceRecord, Known, TokenSpent, UserAgent, Visit
from msgd.accounts.tokens import NEW, StoredToken
from msgd.storage.database import Database
from msgd.wire.jid import JID

__all__ = ["DeviceRecord", "Devices", "Known", "TokenSpent", "UserAgent", "Visit"]

#: Bytes of the hash that stands for a device; base32 makes 16 characters of them.
_ID_BYTES: Final = 10
#: Seconds that a device may have been seen earlier than is written down: so a login need not write.
_FRESH: Final = 3600

_log = Logger("msgd.accounts")


class Clock(Protocol):
    """What this needs of Twisted's reactor."""

    def seconds(self) -> float:
        """The time in seconds since 1970."""


class Devices:
    """All devices of all accounts. `secret` is random and stays the same as long as the database."""

    def __init__(self, database: Database, clock: Clock, secret: bytes) -> None:
        self._database = database
        self._clock = clock
        self._secret = secret
        self._seen: dict[tuple[int, str], int] = {}  # when sessions ended, not written yet
        #: Called with the account's address and the device's id after it was removed.
        self.removed: list[Callable[[JID, str], None]] = []

    @property
    def now(self) -> int:
        """Seconds since 1970."""
        return int(self._clock.seconds())

    def id_of(self, jid: JID, agent: UserAgent) -> str:
        """What stands for a client of the account `jid`; it tells nothing of the client's own id."""
        text = f"device {jid.bare} {agent.id}"
        digest = hmac.digest(self._secret, text.encode(), "sha256")
        return base64.b32encode(digest[:_ID_BYTES]).decode().lower()

    async def find(self, jid: JID, agent: UserAgent) -> Known:
        """What is known of a device of an account, whether or not there is one. Raises DatabaseFault."""
        device_id = self.id_of(jid, agent)
        return await self._database.look_up(lambda c: device_store.find(c, jid, device_id, agent.id))

    async def keep(self, visit: Visit, known: Known, most: int, busy: frozenset[str]) -> bool:
        """Note a login, if there is anything new in it. False when there are too many devices.

        Raises DatabaseFault, and TokenSpent: then nobody has logged in.
        """
        if not _is_news(visit, known):
            return True
        return await self._database.write(lambda c: device_store.keep_visit(c, visit, most, busy))

    async def list(self, account_id: int) -> list[DeviceRecord]:
        """The devices of an account, the one not seen for longest first."""
        stored = await self._database.read(lambda c: device_store.list_devices(c, account_id))
        return sorted((self._with_news(account_id, each) for each in stored), key=lambda each: each.last_seen)

    def _with_news(self, account_id: int, device: DeviceRecord) -> DeviceRecord:
        left = self._seen.get((account_id, device.id), 0)
        return replace(device, last_seen=max(left, device.last_seen))

    async def remove(self, account_id: int, jid: JID, device_id: str) -> bool:
        """Forget a device of the account `jid` with its tokens; its sessions end. False if there is none."""
        if not await self._database.write(lambda c: device_store.remove(c, account_id, device_id)):
            return False
        for tell in tuple(self.removed):
            tell(jid.bare, device_id)
        return True

    # -- when a session ends -------------------------------------------------------------------

    def left(self, account_id: int, device_id: str) -> None:
        """A session of a device has ended; `write_seen` writes it down with others."""
        self._seen[account_id, device_id] = self.now

    def write_seen(self) -> None:
        """Write down which devices have left. A crash before costs that and nothing else."""
        if not self._seen:
            return
        written, self._seen = self._seen, {}
        self._database.write_soon(lambda c: device_store.seen(c, written), self._written)

    def _written(self, error: Exception | None) -> None:
        if error is not None:
            _log.warn("when devices were seen last could not be stored: {error}", error=str(error))


def _is_news(visit: Visit, known: Known) -> bool:
    """Whether a login has to be written down."""
    said = (visit.agent.software, visit.agent.device, visit.tag)
    return (
        visit.give is not None
        or known.said != said
        or not 0 <= visit.now - known.last_seen < _FRESH
        or (visit.used is not None and _spends(visit, visit.used, known))
    )


def _spends(visit: Visit, used: StoredToken, known: Known) -> bool:
    """Whether something changes with the use of a token."""
    if visit.invalidate or visit.count is not None or used.slot == NEW:
        return True
    return any(other.token.expires < used.token.expires for other in known.tokens)
