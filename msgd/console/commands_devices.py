"""Console commands about devices: which clients an account is used with, and how to get rid of one."""

from __future__ import annotations

import time
from typing import Final

from msgd.accounts.accounts import Account
from msgd.console.registry import CommandError, Context, account_address, command
from msgd.console.text import Answer, Rows, duration
from msgd.routing.extension import device_of

_COLUMNS: Final = ("id", "device", "software", "tag", "seen", "token", "sessions")


async def _account(context: Context, which: str) -> Account:
    found = await context.server.accounts.find(account_address(which))
    if found is None:
        raise CommandError("there is no such account; `user list` lists them")
    return found


@command("devices JID", "the devices of an account, and their sessions")
async def devices(context: Context, which: str) -> Answer:
    """Lists the clients that have logged in to the account and named themselves (XEP-0388), with the
    resources of their sessions, and until when each may log in with its token instead of the password. A
    last line has the sessions of clients that did not."""
    account = await _account(context, which)
    live = context.server.router.table.account(account.jid)
    sessions: dict[str, list[str]] = {}
    for session in live.sessions.values() if live is not None else ():
        sessions.setdefault(device_of(session), []).append(session.jid.resource)
    now = context.server.reactor.seconds()
    rows: list[tuple[object, ...]] = []
    for device in reversed(await context.server.accounts.devices.list(account.id)):
        here = sessions.get(device.id, ())
        seen = "now" if here else f"{duration(now - device.last_seen)} ago"
        token = time.strftime("%Y-%m-%d", time.gmtime(device.token_expires))
        rows.append(
            (device.id, device.name, device.software, device.tag, seen,
             token if device.token_expires > now else "-", ", ".join(here))
        )  # fmt: skip
    if "" in sessions:
        rows.append(("-", "", "", "", "now", "-", ", ".join(sessions[""])))
    return Rows(_COLUMNS, rows)


@command("devices revoke JID ID", "remove a device: its token is void, its sessions end")
async def devices_revoke(context: Context, which: str, device: str) -> Answer:
    """Forgets a device of an account. Who has it can log in again only with the account's password; change
    that too (`user passwd`) if the device may know it."""
    account = await _account(context, which)
    if not await context.server.accounts.devices.remove(account.id, account.jid, device):
        raise CommandError("there is no such device; `devices JID` lists them")
    return f"{device} removed"
