"""A whole server on a failing disk: no acknowledgement for what is not stored, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash.actors import Sender, World
from tests.crash.client import Client
from tests.crash.journal import Message
from tests.crash.until import until
from tests.faults.shim import Faults
from tests.harness import Msgd, NewAccount

_OPTIONS = ("login.plain = true", "log.level = 'info'")
_ACCOUNTS = [NewAccount(name) for name in ("ann", "bob", "away", "there")]


class Stage:
    """A server, and people: `ann` writes to `away`, who is not there; `bob` to `there`, who is."""

    def __init__(self, directory: Path, data: Path, environment: dict[str, str]) -> None:
        self.server = Msgd(data, _OPTIONS, _ACCOUNTS, environment=environment)
        self.server.log = directory / "log"  # the disk that fails is that of the data
        self.world = World(random.Random(1))
        self.ann = Sender(self.world, "ann", ["away"])
        self.bob = Sender(self.world, "bob", ["there"])
        self.there = self.world.client("there")

    async def begin(self) -> None:
        """Start the server and log everybody in who is there."""
        self.server.start()
        address = self.server.address(direct=True)
        await self.ann.client.log_in(address, manage=True, presence=False)
        await self.bob.client.log_in(address, manage=True, presence=False)
        await self.there.log_in(address, manage=True, presence=True)

    def send(self, count: int) -> list[Message]:
        """Ann sends so many messages and asks for an acknowledgement."""
        sent = [self.ann.send("away") for _ in range(count)]
        self.ann.client.request()
        return sent

    async def acknowledged(self, sent: list[Message], ask: Client | None = None) -> None:
        """Until all of `sent` are acknowledged; asks again and again."""
        client = ask or self.ann.client
        while not self.world.journal.acknowledged.issuperset(sent):
            client.acknowledged.clear()
            client.request()
            await asyncio.wait_for(client.acknowledged.wait(), 30)

    async def refuse(self, sent: list[Message]) -> None:
        """Until the server says how far it has got, which is not as far as `sent`."""
        client = self.ann.client
        client.acknowledged.clear()
        client.request()
        await asyncio.wait_for(client.acknowledged.wait(), 30)
        assert not self.world.journal.acknowledged.intersection(sent)

    async def live_talk_goes_on(self) -> None:
        """Bob's message is acknowledged because its recipient has acknowledged it."""
        message = self.bob.send("there")
        self.bob.client.request()
        await self.acknowledged([message], self.bob.client)
        assert message in self.received()

    async def says(self, text: str) -> None:
        """Until the log has `text`."""
        await until(lambda: text in self.server.log.read_text(), f"{text!r} in the log")

    def received(self) -> list[Message]:
        """What came, in order."""
        return [delivery.message for delivery in self.world.journal.deliveries]

    async def collect(self) -> list[Message]:
        """Log in as `away`; what came, up to a last message."""
        address = self.server.address(direct=True)
        away = self.world.client("away")
        await away.log_in(address, manage=True, presence=True)
        self.ann.client.cut()
        self.ann.client.previous = None
        await self.ann.client.log_in(address, manage=True, presence=False)
        (last,) = self.send(1)
        await until(lambda: last in self.received())
        await away.close()
        return [message for message in self.received() if message.recipient == "away"][:-1]

    def end(self) -> None:
        """Nothing else went wrong."""
        for client in (self.ann.client, self.bob.client, self.there):
            client.cut()
        self.server.kill()
        assert not self.world.journal.faults
        assert "Traceback" not in self.server.log.read_text()


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    return Faults(tmp_path / "control", under=tmp_path / "data")


@pytest.fixture
def stage(tmp_path: Path, faults: Faults) -> Iterator[Stage]:
    stage = Stage(tmp_path, tmp_path / "data", faults.environment)
    yield stage
    stage.server.kill()


_KINDS: dict[str, Callable[[Faults], None]] = {
    "disk full": lambda faults: faults.disk_full(),
    "sync fails": lambda faults: faults.fail("sync", errno.EIO),
    "write fails": lambda faults: faults.fail("write", errno.EIO),
}


#: What the console says of it.
_TOLD = {"disk full": "no space left", "sync fails": "FSYNC", "write fails": "input/output error"}


@pytest.mark.parametrize("kind", _KINDS)
def test_no_acknowledgement_until_the_disk_is_well_again(stage: Stage, faults: Faults, kind: str) -> None:
    async def scene() -> None:
        await stage.begin()
        before = stage.send(3)
        await stage.acknowledged(before)
        _KINDS[kind](faults)
        meanwhile = stage.send(5)
        await stage.refuse(meanwhile)
        await stage.says("messages cannot be stored")
        await stage.says("the database fails: ")
        assert _TOLD[kind] in stage.server.command("status")
        await stage.live_talk_goes_on()
        more = stage.send(5)
        await stage.refuse(more)
        faults.clear()
        await stage.acknowledged(more)
        await stage.says("messages are stored again")
        stage.server.kill()
        stage.server.start()
        assert await stage.collect() == before + meanwhile + more
        stage.end()

    asyncio.run(scene())


@pytest.mark.parametrize("kind", _KINDS)
def test_killed_while_the_disk_fails(stage: Stage, faults: Faults, kind: str) -> None:
    async def scene() -> None:
        await stage.begin()
        before = stage.send(3)
        await stage.acknowledged(before)
        _KINDS[kind](faults)
        meanwhile = stage.send(5)
        await stage.refuse(meanwhile)
        stage.server.kill()
        faults.clear()
        stage.server.start()
        received = await stage.collect()
        assert received[:3] == before
        # What was not acknowledged may be there or not, but in order and once.
        assert received[3:] == [message for message in meanwhile if message in received]
        stage.end()

    asyncio.run(scene())


def test_stopped_while_the_disk_fails(stage: Stage, faults: Faults) -> None:
    async def scene() -> None:
        await stage.begin()
        before = stage.send(3)
        await stage.acknowledged(before)
        faults.disk_full()
        meanwhile = stage.send(5)
        await stage.refuse(meanwhile)
        await asyncio.get_running_loop().run_in_executor(None, stage.server.stop)
        await stage.ann.client.wait_lost()
        assert stage.ann.client.error == "system-shutdown"
        assert not stage.world.journal.acknowledged.intersection(meanwhile)
        faults.clear()
        stage.server.start()
        received = await stage.collect()
        assert received[:3] == before
        assert received[3:] == [message for message in meanwhile if message in received]
        stage.end()

    asyncio.run(scene())


@contextlib.contextmanager
def _small_disk(path: Path, size: str) -> Iterator[None]:
    """A file system of its own. Skips where that takes more rights than we have."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "msgd-test", str(path)]
    if os.geteuid() or subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("only root can make a small file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    async def scene() -> None:
        await stage.begin()
        everything: list[Message] = []
        safe = stage.world.journal.acknowledged
        failed = "messages cannot be stored"

        def settled() -> bool:
            return everything[-1] in safe or failed in stage.server.log.read_text()

        left = disk / "left"
        left.write_bytes(bytes(6_000_000))
        while True:
            sent = [stage.ann.send("away") for _ in range(50)]
            stage.ann.client.request()
            everything += sent
            await until(settled)
            if sent[-1] not in safe:
                break
        await stage.says("disk is full")
        await stage.live_talk_goes_on()
        left.unlink()
        await stage.acknowledged(everything)
        stage.server.kill()
        stage.server.start()
        assert await stage.collect() == everything
        stage.end()

    disk = tmp_path / "disk"
    with _small_disk(disk, "12m"):
        stage = Stage(tmp_path, disk / "data", {})
        try:
            asyncio.run(scene())
        finally:
            stage.server.kill()
