"""The process behind `server.ForkServer`: loads msgd once, then forks a server for each line it reads.

A line is a JSON object: `arguments` of `msgd`, the paths of standard `output` and of the `log`, and what
is added to the `environment`. The answer is the number of the process.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Final

import msgd.app
import msgd.cli
import msgd.cli.faults
from tests.crash import broken

#: prctl(2): the signal that comes when the parent has died.
_PR_SET_PDEATHSIG: Final = 1


def serve(arguments: list[str], output: str, log: str, environment: dict[str, str]) -> None:
    """Be `msgd`, in the forked process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # nobody outlives the harness
    os.environ.update(environment)
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(output, os.O_WRONLY)
    logged = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((nothing, 0), (written, 1), (logged, 2)):
        os.dup2(source, target)
        os.close(source)
    sys.argv = ["msgd", *arguments]
    msgd.cli.main()


def main() -> None:
    """Fork until standard input ends."""
    if "twisted.internet.reactor" in sys.modules:
        raise RuntimeError("the reactor was made too early: each server needs its own")
    if sys.argv[1]:
        broken.apply(sys.argv[1])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system buries the dead
    while line := sys.stdin.readline():
        request = json.loads(line)
        pid = os.fork()
        if not pid:
            try:
                serve(**request)
            finally:
                os._exit(1)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
