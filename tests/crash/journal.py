"""What happened in a run, and whether the promise was kept.

The promise: a message that was acknowledged to its sender reaches its recipient, before or after any
crash; the messages of one sender reach one resource in the order in which they were sent; what comes twice
has the same stanza-id (XEP-0359) both times. A message that came back with an error is answered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Final, NamedTuple

_FILL: Final = "Grüße & <Kisses> 'from' \"afar\" 💌 "


class Message(NamedTuple):
    """The `number`-th message from `sender` to `recipient`; `size` is that of its text."""

    sender: str
    recipient: str
    number: int
    size: int = 0

    @property
    def id(self) -> str:
        """Its id attribute, which says everything."""
        return ".".join(map(str, self))

    @classmethod
    def from_id(cls, id: str) -> Message:
        """The message of an id attribute. Raises ValueError."""
        sender, recipient, number, size = id.split(".")
        return cls(sender, recipient, int(number), int(size))

    @property
    def text(self) -> str:
        """Its text, which must arrive as it is."""
        return (f"{self.number} " + _FILL * (self.size // len(_FILL) + 1))[: self.size + 8]


class Delivery(NamedTuple):
    """One arrival of a message at a client.

    `early` is what came before it was available: for that resource alone, while what is for all waits.
    """

    message: Message
    resource: str
    connection: int  # the how manieth of this resource; below 0: from the archive
    stanza_id: str
    early: bool = False


@dataclass
class Tally:
    """The figures of one kind of recipient."""

    sent: int = 0
    acknowledged: int = 0
    received: int = 0
    refused: int = 0
    again: int = 0  # delivered again, with the same stanza-id
    lost: int = 0
    out_of_order: int = 0
    duplicates: int = 0  # delivered again, with another stanza-id

    def add(self, other: Tally) -> None:
        """Add the figures of another run."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    @property
    def kept(self) -> bool:
        """The promise was kept."""
        return not (self.lost or self.out_of_order or self.duplicates)


@dataclass
class Journal:
    """Everything that the clients of a run saw."""

    sent: set[Message] = field(default_factory=set)
    acknowledged: set[Message] = field(default_factory=set)
    refused: set[Message] = field(default_factory=set)
    deliveries: list[Delivery] = field(default_factory=list)
    #: Accounts whose devices come and go each for itself: what one was sent and never acknowledged, another
    #: gets in its place, behind what it has got since. There is no order to be held to.
    taking_over: frozenset[str] = frozenset()
    #: Other things that must not happen, in words.
    faults: list[str] = field(default_factory=list)
    #: Breaches of the promise in words, the first of each sort; for whoever looks for the reason.
    breaches: list[str] = field(default_factory=list)

    def tallies(self, kind: Callable[[str], str]) -> dict[str, Tally]:
        """The figures by kind of recipient; `kind` tells that of an account."""
        result: dict[str, Tally] = defaultdict(Tally)
        received = {delivery.message for delivery in self.deliveries}
        for message in self.sent:
            tally = result[kind(message.recipient)]
            tally.sent += 1
            tally.acknowledged += message in self.acknowledged
            tally.received += message in received
            tally.refused += message in self.refused
            if message in self.acknowledged and message not in received | self.refused:
                tally.lost += 1
                self.breaches.append(f"lost: {message}")
        self._count_repetitions(kind, result)
        self._count_disorder(kind, result)
        return dict(result)

    def missing_in(self, archive: list[tuple[str, bool, str, str]]) -> list[str]:
        """What is wrong with archives: (account, whether it sent it, id by its sender, id) of all entries.

        Both sides of what was acknowledged are there, once, with the id with which it was delivered.
        """
        found: dict[tuple[str, bool, str], list[str]] = defaultdict(list)
        for account, sent, message_id, id in archive:
            found[account, sent, message_id].append(id)
        faults = [f"archived more than once: {key}" for key, ids in found.items() if len(ids) > 1]
        for message in self.acknowledged:
            if (message.sender, True, message.id) not in found:
                faults.append(f"not in the archive of its sender: {message}")
            if message not in self.refused and (message.recipient, False, message.id) not in found:
                faults.append(f"not in the archive of its recipient: {message}")
        for delivery in self.deliveries:
            message = delivery.message
            ids = found.get((message.recipient, False, message.id), [])
            if ids and delivery.stanza_id not in ids:
                faults.append(f"archived under another id: {delivery}, {ids}")
        return faults

    def _count_repetitions(self, kind: Callable[[str], str], result: dict[str, Tally]) -> None:
        ids: dict[Message, str] = {}
        for delivery in self.deliveries:
            tally = result[kind(delivery.message.recipient)]
            first = ids.setdefault(delivery.message, delivery.stanza_id)
            if not delivery.stanza_id or first != delivery.stanza_id:
                tally.duplicates += 1
                self.breaches.append(f"another stanza-id: {delivery}, first {first}")
        seen: set[tuple[Message, str]] = set()
        for delivery in self.deliveries:
            known = (delivery.message, delivery.resource)
            result[kind(delivery.message.recipient)].again += known in seen
            seen.add(known)

    def _count_disorder(self, kind: Callable[[str], str], result: dict[str, Tally]) -> None:
        """First deliveries are in order over all connections, all deliveries within each."""
        newest: dict[tuple[str, str, str], int] = defaultdict(int)
        newest_here: dict[tuple[str, str, str, int], int] = defaultdict(int)
        seen: set[tuple[Message, str]] = set()
        for delivery in self.deliveries:
            message = delivery.message
            tally = result[kind(message.recipient)]
            first = (message, delivery.resource) not in seen
            seen.add((message, delivery.resource))
            if delivery.early or message.recipient in self.taking_over:
                continue
            pair = (message.sender, message.recipient, delivery.resource)
            here = (*pair, delivery.connection)
            if (first and message.number <= newest[pair]) or message.number <= newest_here[here]:
                tally.out_of_order += 1
                self.breaches.append(
                    f"out of order: {delivery} behind {newest[pair]}, {newest_here[here]} here"
                )
            newest[pair] = max(newest[pair], message.number)
            newest_here[here] = max(newest_here[here], message.number)
