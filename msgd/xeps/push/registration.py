"""A registration in memory: one app server that is told when messages wait for one device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgd.routing.account import LiveAccount
from msgd.xeps.push.store import Options, Row

if TYPE_CHECKING:
    from msgd.routing.session import Session

#: What identifies a registration: the account's number, the app server's address, the node.
Key = tuple[int, str, str]


class Registration:
    """Where a device's app server is, and how things stand with it.

    `unseen` counts messages that came since the device was last heard; `pushed_at` is when the last push
    was sent. `outstanding`: it is not answered yet, `again`: one more is to follow it. `failures` in a row,
    `retry` the timer until the next attempt, `reason` why none was sent for the last message. `gone`: it
    was removed. Times are the clock's.
    """

    __slots__ = ("account", "again", "answer", "answered_at", "disabled", "enabled", "failures", "gone",
                 "jid", "last_body", "last_sender", "node", "options", "outstanding", "pushed_at", "queued",
                 "reason", "resource", "retry", "unseen")  # fmt: skip

    def __init__(self, account: LiveAccount, row: Row) -> None:
        self.account = account
        self.jid = row.jid
        self.node = row.node
        self.unseen = 0
        self.last_sender = self.last_body = ""
        self.pushed_at = self.answered_at = 0.0
        self.outstanding = self.queued = self.again = self.gone = False
        self.failures = 0
        self.retry: Any = None
        self.reason = ""
        self.enable(row)

    def enable(self, row: Row) -> None:
        """What the client says holds from now on."""
        self.resource = row.resource
        self.options: Options = row.options
        self.enabled = row.enabled
        self.disabled = row.disabled
        self.answer = row.answer
        self.unseen = 0
        self.failures = 0
        self.gone = False
        self.cancel_retry()

    def cancel_retry(self) -> None:
        """Do not try again by itself."""
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None

    @property
    def key(self) -> Key:
        """See `Key`."""
        return self.account.id, self.jid, self.node

    @property
    def device(self) -> Session | None:
        """The session of the device, if it has one."""
        return self.account.sessions.get(self.resource)

    @property
    def ended(self) -> bool:
        """Nothing is to be sent any more."""
        return self.gone or bool(self.disabled)


def of(account: LiveAccount) -> dict[tuple[str, str], Registration]:
    """The registrations of an account, by address and node."""
    found: dict[tuple[str, str], Registration] = {}
    return account.extras.get(Registration, found) if account.extras is not None else found
