"""What an idle session costs in Python objects; TLS has its own share (bench/RESULTS.md).

The formula: a session with stream management costs what `_FIXED` says, and for each stanza that is sent and
not acknowledged its bytes and what `_EACH` says. Who makes an object larger raises a figure here.
"""

from __future__ import annotations

import gc
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import pytest

from msgd.routing.resumption import Resumption
from msgd.routing.session import Session
from msgd.wire.jid import JID
from msgd.wire.output import Output
from msgd.wire.stanza import Stanza
from msgd.wire.transport import Connection
from msgd.wire.xmlstream import Limits, XMLStream
from tests.routing.world import World

#: Bytes of the Python objects of one session: connection, stream, session, account, stream management.
_FIXED = 2450
#: Bytes for a stanza in the queue, beside its own.
_EACH = 60

_SHARED = (type, ModuleType, FunctionType, MethodType)


class Sockets(World):
    """A server without doors, and the sockets of its sessions."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.router.resumption = Resumption(self.router, 600)
        self.sockets: list[socket.socket] = []

    def close(self) -> None:
        """End all of it."""
        for each in self.sockets:
            each.close()
        super().close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Sockets]:
    """A world of its own for each test."""
    made = Sockets(tmp_path)
    yield made
    made.close()


def _owned(root: object, shared: set[int]) -> dict[int, object]:
    """Everything that hangs on `root` alone: not what the server has anyway."""
    found: dict[int, object] = {}
    todo = [root]
    while todo:
        item = todo.pop()
        if id(item) in found or id(item) in shared or isinstance(item, _SHARED):
            continue
        found[id(item)] = item
        todo += gc.get_referents(item)
    return found


def session_of(world: Sockets, jid: str) -> Session:
    session = world.connects(jid).session
    here, there = socket.socketpair()
    there.close()
    world.sockets.append(here)
    reactor: Any = world.clock
    connection = Connection(reactor, Output(reactor), here, "192.0.2.1")
    stream = XMLStream(session, Limits(262_144, 1000))
    stream._unread = None  # the header is read
    session.attach(connection, stream, "en")
    connection.receiver = stream
    world.router.resumption.enable(session, {"resume": "true"})
    session.presence = Stanza.from_bytes(f"<presence from='{jid}'/>".encode())
    session.presence._tree = None
    return session


def _bytes(world: Sockets, session: Session) -> int:
    others = (world, world.router, world.router.config, world.clock, session.stream and session.stream.limits)
    shared = {id(item) for item in others}
    # What another session refers to as well is no cost of this one.
    other = world.router.table.session(JID.parse("romeo@localhost/other"))
    assert other is not None
    shared |= _owned(other, shared).keys()
    return sum(map(sys.getsizeof, _owned(session, shared).values()))


def test_an_idle_session(world: Sockets) -> None:
    session_of(world, "romeo@localhost/other")
    session = session_of(world, "juliet@localhost/balcony")
    size = _bytes(world, session)
    print(f"{size} bytes, at most {_FIXED}")
    assert size <= _FIXED
    assert size > _FIXED * 0.75, "it takes less now: lower the bound, so that it stays so"


def test_what_is_not_acknowledged(world: Sockets) -> None:
    session_of(world, "romeo@localhost/other")
    session = session_of(world, "juliet@localhost/balcony")
    management = session.stream_management
    assert management is not None
    before, length, count = _bytes(world, session), 300, 1000
    for number in range(count):
        management.push(b"%300d" % number)
    each = (_bytes(world, session) - before) / count - length
    print(f"{each:.1f} bytes, at most {_EACH}")
    assert each <= _EACH
