"""What has arrived at a server without stream management: what it answered a ping behind."""

from __future__ import annotations

import queue
import re
import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.links.test_hostile import Hostile, authenticated
from tests.links.waiting import until_attempts_failed, until_waiting
from tests.links.world import Someone, World

_PING = re.compile(rb"<iq type='get' id='([^']+)' from='a.example' to='b.example'><ping ")
_BODY = re.compile(rb"<body>([^<]*)</body>")
_BIDI = b"<bidi xmlns='urn:xmpp:features:bidi'/>"


class Peer:
    """A server without stream management, whose streams go both ways; it answers pings when told to."""

    def __init__(self, world: World) -> None:
        self._streams: queue.Queue[ssl.SSLSocket] = queue.Queue()
        self._listening = Hostile(world, self._plays)
        self._stream: ssl.SSLSocket | None = None
        self._read = b""

    def _plays(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        stream = authenticated(connection, context, _BIDI)
        stream.settimeout(30)
        self._streams.put(stream)

    def accepts(self) -> None:
        """The next stream of our server is there."""
        if self._stream is not None:
            self._stream.close()
        self._stream = self._streams.get(timeout=60)
        self._read = b""

    def until(self, wanted: re.Pattern[bytes]) -> bytes:
        """What comes next of that kind; it is taken."""
        assert self._stream is not None
        while (found := wanted.search(self._read)) is None:
            data = self._stream.recv(4096)
            assert data, "the stream ended"
            self._read += data
        self._read = self._read[found.end() :]
        return found.group(1)

    def answers(self, id: bytes, how: bytes = b"type='result'/>", sender: bytes = b"b.example") -> None:
        """Send an answer to a ping."""
        assert self._stream is not None
        self._stream.sendall(b"<iq to='a.example' from='" + sender + b"' id='" + id + b"' " + how)

    def dies(self) -> None:
        """With what it has read and not worked off."""
        assert self._stream is not None
        self._stream.close()

    def close(self) -> None:
        """Go away."""
        if self._stream is not None:
            self._stream.close()
        self._listening.close()


@pytest.fixture
def peer(world: World) -> Iterator[Peer]:
    """Of the domain b.example."""
    made = Peer(world)
    yield made
    made.close()


def test_what_the_peer_did_not_work_off_is_sent_again(world: World, peer: Peer) -> None:
    server = world.msgd("a.example", ["romeo"])
    romeo = Someone(server, "romeo", managed=True).arrives()
    for text in ("one", "two"):
        romeo.says("juliet@b.example", text)
    romeo.until_safe()
    peer.accepts()
    assert [peer.until(_BODY), peer.until(_BODY)] == [b"one", b"two"]
    peer.until(_PING)  # so the messages have been read, and its TCP has acknowledged them
    peer.dies()
    peer.accepts()
    assert [peer.until(_BODY), peer.until(_BODY)] == [b"one", b"two"]
    ping = peer.until(_PING)
    # An answer of somebody else is none.
    peer.answers(ping, sender=b"juliet@b.example")
    romeo.says("juliet@b.example", "three")
    assert peer.until(_BODY) == b"three"
    until_waiting(server, "b.example", 3)
    peer.answers(ping)
    until_waiting(server, "b.example", 1)
    error = b"type='error'><error type='cancel'><service-unavailable"
    error += b" xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    peer.answers(peer.until(_PING), error)
    until_waiting(server, "b.example", 0)
    peer.dies()
    romeo.says("juliet@b.example", "four")
    peer.accepts()
    assert peer.until(_BODY) == b"four"


def test_of_a_peer_that_answers_no_pings_the_kernel_is_believed(world: World, peer: Peer) -> None:
    server = world.msgd("a.example", ["romeo"], ["ping.interval = 0"], movable=True)
    romeo = Someone(server, "romeo", managed=True).arrives()
    romeo.says("juliet@b.example", "one")
    peer.accepts()
    assert peer.until(_BODY) == b"one"
    peer.until(_PING)
    until_waiting(server, "b.example", 1)
    server.advance(11)
    until_waiting(server, "b.example", 0)
    romeo.says("juliet@b.example", "two")
    assert peer.until(_BODY) == b"two"
    until_waiting(server, "b.example", 0)


def test_a_peer_that_answers_no_more_is_left(world: World, peer: Peer) -> None:
    server = world.msgd("a.example", ["romeo"], ["ping.interval = 0"], movable=True)
    romeo = Someone(server, "romeo", managed=True).arrives()
    romeo.says("juliet@b.example", "one")
    peer.accepts()
    peer.answers(peer.until(_PING))
    until_waiting(server, "b.example", 0)
    romeo.says("juliet@b.example", "two")
    peer.until(_PING)
    server.advance(61)
    server.advance(6)
    peer.accepts()
    assert peer.until(_BODY) == b"two"


def test_what_never_arrives_comes_back_after_its_time(world: World, peer: Peer) -> None:
    options = ["ping.interval = 0", "federation.lifetime = 1", "federation.notice = 0"]
    server = world.msgd("a.example", ["romeo"], options, movable=True)
    romeo = Someone(server, "romeo").arrives()
    romeo.says("juliet@b.example", "one")
    peer.accepts()
    assert peer.until(_BODY) == b"one"
    romeo.says("juliet@b.example", "two")
    assert peer.until(_BODY) == b"two"
    peer.close()
    # Each attempt fails in the time of the kernel, which does not move.
    for number in (1, 2, 3):
        until_attempts_failed(server, "b.example", number)
        server.advance(1300)
    assert [romeo.hears(), romeo.hears()] == ["error remote-server-timeout"] * 2
    until_waiting(server, "b.example", 0)
