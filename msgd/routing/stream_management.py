"""Stream management of one session: both counters, what waits for an acknowledgement, the promise.

XEP-0198. Two directions that have nothing to do with each other:

*In*: how many stanzas the client sent, and which of them are not safe yet. The `h` that the client
gets counts only up to the first stanza that is not safe (a receipt not settled), so an acknowledged
message survives a crash of this server.

*Out*: stanzas sent and not acknowledged by the client, in order. Those that the spool keeps leave it
when the client acknowledges them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from msgd.wire.errors import StreamError

NAMESPACE: Final = "urn:xmpp:sm:3"
REQUEST: Final = b"<r xmlns='urn:xmpp:sm:3'/>"
#: Counters wrap here (XEP-0198 §4).
MODULO: Final = 2**32


def counter(text: str) -> int | None:
    """The number in an attribute such as `h`, an xs:unsignedInt; None when it is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    number = int(text)
    return number if number < MODULO else None


def too_high(handled: int, sent: int) -> StreamError:
    """The client acknowledges more than it was sent (XEP-0198 §4)."""
    app = f"<handled-count-too-high xmlns='{NAMESPACE}' h='{handled}' send-count='{sent}'/>"
    return StreamError("undefined-condition", "more acknowledged than sent", app.encode())


class Kept(Protocol):
    """A stanza that the spool keeps until it is acknowledged."""

    raw: bytes


class Held(NamedTuple):
    """What a session held of the spool, over a restart.

    `id`, `size` and `archived` are those of the entry; `copy` tells that `raw` is not the message itself.
    """

    id: int
    raw: bytes
    archived: bool
    copy: bool
    size: int


#: A stanza sent: its bytes, or what the spool keeps.
Sent = bytes | Kept


class Receipt:
    """The promise to the sender of one stanza: settled when no crash can lose it any more."""

    __slots__ = ("_others", "safe", "told")

    def __init__(self) -> None:
        self.safe = False
        #: Called once, when it is settled, where somebody wants to know.
        self.told: Callable[[], None] | None = None
        self._others = 0

    def share(self) -> None:
        """One more has to settle it: the stanza is kept in two places."""
        self._others += 1

    def settle(self) -> None:
        """It is safe: committed, acknowledged by its recipient, or answered with an error."""
        if self._others:
            self._others -= 1
        elif not self.safe:
            self.safe = True
            told = self.told
            if told is not None:
                self.told = None
                told()


class StreamManagement:
    """The state of one managed stream; it outlives the socket when `resumable`."""

    __slots__ = ("_last_asked", "_unsafe", "_when_safe", "acknowledged", "answer", "asked", "asked_again",
                 "awaiting_since", "hibernating_since", "id", "longest", "queue", "received", "requested",
                 "requested_at", "resumable", "sent", "size")  # fmt: skip

    def __init__(self, id: str, resumable: bool, answer: Callable[[int], None]) -> None:
        self.id = id
        self.resumable = resumable
        self.answer = answer  # sends <a h=…/>
        # in
        self.received = 0
        self._unsafe: deque[tuple[int, Receipt]] | None = None
        # What had been received at the first request that is not answered yet, and at the last.
        self.asked: int | None = None
        self.asked_again = 0
        self._last_asked: Receipt | None = None  # of the last that has to be safe for the last request
        self._when_safe: Callable[[], None] | None = None
        # out
        self.sent = 0
        self.acknowledged = 0
        self.queue: deque[Sent] | None = None
        self.size = 0  # bytes in it
        self.requested = False
        self.requested_at = 0  # what had been sent when it was asked last
        self.awaiting_since = 0.0
        self.hibernating_since: float | None = None
        self.longest = 0  # seconds for which it may be resumed

    # -- in ------------------------------------------------------------------------------------

    def count(self, receipt: Receipt | None) -> None:
        """The client's next stanza was taken; `receipt` when it is not safe yet."""
        self.received = (self.received + 1) % MODULO
        if receipt is not None and not receipt.safe:
            if self._unsafe is None:
                self._unsafe = deque()
            self._unsafe.append((self.received, receipt))

    @property
    def safe(self) -> int:
        """The `h` that may be told: stanzas up to the first that is not safe."""
        unsafe = self._unsafe
        if unsafe is not None:
            while unsafe and unsafe[0][1].safe:
                unsafe.popleft()
            if unsafe:
                return (unsafe[0][0] - 1) % MODULO
            self._unsafe = None
        return self.received

    def request(self) -> None:
        """The client asks (`<r/>`): answer when all it sent before is safe.

        Not when all it sent since is safe too: a client that keeps sending would wait for ever.
        """
        if self._unsafe is None or self.safe == self.received:
            self.answer(self.received)
            return
        last = self._last_asked = self._unsafe[-1][1]
        if self.asked is None:
            self.asked = self.received
            # They mostly settle in their order; else the first is waited for.
            (self._unsafe[0][1] if last.safe else last).told = self._settled
        self.asked_again = self.received

    def when_safe(self, told: Callable[[], None] | None) -> None:
        """Call `told` once, when all that was received is safe, which it is not yet; None: no more."""
        self._when_safe = told
        if told is not None:
            self._wait_for(None)

    def _wait_for(self, last: Receipt | None) -> None:
        """Be told when `last` is safe, or where it is, or is not known, when the first is that is not."""
        if last is not None and not last.safe:
            last.told = self._settled
        elif self._unsafe is not None:
            self._unsafe[0][1].told = self._settled

    def _settled(self) -> None:
        """One that was waited for is safe: a request may be answered now, or another has to be waited for."""
        if self.asked is None and self._when_safe is None:
            return
        safe = self.safe
        last = None
        if self.asked is not None and (safe - self.asked) % MODULO < MODULO // 2:
            done = (safe - self.asked_again) % MODULO < MODULO // 2
            self.asked = None if done else self.asked_again
            self.answer(safe)
            last = self._last_asked
        if self._when_safe is not None:
            last = None
            if safe == self.received:
                self._tell_safe()
        if self.asked is not None or self._when_safe is not None:
            self._wait_for(last)

    def answer_partly(self) -> None:
        """Storage is in trouble: tell who waits what is safe so far."""
        if self.asked is not None:
            self.asked = None
            self.answer(self.safe)
        if self._when_safe is not None:
            self._tell_safe()

    def _tell_safe(self) -> None:
        told, self._when_safe = self._when_safe, None
        if told is not None:
            told()

    def rewind(self) -> None:
        """On resumption: the client was told `safe`, and sends the stanzas behind that again."""
        self.received = self.safe
        self._unsafe = None
        self.asked = None

    # -- out -----------------------------------------------------------------------------------

    def push(self, sent: Sent) -> None:
        """A stanza goes to the client."""
        queue = self.queue
        if queue is None:
            queue = self.queue = deque()
        queue.append(sent)
        self.size += len(sent) if type(sent) is bytes else len(sent.raw)  # type: ignore[union-attr]  # no bytes
        self.sent = (self.sent + 1) % MODULO

    def acknowledge(self, handled: int) -> list[Sent] | None:
        """The client handled `handled` stanzas in all: those newly acknowledged, in order.

        None when it claims more than was sent. One that is behind acknowledges nothing: some
        clients reset their counter, and that is no reason to end the stream.
        """
        newly = (handled - self.acknowledged) % MODULO
        outstanding = (self.sent - self.acknowledged) % MODULO
        if newly > outstanding:
            return [] if handled <= self.acknowledged else None
        queue = self.queue
        if not newly or queue is None:
            return []
        done = [queue.popleft() for _ in range(newly)]
        self.acknowledged = handled
        if queue:
            self.size -= sum(len(sent) if isinstance(sent, bytes) else len(sent.raw) for sent in done)
        else:
            self.queue = None
            self.size = 0
        return done

    @property
    def queue_length(self) -> int:
        """Stanzas sent and not acknowledged."""
        return len(self.queue) if self.queue is not None else 0
