"""Who has not logged in is counted, in all and by address, at the same cost however many there are."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgd.negotiation.strangers import Strangers
from msgd.wire.errors import StreamError
from msgd.wire.jid import JID


@dataclass(eq=False)
class Stranger:
    address: str
    domain: JID | None = None
    since: float = 0.0
    state: str = "connected"
    failed: list[StreamError] = field(default_factory=list)

    def is_of(self, account: JID, device: str) -> bool:
        return False

    def stream_failed(self, error: StreamError) -> None:
        self.failed.append(error)


def test_strangers_are_counted() -> None:
    strangers = Strangers()
    here = [Stranger(address) for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2")]
    for stranger in here:
        strangers.add(stranger)
    assert (len(strangers), strangers.count("192.0.2.1"), strangers.count("192.0.2.2")) == (3, 2, 1)
    strangers.remove(here[0])
    strangers.remove(here[0])  # its end is told by its error and by its socket
    assert (len(strangers), strangers.count("192.0.2.1")) == (2, 1)
    for left in strangers:
        strangers.remove(left)
    assert (len(strangers), strangers.count("192.0.2.1"), strangers.count("192.0.2.3")) == (0, 0, 0)
    assert not strangers._from, "no address is remembered"
