"""The console command about push notifications: what was sent, what came back, and why nothing was."""

from __future__ import annotations

from functools import partial
from typing import Final

from msgd.console.registry import CommandError, Context, account_address, command
from msgd.console.text import Answer, Rows, duration
from msgd.xeps.push import registration, store
from msgd.xeps.push.registration import Registration

_COLUMNS: Final = ("app server", "node", "device", "state", "unseen", "last push", "answer", "why none")
#: Characters of a node that are shown: it is a secret between app and app server.
_SHOWN: Final = 8


@command("push JID", "which app servers are told of an account's messages, and what they answered")
async def push(context: Context, which: str) -> Answer:
    """For each device that asked for pushes: how many messages came since it was last here, when the last
    push went out and what the app server answered, and where none was sent for the last message, why. 'ended'
    registrations are those that the app server refused; the device asks anew when it is here. Figures are
    those since the account was last looked up."""
    account = await context.server.router.load(account_address(which))
    if account is None:
        raise CommandError("there is no such account")
    now = context.server.reactor.seconds()
    rows = await context.server.database.read(partial(store.registrations, account_id=account.id))
    held = registration.of(account)
    found = [held.get((row.jid, row.node)) or Registration(account, row) for row in rows]
    return Rows(_COLUMNS, [_row(each, now) for each in found])


def _row(each: Registration, now: float) -> tuple[object, ...]:
    return (
        each.jid,
        each.node if len(each.node) <= _SHOWN else each.node[:_SHOWN] + "…",
        each.resource,
        _state(each, now),
        each.unseen,
        f"{duration(now - each.pushed_at)} ago" if each.pushed_at else None,
        "none yet" if each.outstanding else each.answer or None,
        each.reason or None,
    )


def _state(each: Registration, now: float) -> str:
    if each.disabled:
        return f"ended {duration(now - each.disabled)} ago"
    if each.retry is not None:
        return f"failed {each.failures}, tried again in {duration(each.retry.getTime() - now)}"
    if each.queued:
        return "waits its turn"
    return "well" if not each.failures else f"failed {each.failures}"
