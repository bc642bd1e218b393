"""The stream of somebody who has not proved who it is: how it ends, whoever it is.

Clients, other servers and components come in by it. What each has to prove is in a module of its own.
"""

from __future__ import annotations

from typing import Final

from msgd.negotiation.strangers import Strangers
from msgd.wire.errors import StreamError
from msgd.wire.jid import JID
from msgd.wire.transport import Connection
from msgd.wire.xmlstream import Header, XMLStream

END: Final = b"</stream:stream>"


class StrangerStream:
    """Listens to `stream`, among the `strangers`, until a session, link or component takes over.

    `domain` is the one of ours that its header named.
    """

    __slots__ = ("_opened", "_strangers", "domain", "stream", "transport")

    def __init__(
        self, transport: Connection, stream: XMLStream, strangers: Strangers, seconds: float
    ) -> None:
        """After `seconds` its time is over. `since` has to be there already."""
        self.transport = transport
        self.stream = stream
        self.domain: JID | None = None
        self._strangers = strangers
        self._opened = False
        strangers.add(self, seconds)
        transport.receiver = stream

    #: When it came.
    since: float

    @property
    def address(self) -> str:
        """The peer's address."""
        return self.transport.address

    @property
    def state(self) -> str:
        """How far it has come, for an operator."""
        raise NotImplementedError

    def is_of(self, account: JID, device: str) -> bool:
        """Whether this device of an account has logged in here, and has no session yet."""
        return False

    def _open(self, header: Header | None) -> object:
        """Our own stream header, which answers that of the peer; sets `_opened`."""
        raise NotImplementedError

    def stream_closed(self) -> None:
        """The peer goes."""
        if not self._opened:
            self._open(None)
        self._write(END)
        self._end()

    def stream_failed(self, error: StreamError) -> None:
        """What the peer sent ends the stream."""
        self._fail(error)

    def connection_lost(self) -> None:
        """The socket is gone."""
        self._end()

    def output_drained(self) -> None:
        """Nothing waits for that here."""

    def too_late(self) -> None:
        """The time for the negotiation is over."""
        self._fail(StreamError("connection-timeout", "the negotiation took too long"))

    def _fail(self, error: StreamError) -> None:
        """End the stream with an error, behind a header where none was sent (RFC 6120 §4.9.1.2)."""
        if not self._opened:
            self._open(None)
        self._write(error.xml() + END)
        self._end()

    def _end(self) -> None:
        self._leave()
        self.stream.close()
        self.transport.close()

    def _leave(self) -> None:
        """This connection is no negotiation any more."""
        self._strangers.remove(self)

    def _write(self, data: bytes) -> None:
        self.transport.write(data)
