"""Stop and start: what clients are told, what is kept, and what a start finds after `kill -9`."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from msgd.routing.account import LiveAccount
from msgd.spool import store
from msgd.spool.entry import Entry, Ids
from msgd.storage.sqlite_file import SqliteFile
from msgd.wire.jid import JID
from tests.crash.actors import Sender, World
from tests.crash.client import Client
from tests.crash.journal import Message
from tests.crash.stream import Connection
from tests.crash.until import until
from tests.harness import Msgd, NewAccount

#: Entries that wait at the start after a crash.
_STORED = 100_000
#: Seconds that such a start may take, Python's own start included; it takes about one.
_START = 15.0


class Stage:
    """A server, `ann` who writes, and whoever reads."""

    def __init__(self, data: Path, *options: str, people: int = 3) -> None:
        accounts = [NewAccount(name) for name in ("ann", *(f"reader{n}" for n in range(people)))]
        self.server = Msgd(data, ["login.plain = true", *options], accounts)
        self.world = World(random.Random(1))
        self.ann = Sender(self.world, "ann", [f"reader{n}" for n in range(people)])

    async def begin(self) -> None:
        """Start the server; Ann logs in, resuming what there is to resume."""
        self.server.start()
        await self.ann.client.log_in(self.address, manage=True, presence=False)

    @property
    def address(self) -> tuple[str, int]:
        """Where clients connect."""
        return self.server.address(direct=True)

    async def reader(self, name: str = "reader0", resource: str = "one", *, manage: bool = True) -> Client:
        """Somebody logs in."""
        client = self.world.client(name, resource)
        await client.log_in(self.address, manage=manage, presence=True)
        return client

    async def write(self, count: int, to: str = "reader0") -> list[Message]:
        """Ann writes, and waits until all of it is acknowledged."""
        sent = [self.ann.send(to) for _ in range(count)]
        while self.ann.client.outstanding:
            self.ann.client.acknowledged.clear()
            self.ann.client.request()
            await asyncio.wait_for(self.ann.client.acknowledged.wait(), 30)
        return sent

    async def read(self, sent: list[Message], resource: str = "one") -> None:
        """Until the last of `sent` has come to a resource."""
        await until(lambda: self.received(sent[-1].recipient, resource)[-1:] == sent[-1:])

    def received(self, name: str = "reader0", resource: str = "one") -> list[Message]:
        """What came to a resource, in order."""
        return [
            each.message
            for each in self.world.journal.deliveries
            if each.message.recipient == name and each.resource == resource
        ]

    async def stop(self) -> None:
        """SIGTERM, and wait for the end; the clients go on reading."""
        await asyncio.get_running_loop().run_in_executor(None, self.server.stop)

    def end(self) -> None:
        """Nothing else went wrong."""
        self.server.stop()
        assert not self.world.journal.faults
        assert "Traceback" not in self.server.log.read_text()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path / "data")
    yield stage
    stage.server.kill()


# -- graceful --------------------------------------------------------------------------------------


def test_everybody_is_told_of_the_stop(stage: Stage) -> None:
    async def scene() -> None:
        await stage.begin()
        managed, plain = await stage.reader(), await stage.reader("reader1", manage=False)
        stranger = await Connection.open(stage.address)
        stranger.write(b"<stream:stream xmlns='jabber:client' to='localhost' version='1.0'")
        stranger.write(b" xmlns:stream='http://etherx.jabber.org/streams'>")
        assert (await stranger.next()).tag.endswith("features")
        await stage.stop()
        for client in (stage.ann.client, managed, plain):
            await asyncio.wait_for(client.wait_lost(), 30)
            assert client.error == "system-shutdown"
            assert client.connection is not None
            assert client.connection.ended, "the stream was closed"
        assert (await stranger.next())[0].tag.endswith("system-shutdown")
        await asyncio.wait_for(stranger.lost.wait(), 30)
        assert "2 sessions can be resumed" in stage.server.log.read_text()

    asyncio.run(scene())


def test_sessions_are_resumed_after_a_restart(stage: Stage) -> None:
    async def scene() -> None:
        await stage.begin()
        reader = await stage.reader()
        reader.answers = False
        sent = await stage.write(20)
        # The last are on their way when the server stops.
        sent += [stage.ann.send("reader0") for _ in range(20)]
        await stage.stop()
        for client in (stage.ann.client, reader):
            await asyncio.wait_for(client.wait_lost(), 30)
            client.cut()
        await stage.begin()
        assert stage.ann.client.managed is not None
        sent += await stage.write(20)
        assert await reader.log_in(stage.address, manage=True, presence=True), "it is resumed"
        sent += await stage.write(5)
        await stage.read(sent)
        assert stage.received() == sent, "nothing lost, nothing doubled, in order"
        reader.answer()
        await reader.close()
        sent += await stage.write(5)
        await stage.reader()
        await stage.read(sent)
        assert stage.received() == sent, "what was acknowledged is not kept"
        assert stage.world.journal.acknowledged == set(sent)
        stage.end()

    asyncio.run(scene())


def test_what_was_not_read_before_the_stop_comes_after_it(stage: Stage) -> None:
    async def scene() -> None:
        await stage.begin()
        reader = await stage.reader()
        assert reader.connection is not None
        reader.connection.pause()
        sent = await stage.write(50)
        await stage.stop()
        stage.ann.client.cut()
        reader.cut()
        await stage.begin()
        assert await reader.log_in(stage.address, manage=True, presence=True), "it is resumed"
        await stage.read(sent)
        assert stage.received() == sent
        stage.end()

    asyncio.run(scene())


def test_two_resources_that_hold_the_same_are_resumed(stage: Stage) -> None:
    async def scene() -> None:
        await stage.begin()
        clients = [await stage.reader(resource=resource) for resource in ("one", "two")]
        for client in clients:
            client.answers = False
        sent = await stage.write(1)
        for resource in ("one", "two"):
            await stage.read(sent, resource)
        await stage.stop()
        for client in (stage.ann.client, *clients):
            await client.wait_lost()
            client.cut()
        await stage.begin()
        for client in clients:
            assert await client.log_in(stage.address, manage=True, presence=True)
            await client.close()
        # Now nobody is there; what comes is kept, and counted rightly.
        sent += await stage.write(1)
        await stage.reader()
        await stage.read(sent)
        assert stage.received() == sent
        stage.end()

    asyncio.run(scene())


def test_a_session_that_is_resumed_over_a_living_connection_is_asked_again(stage: Stage) -> None:
    async def scene() -> None:
        await stage.begin()
        reader = await stage.reader()
        reader.answers = False
        sent = await stage.write(1)
        await stage.read(sent)
        behind = reader.leave_behind()
        reader.answers = True
        assert reader.previous is not None
        reader.previous.handled -= 1  # it forgot the message
        assert await reader.log_in(stage.address, manage=True, presence=True)
        await until(lambda: stage.received() == sent * 2)
        # It is asked without anything else being sent, so its answer empties the store.
        await until(lambda: _rows(stage.server.data, "spool") == 0, "the end of the stored message")
        assert behind is not None
        behind.abort()
        stage.end()

    asyncio.run(scene())


# -- after a crash ---------------------------------------------------------------------------------


def _rows(data: Path, table: str) -> int:
    database = sqlite3.connect(data / "msgd.sqlite")
    (count,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()
    database.close()
    return int(count)


def _fill(data: Path, names: list[str], each: int) -> int:
    """Write entries as a server does that is then killed: they are in SQLite's log. Their size."""
    path, copy = data / "msgd.sqlite", data / "copy"
    file = SqliteFile(path, claim=False)
    connection, ids, size = file.writing(), Ids(time.time), 0
    found = dict(sqlite3.connect(path).execute("SELECT name, id FROM account"))
    for name in names:
        account = LiveAccount(found[name], JID.make(name, "localhost"))
        entries = []
        for number in range(1, each + 1):
            message, id = Message("ann", name, number), ids.next()
            raw = (
                f"<message from='ann@localhost/one' to='{name}@localhost' type='chat' id='{message.id}'>"
                f"<body>{message.text.replace('&', '&amp;').replace('<', '&lt;')}</body>"
                f"<stanza-id xmlns='urn:xmpp:sid:0' id='{id:x}' by='{name}@localhost'/></message>"
            )
            entries.append(Entry(id, account, raw.encode()))
            size += len(entries[-1].raw)
        connection.begin()
        store.write(connection, entries, [])
        connection.commit()
    copy.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", copy / f"msgd.sqlite{suffix}")
    file.close()
    for each_file in copy.iterdir():
        each_file.replace(data / each_file.name)
    copy.rmdir()
    return size


def test_a_start_with_many_stored_messages_takes_seconds_and_says_so(tmp_path: Path) -> None:
    async def scene() -> None:
        names = [f"reader{number}" for number in range(people)]
        size = _fill(stage.server.data, names, _STORED // people)
        assert (stage.server.data / "msgd.sqlite-wal").stat().st_size > size
        begun = time.monotonic()
        await stage.begin()
        took = time.monotonic() - begun
        print(f"a start with {_STORED} stored messages ({size} bytes) took {took:.2f} s")
        assert took < _START
        told = f"{_STORED} messages wait in the spool"
        await until(lambda: told in stage.server.log.read_text(), "the count")
        journal = stage.world.journal
        journal.sent = {Message("ann", "reader7", number) for number in range(1, _STORED // people + 1)}
        begun = time.monotonic()
        await stage.reader("reader7")
        await until(lambda: len(stage.received("reader7")) == len(journal.sent))
        print(f"{len(journal.sent)} of them were delivered in {time.monotonic() - begun:.2f} s")
        assert stage.received("reader7") == sorted(journal.sent)
        stage.end()

    people = 20
    stage = Stage(tmp_path / "data", people=people)
    try:
        asyncio.run(scene())
    finally:
        stage.server.kill()


_DAMAGE = {
    "stanza": "UPDATE spool SET stanza = substr(stanza, 1, 20) || x'00ff' || substr(stanza, 23) WHERE id = ?",
    "length": "UPDATE spool SET stanza = substr(stanza, 1, 40) WHERE id = ?",
    "type": "UPDATE spool SET stanza = 'a text' WHERE id = ?",
    "checksum": "UPDATE spool SET checksum = 'none' WHERE id = ?",
    "owner": "UPDATE spool SET account_id = account_id + 1 WHERE id = ?",
}


@pytest.mark.parametrize("damage", _DAMAGE)
def test_damaged_rows_are_set_aside_and_the_rest_is_delivered(stage: Stage, damage: str) -> None:
    async def scene() -> None:
        await stage.begin()
        sent = await stage.write(10)
        stage.server.kill()
        database = sqlite3.connect(stage.server.data / "msgd.sqlite")
        ids = [id for (id,) in database.execute("SELECT id FROM spool ORDER BY id")]
        assert len(ids) == 10
        for index in (0, 4, 9):
            assert database.execute(_DAMAGE[damage], (ids[index],)).rowcount == 1
        database.commit()
        database.close()
        stage.ann.client.cut()
        stage.ann.client.previous = None
        await stage.begin()
        others = [await stage.reader("reader1")]
        readers = [await stage.reader()]
        # A last message behind them, to know when all came.
        sent += await stage.write(1)
        await stage.read(sent)
        assert stage.received() == [message for n, message in enumerate(sent) if n not in (0, 4, 9)]
        assert stage.received("reader1") == []
        await until(lambda: _rows(stage.server.data, "spool") == 0)
        assert _rows(stage.server.data, "spool_corrupt") == 3
        assert "damaged and were set aside" in stage.server.log.read_text()
        for client in (*readers, *others):
            await client.close()
        # And the mailbox works as before.
        sent += await stage.write(1)
        await stage.reader()
        await stage.read(sent)
        stage.end()

    asyncio.run(scene())
