"""The client of the console when its server is gone."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from msgd.console.client import ConsoleClient, NoConsole


@pytest.mark.parametrize("when", ["asked", "before"])
def test_a_server_that_is_killed_has_hung_up(tmp_path: Path, when: str) -> None:
    path = tmp_path / "console"
    gone = threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(100)
            connection.sendall(b"#json\n")
            if when == "asked":
                connection.recv(1)  # the rest is unread: the system resets the connection
        gone.set()

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        threading.Thread(target=serve, daemon=True).start()
        client = ConsoleClient(path)
        if when == "before":
            assert gone.wait(10)
        with pytest.raises(NoConsole, match="hung up"):
            client.ask("status")
        client.close()
