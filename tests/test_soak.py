"""Long use leaves nothing behind: strangers who come and go at every stage, and readers who do not read.

MSGD_SOAK_CYCLES says how many connections are made and broken off (10,000), MSGD_SOAK_SECONDS how long the
mixed traffic lasts (15); `bench/soak.py` is the same for an hour, with its pauses looked at.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from bench.soak import run
from tests.crash.actors import Sender, World
from tests.crash.journal import Message
from tests.crash.until import until
from tests.harness import Msgd, NewAccount
from tests.strangers import Stranger

_SECONDS: Final = float(os.environ.get("MSGD_SOAK_SECONDS", "15"))
_CYCLES: Final = int(os.environ.get("MSGD_SOAK_CYCLES", "10000"))
#: The share of the cycles that come before anything is measured: caches fill, memory finds its size.
_WARM_UP: Final = 0.3
_AT_ONCE: Final = 30
#: What may stay, for thousands of cycles. The objects vary by so many with the collector's last visit.
_OBJECTS: Final = 3000
_MEMORY: Final = 4 * 1024 * 1024
_OPTIONS: Final = (
    "login.plain = true",
    "login.failures_per_address = 0",
    "limits.strangers_per_address = 0",
)


class Figures:
    """What the console says of memory and descriptors."""

    def __init__(self, server: Msgd) -> None:
        lines = dict(line.rpartition(" ")[::2] for line in server.command("memory").splitlines())
        self.memory = int(lines["resident KiB"]) * 1024
        self.descriptors = int(lines["open descriptors"])
        self.sessions = int(lines["sessions"])
        self.streams = int(lines["streams not logged in"])
        self.objects = int(lines["objects that the collector looks at"])

    def __str__(self) -> str:
        return f"{self.memory // 1024} KiB, {self.descriptors} descriptors, {self.objects} objects"


async def _cycles(stranger: Stranger, count: int) -> None:
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await stranger.comes_and_goes()

    await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))


async def _at_rest(server: Msgd, descriptors: int) -> Figures:
    """The figures when everybody is gone and forgotten, and at most so many descriptors are open."""
    figures = Figures(server)

    def rests() -> bool:
        nonlocal figures
        figures = Figures(server)
        return not (figures.sessions or figures.streams) and figures.descriptors <= descriptors

    await until(rests, "the end of all streams, sessions and connections")
    return figures


@pytest.mark.timeout(60 + _CYCLES // 50)
def test_strangers_who_break_off_leave_nothing_behind(tmp_path: Path) -> None:
    async def scene(server: Msgd) -> None:
        base = Figures(server)
        # The two threads that read the database, and the look-ups, open its file and its log when first used.
        most = base.descriptors + 6
        stranger = Stranger(server, random.Random(1))
        await _cycles(stranger, int(_CYCLES * _WARM_UP))
        before = await _at_rest(server, most)
        await _cycles(stranger, _CYCLES - int(_CYCLES * _WARM_UP))
        after = await _at_rest(server, most)
        print(f"\nat the start {base}\nwarm         {before}\nin the end   {after}, {_CYCLES} cycles")
        assert after.memory - before.memory < _MEMORY
        assert after.objects - before.objects < _OBJECTS

    # One second is the shortest that a session waits to be resumed.
    options = [*_OPTIONS, "stream_management.resume = 1", "sessions.most_resources = 1000"]
    msgd = Msgd(tmp_path / "data", options, [NewAccount(name) for name in ("one", "two", "three")])
    msgd.start()
    try:
        asyncio.run(scene(msgd))
        assert "Traceback" not in msgd.log.read_text()
    finally:
        msgd.kill()


@pytest.mark.timeout(120 + 2 * _SECONDS)
def test_mixed_traffic_leaves_nothing_behind(tmp_path: Path) -> None:
    soak, faults = run(tmp_path / "data", 40, rate=200, churn=10, seconds=_SECONDS, timing=False)
    for sample in soak.samples:
        print(sample)
    figures = soak.figures()
    print(figures)
    assert faults == []
    assert figures["drops"] > _SECONDS and figures["strangers"] > _SECONDS
    assert figures["acknowledged"] == figures["messages"] > 50 * _SECONDS


# -- those who do not read -------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Msgd]:
    msgd = Msgd(tmp_path / "data", _OPTIONS, [NewAccount(name) for name in ("ann", "slow", "quick")])
    msgd.start()
    yield msgd
    msgd.kill()


def _send(sender: Sender, world: World, number: int, to: str, size: int) -> Message:
    message = Message("ann", to, number, size)
    world.journal.sent.add(message)
    text = message.text.replace("&", "&amp;").replace("<", "&lt;")
    raw = f"<message to='{to}@localhost' type='chat' id='{message.id}'><body>{text}</body></message>"
    sender.client.send(message, raw.encode())
    return message


@pytest.mark.parametrize("way", ["does not read", "does not acknowledge"])
def test_a_slow_client_takes_a_bounded_amount_of_memory(server: Msgd, way: str) -> None:
    count, size = 500, 60_000  # 30 MB; an account may keep 50 in the store

    async def scene() -> None:
        world = World(random.Random(1))
        ann, slow, quick = Sender(world, "ann", []), world.client("slow"), world.client("quick", "q")
        address = server.address(direct=True)
        await ann.client.log_in(address, manage=True, presence=False)
        slow.receive_buffer, slow.answers = 4096, False
        await slow.log_in(address, manage=True, presence=True)
        assert slow.connection is not None
        if way == "does not read":
            slow.connection.pause()
        await quick.log_in(address, manage=True, presence=True)
        before = most = Figures(server).memory
        sent = []
        for number in range(1, count + 1):
            sent += [_send(ann, world, number, to, size) for to in ("slow", "quick")]
            if number % 10 == 0:
                ann.client.request()
                await until(lambda: ann.client.outstanding < 10)
                most = max(most, Figures(server).memory)
        ann.client.request()
        await until(lambda: world.journal.acknowledged == set(sent))
        await until(lambda: sum(each.resource == "q" for each in world.journal.deliveries) == count)
        quick_got = [each.message for each in world.journal.deliveries if each.message.recipient == "quick"]
        assert quick_got == [message for message in sent if message.recipient == "quick"]
        print(f"\n{count * size >> 20} MiB for one who {way}: {(most - before) / 2**20:.1f} MiB more memory")
        assert most - before < 20 * 2**20
        slow.answers = True
        slow.connection.resume()
        slow.answer()
        await until(lambda: len(world.journal.deliveries) == len(sent))
        slow_got = [each.message for each in world.journal.deliveries if each.message.recipient == "slow"]
        assert slow_got == [message for message in sent if message.recipient == "slow"]
        for client in (ann.client, slow, quick):
            client.cut()

    asyncio.run(scene())
