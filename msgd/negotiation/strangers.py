"""The connections that have not logged in: how many there are, in all and from each address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from msgd.wire.errors import StreamError
from msgd.wire.jid import JID


class Stranger(Protocol):
    """One of them. `since` is unix time."""

    domain: JID | None
    since: float

    def is_of(self, account: JID, device: str) -> bool:
        """Whether this device of an account has logged in here, and has no session yet."""

    @property
    def address(self) -> str:
        """The peer's address."""

    @property
    def state(self) -> str:
        """How far it has come, for an operator."""

    def stream_failed(self, error: StreamError) -> None:
        """End its stream with an error."""


class Strangers:
    """All of them. What can be asked takes the same time however many there are."""

    def __init__(self) -> None:
        self._all: set[Stranger] = set()
        self._from: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Stranger]:
        return iter(list(self._all))

    def count(self, address: str) -> int:
        """How many come from an address."""
        return self._from[address]

    def add(self, stranger: Stranger) -> None:
        """One more."""
        self._all.add(stranger)
        self._from[stranger.address] += 1

    def remove(self, stranger: Stranger) -> None:
        """One that logged in or is gone; nothing happens when it was not here."""
        if stranger in self._all:
            self._all.remove(stranger)
            left = self._from[stranger.address] - 1
            if left:
                self._from[stranger.address] = left
            else:
                del self._from[stranger.address]
