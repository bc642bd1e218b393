"""Console commands about accounts."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Final

from msgd.accounts.errors import AccountError
from msgd.console.registry import CommandError, Context, account_address, command
from msgd.console.text import Answer, Rows
from msgd.wire.jid import JID

_MOST: Final = 1000


def _own(context: Context, which: str) -> JID:
    jid = account_address(which)
    if jid.domain not in context.server.router.table.domains:
        domains = ", ".join(sorted(context.server.router.table.domains))
        raise CommandError(f"{jid.domain} is not a domain of this server; it has {domains}")
    return jid


async def _done(work: Awaitable[object], said: str) -> Answer:
    try:
        await work
    except AccountError as error:
        raise CommandError(str(error)) from None
    return said


def _date(moment: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment)) if moment else "-"


@command("user list [DOMAIN]", "accounts")
async def user_list(context: Context, domain: str | None = None) -> Answer:
    """Lists the accounts of a domain, or of all; the first thousand of each."""
    domains = [domain] if domain else sorted(context.server.router.table.domains)
    rows: list[tuple[object, ...]] = []
    for each in domains:
        for record in await context.server.accounts.list(each, most=_MOST):
            account = context.server.router.table.account(record.jid)
            online = len(account.sessions) if account is not None else 0
            rows.append((record.jid, _date(record.created), record.disabled, online))
    return Rows(("account", "created", "disabled", "sessions"), rows)


@command("user add JID PASSWORD", "make an account")
async def user_add(context: Context, which: str, password: str) -> Answer:
    """Makes an account. The password is kept only as SCRAM verifiers."""
    jid = _own(context, which)
    return await _done(context.server.accounts.create(jid, password), f"{jid} added")


@command("user passwd JID PASSWORD", "give an account another password")
async def user_passwd(context: Context, which: str, password: str) -> Answer:
    """Changes the password; sessions of the account end."""
    jid = _own(context, which)
    return await _done(context.server.accounts.set_password(jid, password), f"password of {jid} changed")


@command("user disable JID", "keep an account out")
async def user_disable(context: Context, which: str) -> Answer:
    """Ends the sessions of the account and refuses new ones; everything is kept."""
    jid = _own(context, which)
    return await _done(context.server.accounts.disable(jid), f"{jid} disabled")


@command("user enable JID", "let it in again")
async def user_enable(context: Context, which: str) -> Answer:
    """Undoes `user disable`."""
    jid = _own(context, which)
    return await _done(context.server.accounts.enable(jid), f"{jid} enabled")


@command("user delete JID", "delete an account with everything kept for it")
async def user_delete(context: Context, which: str) -> Answer:
    """Deletes the account, its messages, contacts and all. Its contacts are told."""
    jid = _own(context, which)
    return await _done(context.server.accounts.delete(jid), f"{jid} deleted")
