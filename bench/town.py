"""A server with people: made at once in its database, and clients that log in as phones do (SCRAM)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

from msgd.routing.account import LiveAccount
from msgd.spool import store
from msgd.spool.entry import Entry, Ids
from msgd.storage.sqlite_connection import connect
from msgd.wire.jid import JID
from tests.crash.client import SASL, Client
from tests.crash.stream import Connection
from tests.harness import PASSWORD, Msgd, NewAccount

_OPTIONS: Final = (
    "login.failures_per_address = 0",
    "limits.strangers_per_address = 0",
    "limits.strangers = 20000",
    "limits.first_contacts = 0",
    "listen.metrics = 0",
)
MESSAGE: Final = b"<message to='%s@localhost' type='chat' id='%s'><body>%s</body></message>"
PING: Final = b"<iq type='get' id='%s'><ping xmlns='urn:xmpp:ping'/></iq>"
_ROWS_AT_ONCE: Final = 10_000


def built(directory: Path, names: Iterable[str], *options: str, movable: bool = False) -> Msgd:
    """A server with these accounts, not started."""
    accounts = [NewAccount(name) for name in names]
    return Msgd(directory, [*_OPTIONS, *options], accounts, movable=movable)


def _ids(database: sqlite3.Connection) -> dict[str, int]:
    return dict(database.execute("SELECT name, id FROM account"))


def befriend(directory: Path, name: str, others: Sequence[str]) -> None:
    """`name` and each of `others` see each other's presence. Others without an account are contacts only."""
    database = sqlite3.connect(directory / "msgd.sqlite")
    insert = (
        "INSERT INTO roster_item (account_id, jid, name, subscription, version) VALUES (?, ?, ?, 'both', ?)"
    )
    ids = _ids(database)
    with database:
        mine = [(ids[name], f"{other}@localhost", other.title(), n) for n, other in enumerate(others, 1)]
        theirs = [(ids[other], f"{name}@localhost", name.title(), 1) for other in others if other in ids]
        database.executemany(insert, mine + theirs)
        versions = [(ids[name], len(others)), *((ids[other], 1) for other in others if other in ids)]
        database.executemany("INSERT INTO roster_version (account_id, version) VALUES (?, ?)", versions)
    database.close()


def fill(directory: Path, names: Sequence[str], count: int) -> None:
    """So many messages wait, the same number for each of `names`."""
    plain = sqlite3.connect(directory / "msgd.sqlite")
    ids = _ids(plain)
    plain.close()
    accounts = [LiveAccount(ids[name], JID.parse(f"{name}@localhost")) for name in names]
    made, connection = Ids(time.time), connect(directory / "msgd.sqlite")
    raw = b"<message type='chat' id='%d' to='%s' from='ann@localhost/desk'><body>%s</body></message>"
    entries = [
        Entry(made.next(), account, raw % (number, account.jid.encode(), b"x" * 200), None, "")
        for number in range(count // len(accounts))
        for account in accounts
    ]
    for first in range(0, len(entries), _ROWS_AT_ONCE):
        connection.begin()
        store.write(connection, entries[first : first + _ROWS_AT_ONCE], [])
        connection.commit()
    connection.close()


@cache
def _salted(password: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha1", password.encode(), salt, iterations)


class Phone(Client):
    """A client that logs in with SCRAM-SHA-1, answers pings, and counts what comes."""

    def __init__(self, name: str, resource: str = "phone") -> None:
        super().__init__(name, resource)
        self.answers_to: dict[str, float] = {}
        self.presences = 0
        self.pings = 0
        self.on_answer = self._iq

    async def _authenticate(self, connection: Connection) -> None:
        nonce = base64.b64encode(os.urandom(12)).decode()
        bare = f"n={self.name},r={nonce}"
        first = base64.b64encode(f"n,,{bare}".encode()).decode()
        connection.write(f"<auth xmlns='{SASL}' mechanism='SCRAM-SHA-1'>{first}</auth>".encode())
        answer = await self._expect(connection, "challenge")
        challenge = base64.b64decode(answer.text or "").decode()
        parts = dict(part.split("=", 1) for part in challenge.split(","))
        salted = _salted(PASSWORD, base64.b64decode(parts["s"]), int(parts["i"]))
        key = hmac.digest(salted, b"Client Key", "sha1")
        final = f"c=biws,r={parts['r']}"
        signature = hmac.digest(hashlib.sha1(key).digest(), f"{bare},{challenge},{final}".encode(), "sha1")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
        text = base64.b64encode(f"{final},p={proof}".encode()).decode()
        connection.write(f"<response xmlns='{SASL}'>{text}</response>".encode())
        await self._expect(connection, "success")

    def _element(self, element: Element) -> None:
        self.presences += element.tag == "{jabber:client}presence"
        super()._element(element)

    def _iq(self, element: Element) -> None:
        id = element.get("id", "")
        if element.get("type") == "get":
            self.pings += 1
            self.send(None, f"<iq type='result' to='{element.get('from')}' id='{id}'/>".encode())
        else:
            self.answers_to[id] = time.monotonic()

    async def ask(self, id: str, raw: bytes) -> float:
        """Send a request; seconds until its answer."""
        began = time.monotonic()
        self.answers_to.pop(id, None)
        self.send(None, raw)
        while id not in self.answers_to:
            await asyncio.sleep(0.0005)
        return self.answers_to[id] - began

    async def ping(self, id: str = "p") -> float:
        """Seconds until a ping is answered."""
        return await self.ask(id, PING % id.encode())


async def come(server: Msgd, phones: Iterable[Phone], at_once: int = 32, presence: bool = True) -> int:
    """All of them log in, or resume, so many at a time; how many resumed."""
    left, resumed = iter(phones), []

    async def some() -> None:
        for phone in left:
            resumed.append(await phone.log_in(server.address(direct=True), manage=True, presence=presence))

    await asyncio.gather(*(some() for _ in range(at_once)))
    return sum(resumed)


def figures(row: str, **values: float) -> None:
    """Print a result as a line of JSON."""
    shown = {name: round(value, 4) if value < 100 else round(value, 1) for name, value in values.items()}
    print(json.dumps({"row": row, **shown}), flush=True)
