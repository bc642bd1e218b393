"""Python functions that are called for one message, from its bytes to those for its recipient's socket.

The figures are of the code as it is. Who raises one says what the message gets for it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytest

from msgd.routing.resumption import Resumption
from msgd.routing.session import Session
from msgd.spool.spool import Spool
from msgd.wire.xmlstream import Limits, XMLStream
from tests.routing.world import World

MESSAGES = 50
#: One client to another, neither with stream management.
_PLAIN = 37
#: Both with it: the message, the request behind it, the acknowledgements of recipient and server.
_MANAGED = 71


class Socket:
    """Takes everything, and has delivered it at once."""

    address, last_received, buffered, closed = "192.0.2.1", 0.0, 0, False

    def write(self, data: bytes) -> None:
        """See Connection."""

    append = write

    def under_way(self) -> int:
        """See Connection."""
        return 0


class Talk:
    """Romeo and Juliet, at the ends of their streams."""

    def __init__(self, world: World, managed: bool) -> None:
        self._world = world
        self._managed = managed
        self.romeo = self._connects("romeo@localhost/orchard")
        self.juliet = self._connects("juliet@localhost/balcony")

    def _connects(self, jid: str) -> XMLStream:
        session: Session = self._world.connects(jid).session
        stream = XMLStream(session, Limits(262_144, 1000))
        stream._unread = None  # the header is read
        session.transport, session.stream = cast(Any, Socket()), stream
        session.available, session.priority = True, 0
        if self._managed:
            self._world.router.resumption.enable(session, {"resume": "true"})
        return stream

    def go_on(self, numbers: range) -> None:
        """Romeo says something so many times."""
        for number in numbers:
            said = b"<message to='juliet@localhost/balcony' type='chat' id='%d'><body>%s</body></message>"
            self.romeo.data_received(
                said % (number, b"x" * 80) + (b"<r xmlns='urn:xmpp:sm:3'/>" if self._managed else b"")
            )
            if self._managed:
                self.juliet.data_received(b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % (number + 1))


def counted(work: Callable[[], None]) -> Counter[str]:
    """How often each function of msgd was called by `work`, and how often anything else in Python was."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            code = frame.f_code
            calls[f"{Path(code.co_filename).stem}.{code.co_qualname}"] += 1

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def check(calls: Counter[str], most: int) -> None:
    """Whether `MESSAGES` of them took `most` calls each, and hardly less."""
    for name, count in calls.most_common(90):
        print(f"{count / MESSAGES:6.2f} {name}")
    total = calls.total() / MESSAGES
    print(f"{total:6.2f} in all, at most {most}")
    assert total <= most
    assert total > most - 5, "it takes less now: lower the bound, so that it stays so"


@pytest.fixture
def with_spool(world: World) -> World:
    """A world with a spool and sessions that can be resumed."""
    world.router.spool = Spool(world.router, window=0.02, batch=500, quota=10_000, quota_size=10**8)
    world.router.resumption = Resumption(world.router, 600)
    return world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A server without doors."""
    made = World(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(("managed", "most"), [(False, _PLAIN), (True, _MANAGED)], ids=["plain", "managed"])
def test_calls_for_one_message(with_spool: World, managed: bool, most: int) -> None:
    talk = Talk(with_spool, managed)
    talk.go_on(range(10))  # caches fill
    check(counted(lambda: talk.go_on(range(10, 10 + MESSAGES))), most)
