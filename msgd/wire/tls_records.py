"""Reads and writes TLS records with as little as possible between OpenSSL and the transport.

pyOpenSSL's own `recv` makes a buffer for each call, and both of its methods ask OpenSSL what went wrong after
each success: a tenth of what a message costs. Here one buffer serves all connections, and only a failure goes
to pyOpenSSL, which does it again and raises what is the matter. This leans on two private names of
pyOpenSSL; where they are missing its public methods do all of it: slower, not different.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from OpenSSL import SSL

#: The most that is read at once: one TLS record.
READ_SIZE: Final = 16384


_Pair = tuple[Callable[[SSL.Connection], bytes], Callable[[SSL.Connection, bytes], int]]


def _ordinary() -> _Pair:
    def receive(connection: SSL.Connection) -> bytes:
        return connection.recv(READ_SIZE)

    def send(connection: SSL.Connection, data: bytes) -> int:
        return connection.send(data)

    return receive, send


def _direct(ffi: Any, lib: Any) -> _Pair:
    buffer = ffi.new("char[]", READ_SIZE)
    copy, read, write = ffi.unpack, lib.SSL_read, lib.SSL_write

    def receive(connection: SSL.Connection) -> bytes:
        count = read(connection._ssl, buffer, READ_SIZE)
        if count > 0:
            received: bytes = copy(buffer, count)
            return received
        return connection.recv(READ_SIZE)

    def send(connection: SSL.Connection, data: bytes) -> int:
        count: int = write(connection._ssl, data, len(data))
        return count if count > 0 else connection.send(data)

    return receive, send


def _best() -> _Pair:
    try:
        from OpenSSL._util import ffi, lib
    except ImportError:
        return _ordinary()
    if not hasattr(SSL.Connection(SSL.Context(SSL.TLS_METHOD), None), "_ssl"):
        return _ordinary()
    return _direct(ffi, lib)


#: `receive(connection)` gives what one record holds, `send(connection, data)` tells how much was taken. Both
#: raise as the methods of pyOpenSSL's `Connection` do.
receive, send = _best()
