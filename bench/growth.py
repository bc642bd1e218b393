"""How things grow: with idle sessions, with what waits in the spool, with contacts."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

from bench.scrape import cpu, kib
from bench.town import Phone, befriend, built, come, figures, fill
from tests.crash.until import until
from tests.harness import Msgd

_ROSTER: Final = b"<iq type='get' id='%s'><query xmlns='jabber:iq:roster'/></iq>"


async def idle_hour(directory: Path) -> None:
    """An hour of a session that nobody writes to: pings from both sides, and what the server does anyway."""
    count, step = 500, 5
    names = [f"u{n}" for n in range(count)]
    server = built(directory, names, movable=True)
    server.start()
    phones = [Phone(name) for name in names]

    async def hour(people: list[Phone]) -> float:
        before = cpu(server.pid)
        for second in range(0, 3600, step):
            server.advance(step)
            if second % 600 == 0:  # phones ping every ten minutes
                await asyncio.gather(*(phone.ping(f"p{second}") for phone in people))
            await asyncio.sleep(0)
        return cpu(server.pid) - before

    empty = await hour([])
    await come(server, phones)
    full = await hour(phones)
    pings = sum(phone.pings for phone in phones) / count
    figures("idle hour of a session", cpu_ms=(full - empty) / count * 1e3, pings_of_the_server=pings,
            pings_of_the_phone=6)  # fmt: skip
    server.stop()


async def spool(directory: Path) -> None:
    """How start, memory, storing and delivering depend on what waits already."""
    for count in (1_000, 10_000, 100_000, 1_000_000):
        place = directory / str(count)
        people = max(1, count // 5000)
        names = [f"u{n}" for n in range(people)]
        server = built(place, ["ann", "absent", "back", *names])
        fill(place, names, count)
        fill(place, ["back"], 1000)
        began = time.monotonic()
        server.start()
        start, memory = time.monotonic() - began, kib(server.pid)
        ann, back = Phone("ann"), Phone("back")
        await come(server, [ann])
        messages, before = 2000, cpu(server.pid)
        for number in range(messages):
            raw = (
                f"<message to='absent@localhost' type='chat' id='{number}'><body>{'x' * 200}</body></message>"
            )
            ann.send(None, raw.encode())
            if number % 20 == 19:
                ann.request()
                await ann.acknowledged.wait()
                ann.acknowledged.clear()
        await until(lambda: not ann.outstanding)  # noqa: B023 - called within this turn
        stored = cpu(server.pid) - before
        heard: list[object] = []
        back.on_message = heard.append
        before = cpu(server.pid)
        await come(server, [back])
        await until(lambda: len(heard) == 1000)  # noqa: B023 - the same
        drained = cpu(server.pid) - before
        figures(f"spool of {count}", start_seconds=start, memory_mib=memory / 1024,
                store_us=stored / messages * 1e6, drain_us=drained / 1000 * 1e6)  # fmt: skip
        server.kill()


async def roster(directory: Path) -> None:
    """How a login with the roster, and a change of presence, depend on the number of contacts."""
    for count in (10, 100, 1000, 5000):
        place = directory / str(count)
        names = [f"c{n}" for n in range(count)]
        server = built(place, ["me", *names])
        befriend(place, "me", names)
        server.start()
        cold = await _login(server, count, "absent, first login")
        await _login(server, count, "absent")
        assert cold
        # A tenth of the contacts is there.
        there = [Phone(name) for name in names[::10]]
        await come(server, there)
        await _login(server, count, "one in ten present")
        server.kill()


async def _login(server: Msgd, count: int, who: str) -> Phone:
    me = Phone("me", who.replace(" ", ""))
    before = cpu(server.pid)
    await come(server, [me], presence=False)
    login = cpu(server.pid) - before
    before = cpu(server.pid)
    await me.ask("r", _ROSTER % b"r")
    listed = cpu(server.pid) - before
    before, changes = cpu(server.pid), 20
    me.send(None, b"<presence/>")
    await me.ping("first")
    await asyncio.sleep(0.3)
    first = cpu(server.pid) - before
    before = cpu(server.pid)
    for number in range(changes):
        me.send(None, b"<presence><status>%d</status></presence>" % number)
        await me.ping(f"{number}")
    await asyncio.sleep(0.3)
    change = (cpu(server.pid) - before) / changes
    figures(
        f"roster of {count}, contacts {who}",
        login_ms=login * 1e3,
        roster_ms=listed * 1e3,
        first_presence_ms=first * 1e3,
        change_ms=change * 1e3,
        change_us_per_contact=change / count * 1e6,
    )
    return me
