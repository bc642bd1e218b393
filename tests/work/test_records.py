"""TLS records that the server sends: what one turn has for a client travels in one record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.crash.client import Client
from tests.crash.until import until
from tests.harness import Msgd, NewAccount

_APPLICATION_DATA = 23


class Wiretap:
    """Stands between a client and the server and counts the records that come from the server."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self.address = ("", 0)
        self.records = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Wiretap]:
        """Listen on a port of its own."""
        listener = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = listener.sockets[0].getsockname()[:2]
        try:
            yield self
        finally:
            listener.close()
            await listener.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(*self._server)
        copying = asyncio.create_task(self._copy(reader, to_server))
        try:
            while True:
                head = await from_server.readexactly(5)
                self.records += head[0] == _APPLICATION_DATA
                writer.write(head + await from_server.readexactly(int.from_bytes(head[3:5])))
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            copying.cancel()
            writer.close()
            to_server.close()

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)


@pytest.fixture
def server(tmp_path: Path) -> Msgd:
    return Msgd(tmp_path / "data", ["login.plain = true"], [NewAccount("romeo"), NewAccount("juliet")])


async def _scene(server: Msgd, managed: bool) -> None:
    server.start()
    address = server.address(direct=True)
    async with Wiretap(address).open() as tap:
        romeo, juliet = Client("romeo"), Client("juliet")
        received: list[str] = []
        juliet.on_message = lambda element: received.append(element.get("id", ""))
        juliet.answers = False
        await juliet.log_in(tap.address, manage=managed, presence=True)
        await romeo.log_in(address, manage=managed, presence=True)

        async def say(ids: range) -> int:
            """Romeo says so many things in one write; how many records carry them."""
            before = tap.records
            text = "<message to='juliet@localhost/one' type='chat' id='%d'><body>Hi</body></message>"
            romeo.send(None, "".join(text % id for id in ids).encode())
            await until(lambda: str(ids[-1]) in received, "the last message")
            return tap.records - before

        await say(range(1))  # what follows the login is over
        assert await say(range(1, 2)) == 1
        assert await say(range(2, 22)) == 1
        assert await say(range(22, 23)) == 1
        assert received == [str(id) for id in range(23)]
        for client in (romeo, juliet):
            await client.close()


@pytest.mark.parametrize("managed", [False, True], ids=["plain", "managed"])
def test_one_record_for_all_that_a_turn_brings(server: Msgd, managed: bool) -> None:
    try:
        asyncio.run(asyncio.wait_for(_scene(server, managed), 30))
    finally:
        server.kill()
