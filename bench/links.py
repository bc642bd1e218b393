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


class Counter:
    """A client that parses nothing: what it does between two messages pushes the servers out of the caches.

    Takes the place of the parser of somebody who has logged in; counts messages, and acknowledges them.
    """

    def __init__(self, person: Someone) -> None:
        assert person.actor.connection is not None
        self._actor = person.actor
        self._connection = person.actor.connection
        self._connection.reader = self  # type: ignore[assignment]  # it has what a connection calls
        self._rest = b""
        self._messages = 0
        if person.actor.role.managed:
            self._actor.acknowledge()  # perhaps that was asked for already

    def feed(self, data: bytes) -> None:
        """What came; see `StreamReader.feed`."""
        data = self._rest + data
        cut = data.rfind(b">") + 1
        self._rest = data[cut:]
        count = data.count(b"</message>", 0, cut)
        self._messages += count
        self._actor.received += count
        if b"<r " in data[:cut]:
            self._actor.acknowledge()

    def hears(self, count: int) -> None:
        """Until so many messages have come."""
        self._connection.wait(lambda: self._messages >= count)
        self._messages -= count

    def says(self, text: bytes) -> None:
        """Send."""
        self._connection.write(text)


def _run(
    servers: list[Hosted], sender: Counter, recipient: Counter, to: str, count: int, at_once: int
) -> list[float]:
    """CPU µs for each message, of both servers."""
    messages = f"<message to='{to}' type='chat' id='m'><body>{_BODY}</body></message>".encode() * at_once
    before = [_cpu(server) for server in servers]
    for _ in range(count // at_once):
        sender.says(messages)
        recipient.hears(at_once)
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
            sender, recipient = Counter(romeo), Counter(juliet)
            _run(servers, sender, recipient, juliet.full, 200, 1)
            lines = []
            for at_once in (1, 20):
                ours, theirs = _run(servers, sender, recipient, juliet.full, count, at_once)
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
