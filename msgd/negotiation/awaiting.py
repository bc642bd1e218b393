"""The stream to another server while it is negotiated: waits for what has to come next."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from twisted.internet.defer import Deferred

from msgd.negotiation.link_outcome import LinkFault
from msgd.wire.errors import StreamError
from msgd.wire.link_connection import LinkConnection
from msgd.wire.remote_error import remote_error
from msgd.wire.stanza import STANZAS
from msgd.wire.xml import STREAM_NAMESPACE
from msgd.wire.xmlstream import Frame, Header, Limits, LinkStream

_END: Final = b"</stream:stream>"
#: Elements that may come before they are asked for.
_MOST_AHEAD: Final = 100


class AwaitingStream:
    """A stream of which one waits for the header, for elements, for TLS; `_stage` is how far it came."""

    def __init__(self, transport: LinkConnection, clock: Any, limits: Limits, seconds: float) -> None:
        """After `seconds` it is given up."""
        self._transport = transport
        self._stream = LinkStream(self, limits)
        self._header: Header | None = None
        self._frames: deque[Frame] = deque()
        #: Stanzas that came before the element that was awaited last.
        self._earlier = 0
        self._waiting: Deferred[None] | None = None
        self._over: LinkFault | None = None
        self._opened = False
        self._stage = "stream"
        self._deadline: Any = clock.callLater(seconds, self._too_late)
        transport.receiver = self._stream
        transport.start()

    # -- what the stream tells -----------------------------------------------------------------

    def stream_opened(self, header: Header) -> None:
        """The peer's header."""
        self._header = header
        self._go_on()

    def frame_received(
        self, name: str, attributes: dict[str, str], children: tuple[str, ...], raw: bytes
    ) -> None:
        """One element of the peer's."""
        if len(self._frames) >= _MOST_AHEAD:
            self._lost("it sends without being asked")
            return
        self._frames.append((name, attributes, children, raw))
        self._go_on()

    def stream_closed(self) -> None:
        """The peer goes."""
        self._lost("it closed the stream")

    def stream_failed(self, error: StreamError) -> None:
        """What the peer sent ends the stream."""
        self._lost(error.text or error.condition)

    def connection_lost(self) -> None:
        """The socket is gone."""
        self._lost(self._transport.fault or "it closed the connection")

    def output_drained(self) -> None:
        """Nothing waits for that here."""

    def _too_late(self) -> None:
        self._deadline = None
        self._lost("it does not answer", "time")

    def _lost(self, text: str, stage: str = "") -> None:
        self._over = self._over or LinkFault(stage or self._stage, text)
        self._go_on()

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def _wait(self) -> None:
        """Until something happens. Raises LinkFault when the stream is over."""
        if self._over is not None:
            for name, _, _, raw in self._frames:
                if name == f"{STREAM_NAMESPACE} error":
                    raise _stream_error(self._stage, raw)
            raise self._over
        self._waiting = Deferred()
        await self._waiting

    async def _element(self, names: set[str]) -> tuple[str, dict[str, str], bytes]:
        """The next element, which has to be one of `names`; stanzas wait. Raises LinkFault."""
        kept: list[Frame] = []
        while True:
            while not self._frames:
                await self._wait()
            name, attributes, children, raw = self._frames.popleft()
            if name in names:
                self._frames.extendleft(reversed(kept))
                self._earlier = len(kept)
                return name, attributes, raw
            if name == f"{STREAM_NAMESPACE} error":
                raise _stream_error(self._stage, raw)
            if name in STANZAS:
                kept.append((name, attributes, children, raw))

    # -- the end -------------------------------------------------------------------------------

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close(self) -> None:
        self._stop_clock()
        self._stream.close()
        if self._opened and not self._transport.closed:
            self._transport.write(_END)
        self._transport.close()


def _stream_error(stage: str, raw: bytes) -> LinkFault:
    condition, said = remote_error(raw)
    unknown = condition in ("host-unknown", "host-gone")
    return LinkFault(stage, said, "remote-server-not-found" if unknown else "remote-server-timeout")
