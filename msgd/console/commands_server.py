"""Console commands about the server itself: status, memory, queues, reload, shutdown, help."""

from __future__ import annotations

import gc
import os
from typing import Final

from msgd import __version__
from msgd.console.registry import REGISTRY, CommandError, Context, command
from msgd.console.text import Answer, Rows, duration
from msgd.wire import reactor

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@command("help [COMMAND...]", "what there is")
async def help_(context: Context, *words: str) -> Answer:
    """Lists the commands, or explains one."""
    if not words:
        return Rows(
            ("command", "what it does"),
            [(each.usage, each.summary) for each in sorted(REGISTRY.commands.values(), key=lambda c: c.name)],
        )
    name = " ".join(words)
    found = REGISTRY.commands.get(name)
    if found is None:
        family = [c for c in REGISTRY.commands.values() if c.name.split()[0] == words[0]]
        if not family:
            raise CommandError(f"there is no command `{name[:40]}`; `help` lists them")
        return Rows(("command", "what it does"), [(each.usage, each.summary) for each in family])
    return [found.usage, f"  {found.summary}", *([f"  {found.text}"] if found.text else [])]


@command("status", "how the server is")
async def status(context: Context) -> Answer:
    """Version, uptime, what it serves, and whether something is wrong."""
    server = context.server
    router = server.router
    fault = server.database.fault
    if fault is not None or server.spool.failing:
        storage = f"FAULT: {fault or 'cannot write'}; senders get no acknowledgements until it is mended"
    else:
        storage = "well"
    sessions = list(router.table.sessions())
    away = sum(1 for session in sessions if session.transport is None)
    details: list[tuple[str, object]] = [
        ("version", __version__),
        ("up", duration(server.reactor.seconds() - server.started)),
        ("domains", ", ".join(sorted(router.table.domains))),
        ("storage", storage),
        ("sessions", len(sessions)),
        ("of these away", away),
        ("streams not logged in", len(router.streams)),
        ("stanzas routed", router.routed),
        ("faults in handlers", router.failures),
        ("overloaded by", ", ".join(sorted(server.vitals.stress.by)) or "nothing"),
        ("times overloaded", server.vitals.stress.times),
        ("stopping", server.stopping),
    ]
    return Rows(("what", "value"), details)


@command("stress", "whether the server is overloaded")
async def stress(context: Context) -> Answer:
    """By what the server is overloaded, and how far each signal is: 1 is too much. While it is, strangers
    wait and get less time (`[overload]` in the configuration); it ends by itself."""
    state = context.server.vitals.stress
    return Rows(
        ("signal", "now", "overloaded"),
        [(name, round(share, 3), name in state.by) for name, share in state.shares().items()],
    )


@command("queues", "what waits, and where")
async def queues(context: Context) -> Answer:
    """Every queue of the server with the most that it can hold: the first place to look when something is
    slow. What has grown to half of its bound is also told in the log."""
    vitals = context.server.vitals
    await vitals.survey()
    return Rows(
        ("queue", "length", "at most"),
        [
            (each.title, int(each.read()), int(each.bound()) if each.bound is not None else None)
            for each in vitals.queues()
        ],
    )


@command("memory", "where the memory is")
async def memory(context: Context) -> Answer:
    """Resident memory of the process and how many objects of each kind there are."""
    with open("/proc/self/statm") as statm:
        resident = int(statm.read().split()[1]) * _PAGE
    table = context.server.router.table
    accounts = list(table.accounts())
    sessions = sum(len(account.sessions) for account in accounts)
    return Rows(
        ("what", "value"),
        [
            ("resident KiB", resident // 1024),
            ("open descriptors", len(os.listdir("/proc/self/fd"))),
            ("accounts in memory", len(accounts)),
            ("sessions", sessions),
            ("streams not logged in", len(context.server.router.streams)),
            ("entries held by sessions", sum(len(account.mailbox.held or ()) for account in accounts)),
            ("objects that the collector looks at", len(gc.get_objects())),
            ("objects that it set aside", gc.get_freeze_count()),
            ("collections", sum(generation["collections"] for generation in gc.get_stats())),
        ],
    )


@command("extensions", "what is implemented")
async def extensions(context: Context) -> Answer:
    """The specifications that are loaded, with their versions."""
    rows = []
    for extension in context.server.router.extensions.loaded:
        version = getattr(extension.xep, "version", "")
        rows.append((extension.xep.name, version, type(extension).__name__))
    return Rows(("specification", "version", "module"), sorted(rows))


@command("reload", "read configuration and certificates again")
async def reload(context: Context) -> Answer:
    """Nobody is dropped. What is bad is refused with the reason, and the old configuration stays."""
    return context.server.reload()


@command("shutdown [SECONDS]", "stop the server, losing nothing")
async def shutdown(context: Context, seconds: str = "5") -> Answer:
    """Clients are told, everything accepted is stored, sessions that can be resumed are kept for the next
    start. SECONDS is how long storage that fails is waited for."""
    if not seconds.isdigit():
        raise CommandError("SECONDS is a whole number")
    context.server.reactor.callLater(0.1, context.server.stop, float(seconds))
    return "stopping"


def declare_clock() -> None:
    """For tests: there is a command that moves the clock of a movable reactor."""

    @command("clock advance SECONDS", "move the clock (tests only)")
    async def advance(context: Context, seconds: str) -> Answer:
        reactor.advance(float(seconds))
        return f"moved by {seconds} seconds"
