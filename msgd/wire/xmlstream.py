"""Bytes become elements: the incoming half of an XML stream.

Stands between the transport and whoever listens to a stream (negotiation first, then the session).

A framer (`framer.py`) is *leased*: a stream holds one only while it is inside an element. Between
elements all streams share one, so an idle stream has no parser. The shared framer is replaced now and
then, so that names which a stranger made expat remember go away again.

Sources: RFC 6120 §4.2-4.4, §11.
"""

from __future__ import annotations

from typing import Final, Protocol

from msgd.wire.border import (
    LINK_HEADER,
    SERVER_NAMESPACE,
    SERVER_STANZAS,
    stand_alone,
    stands_alone,
    to_clients,
)
from msgd.wire.errors import StreamError
from msgd.wire.framer import CLIENT_HEADER, Frame, Framer, Limits
from msgd.wire.header import MAX_HEADER, Header, parse_header
from msgd.wire.xml import CLIENT_NAMESPACE, expanded, parse, serialise

__all__ = ["Frame", "Header", "Limits", "LinkStream", "Listener", "XMLStream"]

#: Elements that begin so use no prefix of the header's; a quick test for most.
_STANDS_ALONE: Final = (b"<message", b"<iq", b"<presence", b"<a ", b"<r ")


class _Pool:
    """The framer that all streams of one kind share, made inside the header that most of them have."""

    __slots__ = ("framer", "header", "of_servers")

    def __init__(self, header: bytes, of_servers: bool) -> None:
        self.header = header
        self.of_servers = of_servers
        self.framer = Framer(header)

    def fresh(self, leased: bool = False) -> None:
        """Share a new one from now on; the one before is somebody's, or done with."""
        if not leased:
            self.framer.release()
        self.framer = Framer(self.header)


_CLIENTS: Final = _Pool(CLIENT_HEADER, of_servers=False)
# Read as if they were for clients already: so most are ready, and none of their names has to be changed.
# Where the difference may show, `LinkStream` looks at what they are.
_SERVERS: Final = _Pool(
    LINK_HEADER.replace(SERVER_NAMESPACE.encode(), CLIENT_NAMESPACE.encode(), 1), of_servers=True
)


class Listener(Protocol):
    """Who listens to a stream."""

    def stream_opened(self, header: Header) -> None:
        """The peer sent its stream header."""

    def frame_received(
        self, name: str, attributes: dict[str, str], children: tuple[str, ...], raw: bytes
    ) -> None:
        """The peer sent one element of the stream."""

    def stream_closed(self) -> None:
        """The peer sent `</stream:stream>`."""

    def stream_failed(self, error: StreamError) -> None:
        """What the peer sent ends the stream; nothing more will be read."""

    def connection_lost(self) -> None:
        """The socket is gone."""

    def output_drained(self) -> None:
        """Everything written has gone to the socket, after the socket had been full."""


class XMLStream:
    """The incoming half of one XML stream.

    `data_received` takes bytes as they come; `listener` gets what is in them. `limits` may be
    changed at any time and holds for the elements that follow.
    """

    __slots__ = ("_framer", "_own_header", "_pool", "_unread", "limits", "listener")

    def __init__(self, listener: Listener, limits: Limits) -> None:
        self._pool = self._shared()
        self.listener: Listener | None = listener
        self.limits = limits
        self._framer: Framer | None = None
        self._own_header: bytes | None = None
        # Bytes of a stream header that is not complete; None once there is one.
        self._unread: bytes | None = b""

    @staticmethod
    def _shared() -> _Pool:
        return _CLIENTS

    def reset(self) -> None:
        """Expect a new stream header (RFC 6120 §4.3.3); bytes already read are forgotten."""
        self._give_up_framer()
        self._own_header = None
        self._unread = b""

    def close(self) -> None:
        """Listen no more."""
        self.listener = None
        self._give_up_framer()

    def _give_up_framer(self) -> None:
        framer, self._framer = self._framer, None
        if framer is not None:
            framer.release()

    def connection_lost(self) -> None:
        """The socket is gone."""
        listener, self.listener = self.listener, None
        self._give_up_framer()
        if listener is not None:
            listener.connection_lost()

    def output_drained(self) -> None:
        """The socket, full before, took everything."""
        if self.listener is not None:
            self.listener.output_drained()

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer."""
        if self.listener is None:
            return
        try:
            if self._unread is not None:
                data = self._read_header(data)
            if data:
                self._read_elements(data)
        except StreamError as error:
            listener, self.listener = self.listener, None
            self._give_up_framer()
            if listener is not None:
                listener.stream_failed(error)

    def _read_header(self, data: bytes) -> bytes:
        """Wait for the stream header; the bytes behind it once it is there."""
        assert self._unread is not None  # the caller looked
        data = self._unread + data
        header, rest = parse_header(data)
        if header is None:
            if len(data) > MAX_HEADER:
                raise StreamError("policy-violation", "the stream header is too long")
            self._unread = data
            return b""
        self._unread = None
        if not header.plain:
            self._own_header = header.raw
            self._framer = Framer(header.raw)
        if self.listener is not None:
            self.listener.stream_opened(header)
        return rest if self._unread is None else b""

    def _read_elements(self, data: bytes) -> None:
        framer = self._framer
        pool = self._pool
        # May what is in `data` mean something else without the header, however it begins?
        suspect = self._own_header is not None or (
            pool.of_servers and (framer is not None or not stand_alone(data))
        )
        if framer is None:
            framer = pool.framer
            framer.limits = self.limits
            try:
                frames = framer.feed(data)
            except BaseException:
                pool.fresh()
                raise
            if not framer.idle:
                self._framer = framer  # leased until the element is complete
                pool.fresh(leased=True)
            elif framer.spent:
                pool.fresh()
        else:
            framer.limits = self.limits
            frames = framer.feed(data)
            if framer.idle and self._own_header is None:
                self._framer = None
                if framer.spent:
                    framer.release()
                else:
                    pool.framer.release()
                    pool.framer = framer
        for name, attributes, children, raw in frames:
            listener = self.listener
            if listener is None or self._unread is not None:
                return  # the stream ended or starts anew: what follows belongs to nobody
            if not name:
                self.close()
                listener.stream_closed()
                return
            if suspect or not raw.startswith(_STANDS_ALONE):
                name, children, raw = self._alone(name, children, raw)
            listener.frame_received(name, attributes, children, raw)
        if framer.failure is not None and self.listener is not None and self._unread is None:
            raise framer.failure

    def _alone(self, name: str, children: tuple[str, ...], raw: bytes) -> tuple[str, tuple[str, ...], bytes]:
        """The same element, its bytes written again where they need the header's prefixes."""
        if self._own_header is None and raw.startswith(name.rpartition(" ")[2].encode(), 1):
            return name, children, raw
        return name, children, serialise(parse(raw, header=self._own_header))


class LinkStream(XMLStream):
    """The incoming half of a stream between servers.

    Stanzas, which are in `jabber:server` there, come out as they are sent to clients, in `jabber:client`. The
    bytes of all other elements are right where the default namespace is `jabber:server`, and need no prefix.
    """

    __slots__ = ()

    @staticmethod
    def _shared() -> _Pool:
        return _SERVERS

    def _alone(self, name: str, children: tuple[str, ...], raw: bytes) -> tuple[str, tuple[str, ...], bytes]:
        if self._own_header is None and raw.startswith(_STANDS_ALONE) and stands_alone(raw):
            return name, children, raw
        tree = parse(raw, header=self._own_header or LINK_HEADER)
        if tree.tag in SERVER_STANZAS:
            to_clients(tree)
            raw = serialise(tree)
        elif tree.tag.startswith(f"{{{CLIENT_NAMESPACE}}}"):
            raise StreamError("invalid-namespace", "between servers stanzas are in jabber:server")
        else:
            raw = serialise(tree, SERVER_NAMESPACE)
        return expanded(tree.tag), tuple(expanded(child.tag) for child in tree), raw
