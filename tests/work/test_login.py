"""What one login asks of the server: Python functions, statements, and writes, counted.

From the client's first byte to its roster and first presence, by SCRAM-SHA-1, on an account that was not in
memory. TLS is left out: its work is OpenSSL's. Who raises a figure says what the login gets for it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.task import Clock

from msgd.accounts import store
from msgd.accounts.credentials import new_verifiers
from msgd.app import Server
from msgd.config import load
from msgd.negotiation.client import ClientNegotiation
from msgd.storage.sqlite import SqliteDatabase
from msgd.wire.jid import JID
from tests.negotiation.scram_client import ScramClient
from tests.storage.turns import Turns
from tests.work.test_calls import counted

#: Python functions.
_CALLS = 470
#: Commands to the database, those around transactions included.
_COMMANDS = 9
#: Turns in which something is sent, each of them one record: two before TLS.
_WRITES = 8

_ACCOUNTS = 25

_HEADER = (
    b"<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xml:lang='en' xmlns='jabber:client'"
    b" xmlns:stream='http://etherx.jabber.org/streams'>"
)
_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"


class Socket:
    """Stands where the connection stands."""

    address, last_received, buffered, closed = "192.0.2.1", 0.0, 0, False

    def __init__(self) -> None:
        self.receiver: Any = None
        self.secure = False
        self.turns = 0
        self._written: list[bytes] = []

    def write(self, data: bytes) -> None:
        """See Connection."""
        self._written.append(data)

    def start(self) -> None:
        """See Connection."""

    pause_reading = resume_reading = start

    def start_tls(self, context: object) -> None:
        """See Connection."""
        self.secure = True

    def bindings(self) -> Any:
        """See Connection."""
        return SimpleNamespace(types=lambda: ("tls-exporter", "tls-server-end-point"))

    def exchange(self, sent: bytes) -> bytes:
        """The client sends something; what it gets in that turn."""
        self.receiver.data_received(sent)
        answer = b"".join(self._written)
        self._written.clear()
        self.turns += bool(answer)
        return answer


def _log_in(socket: Socket, name: str) -> None:
    socket.exchange(_HEADER)
    socket.exchange(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    socket.exchange(_HEADER)
    scram = ScramClient("SCRAM-SHA-1", name, "secret")
    answer = socket.exchange(_element("auth", scram.first(), " mechanism='SCRAM-SHA-1'"))
    answer = socket.exchange(_element("response", scram.final(_data(answer))))
    scram.verify(_data(answer))
    socket.exchange(_HEADER)
    bind = b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>balcony</resource></bind>"
    assert b"/balcony</jid>" in socket.exchange(b"<iq type='set' id='b'>" + bind + b"</iq>")
    query = b"<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>"
    answer = socket.exchange(query + b"<presence><priority>1</priority></presence>")
    assert b"<query xmlns='jabber:iq:roster' ver='0'>" in answer and b"<priority>" in answer


def _element(name: str, data: bytes, attributes: str = "") -> bytes:
    return f"<{name} xmlns='{_SASL}'{attributes}>{base64.b64encode(data).decode()}</{name}>".encode()


def _data(element: bytes) -> bytes:
    return base64.b64decode(element[element.index(b">") + 1 : element.rindex(b"</")])


class Reactor(Turns, Clock):
    """Time that stands still, and the turns in which threads are heard."""

    def __init__(self) -> None:
        Turns.__init__(self)
        Clock.__init__(self)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A whole server whose doors are not open, with some accounts."""
    made = Server(load(None, {"domain": "localhost", "data": str(tmp_path)}), Reactor())
    verifiers = new_verifiers(b"secret", 4096)
    for number in range(_ACCOUNTS):
        jid = JID.make(f"user{number}", "localhost")
        made.database.write_now(partial(store.add, jid=jid, verifiers=verifiers, now=0))
    for extension in made.router.extensions.loaded:
        extension.start()
    assert isinstance(made.database, SqliteDatabase)
    look_ups = made.database._look_ups
    look_ups._reads = lambda: look_ups._known_reads  # no look-up waits for the disk, and so for a thread
    yield made
    made.database.close_now()


def test_one_login(server: Server) -> None:
    database = server.database
    assert isinstance(database, SqliteDatabase)
    sockets = [Socket() for _ in range(_ACCOUNTS)]

    def log_in(numbers: range) -> None:
        for number in numbers:
            server.clients.output.turn += 1
            ClientNegotiation(server.clients, cast(Any, sockets[number]), direct_tls=False)
            _log_in(sockets[number], f"user{number}")

    log_in(range(5))  # caches fill
    look_ups = database._look_ups._connection
    assert look_ups is not None
    commands: list[str] = []
    look_ups._driver.set_trace_callback(commands.append)
    ours = counted(lambda: log_in(range(5, _ACCOUNTS)))
    logins = _ACCOUNTS - 5
    for name in [name for name in ours if name.startswith(("scram_client.", "test_login."))]:
        del ours[name]
    for name, count in ours.most_common(80):
        print(f"{count / logins:6.2f} {name}")
    calls, asked, turns = ours.total() / logins, len(commands) / logins, sockets[-1].turns
    print(f"{calls:6.2f} calls, at most {_CALLS}; {asked:.2f} commands; {turns} turns")
    assert calls <= _CALLS
    assert calls > _CALLS - 15, "it takes less now: lower the bound, so that it stays so"
    assert asked <= _COMMANDS
    assert turns <= _WRITES
