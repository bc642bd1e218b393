"""When a link asks for an acknowledgement, and what it lets wait: in one process, without sockets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from msgd.links import Links
from msgd.routing.link import Link
from msgd.routing.link_management import LinkManagement
from msgd.routing.stream_management import REQUEST
from msgd.spool import link_queue
from msgd.spool.spool import Spool
from msgd.wire.stanza import Stanza
from tests.routing.world import World
from tests.work.test_links import LinkSocket, linked

_SOON = 0.011  # seconds, more than a link gathers


class Socket(LinkSocket):
    """Keeps what is written; may be full."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        """See Connection."""
        self.written.append(data)

    append = write


class Peers:
    """A user of ours writes to one of another server."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.stream = linked(world)
        self.link = cast(Link, self.stream.listener)
        self.socket = Socket()
        self.link.transport = cast(Any, self.socket)
        self.count = 0

    def say(self, times: int = 1) -> None:
        """So many messages."""
        for _ in range(times):
            self.count += 1
            raw = (
                b"<message from='romeo@localhost/orchard' to='nurse@there.example'><body>%d</body></message>"
            )
            self.world.router.route(Stanza.from_bytes(raw % self.count))

    def answer(self) -> None:
        """The other server has all of it."""
        self.stream.data_received(b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % self.count)

    def taken(self) -> list[str]:
        """What was written since the last time: the messages' texts, and 'r'."""
        written, self.socket.written = self.socket.written, []
        return ["r" if raw == REQUEST else raw.split(b"body>")[1][:-2].decode() for raw in written]


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    """Two servers, of which one is only played."""
    world = World(tmp_path)
    world.router.spool = Spool(world.router, window=0.02, batch=500, quota=100, quota_size=10**6)
    yield Peers(world)
    world.close()


def test_one_request_for_what_is_sent_in_a_short_time(peers: Peers) -> None:
    peers.say(3)
    assert peers.taken() == ["1", "2", "3"]
    peers.world.clock.advance(_SOON)
    assert peers.taken() == ["r"]


def test_each_time_that_all_was_answered_the_next_is_asked_about(peers: Peers) -> None:
    for number in range(1, 4):
        peers.say()
        peers.world.clock.advance(_SOON)
        assert peers.taken() == [str(number), "r"]
        peers.answer()


def test_an_answer_before_the_request(peers: Peers) -> None:
    peers.say()
    peers.answer()
    peers.world.clock.advance(_SOON)
    assert peers.taken() == ["1"]
    peers.say()
    peers.world.clock.advance(_SOON)
    assert peers.taken() == ["2", "r"]


def test_many_are_a_reason_at_once_and_more_while_it_is_not_answered(peers: Peers) -> None:
    peers.say(16)
    assert peers.taken()[15:] == ["16", "r"]
    peers.say(63)
    peers.world.clock.advance(_SOON)
    assert "r" not in peers.taken()
    peers.say()
    assert peers.taken() == ["80", "r"]
    peers.answer()
    peers.say(16)
    assert peers.taken()[15:] == ["96", "r"]


def test_what_is_sent_while_an_answer_is_awaited_is_asked_about_then(peers: Peers) -> None:
    peers.say()
    peers.world.clock.advance(_SOON)
    peers.say()
    assert peers.taken() == ["1", "r", "2"]
    peers.stream.data_received(b"<a xmlns='urn:xmpp:sm:3' h='1'/>")
    peers.world.clock.advance(_SOON)
    assert peers.taken() == ["r"]


def test_a_stream_that_resumes_another_asks_soon(peers: Peers) -> None:
    peers.say(100)
    peers.world.clock.advance(_SOON)
    peers.taken()
    broken = peers.link.management
    assert isinstance(broken, LinkManagement)
    peers.link.sent = 0  # as on a new stream
    broken.go_on(peers.link, peers.count)
    broken.send_again()
    peers.say()
    peers.world.clock.advance(_SOON)
    assert peers.taken() == ["101", "r"]


def test_nothing_overtakes_what_waits_for_a_link_that_is_not_read(peers: Peers) -> None:
    peers.socket.buffered = 10**6
    peers.say(2)
    assert peers.taken() == []
    peers.socket.buffered = 0
    peers.say()
    assert peers.taken() == ["1", "2", "3"]
    peers.say()
    assert peers.taken() == ["4"]


def test_what_is_on_its_way_counts_as_waiting(peers: Peers) -> None:
    queue = cast(Links, peers.world.router.table.elsewhere).queue
    queue.options = replace(queue.options, most_messages=3)
    peers.say(5)
    assert peers.taken() == ["1", "2", "3"]
    peers.stream.data_received(b"<a xmlns='urn:xmpp:sm:3' h='3'/>")
    peers.say()
    assert peers.taken()[:1] == ["6"]


def test_bytes_that_are_on_their_way_count_too(peers: Peers) -> None:
    queue = cast(Links, peers.world.router.table.elsewhere).queue
    queue.options = replace(queue.options, most_bytes=250)
    peers.say(4)
    assert peers.taken() == ["1", "2"]


def test_what_is_not_written_counts_on_a_link_too(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_queue, "_UNWRITTEN", 250)
    peers.say(5)
    assert peers.taken() == ["1", "2", "3"]
