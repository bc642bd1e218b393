"""The process behind `tests.forks.ForkServer`: has msgd loaded, and forks a server for each request.

    python -m tests.fork_server [MODULE ARGUMENT]

`MODULE.apply(ARGUMENT)` is called first. Standard input is a socket that keeps messages whole. A request is
JSON (the fields of `Request`) and comes with three descriptors: standard output, standard error, and where
the exit status is written to in the end, negative for a signal. The answer is the number of the process.

When the socket ends, so does this, and with it all that it has forked. What is another in each process is not
decided before the fork: the reactor is not made, and `tests/test_imports.py` looks for the rest.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgd.__main__
import msgd.app
import msgd.cli
import msgd.link_door
import msgd.links

#: prctl(2): the signal that comes when the parent has died.
_PR_SET_PDEATHSIG: Final = 1
#: The longest request, in bytes: it has the whole environment.
_MOST: Final = 1 << 20


@dataclass(frozen=True)
class Request:
    """What a forked process is to be: `msgd` with these arguments, as if it was started so."""

    arguments: list[str]
    directory: str
    environment: dict[str, str]

    def assume(self, output: int, errors: int, parent: int) -> None:
        """Have all that a started process would have, and nothing else."""
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # it died before it could be noticed
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(self.directory)
        os.environ.clear()
        os.environ.update(self.environment)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in enumerate((nothing, output, errors)):
            os.dup2(source, target)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        sys.argv = [msgd.__main__.__file__, *self.arguments]


class Forks:
    """Takes requests, forks, and tells how it ended."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._events = select.poll()
        self._events.register(control, select.POLLIN)
        #: By the descriptor of a process: its number, and where its status goes.
        self._living: dict[int, tuple[int, int]] = {}

    def until_forked(self) -> bool:
        """Return true in each forked process, which is what it is to be then; false at the end."""
        control = self._control.fileno()
        while True:
            for descriptor, _ in self._events.poll():
                if descriptor != control:
                    self._bury(descriptor)
                    continue
                text, descriptors, _, _ = socket.recv_fds(self._control, _MOST, 3)
                if not text:
                    return False
                if self._fork(Request(**json.loads(text)), *descriptors):
                    return True

    def _fork(self, request: Request, output: int, errors: int, status: int) -> bool:
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            self._control.detach()  # its descriptor becomes standard input
            request.assume(output, errors, parent)
            return True
        os.close(output)
        os.close(errors)
        descriptor = os.pidfd_open(pid)
        self._living[descriptor] = pid, status
        self._events.register(descriptor, select.POLLIN)
        self._control.send(b"%d" % pid)
        return False

    def _bury(self, descriptor: int) -> None:
        self._events.unregister(descriptor)
        os.close(descriptor)
        pid, status = self._living.pop(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with suppress(BrokenPipeError):  # nobody wants to know
            os.write(status, b"%d" % code)
        os.close(status)


def main() -> None:
    """Fork until standard input ends."""
    if "twisted.internet.reactor" in sys.modules:
        raise RuntimeError("the reactor was made too early: each server needs its own")
    if sys.argv[1:]:
        module, argument = sys.argv[1:]
        importlib.import_module(module).apply(argument)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the servers, and for who tests them
    # What is there now stays; the collectors of the forked need not touch it, so that it remains shared.
    gc.collect()
    gc.freeze()
    if Forks(socket.socket(fileno=0)).until_forked():
        msgd.cli.main()


if __name__ == "__main__":
    main()
