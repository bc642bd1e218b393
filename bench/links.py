"""What a message over a link costs: CPU of both servers, for pairs of msgd, Prosody and ejabberd.

`python -m bench.links [msgd prosody ejabberd] [--messages 10000]`, as root for the others, which ask DNS on
port 53 only. Chat from users of one server to users of the other, each with so many messages on their way.
"""

from __future__ import annotations

import argparse
import os
import select
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.harness import Msgd
from tests.links.peers import Ejabberd, Peer, Prosody
from tests.links.world import Hosted, Someone, World

_TICK = os.sysconf("SC_CLK_TCK")
_BODY = "x" * 100
#: Pairs of users, and messages of each that are on their way at a time.
_LOADS = [(50, 1), (1, 1), (1, 20), (50, 20)]
_MOST_PAIRS = max(pairs for pairs, _ in _LOADS)


def _server(world: World, kind: str, domain: str) -> Hosted:
    people = [f"u{number}" for number in range(_MOST_PAIRS)]
    server: Hosted
    Peer.quiet = True
    if kind == "msgd":
        server = world.msgd(domain, people, ["limits.first_contacts = 0"])
    else:
        server = (Prosody if kind == "prosody" else Ejabberd)(world, domain, people)
        server.start()
    return server


def _cpu(server: Hosted) -> float:
    """Seconds that the server's process has used."""
    assert isinstance(server, Msgd | Prosody | Ejabberd) and server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


class Client:
    """A client that parses nothing: what it does between two messages pushes the servers out of the caches.

    Takes the place of the parser of somebody who has logged in; counts messages, and acknowledges them.
    """

    def __init__(self, person: Someone) -> None:
        assert person.actor.connection is not None
        self.address = person.full
        self._actor = person.actor
        self._connection = person.actor.connection
        self._connection.reader = self  # type: ignore[assignment]  # it has what a connection calls
        self._rest = b""
        self._messages = 0
        self._fed = False
        if person.actor.role.managed:
            self._actor.acknowledge()  # perhaps that was asked for already

    def fileno(self) -> int:
        """Of its socket."""
        return self._connection.socket.fileno()

    def feed(self, data: bytes) -> None:
        """What came; see `StreamReader.feed`."""
        self._fed = True
        data = self._rest + data
        cut = data.rfind(b">") + 1
        self._rest = data[cut:]
        count = data.count(b"</message>", 0, cut)
        self._messages += count
        self._actor.received += count
        if b"<r " in data[:cut]:
            self._actor.acknowledge()

    def hears(self) -> int:
        """Reads what has come; how many messages are in it."""
        self._fed = False
        self._connection.wait(lambda: self._fed)
        count, self._messages = self._messages, 0
        return count

    def says(self, text: bytes) -> None:
        """Send."""
        self._connection.write(text)


class Pair:
    """Somebody on one server writes to somebody on the other, who reads."""

    def __init__(self, servers: list[Hosted], number: int, managed: bool) -> None:
        self._sender, self.recipient = (
            Client(Someone(server, f"u{number}", managed).arrives()) for server in servers
        )
        to = self.recipient.address
        self._message = f"<message to='{to}' type='chat' id='m'><body>{_BODY}</body></message>".encode()

    def says(self, count: int) -> None:
        """So many messages."""
        self._sender.says(self._message * count)


def _run(servers: list[Hosted], pairs: list[Pair], count: int, window: int) -> list[float]:
    """CPU µs for each of `count` messages, of both servers; each pair has `window` on their way."""
    before = [_cpu(server) for server in servers]
    said = heard = 0
    with select.epoll() as ready:
        by_descriptor = {pair.recipient.fileno(): pair for pair in pairs}
        for descriptor, pair in by_descriptor.items():
            ready.register(descriptor, select.EPOLLIN)
            pair.says(window)
            said += window
        while heard < said:
            for descriptor, _ in ready.poll():
                pair = by_descriptor[descriptor]
                came = pair.recipient.hears()
                heard += came
                more = min(came, max(0, count - said))
                if more:
                    pair.says(more)
                    said += more
    return [(_cpu(server) - b) * 1e6 / said for server, b in zip(servers, before, strict=True)]


def measure(kind: str, count: int, managed: bool) -> Iterator[str]:
    """Lines of a table."""
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory))
        try:
            servers = [_server(world, kind, f"{name}.example") for name in ("a", "b")]
            everybody = [Pair(servers, number, managed) for number in range(_MOST_PAIRS)]
            _run(servers, everybody, 2000, 1)
            for pairs, window in _LOADS:
                ours, theirs = _run(servers, everybody[:pairs], count, window)
                yield (
                    f"| {kind}{', with stream management' if managed else ''} | {pairs} | {window} "
                    f"| {ours:.0f} | {theirs:.0f} | {ours + theirs:.0f} |"
                )
        finally:
            world.close()


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=["msgd", "prosody", "ejabberd"])
    parser.add_argument("--messages", type=int, default=10_000)
    arguments = parser.parse_args()
    print(
        "| server | pairs | on their way | sender's µs | recipient's µs | both |\n|---|---|---|---|---|---|"
    )
    for kind in arguments.kinds or ["msgd", "prosody", "ejabberd"]:
        for managed in (False, True):
            for line in measure(kind, arguments.messages, managed):
                print(line, flush=True)


if __name__ == "__main__":
    main()
