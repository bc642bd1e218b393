"""A client's socket as a reactor descriptor, with pyOpenSSL on the descriptor itself.

What is written during one turn of the reactor leaves together: one TLS record, one send. TLS is
switched on in place (STARTTLS) or from the start (direct TLS). Nothing here knows XML.
"""

from __future__ import annotations

import fcntl
import socket
import sys
from collections.abc import Callable
from typing import Any, Final, Protocol

from OpenSSL import SSL
from twisted.internet import main
from twisted.internet.interfaces import IReadWriteDescriptor
from zope.interface import implementer  # type: ignore[import-untyped]  # has no types

from msgd.wire import tls_records
from msgd.wire.output import Output
from msgd.wire.rate_limit import RateLimit
from msgd.wire.reactor import DelayedCall, Reactor
from msgd.wire.tls import ConnectionBindings
from msgd.wire.turnstile import Turnstile

#: Linux: bytes in the send queue that the peer's TCP has not acknowledged (tcp(7)).
_SIOCOUTQ: Final = 0x5411
_NOTHING: Final = b"\0\0\0\0"
_READ_SIZE: Final = tls_records.READ_SIZE
#: Seconds that a closing connection has to take what is left, and to close its side.
_CLOSING_TIME: Final = 5.0
#: Larger output is written in pieces, so that one connection does not hold up the others.
_WRITE_SIZE: Final = 65536
#: Bytes that wait for the socket, from which on nothing more is read: who does not take answers asks no more.
_FULL: Final = 256 * 1024
#: Why a connection is not read; each reason is taken back by whom it came from.
ASKED, TOO_FAST, FULL, BUSY = 1, 2, 4, 8


class Receiver(Protocol):
    """Who gets what a connection reads."""

    def data_received(self, data: bytes) -> None:
        """Bytes, decrypted."""

    def connection_lost(self) -> None:
        """The connection is gone; called once."""

    def output_drained(self) -> None:
        """The socket, full before, took everything."""


@implementer(IReadWriteDescriptor)
class Connection:
    """One accepted socket.

    `receiver` gets what arrives. `write` gathers; `close` sends what was gathered and then closes;
    `abort` drops everything at once.
    """

    __slots__ = ("__weakref__", "_closing", "_file", "_handshaking", "_held", "_lingering", "_out", "_output",
                 "_pending", "_reactor", "_socket", "_timer", "_tls", "_trailer", "_upgrade", "_watched",
                 "address", "last_received", "on_secure", "rate_limit", "reading", "receiver",
                 "turnstile")  # fmt: skip

    def __init__(
        self,
        reactor: Reactor,
        output: Output,
        accepted: socket.socket,
        address: str,
        receiver: Receiver | None = None,
    ) -> None:
        self._reactor = reactor
        self._output = output
        self._socket: socket.socket | None = accepted
        self._file = accepted.fileno()
        self._tls: SSL.Connection | None = None
        self._handshaking = False
        self._upgrade: Callable[[socket.socket], SSL.Connection] | None = None
        self._out: bytes | list[bytes] | None = None  # gathered in this turn
        self._trailer = b""  # goes behind what was gathered
        self._pending: bytes | bytearray = b""  # what the socket did not take
        self._closing = False
        self._timer: DelayedCall | None = None  # of closing
        self._lingering = False  # everything is sent; only the peer's close is waited for
        self._watched = False  # the reactor looks for something to read
        self._held = 0  # why it is not read
        self.address = address
        self.receiver = receiver
        self.reading = False
        self.last_received = 0.0
        self.on_secure: Callable[[], None] | None = None
        self.rate_limit: RateLimit | None = None
        #: Where the TLS handshake waits for its turn.
        self.turnstile: Turnstile | None = None

    # -- for the reactor -----------------------------------------------------------------------

    def fileno(self) -> int:
        """The descriptor, -1 when closed."""
        return self._file

    def logPrefix(self) -> str:
        """What Twisted calls this connection in its log."""
        return "client"

    def doRead(self) -> Any:
        """Read once; a reason is returned when the connection is gone."""
        if not self.reading:
            return self._read_unwanted()
        tls = self._tls
        try:
            if tls is None:
                if self._socket is None:
                    return main.CONNECTION_LOST
                data = self._socket.recv(_READ_SIZE)
                if not data:
                    return main.CONNECTION_DONE
            else:
                if self._handshaking:
                    if self.turnstile is not None:
                        return self._wait_for_a_turn(self.turnstile)
                    tls.do_handshake()
                    self._secured()
                data = tls_records.receive(tls)
        except (SSL.WantReadError, BlockingIOError):
            return None
        except SSL.WantWriteError:
            self._reactor.addWriter(self)
            return None
        except SSL.ZeroReturnError:
            return main.CONNECTION_DONE
        except (SSL.Error, OSError) as error:
            self.failed(error)
            return main.CONNECTION_LOST
        self.last_received = self._output.seconds()
        if self.rate_limit is not None:
            self._slow_down(len(data))
        receiver = self.receiver
        if receiver is not None:
            receiver.data_received(data)
        return None

    def _wait_for_a_turn(self, turnstile: Turnstile) -> None:
        """A handshake costs as much as ten messages: it begins when strangers have their turn."""
        self.turnstile = None
        self.pause_reading(BUSY)
        turnstile.enter(self._has_its_turn)

    def _has_its_turn(self) -> None:
        self.resume_reading(BUSY)
        if self.reading and self.doRead():
            self._gone()

    def _slow_down(self, size: int) -> None:
        """Who sends more than allowed is read later: its own sending then waits (TCP)."""
        assert self.rate_limit is not None  # the caller looked
        wait = self.rate_limit.take(size, self.last_received)
        if wait:
            self.pause_for(wait)

    def pause_for(self, seconds: float) -> None:
        """Let the peer wait for some time."""
        if not self._held & TOO_FAST:
            self.pause_reading(TOO_FAST)
            self._reactor.callLater(seconds, self.resume_reading, TOO_FAST)

    def doWrite(self) -> Any:
        """The socket takes bytes again."""
        self._reactor.removeWriter(self)
        if self._handshaking:
            return self.doRead()
        self._send_pending()
        if not self._pending:
            if self._held & FULL:
                self.resume_reading(FULL)
            if self._closing:
                self._linger()
            elif self.receiver is not None:
                self.receiver.output_drained()
        return None

    def connectionLost(self, reason: Any) -> None:
        """The reactor noticed that the connection is gone, or was told so."""
        self._gone()

    def writeConnectionLost(self, reason: Any) -> None:
        """Half a close is a close."""
        self._gone()

    def readConnectionLost(self, reason: Any) -> None:
        """Half a close is a close."""
        self._gone()

    # -- for the stream ------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to read."""
        self.resume_reading()

    def write(self, data: bytes) -> None:
        """Send `data` at the end of this turn."""
        out = self._out
        if out is None:
            self._out = data
            self._output.add(self)
        elif type(out) is list:
            out.append(data)
        else:
            self._out = [out, data]  # type: ignore[list-item]  # not a list, so bytes

    def append(self, data: bytes) -> None:
        """Send `data` at the end of this turn, behind everything that is written in it."""
        if self._out is None:
            self.write(b"")
        self._trailer = data

    def flush(self) -> None:
        """Send what was gathered."""
        if self._trailer:
            self.write(self._trailer)
            self._trailer = b""
        out = self._out
        self._out = None
        if out is None or self._socket is None:
            return
        self._send(b"".join(out) if type(out) is list else out)  # type: ignore[arg-type]  # bytes
        if self._closing:
            if not self._pending:
                self._linger()
        elif self._upgrade is not None and not self._pending:
            self._start_tls()

    def _send(self, data: bytes) -> None:
        if self._pending or self._handshaking:
            self._keep(data)
            return
        sent = 0
        try:
            if self._tls is None:
                if self._socket is not None:
                    sent = self._socket.send(data)
            else:
                while sent < len(data):
                    sent += tls_records.send(self._tls, data[sent : sent + _WRITE_SIZE] if sent else data)
        except (SSL.WantWriteError, SSL.WantReadError, BlockingIOError):
            pass
        except (SSL.Error, OSError):
            # The read side reports the loss. Until then it must not look as if all had arrived.
            self._keep(data[sent:])
            self._broken()
            return
        if sent < len(data):
            self._keep(data[sent:])
            self._reactor.addWriter(self)

    def _keep(self, data: bytes) -> None:
        """The socket takes no more now. A peer that does not take what is sent is not asked for more."""
        pending = self._pending
        if type(pending) is bytearray:
            pending += data  # in place: what waits is not copied each time that something is added
        else:
            pending = self._pending = bytearray(data)
        if len(pending) > _FULL and not self._held & FULL:
            self.pause_reading(FULL)

    def _send_pending(self) -> None:
        """Send what was kept, as far as the socket takes it."""
        pending = self._pending
        try:
            while pending:
                piece = bytes(memoryview(pending)[:_WRITE_SIZE])
                if self._tls is not None:
                    sent = tls_records.send(self._tls, piece)
                elif self._socket is not None:
                    sent = self._socket.send(piece)
                else:
                    return
                del pending[:sent]  # type: ignore[union-attr]  # what is not empty is a bytearray
        except (SSL.WantWriteError, SSL.WantReadError, BlockingIOError):
            self._reactor.addWriter(self)
        except (SSL.Error, OSError):
            self._broken()
        else:
            self._pending = b""

    def _broken(self) -> None:
        """Nothing can be sent any more. The read side reports the loss: it has to look, whatever held it."""
        if self._closing:
            self._gone()
        else:
            self.resume_reading(self._held)

    def failed(self, error: Exception) -> None:
        """Reading failed with `error`; for those who want to know why."""

    def start_tls(self, context: SSL.Context) -> None:
        """Speak TLS as soon as what was written so far is out (RFC 6120 §5.4.2.3).

        Bytes that arrived in plain text before are the caller's to forget.
        """
        self._go_secure(lambda plain: _accepting(context, plain))

    def _go_secure(self, upgrade: Callable[[socket.socket], SSL.Connection]) -> None:
        self._upgrade = upgrade
        if self._out is None and not self._pending:
            self._start_tls()

    def _start_tls(self) -> None:
        upgrade, self._upgrade = self._upgrade, None
        if upgrade is None or self._socket is None:
            return
        self._tls = upgrade(self._socket)
        self._handshaking = True

    def _secured(self) -> None:
        self._handshaking = False
        pending, self._pending = self._pending, b""
        if pending:
            self._send(bytes(pending))
        if self.on_secure is not None:
            hook, self.on_secure = self.on_secure, None
            hook()

    def close(self) -> None:
        """Close when everything written is out, or after some seconds."""
        if self._socket is None or self._closing:
            return
        self._closing = True
        self._trailer = b""  # nothing may follow what was written last: the end of the stream
        self.pause_reading()
        if self._handshaking:
            self._gone()
        elif self._out is None and not self._pending:
            self._linger()
        else:
            self._timer = self._reactor.callLater(_CLOSING_TIME, self._close_now)

    def _close_now(self) -> None:
        self._timer = None
        self.abort()

    def _linger(self) -> None:
        """Close our side and wait for the peer's.

        To close at once would reset the connection when there are bytes that nobody read, and the
        peer might never see what was sent last: the error that tells it why.
        """
        if self._socket is None or self._lingering:
            return
        self._lingering = True
        try:
            if self._tls is not None:
                self._tls.shutdown()
            self._socket.shutdown(socket.SHUT_WR)
        except (SSL.Error, OSError):
            self._gone()
            return
        self._tell_lost()
        self._reactor.addReader(self)
        if self._timer is None:
            self._timer = self._reactor.callLater(_CLOSING_TIME, self._close_now)

    def _read_unwanted(self) -> Any:
        """Something came while nobody reads; after the end it is thrown away, until the peer closes."""
        if not self._lingering:
            self._watched = False
            self._reactor.removeReader(self)
            return None
        try:
            if self._socket is not None and self._socket.recv(65536):
                return None
        except BlockingIOError:
            return None
        except OSError:
            pass
        return main.CONNECTION_DONE

    def abort(self) -> None:
        """Close at once."""
        self._out = None
        self._pending = b""
        self._gone()

    def pause_reading(self, why: int = ASKED) -> None:
        """Let the peer wait: its TCP window fills (a flooding client).

        The reactor is told only when something comes: most pauses are over before.
        """
        self._held |= why
        self.reading = False

    def resume_reading(self, why: int = ASKED) -> None:
        """Read again, unless there is another reason not to."""
        self._held &= ~why
        if self._held or self.closed:
            return
        self.reading = True
        if not self._watched:
            self._watched = True
            self._reactor.addReader(self)

    def _gone(self) -> None:
        if self._socket is None:
            return
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self.reading = False
        tls, self._tls = self._tls, None
        if tls is not None and not self._handshaking and not self._lingering:
            try:
                tls.shutdown()  # close_notify, as far as the socket takes it
            except (SSL.Error, OSError):
                pass
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        closing, self._socket = self._socket, None
        self._file = -1
        closing.close()
        self._tell_lost()

    def _tell_lost(self) -> None:
        receiver, self.receiver = self.receiver, None
        self.on_secure = None
        if receiver is not None:
            receiver.connection_lost()

    # -- what others ask -----------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """The socket is gone or about to be."""
        return self._socket is None or self._closing

    @property
    def secure(self) -> bool:
        """TLS is spoken."""
        return self._tls is not None and not self._handshaking

    @property
    def buffered(self) -> int:
        """Bytes that the socket has not taken."""
        return len(self._pending)

    @property
    def tls(self) -> str:
        """Version and cipher, for an operator; empty without TLS."""
        if self._tls is None or self._handshaking:
            return ""
        return f"{self._tls.get_protocol_version_name()} {self._tls.get_cipher_name()}"

    def bindings(self) -> ConnectionBindings | None:
        """The channel bindings; None without TLS."""
        return ConnectionBindings(self._tls) if self._tls is not None else None

    def under_way(self) -> int | None:
        """How many of the bytes written last the peer's TCP has not acknowledged; None when closed.

        What was written before those is in the peer's machine, and the end of this process cannot
        take it back. Bytes are counted at most: encrypted where they are sent already.
        """
        if self._socket is None:
            return None
        answer = fcntl.ioctl(self._file, _SIOCOUTQ, _NOTHING)
        queued = len(self._pending)
        if answer != _NOTHING:
            queued += int.from_bytes(answer, sys.byteorder)
        out = self._out
        if out is None:
            return queued
        return queued + (sum(map(len, out)) if type(out) is list else len(out))


def _accepting(context: SSL.Context, plain: socket.socket) -> SSL.Connection:
    """TLS on a socket, as its server."""
    tls = SSL.Connection(context, plain)
    tls.set_accept_state()
    return tls
