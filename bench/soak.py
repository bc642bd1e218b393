"""A long run: talk, clients that come and go, strangers who break off. What must stay flat is looked at.

    python -m bench.soak --minutes 60 --rate 200 --churn 5

Pairs talk at a steady rate, all with stream management; now and then a network drops and the session is
resumed, some are away for a while and find what they missed, and strangers break off at every stage of
a login. Each message carries its number: what is acknowledged and does not arrive is a failure; what comes
again, to a client that came back too late to resume, is counted. Memory, descriptors, the collector's pauses
and the lateness of the loop come from the server's own metrics. The exit status says whether all of it was
flat.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

from bench.scrape import Scrape, cpu, quantile, scrape
from tests.crash.client import Client, Lost
from tests.crash.journal import Message
from tests.crash.until import until
from tests.harness import Msgd, NewAccount
from tests.strangers import Stranger

OPTIONS: Final = (
    "login.plain = true",
    "login.failures_per_address = 0",
    "limits.strangers_per_address = 0",
    "limits.first_contacts = 0",
    "listen.metrics = 0",
    "stream_management.resume = 5",
    "sessions.most_resources = 1000",
)
#: MiB by which memory may grow from the first third of the run to the last, and the share of that.
_GROWTH, _SHARE = 4.0, 0.02
#: The loop's lateness (99th percentile, seconds) and a pause of the collector in the last third: at most so
#: many times that of the first, or the next larger bucket.
_WORSE: Final = 2.6
_DESCRIPTORS: Final = 3


@dataclass
class Sample:
    """How the server was in one interval."""

    minute: float
    sessions: float
    rss_mib: float
    descriptors: float
    late_p99_ms: float
    late_most_ms: float
    pause_p99_ms: float
    pause_most_ms: float
    collections: float
    cpu_percent: float
    messages: float


class Talker:
    """One account with one client, which talks to others and counts what it hears."""

    def __init__(self, name: str, address: tuple[str, int]) -> None:
        self.client = Client(name, "desk")
        self._address = address
        self.sent = 0
        self.heard: dict[str, list[int]] = {}
        self.safe: set[Message] = set()
        self.refused = 0
        self.client.on_message = self._hear
        self.client.on_safe = self.safe.add
        self.faults: list[str] = []
        self.client.on_fault = self.faults.append
        self.up = False

    def _hear(self, element: Element) -> None:
        if element.get("type") == "error":
            self.refused += 1
            return
        sender, _, number = (element.get("id") or "").rpartition("-")
        self.heard.setdefault(sender, []).append(int(number))

    async def come(self) -> None:
        """Log in, or resume what was cut."""
        while not self.up:
            try:
                await self.client.log_in(self._address, manage=True, presence=True)
                self.up = True
            except Lost:
                await asyncio.sleep(0.5)

    def drop(self) -> None:
        """The network is gone."""
        self.up = False
        self.client.cut()

    def say(self, other: str) -> None:
        """A message to somebody."""
        self.sent += 1
        message = Message(self.client.name, other, self.sent, 100)
        id = f"{self.client.name}-{self.sent}"
        raw = f"<message to='{other}@localhost' type='chat' id='{id}'><body>{'x' * 100}</body></message>"
        self.client.send(message, raw.encode())
        if self.sent % 10 == 0:
            self.client.request()


class Soak:
    """The whole run."""

    def __init__(self, server: Msgd, talkers: int, rate: float, churn: float, seconds: float) -> None:
        self._server = server
        self._rate, self._churn, self._seconds = rate, churn, seconds
        self._dice = random.Random(5)
        address = server.address(direct=True)
        self._talkers = [Talker(f"t{number}", address) for number in range(talkers)]
        self._stranger = Stranger(server, self._dice)
        self.samples: list[Sample] = []
        self._until = 0.0
        self.strangers = self.drops = 0

    async def run(self) -> None:
        """All of it; fills `samples`."""
        await asyncio.gather(*(talker.come() for talker in self._talkers))
        self._until = time.monotonic() + self._seconds
        await asyncio.gather(self._talk(), self._come_and_go(), self._break_off(), self._look())
        await asyncio.gather(*(talker.come() for talker in self._talkers))
        for talker in self._talkers:
            talker.client.request()
        await until(self._all_heard, "everything that was acknowledged")
        await asyncio.gather(*(talker.client.close() for talker in self._talkers))

    def _over(self) -> bool:
        return time.monotonic() >= self._until

    async def _talk(self) -> None:
        began, said = time.monotonic(), 0
        while not self._over():
            while said < (time.monotonic() - began) * self._rate:
                said += 1
                speaker, other = self._dice.sample(self._talkers, 2)
                if speaker.up and speaker.client.outstanding < 500:
                    speaker.say(other.client.name)
            await asyncio.sleep(0.02)

    async def _come_and_go(self) -> None:
        """Networks that drop: most come back at once, some after their session is over."""

        async def away(talker: Talker, seconds: float) -> None:
            talker.drop()
            await asyncio.sleep(seconds)
            await talker.come()

        under_way: set[asyncio.Task[None]] = set()
        while not self._over():
            await asyncio.sleep(1 / self._churn)
            talker = self._dice.choice(self._talkers)
            if talker.up:
                self.drops += 1
                seconds = 7.0 if self._dice.random() < 0.1 else self._dice.random()
                task = asyncio.create_task(away(talker, seconds))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)

    async def _break_off(self) -> None:
        under_way: set[asyncio.Task[None]] = set()
        while not self._over():
            await asyncio.sleep(1 / self._churn)
            if len(under_way) < 50:
                self.strangers += 1
                task = asyncio.create_task(self._stranger.comes_and_goes())
                under_way.add(task)
                task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)

    async def _look(self) -> None:
        began, every = time.monotonic(), max(2.0, self._seconds / 60)
        before, used = await self._scrape()
        while not self._over():
            await asyncio.sleep(every)
            now, now_used = await self._scrape()
            self.samples.append(
                _sample(before, now, (time.monotonic() - began) / 60, (now_used - used) / every)
            )
            before, used = now, now_used

    async def _scrape(self) -> tuple[Scrape, float]:
        found = await asyncio.to_thread(scrape, self._server)
        return found, cpu(self._server.pid)

    def _all_heard(self) -> bool:
        return not self.lost() and all(talker.client.outstanding == 0 for talker in self._talkers)

    def lost(self) -> int:
        """Messages that were acknowledged and did not arrive."""
        heard = {
            talker.client.name: {s: set(numbers) for s, numbers in talker.heard.items()}
            for talker in self._talkers
        }
        return sum(
            message.number not in heard[message.recipient].get(message.sender, ())
            for talker in self._talkers
            for message in talker.safe
        )

    def figures(self) -> dict[str, float]:
        """What happened in all."""
        return {
            "messages": sum(talker.sent for talker in self._talkers),
            "acknowledged": sum(len(talker.safe) for talker in self._talkers),
            "lost": self.lost(),
            "drops": self.drops,
            "strangers": self.strangers,
            "logins": sum(talker.client.logins for talker in self._talkers),
            "again": sum(
                len(numbers) - len(set(numbers)) for t in self._talkers for numbers in t.heard.values()
            ),
            "refused": sum(talker.refused for talker in self._talkers),
            "faults": sum(len(talker.faults) for talker in self._talkers),
        }


def _sample(before: Scrape, now: Scrape, minute: float, busy: float) -> Sample:
    late = now.between(before, "msgd_loop_lateness_seconds")
    pauses = now.between(before, "msgd_gc_pause_seconds")
    return Sample(
        round(minute, 2),
        now["msgd_sessions"],
        round(now["process_resident_memory_bytes"] / 2**20, 2),
        now["process_open_fds"],
        quantile(late, 0.99) * 1e3,
        quantile(late, 1) * 1e3,
        quantile(pauses, 0.99) * 1e3,
        quantile(pauses, 1) * 1e3,
        pauses[-1][1],
        round(100 * busy, 1),
        now["msgd_messages_accepted_total"] - before["msgd_messages_accepted_total"],
    )


def _worst(samples: list[Sample], name: str) -> float:
    return max(float(getattr(sample, name)) for sample in samples)


def _median(samples: list[Sample], name: str) -> float:
    return sorted(float(getattr(sample, name)) for sample in samples)[len(samples) // 2]


def faults(samples: list[Sample], figures: dict[str, float], timing: bool = True) -> list[str]:
    """What was not flat: the first third (after its first half) against the last.

    Without `timing` only what does not depend on what else the machine does.
    """
    third = len(samples) // 3
    first, last = samples[third // 2 : third] or samples[:1], samples[-third:] or samples[-1:]
    found = []
    before, after = _median(first, "rss_mib"), _median(last, "rss_mib")
    if after - before > max(_GROWTH, _SHARE * before):
        found.append(f"memory grew from {before} to {after} MiB")
    # Strangers come and go by the dozen: what is lost is not there even when most are at the beginning.
    before = max(sample.descriptors for sample in samples[: third or 1])
    after = min(sample.descriptors for sample in last)
    if after - before > _DESCRIPTORS:
        found.append(f"descriptors grew from {before:.0f} to {after:.0f}")
    for name in ("late_p99_ms", "pause_most_ms") if timing else ():
        before, after = _median(first, name), _median(last, name)
        if after > max(1.0, before) * _WORSE:
            found.append(f"{name} grew from {before} to {after}")
    found += [f"{figures[name]:.0f} {name}" for name in ("lost", "faults") if figures[name]]
    return found


def run(
    directory: Path, talkers: int, rate: float, churn: float, seconds: float, timing: bool = True
) -> tuple[Soak, list[str]]:
    """A server of its own below `directory`, and a whole run; what was wrong with it."""
    accounts = [NewAccount(f"t{number}") for number in range(talkers)]
    server = Msgd(directory, OPTIONS, [*accounts, *(NewAccount(name) for name in ("one", "two", "three"))])
    server.start()
    try:
        soak = Soak(server, talkers, rate, churn, seconds)
        asyncio.run(soak.run())
        found = faults(soak.samples, soak.figures(), timing)
        if "Traceback" in server.log.read_text("utf-8", "replace"):
            found.append("the log has a traceback")
        server.stop()
    finally:
        server.kill()
    return soak, found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--talkers", type=int, default=60)
    parser.add_argument("--rate", type=float, default=200, help="messages a second")
    parser.add_argument("--churn", type=float, default=5, help="networks that drop and strangers, a second")
    parser.add_argument("--out", type=Path, help="a file for all samples (JSON)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="msgd-soak-") as directory:
        soak, found = run(
            Path(directory) / "data", given.talkers, given.rate, given.churn, given.minutes * 60
        )
    for sample in soak.samples:
        print(json.dumps(asdict(sample)))
    print(json.dumps(soak.figures()))
    if given.out is not None:
        given.out.write_text(json.dumps([soak.figures(), *map(asdict, soak.samples)], indent=1))
    print("\n".join(found) or "flat")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
