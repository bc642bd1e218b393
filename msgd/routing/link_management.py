"""Stream management of a link (XEP-0198): the same counters as for clients, between two servers.

A link that broke can be resumed on a new stream, by the side that opened it. What the peer does not have then
is sent again. The state belongs to the stream, with all pairs of domains on it: who has proved one of them
and knows the id, which nobody was told but on that stream, has them all again.
"""

from __future__ import annotations

import secrets
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from msgd.routing.stream_management import (
    MODULO,
    NAMESPACE,
    REQUEST,
    StreamManagement,
    counter,
    too_high,
)
from msgd.wire.border import to_server
from msgd.wire.errors import StreamError

if TYPE_CHECKING:
    from msgd.routing.link import Link

#: Stanzas, and bytes, that were sent and not acknowledged, from which on the queue keeps what comes; and
#: those with which a link is given up, as what nobody keeps fills it.
_MOST: Final = 5000
_MOST_BYTES: Final = 1024 * 1024
#: Seconds from a stanza to the request for its acknowledgement, so that one does for all that follow. Little
#: of the time after which the queue writes what is not acknowledged: live talk between servers needs no disk.
_GATHER: Final = 0.01
#: Stanzas that are enough for a request at once, and for one while others are not answered yet: a peer that
#: answers when it is safe takes its time, and what is sent meanwhile should not wait for twice that.
_ENOUGH: Final = 16
_MORE: Final = 64


class LinkManagement:
    """The state of one managed link; it may outlive the link's socket."""

    def __init__(self, link: Link) -> None:
        self.link: Link | None = link
        #: Under which the link may be resumed; empty: not at all.
        self.id = ""
        self.state = StreamManagement("", False, self._answer)
        #: `Link.sent` from which on `ask` is to be called behind what was sent.
        self.ask_at = 0
        self._asking: Any = None
        self._requests: deque[int] = deque()  # not answered: what had been sent at each of them
        #: Domains and pairs of the link, for who resumes it, and the pair with which it began.
        self.domains = link.domains
        self.pairs = link.pairs
        self.pair = link.pair

    # -- switching on --------------------------------------------------------------------------

    def enable(self, attributes: dict[str, str]) -> None:
        """The peer, who opened the stream, sent `<enable/>`."""
        assert self.link is not None  # it was sent on it
        resume = ""
        if attributes.get("resume") in ("true", "1"):
            self.id = secrets.token_urlsafe(18)
            resume = f" id='{self.id}' resume='true'"
        self.link.transport.write(f"<enabled xmlns='{NAMESPACE}'{resume}/>".encode())

    @staticmethod
    def resume(link: Link, attributes: dict[str, str]) -> None:
        """The peer sent `<resume/>`: go on with the state of the link that it names (§5)."""
        handled = counter(attributes.get("h", ""))
        if handled is None:
            raise StreamError("bad-format", "h is no number")
        found = link.owner.resume(link, attributes.get("previd", ""), handled)
        if found is None:
            link.transport.write(
                f"<failed xmlns='{NAMESPACE}'><item-not-found"
                " xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>".encode()
            )
            return
        found.go_on(link, handled)
        found.state.rewind()
        link.transport.write(
            f"<resumed xmlns='{NAMESPACE}' previd='{found.id}' h='{found.state.received}'/>".encode()
        )
        found.send_again()
        for ours, theirs in list(link.pairs):
            link.ours.add(ours)
            link.owner.authorized(link, theirs, ours)

    def go_on(self, link: Link, handled: int) -> None:
        """Use `link` from now on; its peer has `handled`. Raises StreamError."""
        self.link = link
        self.ask_at = 0
        link.management = self
        if link.incoming or link.both_ways:
            link.domains |= self.domains
        if link.both_ways or not link.incoming:
            link.pairs |= self.pairs
        self.domains, self.pairs = link.domains, link.pairs
        self._acknowledge(handled)
        if self.state.queue is None:
            # What else was sent went another way, and is not counted on this stream any more.
            self.state.sent = self.state.acknowledged = handled

    def send_again(self) -> None:
        """What the peer does not have."""
        assert self.link is not None  # `go_on` came before
        for sent in self.state.queue or ():
            raw = sent if isinstance(sent, bytes) else sent.raw
            self.link.transport.write(to_server(raw))
        self.state.requested = False
        self._requests.clear()
        if self.state.queue:
            self.ask()

    # -- both ways -----------------------------------------------------------------------------

    def element(self, local: str, attributes: dict[str, str]) -> None:
        """`<r/>` or `<a/>`. Raises StreamError."""
        if local == "r":
            self.state.request()
        elif local == "a":
            handled = counter(attributes.get("h", ""))
            if handled is None:
                raise StreamError("bad-format", "h is no number")
            self._acknowledge(handled)
            self._answered(handled)
            link = self.link
            if link is not None:
                if self.state.queue is not None and self.state.sent != self.state.requested_at:
                    self.ask()
                link.owner.has_room(link)
        else:
            raise StreamError("unsupported-stanza-type", "stream management is on")

    def _acknowledge(self, handled: int) -> None:
        done = self.state.acknowledge(handled)
        if done is None:
            raise too_high(handled, self.state.sent)
        if self.link is not None:
            self.link.owner.acknowledged(done)

    def ask(self) -> None:
        """Ask for an acknowledgement, soon: of what is sent until then too."""
        link, state = self.link, self.state
        if link is None:
            return
        left = self._enough - (state.sent - state.requested_at) % MODULO
        if left <= 0:
            self._note_request(link)
            link.transport.write(REQUEST)
            left = self._enough
        elif self._asking is None and not state.requested:
            self._asking = link.owner.clock.callLater(_GATHER, self._ask_now)
        self.ask_at = link.sent + left

    @property
    def _enough(self) -> int:
        """So many stanzas that nothing was asked about are a reason for a request."""
        return _MORE if self.state.requested else _ENOUGH

    def _ask_now(self) -> None:
        self._asking = None
        if self.link is not None and not self.state.requested and self.state.queue is not None:
            self._note_request(self.link)
            self.link.transport.append(REQUEST)

    def _note_request(self, link: Link) -> None:
        state = self.state
        if not state.requested:
            state.requested = True
            state.awaiting_since = link.owner.clock.seconds()
        state.requested_at = state.sent
        self._requests.append(state.sent)

    def _answered(self, handled: int) -> None:
        """One request is answered, or several: who answers when it is safe may do so for all of them."""
        requests = self._requests
        self.ask_at = 0
        if requests:
            requests.popleft()
        while requests and (handled - requests[0]) % MODULO < MODULO // 2:
            requests.popleft()
        self.state.requested = bool(requests)
        if requests and self.link is not None:
            self.state.awaiting_since = self.link.owner.clock.seconds()

    def waits_since(self) -> float | None:
        """Since when an answer is owed."""
        return self.state.awaiting_since if self.state.requested and self.state.queue is not None else None

    def full(self) -> bool:
        """Enough is on its way."""
        state = self.state
        return state.size > _MOST_BYTES or (state.queue is not None and len(state.queue) >= _MOST)

    @property
    def stuck(self) -> bool:
        """Far too much is."""
        return self.state.queue_length >= 2 * _MOST or self.state.size > 8 * _MOST_BYTES

    def _answer(self, handled: int) -> None:
        if self.link is not None and not self.link.transport.closed:
            self.link.transport.write(b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % handled)
