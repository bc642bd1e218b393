"""msgd with a clock that a test can move: `python -m tests.movable serve …`, then `SECONDS` on its input.

The server is the ordinary one; only its reactor is installed as a movable one. For each line read, the time
has moved when `moved` appears on the output.
"""

from __future__ import annotations

import sys
import threading

from msgd.wire import reactor as clock


def _obey() -> None:
    """Read how far to move, and move."""
    from twisted.internet import reactor

    for line in sys.stdin:
        reactor.callFromThread(_move, float(line))


def _move(seconds: float) -> None:
    clock.advance(seconds)
    print("moved", flush=True)


def main() -> None:
    """Run msgd with these arguments."""
    install = clock.install

    def install_movable(movable: bool = True) -> None:
        install(movable=True)
        threading.Thread(target=_obey, daemon=True).start()

    clock.install = install_movable
    from msgd.cli import main as command

    command()


if __name__ == "__main__":
    main()
