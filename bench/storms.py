"""Storms: everybody comes back at once, and one who does not read. What the others notice."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from bench.pinger import Pinger
from bench.scrape import Scrape, cpu, kib, quantile, scrape, starved
from bench.town import MESSAGE, Phone, befriend, built, come, figures
from tests.crash.until import until
from tests.harness import Msgd


async def presence_storm(directory: Path) -> None:
    """A thousand contacts of one account lose the network and come back at once."""
    count = 1000
    names = [f"u{n}" for n in range(count)]
    server = built(directory, ["star", *names], "stream_management.resume = 0")
    befriend(directory, "star", names)
    server.start()
    star, phones = Phone("star"), [Phone(name) for name in names]
    await come(server, [star])
    for wave in ("first", "second"):
        seen, before, began = star.presences, cpu(server.pid), time.monotonic()
        start = scrape(server)
        for phone in phones:
            phone.presences = 0
        await come(server, phones, at_once=count)
        # Each sees itself and the star; the star sees each.
        await until(lambda: all(phone.presences >= 2 for phone in phones), "what the contacts see")
        await until(lambda seen=seen: star.presences >= seen + count, "what the star sees")  # type: ignore[misc]
        took, used = time.monotonic() - began, cpu(server.pid) - before
        late = scrape(server).between(start, "msgd_loop_lateness_seconds")
        ping = sorted([await star.ping(f"q{number}") for number in range(9)])[4]
        figures(
            f"presence storm, {count} contacts, {wave}",
            seconds=took,
            cpu_ms_per_contact=used / count * 1e3,
            late_ms=quantile(late, 1) * 1e3,
            ping_ms=ping * 1e3,
        )
        for phone in phones:
            phone.cut()
        await until(lambda: scrape(server)["msgd_sessions"] == 1, "their end")
    server.stop()


async def resume_storm(directory: Path) -> None:
    """Five thousand sessions come back within seconds of a graceful restart."""
    count = 5000
    names = [f"u{n}" for n in range(count)]
    server = built(directory, ["ann", *names])
    server.start()
    phones = [Phone(name) for name in names]
    before = cpu(server.pid)
    await come(server, phones, at_once=64)
    figures(f"login of {count}, 64 at a time", cpu_ms_each=(cpu(server.pid) - before) / count * 1e3)
    stopped = time.monotonic()
    await asyncio.to_thread(server.stop)
    for phone in phones:
        await phone.wait_lost()
        phone.cut()
    server.start()
    started, before = time.monotonic(), cpu(server.pid)
    pinger, start, hungry = Pinger(server, "ann"), scrape(server), starved(server.pid)
    resumed = await come(server, phones, at_once=count)
    took, used = time.monotonic() - started, cpu(server.pid) - before
    noticed = pinger.stop()
    figures(
        f"resume storm, {count} sessions",
        resumed=resumed,
        refused=count - resumed,
        restart_seconds=started - stopped,
        seconds=took,
        cpu_ms_each=used / count * 1e3,
        ping_p50_ms=noticed.p50_ms,
        ping_p99_ms=noticed.p99_ms,
        ping_most_ms=noticed.most_ms,
        **_inside(server, start, hungry),
    )
    for phone in phones:
        phone.cut()
    server.stop()


async def login_storm(directory: Path) -> None:
    """A thousand log in at once while one pair talks: what the pair notices."""
    count = 1000
    names = [f"u{n}" for n in range(count)]
    server = built(directory, ["ann", *names])
    server.start()
    phones = [Phone(name) for name in names]
    pinger, before = Pinger(server, "ann"), cpu(server.pid)
    start, hungry = scrape(server), starved(server.pid)
    began = time.monotonic()
    await come(server, phones, at_once=count)
    took, used = time.monotonic() - began, cpu(server.pid) - before
    noticed = pinger.stop()
    figures(f"login storm, {count}", seconds=took, cpu_ms_each=used / count * 1e3, ping_p50_ms=noticed.p50_ms,
            ping_p99_ms=noticed.p99_ms, ping_most_ms=noticed.most_ms,
            **_inside(server, start, hungry))  # fmt: skip
    server.kill()


async def slow_reader(directory: Path) -> None:
    """One of a thousand does not read: the others wait no longer, and memory stays."""
    count, seconds, rate = 1000, 10, 300
    names = [f"u{n}" for n in range(count)]
    server = built(directory, ["ann", *names])
    server.start()
    ann, phones = Phone("ann"), [Phone(name) for name in names]
    slow = phones[0]
    slow.receive_buffer = 4096
    await come(server, [ann, *phones])
    took: list[float] = []
    sent: dict[str, float] = {}
    for phone in phones:
        phone.on_message = lambda element: took.append(time.monotonic() - sent[element.get("id", "")])

    async def talk(name: str) -> None:
        took.clear()
        memory, before, began, number = kib(server.pid), cpu(server.pid), time.monotonic(), 0
        while time.monotonic() - began < seconds:
            while number < (time.monotonic() - began) * rate:
                number += 1
                # Each third message is for the slow one: 30 MB in all.
                to = slow.name if number % 3 == 0 else names[number % (count - 1) + 1]
                body = "x" * (30_000 if to == slow.name else 100)
                id = f"{name}{number}"
                sent[id] = time.monotonic()
                ann.send(None, MESSAGE % (to.encode(), id.encode(), body.encode()))
            await asyncio.sleep(0.002)
        used = cpu(server.pid) - before
        figures(f"one of {count} {name}", p50_ms=_percentile(took, 0.5) * 1e3,
                p99_ms=_percentile(took, 0.99) * 1e3, heard=len(took), cpu_us_each=used / number * 1e6,
                memory_kib=kib(server.pid) - memory)  # fmt: skip

    await talk("reads")
    assert slow.connection is not None
    slow.connection.pause()
    await talk("does not read")
    server.kill()


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _inside(server: Msgd, start: Scrape, hungry: float) -> dict[str, float]:
    """What the server itself says: how late its loop was, how long the collector stopped it; and how long it
    had to wait for a processor."""
    end = scrape(server)
    return {
        "late_most_ms": quantile(end.between(start, "msgd_loop_lateness_seconds"), 1) * 1e3,
        "pause_most_ms": quantile(end.between(start, "msgd_gc_pause_seconds"), 1) * 1e3,
        "starved_seconds": starved(server.pid) - hungry,
    }
