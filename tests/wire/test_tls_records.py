"""TLS records over a real socket: the short way and pyOpenSSL's own behave alike."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from OpenSSL import SSL

from msgd.wire import tls_records
from msgd.wire.certificates import self_signed

_WAYS = {"the one in use": (tls_records.receive, tls_records.send), "pyOpenSSL's": tls_records._ordinary()}

Receive = Callable[[SSL.Connection], bytes]
Send = Callable[[SSL.Connection, bytes], int]


class Ends:
    """A server's and a client's end of one connection."""

    def __init__(self, directory: Path) -> None:
        certificate, key = self_signed("localhost")
        (directory / "certificate").write_bytes(certificate)
        (directory / "key").write_bytes(key)
        context = SSL.Context(SSL.TLS_METHOD)
        context.use_certificate_file(str(directory / "certificate"))
        context.use_privatekey_file(str(directory / "key"))
        context.set_mode(1)  # SSL_MODE_ENABLE_PARTIAL_WRITE
        context.set_mode(2)  # SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
        self.sockets = socket.socketpair()
        for each in self.sockets:
            each.setblocking(False)
        self.server = SSL.Connection(context, self.sockets[0])
        self.server.set_accept_state()
        self.client = SSL.Connection(SSL.Context(SSL.TLS_METHOD), self.sockets[1])
        self.client.set_connect_state()
        self._shake_hands()

    def _shake_hands(self) -> None:
        waiting = [self.client, self.server]
        while waiting:
            end = waiting.pop(0)
            try:
                end.do_handshake()
            except SSL.WantReadError:
                waiting.append(end)
        with pytest.raises(SSL.WantReadError):
            self.client.recv(1)  # the session tickets

    def close(self) -> None:
        for each in self.sockets:
            each.close()


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    made = Ends(tmp_path)
    yield made
    made.close()


def test_the_short_way_is_in_use() -> None:
    """A new pyOpenSSL without the private names should be noticed, though it works."""
    assert tls_records.receive.__qualname__.startswith("_direct")


@pytest.mark.parametrize(("receive", "send"), _WAYS.values(), ids=_WAYS)
def test_records_come_one_by_one(ends: Ends, receive: Receive, send: Send) -> None:
    assert send(ends.server, b"first") == 5
    assert send(ends.server, b"x" * 16384) == 16384
    assert receive(ends.client) == b"first"
    assert receive(ends.client) == b"x" * 16384
    with pytest.raises(SSL.WantReadError):
        receive(ends.client)


@pytest.mark.parametrize(("receive", "send"), _WAYS.values(), ids=_WAYS)
def test_a_full_socket_takes_the_rest_later(ends: Ends, receive: Receive, send: Send) -> None:
    data, sent = b"x" * 4_000_000, 0

    def fill() -> None:
        nonlocal sent
        while True:
            sent += send(ends.server, data[sent:])

    with pytest.raises(SSL.WantWriteError):
        fill()
    received = b""
    while len(received) < len(data):
        try:
            received += receive(ends.client)
        except SSL.WantReadError:
            sent += send(ends.server, data[sent:])
    assert (received, sent) == (data, len(data))


@pytest.mark.parametrize(("receive", "send"), _WAYS.values(), ids=_WAYS)
def test_the_end_is_told(ends: Ends, receive: Receive, send: Send) -> None:
    ends.server.shutdown()
    with pytest.raises(SSL.ZeroReturnError):
        receive(ends.client)


@pytest.mark.parametrize(("receive", "send"), _WAYS.values(), ids=_WAYS)
def test_a_loss_is_told(ends: Ends, receive: Receive, send: Send) -> None:
    ends.sockets[0].close()
    with pytest.raises(SSL.SysCallError):
        receive(ends.client)
    with pytest.raises(SSL.Error):
        send(ends.client, b"x" * 10_000)


@pytest.mark.parametrize(("receive", "send"), _WAYS.values(), ids=_WAYS)
def test_broken_bytes_are_told(ends: Ends, receive: Receive, send: Send) -> None:
    ends.sockets[0].send(b"\x17\x03\x03\x00\x20" + b"?" * 32)
    with pytest.raises(SSL.Error):
        receive(ends.client)
    with pytest.raises(SSL.Error):
        receive(ends.client)
