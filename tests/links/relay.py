"""Stands between two servers, so that the network between them can fail."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress


class Relay:
    """Forwards connections to a port of this machine, until they are cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listening.accept()
            except OSError:
                return
            made = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [accepted, made]
            for source, sink in ((accepted, made), (made, accepted)):
                threading.Thread(target=_forward, args=(source, sink), daemon=True).start()

    def cut(self) -> None:
        """Reset all that there are."""
        for each in self._sockets:
            with suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                each.shutdown(socket.SHUT_RD)  # wakes the thread that reads, which closes it
        self._sockets.clear()

    def close(self) -> None:
        """Forward nothing more."""
        self._listening.close()
        self.cut()


def _forward(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
    source.close()
