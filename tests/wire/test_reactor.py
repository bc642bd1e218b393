"""The reactor's own loop: nothing that becomes due while events come is late."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

_BEGIN = """
    import os, socket, sys, threading, time
    from msgd.wire import reactor as own
    own.install()
    from twisted.internet import reactor

    class Busy:
        # a connection on which there is always something to read
        def __init__(self):
            self.here, self.there = socket.socketpair()
            self.there.send(b"x")
            self.reads = 0
        def fileno(self): return self.here.fileno()
        def logPrefix(self): return "busy"
        def connectionLost(self, reason): pass
        def doRead(self):
            self.reads += 1
            self.here.recv(1)
            self.there.send(b"x")
            if self.reads == 1000:
                self.on_thousand()
        def on_thousand(self): pass

    busy = Busy()
    reactor.addReader(busy)
    reactor.callLater(10, os._exit, 9)
    began = time.monotonic()
    def after(seconds):
        assert seconds - 0.01 <= time.monotonic() - began < seconds + 1, time.monotonic() - began
        assert busy.reads > 100
        print("in time")
        reactor.stop()
"""


@pytest.mark.parametrize(
    "what",
    [
        "reactor.callLater(0.2, after, 0.2)",
        "busy.on_thousand = lambda: reactor.callLater(0.1, after, 0.1)",
        "busy.on_thousand = lambda: reactor.callLater(0, after, 0)",
        "late = reactor.callLater(5, after, 0.2); busy.on_thousand = lambda: late.reset(0.2)",
        "threading.Timer(0.2, reactor.callFromThread, (after, 0.2)).start()",
        "busy.on_thousand = lambda: after(0)",
        """
    def at_end():
        if busy.reads == 1000:
            busy.reads += 1
            reactor.callLater(0.2, after, 0.2)
    reactor.removeReader(busy)  # nothing comes but what is due at the end of a turn
    own.at_end_of_turn(at_end)
    reactor.callLater(0, setattr, busy, "reads", 1000)
        """,
    ],
    ids=["timer", "timer of an event", "at once", "made sooner", "thread", "stop", "timer of a turn's end"],
)
def test_in_time(what: str) -> None:
    script = textwrap.dedent(_BEGIN) + textwrap.dedent(what) + "\nreactor.run()\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert done.stdout == "in time\n", done.stdout + done.stderr
    assert done.returncode == 0
