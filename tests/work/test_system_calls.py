"""System calls for one message: what the kernel counts of the server's reads and writes (/proc/PID/io).

OpenSSL reads and writes its socket with them, SQLite its files. Waiting for events is not counted there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.crash.client import Client
from tests.crash.until import until
from tests.harness import Msgd, NewAccount

_MESSAGES: Final = 200
#: Reads and writes for a message, one at a time: the head of a record, the rest of it; one record out.
_READS, _WRITES = 2, 1
#: A write of the store comes on top now and then: of what has not arrived after a tenth of a second.
_STORE: Final = 1.25
#: With stream management: the message and the request behind it are one record, so are the recipient's
#: answer, and the server's.
_MANAGED_READS, _MANAGED_WRITES = 4, 2


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Msgd]:
    made = Msgd(tmp_path / "data", ["login.plain = true"], [NewAccount("romeo"), NewAccount("juliet")])
    made.start()
    yield made
    made.kill()


def _calls(server: Msgd) -> tuple[int, int]:
    lines = Path(f"/proc/{server.pid}/io").read_text().split()
    figures = dict(zip(lines[::2], map(int, lines[1::2]), strict=True))
    return figures["syscr:"], figures["syscw:"]


async def _talk(server: Msgd, managed: bool, at_once: int) -> tuple[float, float]:
    """Reads and writes for each message, `at_once` of them in one record."""
    romeo, juliet = Client("romeo"), Client("juliet")
    heard: list[str] = []
    juliet.on_message = lambda element: heard.append(element.get("id", ""))
    for client in (juliet, romeo):
        await client.log_in(server.address(direct=True), manage=managed, presence=True)
    raw = b"<message to='juliet@localhost/one' type='chat' id='%d'><body>Hi</body></message>"
    ask = b"<r xmlns='urn:xmpp:sm:3'/>" if managed else b""
    reads = writes = 0
    for first in range(0, _MESSAGES + at_once, at_once):
        romeo.send(None, b"".join(raw % number for number in range(first, first + at_once)) + ask)
        last = str(first + at_once - 1)
        await until(lambda last=last: heard[-1:] == [last], "the last")  # type: ignore[misc]  # a default
        if first == 0:
            reads, writes = _calls(server)  # what follows the login is over
    now = _calls(server)
    for client in (juliet, romeo):
        client.cut()
    return (now[0] - reads) / _MESSAGES, (now[1] - writes) / _MESSAGES


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="this kernel does not count")
@pytest.mark.parametrize(
    ("managed", "at_once", "most_reads", "most_writes"),
    [
        (False, 1, _READS, _WRITES),
        (False, 20, _READS / 20, _WRITES / 20),
        (True, 1, _MANAGED_READS, _MANAGED_WRITES),
    ],
    ids=["plain", "twenty at once", "managed"],
)
def test_system_calls_for_one_message(
    server: Msgd, managed: bool, at_once: int, most_reads: float, most_writes: float
) -> None:
    reads, writes = asyncio.run(asyncio.wait_for(_talk(server, managed, at_once), 60))
    print(f"\n{reads:.2f} reads, at most {most_reads}; {writes:.2f} writes, at most {most_writes}")
    assert reads <= most_reads * _STORE
    assert writes <= most_writes * _STORE
