"""A connection of a client: non-blocking TLS on asyncio's loop, and what the server says cut into elements.

Fast and plain: hundreds of connections in one process. What the server sent before it died is read to the
last byte, also when writing has failed already: to a client without stream management it counts as
received. Reading can be paused, for clients that do not read.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

#: A tag, also with `>` within its attributes.
_TAG: Final = re.compile(rb"""<[^<>'"]*(?:(?:'[^']*'|"[^"]*")[^<>'"]*)*>""")
_AROUND: Final = b"<s xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
_READ: Final = 65536


class Lost(Exception):
    """The connection is gone."""


def client_context() -> ssl.SSLContext:
    """TLS as a client speaks it; who the server is does not matter here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


_CONTEXT: Final = client_context()


class Splitter:
    """Cuts a stream into its elements: `feed` returns those that are complete, None for the end.

    Counts tags, nothing more: the server's output has no comments and no CDATA, and unlike a parser that
    may put a token off until more comes, this never waits.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = self._depth = self._start = 0

    def feed(self, data: bytes) -> list[Element | None]:
        """Take bytes in."""
        self._buffer += data
        found: list[Element | None] = []
        while tag := _TAG.search(self._buffer, self._at):
            self._at = tag.end()
            text = tag[0]
            if text.startswith(b"<?"):
                continue
            if self._depth == 1:
                self._start = tag.start()
            if text.startswith(b"</"):
                self._depth -= 1
            elif not text.endswith(b"/>"):
                self._depth += 1
                continue
            if self._depth == 1:
                whole = bytes(self._buffer[self._start : self._at])
                found.append(ElementTree.fromstring(_AROUND + whole + b"</s>")[0])
            elif self._depth == 0:
                found.append(None)
        done = self._start if self._depth > 1 else self._at
        del self._buffer[:done]
        self._at -= done
        self._start = 0
        return found


class Connection:
    """One connection. Elements go to `handler`, or wait for `next` while there is none."""

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self._loop = asyncio.get_running_loop()
        self._tls = tls
        self._out = b""
        self._splitter = Splitter()
        self._inbox: deque[Element] = deque()
        self._change = asyncio.Event()
        self._handler: Callable[[Element], None] | None = None
        self._broken = False
        self.lost = asyncio.Event()
        self.on_lost: Callable[[], None] = lambda: None
        #: The server ended the stream.
        self.ended = False

    @classmethod
    async def open(cls, address: tuple[str, int], receive_buffer: int = 0) -> Connection:
        """Connect with TLS from the start. Raises Lost."""
        plain = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        plain.setblocking(False)
        try:
            if receive_buffer:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            await asyncio.get_running_loop().sock_connect(plain, address)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tls = _CONTEXT.wrap_socket(plain, do_handshake_on_connect=False)
        except OSError as error:
            plain.close()
            raise Lost(str(error)) from None
        except BaseException:
            plain.close()
            raise
        connection = cls(tls)
        try:
            await connection._handshake()
        except BaseException:
            connection.abort()
            raise
        connection.resume()
        return connection

    async def _handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                ready = asyncio.Event()
                self._loop.add_reader(self._tls, ready.set)
                try:
                    await ready.wait()
                finally:
                    self._loop.remove_reader(self._tls)
            except OSError as error:
                raise Lost(str(error)) from None
            else:
                return

    # -- in ------------------------------------------------------------------------------------

    def restart(self) -> None:
        """A new stream begins on this connection."""
        self._splitter = Splitter()

    def handle(self, handler: Callable[[Element], None]) -> None:
        """Give `handler` what comes, and what has come."""
        self._handler = handler
        while self._inbox:
            handler(self._inbox.popleft())

    async def next(self) -> Element:
        """The next element. Raises Lost when there will be none."""
        while not self._inbox:
            if self.lost.is_set() or self.ended:
                raise Lost("the server closed the connection")
            self._change.clear()
            await self._change.wait()
        return self._inbox.popleft()

    def pause(self) -> None:
        """Do not read."""
        if not self.lost.is_set():
            self._loop.remove_reader(self._tls)

    def resume(self) -> None:
        """Read."""
        if not self.lost.is_set():
            self._loop.add_reader(self._tls, self._readable)

    def _readable(self) -> None:
        try:
            data = self._tls.recv(_READ)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            data = b""
        if not data:
            self.abort()
            return
        for element in self._splitter.feed(data):
            if element is None:
                self.ended = True
            elif self._handler is not None:
                self._handler(element)
            else:
                self._inbox.append(element)
        self._change.set()

    # -- out -----------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send as soon as it goes. What a lost connection does not take is dropped."""
        if not self._broken and not self.lost.is_set():
            waiting = bool(self._out)
            self._out += data
            if not waiting:
                self._writable()

    def _writable(self) -> None:
        try:
            while self._out:
                self._out = self._out[self._tls.send(self._out) :]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            self._loop.add_writer(self._tls, self._writable)
            return
        except OSError:
            self._broken = True  # what the server sent may still be there to be read
            self._out = b""
        self._loop.remove_writer(self._tls)

    def abort(self) -> None:
        """Close the socket at once, whatever is in it."""
        if not self.lost.is_set():
            self._loop.remove_reader(self._tls)
            self._loop.remove_writer(self._tls)
            self._tls.close()
            self.lost.set()
            self._change.set()
            self.on_lost()
