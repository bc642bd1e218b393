"""Dialback with a server that is played by hand: several domains on one stream, and keys that it disowns."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.links.test_hostile import Hostile, until
from tests.links.world import Someone, World, link_port

_VERIFY = re.compile(rb"<db:verify from='([^']+)' to='([^']+)' id='([^']+)'>([^<]+)<")


def _header(domain: bytes, id: bytes = b"") -> bytes:
    return (
        b"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'"
        b" xmlns:db='jabber:server:dialback' from='" + domain + b"' to='a.example' version='1.0'" + id + b">"
    )


def _authoritative(connection: socket.socket, context: ssl.SSLContext) -> None:
    """Answers for every domain: the key 'mine' is good."""
    stream = context.wrap_socket(connection, server_side=True)
    until(stream, b"xml:lang='en'>")
    stream.sendall(_header(b"b.example", b" id='s'") + b"<stream:features/>")
    read = b""
    while (asked := _VERIFY.search(read)) is None:
        read += stream.recv(4096)
    ours, theirs, id, key = asked.groups()
    good = b"valid" if key == b"mine" else b"invalid"
    # An answer for somebody else comes first, and must not be taken for it.
    for name, said in ((b"other.example", b"valid"), (theirs, good)):
        stream.sendall(
            b"<db:verify from='" + name + b"' to='" + ours + b"' id='" + id + b"' type='" + said + b"'/>"
        )


@pytest.fixture
def stream(world: World) -> Iterator[ssl.SSLSocket]:
    """Our server's stream with the peer, whose certificate proves nothing."""
    hostile = Hostile(world, _authoritative)
    for domain in ("c.example", "d.example"):
        world.dns.service(domain, "localhost", hostile.port, direct=True)
    server = world.msgd("a.example", ["romeo"], ['federation.dialback = ["*"]'])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", link_port(server, direct=True)), timeout=30)
    made = context.wrap_socket(plain)
    made.sendall(_header(b"b.example"))
    until(made, b"</stream:features>")
    yield made
    made.close()
    hostile.close()


def _ask(stream: ssl.SSLSocket, domain: bytes, key: bytes) -> bytes:
    stream.sendall(b"<db:result from='" + domain + b"' to='a.example'>" + key + b"</db:result>")
    read = b""
    while b"/>" not in read:
        read += stream.recv(4096)
    return read


def _message(domain: bytes, text: bytes) -> bytes:
    return (
        b"<message from='x@"
        + domain
        + b"' to='romeo@a.example' type='chat'><body>"
        + text
        + b"</body></message>"
    )


def test_several_domains_on_one_stream(world: World, stream: ssl.SSLSocket) -> None:
    romeo = Someone(world.servers[0], "romeo").arrives()
    for domain in (b"b.example", b"c.example"):
        assert b"type='valid'" in _ask(stream, domain, b"mine")
    # Asked for a second time, and for one whose key is disowned.
    assert b"type='valid'" in _ask(stream, b"c.example", b"mine")
    # 'invalid' would be the end of the stream for all of them.
    assert b"<forbidden " in _ask(stream, b"d.example", b"forged")
    stream.sendall(_message(b"b.example", b"one") + _message(b"c.example", b"two"))
    assert [romeo.hears(), romeo.hears()] == ["one", "two"]
    stream.sendall(_message(b"d.example", b"three"))
    until(stream, b"<invalid-from ")
    romeo.says("romeo@a.example", "nothing came between")
    assert romeo.hears() == "nothing came between"


def test_a_key_that_is_disowned_opens_nothing(stream: ssl.SSLSocket) -> None:
    """XEP-0220 §2.2.1: the stream ends."""
    answer = _ask(stream, b"b.example", b"forged")
    while data := stream.recv(4096):
        answer += data
    assert answer == b"<db:result from='a.example' to='b.example' type='invalid'/></stream:stream>"
