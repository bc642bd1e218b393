"""What a message over a link costs: CPU of both servers, for pairs of msgd, Prosody and ejabberd.

`python -m bench.links [msgd prosody ejabberd] [--repeat 3] [--seconds 5]`, as root for the others, which ask
DNS on port 53 only. The load generator's own chat, changed by `links.patch` so that each pair has one of its
users on either server. Prints a table: medians, and the quotients with the least and the most.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bench.tools import NoTools, folder
from tests.links.peers import Ejabberd, Peer, Prosody
from tests.links.world import Hosted, World

_PATCH: Final = Path(__file__).with_name("links.patch")
_OURS: Final = "msgd"
_USERS: Final = 400
#: What the table calls a load, and the words for it.
_PLAIN: Final = {
    "200 pairs, one on its way": "--n 200 --window 1",
    "10 pairs, one on its way": "--n 10 --window 1",
    "50 pairs, twenty on their way": "--n 50 --window 20",
    "500 messages a second": "--n 200 --rate 500",
}
_LOADS: Final = _PLAIN | {
    f"with stream management: {name}": f"{words} --sm" for name, words in _PLAIN.items()
}
_FAULTS: Final = ("lost", "misordered", "error_replies")


def build(directory: Path) -> Path:
    """The load generator for two servers. Raises NoTools."""
    tools = folder()
    shutil.copy(tools / "xload.c", directory)
    for command in (["git", "apply", str(_PATCH)], ["make", "-s", "-f", str(tools / "Makefile"), "xload"]):
        if subprocess.run(command, cwd=directory, check=False).returncode:
            raise NoTools(f"{tools / 'xload.c'} is not the one for which {_PATCH} is: '{command[0]}' failed")
    return directory / "xload"


def _start(world: World, kind: str, side: int) -> Hosted:
    """One of two servers; users with even numbers are on the first."""
    domain = f"{'ab'[side]}.example"
    people = [f"u{number:05d}" for number in range(side, _USERS, 2)]
    if kind == _OURS:
        return world.msgd(domain, people, ["limits.first_contacts = 0"])
    Peer.quiet = True
    server = (Prosody if kind == "prosody" else Ejabberd)(world, domain, people)
    server.start()
    return server


def _run(program: Path, words: str, servers: list[Hosted], seconds: float) -> float:
    """CPU µs for each message, of both. Raises OSError for messages that were lost, say."""
    here, there = servers
    command = [
        str(program), "chat", *words.split(), "--duration", str(seconds), "--host", "127.0.0.1",
        "--domain", here.domain, "--port", str(here.address()[1]), "--server-pid", str(_pid(here)),
        "--to-domain", there.domain, "--to-port", str(there.address()[1]), "--to-pid", str(_pid(there)),
        "--to-full", "--password", "secret", "--mech", "SCRAM-SHA-1",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    found: dict[str, Any] = json.loads(lines[-1]) if lines else {"error": done.stderr[-300:]}
    faults = {name: found.get(name) for name in ("error", *_FAULTS) if found.get(name)}
    if faults:
        raise OSError(f"{words}: {faults}")
    return float(found["cpu_us_per_msg"]) + float(found["to_cpu_us_per_unit"])


def _pid(server: Hosted) -> int:
    process: Any = getattr(server, "process", None)
    if process is None:
        raise OSError(f"the server of {server.domain} does not run")
    pid: int = process.pid
    return pid


def measure(program: Path, kind: str, seconds: float) -> Iterator[tuple[str, float]]:
    """Each load, and what it cost a pair of such servers."""
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory))
        try:
            servers = [_start(world, kind, side) for side in (0, 1)]
            for name, words in _LOADS.items():
                yield name, _run(program, words, servers, seconds)
        finally:
            world.close()


def _row(name: str, kinds: list[str], figures: dict[str, list[float]]) -> str:
    cells = [name, *(f"{statistics.median(figures[kind]):.0f}" for kind in kinds)]
    others = [kind for kind in kinds if kind != _OURS]
    if others and _OURS in kinds:
        best = min(others, key=lambda kind: statistics.median(figures[kind]))
        quotients = [ours / theirs for ours, theirs in zip(figures[_OURS], figures[best], strict=True)]
        middle = statistics.median(quotients)
        cells.append(f"{middle:.2f} ({min(quotients):.2f} to {max(quotients):.2f})")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", help="msgd, prosody, ejabberd; without: all of them")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_args()
    kinds = arguments.kinds or [_OURS, "prosody", "ejabberd"]
    figures: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as directory:
        program = build(Path(directory))
        for number in range(arguments.repeat):
            for kind in kinds if number % 2 == 0 else reversed(kinds):
                for name, cost in measure(program, kind, arguments.seconds):
                    figures[name][kind].append(cost)
                    print(f"{number + 1}: {kind}, {name}: {cost:.0f}", file=sys.stderr, flush=True)
    print(f"| users and load | {' | '.join(kinds)} | msgd / best |")
    print("|---" * (len(kinds) + 2) + "|")
    for name, row in figures.items():
        print(_row(name, kinds, row))


if __name__ == "__main__":
    main()
