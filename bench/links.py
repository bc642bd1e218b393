"""What a message over a link costs: CPU of both servers, for pairs of msgd, Prosody and ejabberd.

`python -m bench.links [msgd prosody ejabberd] [--messages 3000]`, as root for the others, which ask DNS on
port 53 only. Chat from one user to another on the other server, one at a time and 20 at once.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from tests.harness import Msgd
from tests.links.peers import Ejabberd, Peer, Prosody
from tests.links.world import Hosted, Someone, World

_TICK = os.sysconf("SC_CLK_TCK")
_BODY = "x" * 100


def _server(world: World, kind: str, domain: str, person: str) -> Hosted:
    server: Hosted
    Peer.quiet = True
    if kind == "msgd":
        server = world.msgd(domain, [person], ["limits.first_contacts = 0"])
    else:
        server = (Prosody if kind == "prosody" else Ejabberd)(world, domain, [person])
        server.start()
    return server


def _cpu(server: Hosted) -> float:
    """Seconds that the server's process has used."""
    assert isinstance(server, Msgd | Prosody | Ejabberd) and server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _run(servers: list[Hosted], sender: Someone, recipient: Someone, count: int, at_once: int) -> list[float]:
    """CPU µs for each message, of both servers."""
    message = f"<message to='{recipient.full}' type='chat' id='m'><body>{_BODY}</body></message>"
    before = [_cpu(server) for server in servers]
    for _ in range(count // at_once):
        sender.actor.send(message * at_once)
        for _ in range(at_once):
            recipient.hears()
    return [(_cpu(server) - b) * 1e6 / count for server, b in zip(servers, before, strict=True)]


def measure(kind: str, count: int, managed: bool) -> list[str]:
    """Lines of a table."""
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory))
        try:
            servers = [_server(world, kind, f"{name}.example", name) for name in ("romeo", "juliet")]
            romeo, juliet = (
                Someone(server, name, managed).arrives()
                for server, name in zip(servers, ("romeo", "juliet"), strict=True)
            )
            _run(servers, romeo, juliet, 200, 1)
            lines = []
            for at_once in (1, 20):
                ours, theirs = _run(servers, romeo, juliet, count, at_once)
                lines.append(
                    f"| {kind}{', with stream management' if managed else ''} | {at_once} "
                    f"| {ours:.0f} | {theirs:.0f} | {ours + theirs:.0f} |"
                )
            return lines
        finally:
            world.close()


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=["msgd", "prosody", "ejabberd"])
    parser.add_argument("--messages", type=int, default=3000)
    arguments = parser.parse_args()
    print("| server | at once | sender's µs | recipient's µs | both |\n|---|---|---|---|---|")
    for kind in arguments.kinds or ["msgd", "prosody", "ejabberd"]:
        for managed in (False, True):
            for line in measure(kind, arguments.messages, managed):
                print(line, flush=True)


if __name__ == "__main__":
    main()
