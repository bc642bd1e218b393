"""Somebody who is logged in and pings the server all the time, in a process of its own.

    python -m bench.pinger HOST PORT NAME

Says `ready`, pings every ten milliseconds until its standard input ends, then prints how long the answers
took: what an established session notices while others do something.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Final

from bench.town import Phone
from tests.harness import ROOT, Msgd

_PAUSE: Final = 0.01


@dataclass(frozen=True)
class Noticed:
    """Milliseconds that answers took: in the middle, the 99th percentile, the most; and how many."""

    p50_ms: float
    p99_ms: float
    most_ms: float
    count: int


class Pinger:
    """The process, from `start` to `stop`."""

    def __init__(self, server: Msgd, name: str) -> None:
        host, port = server.address(direct=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.pinger", host, str(port), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise OSError("the pinger could not log in")

    def stop(self) -> Noticed:
        """What it noticed."""
        out, _ = self._process.communicate("", timeout=60)
        return Noticed(**json.loads(out))


async def _ping(host: str, port: int, name: str) -> None:
    phone = Phone(name, "pinger")
    await phone.log_in((host, port), manage=True, presence=True)
    print("ready", flush=True)
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    took: list[float] = []
    while not over.is_set():
        took.append(await phone.ping(f"p{len(took)}") * 1e3)
        await asyncio.sleep(_PAUSE)
    took.sort()
    middle, most = took[len(took) // 2], took[int(len(took) * 0.99)]
    print(json.dumps({"p50_ms": middle, "p99_ms": most, "most_ms": took[-1], "count": len(took)}))


if __name__ == "__main__":
    asyncio.run(_ping(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
