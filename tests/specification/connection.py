"""A client's connection: a non-blocking socket, TLS in memory, and an XML stream reader on top.

TLS runs on memory buffers, so that what the server sent before it closed can still be read after a write
failed, and so that each byte can be given a TLS record of its own.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

#: Between namespace and name; no XML can have it.
_SEPARATOR = "\f"
STREAM = "http://etherx.jabber.org/streams"
#: How long anything may take; on a busy machine much less is enough. Seconds.
PATIENCE = 20.0


class Late(Exception):
    """What was waited for did not come."""


class BrokenXml(Exception):
    """The server sent what is not well-formed."""


@dataclass(frozen=True)
class End:
    """The server ended the stream: `</stream:stream>`."""


Event = Element | End


class StreamReader:
    """Cuts what the server sends into stream header, top-level elements and end."""

    def __init__(self, events: deque[Event]) -> None:
        self._events = events
        self.restart()

    def restart(self) -> None:
        """A new XML document follows."""
        self._parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        if hasattr(self._parser, "SetReparseDeferralEnabled"):
            self._parser.SetReparseDeferralEnabled(False)
        self._depth = 0
        self._builder = TreeBuilder()

    def feed(self, data: bytes) -> None:
        """Read on. Raises BrokenXml."""
        try:
            self._parser.Parse(data, False)
        except expat.ExpatError as error:
            raise BrokenXml(f"{error}: {data!r}") from None

    def _name(self, name: str) -> str:
        namespace, separator, local = name.rpartition(_SEPARATOR)
        return f"{{{namespace}}}{local}" if separator else local

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        attributes = {self._name(key): value for key, value in attributes.items()}
        if self._depth == 0:
            self._events.append(Element(self._name(name), attributes))
        else:
            if self._depth == 1:
                self._builder = TreeBuilder()
            self._builder.start(self._name(name), attributes)
        self._depth += 1

    def _text(self, text: str) -> None:
        if self._depth > 1:
            self._builder.data(text)

    def _end(self, name: str) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._events.append(End())
        else:
            self._builder.end(self._name(name))
            if self._depth == 1:
                self._events.append(self._builder.close())


class Connection:
    """One TCP connection. `events` holds what came and was not taken yet."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.events: deque[Event] = deque()
        self.reader = StreamReader(self.events)
        self.ended = False  # by the server, or lost
        self.closed = False  # by us
        self.split = False
        self._tls: ssl.SSLObject | None = None
        self._secure = False
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._unsent = bytearray()

    # -- TLS -----------------------------------------------------------------------------------

    def begin_tls(self, server_name: str, context: ssl.SSLContext | None = None) -> None:
        """The handshake; raises ssl.SSLError when it fails."""
        context = context or client_context()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=server_name)
        self.reader.restart()
        done = False

        def handshake() -> bool:
            nonlocal done
            assert self._tls is not None
            if not done:
                try:
                    self._tls.do_handshake()
                    done = True
                except ssl.SSLWantReadError:
                    if self.ended:
                        raise ssl.SSLError("the server closed the connection") from None
                finally:
                    self._flush_tls()
            return done

        self.wait(handshake)
        self._secure = True
        self._decrypt()

    def _flush_tls(self) -> None:
        self._unsent += self._out.read()

    # -- out -----------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send; in split mode each byte travels in a record of its own."""
        pieces = [data[i : i + 1] for i in range(len(data))] if self.split else [data]
        for piece in pieces:
            if self._tls is not None:
                view = memoryview(piece)
                while view:
                    view = view[self._tls.write(view) :]
                self._flush_tls()
            else:
                self._unsent += piece
            if self.split:
                self._push()
        self.wait(lambda: not self._unsent or self.ended)

    def _push(self) -> None:
        if not self._unsent or self.ended:
            return
        try:
            sent = self.socket.send(self._unsent[:65536])
            del self._unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()  # what came before may still be read

    # -- in ------------------------------------------------------------------------------------

    def wait(self, until: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Read and write until `until()` is true. Raises Late."""
        deadline = time.monotonic() + seconds
        while not until():
            if self.ended and not self._unsent:
                if until():
                    return
                raise Late("the connection has ended")
            left = deadline - time.monotonic()
            if left <= 0:
                raise Late(f"nothing for {seconds:.0f} s")
            writers = [self.socket] if self._unsent else []
            readable, writable, _ = select.select([self.socket], writers, [], left)
            if writable:
                self._push()
            if readable:
                self._read()

    def _read(self) -> None:
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.ended = True
            self._unsent.clear()
            return
        if self._tls is None:
            self.reader.feed(data)
            return
        self._in.write(data)
        if self._secure:
            self._decrypt()

    def _decrypt(self) -> None:
        assert self._tls is not None
        while True:
            try:
                clear = self._tls.read(65536)
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                break  # after close_notify the end of TCP follows
            except ssl.SSLError:
                self.ended = True
                break
            if not clear:
                break
            self.reader.feed(clear)
        self._flush_tls()

    def next(self, seconds: float = PATIENCE) -> Event:
        """The next event; raises Late when none comes."""
        self.wait(lambda: bool(self.events), seconds)
        return self.events.popleft()

    def certificate(self) -> bytes:
        """The server's certificate (DER)."""
        assert self._tls is not None
        found = self._tls.getpeercert(binary_form=True)
        assert found is not None
        return found

    # -- end -----------------------------------------------------------------------------------

    def drop(self) -> None:
        """Reset the connection, without a word."""
        if not self.closed:
            linger = struct.pack("ii", 1, 0)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close()

    def close(self) -> None:
        """Close our end."""
        if not self.closed:
            self.closed = self.ended = True
            self.socket.close()


def client_context() -> ssl.SSLContext:
    """TLS without a look at the certificate; that is proven elsewhere."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
