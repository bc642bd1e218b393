"""Console commands about the nodes of accounts (personal eventing)."""

from __future__ import annotations

from msgd.console.registry import CommandError, Context, account_address, command
from msgd.console.text import Answer, Rows
from msgd.xeps import omemo
from msgd.xeps.pubsub import store


@command("nodes JID", "the nodes of an account")
async def nodes(context: Context, which: str) -> Answer:
    """What the account publishes: who may read each node, how many items it has and of how many bytes.
    Never what is in them."""
    account = await context.server.router.load(account_address(which))
    if account is None:
        raise CommandError("there is no such account")
    id = account.id
    found = await context.server.database.read(lambda connection: store.listing(connection, id))
    return Rows(
        ("node", "access", "items", "bytes", "keeps"),
        [
            (name, configuration.access_model, count, size, configuration.max_items or "max")
            for name, configuration, count, size in found
        ],
    )


@command("omemo JID", "whether others can encrypt to an account")
async def omemo_command(context: Context, which: str) -> Answer:
    """The devices that the account lists for encrypted messages (OMEMO, both namespaces), their bundles of
    keys, who may read them, and what is wrong. What the server can put right it does, and says so: nodes that
    nobody could read, or that did not keep what they have to."""
    account = await context.server.router.load(account_address(which))
    if account is None:
        raise CommandError("there is no such account")
    id = account.id
    found = await context.server.database.write(lambda connection: omemo.inspect(connection, id))
    return Rows(
        ("namespace", "device", "access", "prekeys", "remarks"),
        [
            (
                each.namespace,
                each.device or "list",
                each.access,
                each.prekeys,
                "; ".join(each.remarks) or "ok",
            )
            for each in found
        ],
    )
