"""Connecting to the first of several addresses that answers. Run in a process of its own, for the reactor."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

_PROGRAM = """
import sys, time
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from msgd.wire.dialling import NotConnected, connect

async def main(addresses, port):
    begun = time.monotonic()
    try:
        plain, address = await connect(reactor, addresses, port)
        plain.close()
        print("connected", address, round(time.monotonic() - begun, 1))
    except NotConnected as error:
        print("not connected:", error)
    reactor.stop()

Deferred.fromCoroutine(main(sys.argv[2:], int(sys.argv[1])))
reactor.run()
"""


def dial(port: int, *addresses: str) -> str:
    """What came of it."""
    command = [sys.executable, "-c", _PROGRAM, str(port), *addresses]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert not done.stderr, done.stderr
    return done.stdout.strip()


def test_the_first_that_answers() -> None:
    with socket.create_server(("127.0.0.5", 0)) as listening:
        port = listening.getsockname()[1]
        assert dial(port, "127.0.0.5").startswith("connected 127.0.0.5")
        # One refuses: the next is tried at once.
        assert dial(port, "127.0.0.6", "127.0.0.5") == "connected 127.0.0.5 0.0"


def test_who_does_not_answer_is_not_waited_for() -> None:
    # A full queue does not answer: what more comes is dropped by the system.
    with socket.socket() as silent, socket.create_server(("127.0.0.8", 0)) as listening:
        port = listening.getsockname()[1]
        silent.bind(("127.0.0.7", port))
        silent.listen(0)
        held = []
        for _ in range(3):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.7", port))
            held.append(client)
        told = dial(port, "127.0.0.7", "127.0.0.8")
        for client in held:
            client.close()
    address, seconds = told.split()[1:]
    assert address == "127.0.0.8"
    assert 0.2 <= float(seconds) < 5


def test_nobody_answers() -> None:
    with socket.create_server(("127.0.0.5", 0)) as once:
        port = once.getsockname()[1]
    told = dial(port, "127.0.0.5", "127.0.0.6")
    assert told.count("Connection refused") == 2


@pytest.mark.skipif(not socket.has_ipv6, reason="this system has no IPv6")
def test_ipv6() -> None:
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with listening:
        assert dial(listening.getsockname()[1], "::1").startswith("connected ::1")
