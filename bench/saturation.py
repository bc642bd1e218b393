"""How fast a server can be, and how long a message takes when it is busy to 70 % of that.

    MSGD_BENCH_TOOLS=… python -m bench.saturation

First everything goes as fast as it can, one message outstanding for each pair; then at a steady rate, so that
what is late shows as latency. A line of JSON for each rate.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench.tools import people, started
from bench.town import figures


def measure(pairs: int, shares: list[float], seconds: int, managed: bool) -> None:
    """Find the rate, then go through the shares of it."""
    with tempfile.TemporaryDirectory(prefix="msgd-bench-") as directory:
        people(Path(directory), 2 * pairs)
        _go_through(Path(directory), pairs, shares, seconds, managed)


def _go_through(directory: Path, pairs: int, shares: list[float], seconds: int, managed: bool) -> None:
    sm = ("--sm",) if managed else ()
    kind = "with stream management" if managed else "without"
    with started(directory) as server:
        chat = ("chat", "--n", str(pairs), "--duration", str(seconds), *sm)
        full = server.load(*chat, "--window", "1")
        rate = full["msg_per_s"]
        figures(
            f"as fast as it can, {kind}",
            rate=rate,
            cores=full["server_cores"],
            p50_ms=full["lat_p50_ms"],
            p99_ms=full["lat_p99_ms"],
            lost=full["lost"],
        )
        for share in shares:
            found = server.load(*chat, "--rate", str(round(rate * share)))
            figures(
                f"at {share:.0%}, {kind}",
                rate=found["msg_per_s"],
                cores=found["server_cores"],
                cpu_us_each=found["cpu_us_per_msg"],
                p50_ms=found["lat_p50_ms"],
                p90_ms=found["lat_p90_ms"],
                p99_ms=found["lat_p99_ms"],
                most_ms=found["lat_max_ms"],
                lost=found["lost"],
            )


def main() -> None:
    """The command."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.3, 0.5, 0.7, 0.9])
    given = parser.parse_args()
    for managed in (False, True):
        measure(given.pairs, given.shares, given.seconds, managed)


if __name__ == "__main__":
    main()
