"""Console commands about what is stored for accounts: spool, archive, roster, reports."""

from __future__ import annotations

from typing import Final

from msgd.console.registry import CommandError, Context, account_address, command
from msgd.console.text import Answer, Rows, duration
from msgd.routing import roster_store
from msgd.routing.archiving import NEVER
from msgd.spool import archive_store, store
from msgd.spool.entry import accepted_at
from msgd.xeps.xep_0377_reporting import list_reports

#: Entries listed at most.
_MOST: Final = 100


@command("spool [JID]", "messages that are not delivered yet")
async def spool(context: Context, which: str | None = None) -> Answer:
    """Without an address: figures of the whole spool. With one: what is kept for the account, oldest
    first; the id is the stanza-id that its clients see. Never what is in the messages."""
    server = context.server
    if which is None:
        count, size = await server.database.read(store.totals)
        figures: list[tuple[str, object]] = [("stored", count), ("bytes stored", size)]
        return Rows(("what", "value"), [*figures, *server.spool.status().items()])
    account = await server.router.load(account_address(which))
    if account is None:
        raise CommandError("there is no such account")
    id = account.id
    listed = await server.database.read(lambda connection: store.listing(connection, id, _MOST))
    held = account.mailbox.held or {}
    now = server.reactor.seconds()
    rows = [
        (f"{entry:x}", duration(now - accepted_at(entry)), size,
         "sent, not acknowledged" if entry in held else "waits")
        for entry, size in listed
    ]  # fmt: skip
    stored = {entry for entry, _ in listed}
    rows += [
        (f"{entry.id:x}", duration(now - accepted_at(entry.id)), entry.size, "not written yet")
        for entry in [*held.values(), *(account.mailbox.waiting or {}).values()]
        if not entry.stored and entry.id not in stored
    ]
    return Rows(("id", "age", "bytes", "state"), rows)


@command("archive JID", "what an account has archived")
async def archive(context: Context, which: str) -> Answer:
    """What the account wants archived, how much there is, and since when. Never what is in the messages."""
    account = await context.server.router.load(account_address(which))
    if account is None:
        raise CommandError("there is no such account")
    id, preference = account.id, account.archive
    ends = await context.server.router.archive.ends(account)
    count, size = await context.server.database.read(lambda connection: archive_store.figures(connection, id))
    rows: list[tuple[str, object]] = [
        ("archived", preference.default if preference is not None else NEVER),
        ("always", len(preference.always) if preference is not None else 0),
        ("never", len(preference.never) if preference is not None else 0),
        ("messages", count),
        ("bytes", size),
    ]
    if ends is not None:
        first, last = (archive_store.stamp(accepted_at(end)) for end in ends)
        rows += [("oldest", first), ("newest", last)]
    return Rows(("what", "value"), rows)


@command("roster JID", "the contacts of an account")
async def roster(context: Context, which: str) -> Answer:
    """Lists the roster with its subscriptions."""
    account = await context.server.router.load(account_address(which))
    if account is None:
        raise CommandError("there is no such account")
    id = account.id
    copy = await context.server.database.read(lambda connection: roster_store.roster(connection, id, None))
    return Rows(
        ("contact", "name", "subscription", "asked", "groups"),
        [(item.jid, item.name, item.subscription, item.ask, ", ".join(item.groups)) for item in copy.items],
    )


@command("reports", "whom users reported for spam and abuse")
async def reports(context: Context) -> Answer:
    """The newest reports that came with a block (XEP-0377): by whom, about whom, why. `spool` and `user`
    help to see more of somebody on this server; nothing was sent to anybody else."""
    found = await context.server.database.read(lambda connection: list_reports(connection, _MOST))
    now = context.server.reactor.seconds()
    return Rows(
        ("age", "by", "about", "reason", "text", "messages"),
        [(duration(now - when), by, about, why, text, count) for when, by, about, why, text, count in found],
    )
