"""Accounts and sessions on a real router and database; only the sockets are not there.

A test says what a client sends and reads what each gets as short lines, such as
'presence romeo@localhost/orchard > juliet@localhost' or 'push juliet@localhost none ask'.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar, cast
from xml.etree.ElementTree import Element

from sqlalchemy import insert
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import Clock

from msgd.config import load
from msgd.routing.account import LiveAccount
from msgd.routing.presence import Presence
from msgd.routing.roster import Roster
from msgd.routing.router import Router
from msgd.routing.session import Session
from msgd.routing.table import Table
from msgd.storage import schema
from msgd.storage.database import Connection
from msgd.storage.sqlite import open_database
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from msgd.wire.xml import parse
from tests.storage.turns import Turns

T = TypeVar("T")
_ADD = insert(schema.account)
_ITEM = "{jabber:iq:roster}query/{jabber:iq:roster}item"


class Wire:
    """Stands where the connection stands, and keeps what is written."""

    address, last_received, buffered = "192.0.2.1", 0.0, 0

    def __init__(self) -> None:
        self.written: list[Element] = []

    def write(self, raw: bytes) -> None:
        """See Connection."""
        self.written.append(parse(raw))

    def append(self, raw: bytes) -> None:
        """See Connection; nobody here looks at requests."""

    def flush(self) -> None:
        """See Connection; everything is written at once."""

    def pause_reading(self, reason: int) -> None:
        """See Connection; nothing is read here."""

    def resume_reading(self, reason: int) -> None:
        """See Connection."""


class Spool:
    """Only what sessions need to end."""

    def __init__(self) -> None:
        self.drained: list[str] = []

    def drain(self, account: LiveAccount) -> None:
        """See SpoolInterface."""
        self.drained.append(account.jid)

    def share(self, newcomer: Session) -> None:
        """See SpoolInterface."""

    def session_ended(self, session: Session) -> None:
        """See SpoolInterface."""


class Resumption:
    """No session is resumed here."""

    def forget(self, session: Session) -> None:
        """See Resumption."""


class Client:
    """One session."""

    def __init__(self, world: World, session: Session) -> None:
        self._world = world
        self.session = session
        self.wire = Wire()
        session.transport = cast(Any, self.wire)

    def sends(self, text: str, wait: bool = True) -> list[str]:
        """The client sends a stanza; all that follows from it happens, unless told not to `wait`."""
        stanza = Stanza.from_bytes(text.encode())
        attributes = dict(stanza.attributes)
        for name, value in (("to", stanza.to), ("from", stanza.from_)):
            if value is not None:
                attributes[name] = value
        name = f"jabber:client {stanza.kind}"
        self.session.frame_received(name, attributes, stanza.children, stanza.raw)
        if not wait:
            return []
        self._world.settle()
        return self.gets()

    def exchanges(self, text: str) -> list[Element]:
        """As `sends`, with the whole answers."""
        self.sends(text, wait=False)
        self._world.settle()
        return self.elements()

    def elements(self) -> list[Element]:
        """What came since the last time."""
        found, self.wire.written = self.wire.written, []
        return found

    def gets(self) -> list[str]:
        """The same as short lines."""
        return [brief(element) for element in self.elements()]

    def asks_for_roster(self, version: str | None = None) -> list[str]:
        """A roster get."""
        ver = "" if version is None else f" ver='{version}'"
        query = f"<query xmlns='jabber:iq:roster'{ver}/>"
        return self.sends(f"<iq type='get' id='r'>{query}</iq>")

    def sets(self, item: str) -> list[str]:
        """A roster set."""
        query = f"<query xmlns='jabber:iq:roster'>{item}</query>"
        return self.sends(f"<iq type='set' id='s'>{query}</iq>")

    def ends(self) -> None:
        """The session is over."""
        self.session.transport = None
        self.session.end()
        self._world.settle()


class World:
    """A server without doors."""

    def __init__(self, directory: Path) -> None:
        self.turns = Turns()
        self.clock = Clock()
        reactor = cast(IReactorFromThreads, self.turns)
        self.database = open_database(directory / "data" / "msgd.sqlite", reactor, claim=True)
        self._under_way = 0
        self._read, self._write = self.database.read, self.database.write
        self.database.read = self._counted_read  # type: ignore[method-assign]  # to see the end
        self.database.write = self._counted_write  # type: ignore[method-assign]  # to see the end
        table = Table(self.database, [JID.parse("localhost")], remembered=100)
        config = load(None, {"domain": "localhost"})
        clock, nobody = cast(Any, self.clock), cast(Any, None)
        self.router = Router(config, clock, self.database, nobody, table)
        self.roster = Roster(self.router)
        self.presence = self.router.presence = Presence(self.router, self.roster)
        self.spool = self.router.spool = Spool()
        self.router.resumption = cast(Any, Resumption())
        self.router.extensions.load(self.roster)
        self.events: list[tuple[str, str]] = []
        self._accounts: set[JID] = set()

    def close(self) -> None:
        """End the database."""
        self.database.close_now()

    async def _counted_read(self, work: Callable[[Connection], T]) -> T:
        self._under_way += 1
        try:
            return await self._read(work)
        finally:
            self._under_way -= 1

    async def _counted_write(self, work: Callable[[Connection], T]) -> T:
        self._under_way += 1
        try:
            return await self._write(work)
        finally:
            self._under_way -= 1

    def settle(self) -> None:
        """Let everything that was begun come to its end."""
        self.turns.until(lambda: not self._under_way)
        while self.clock.getDelayedCalls():
            self.clock.advance(0)
            self.turns.until(lambda: not self._under_way)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end."""
        return self.turns.wait(work)

    def account(self, text: str) -> None:
        """Make an account."""
        jid = JID.parse(text)
        row = {"domain": jid.domain, "name": jid.local, "created": 0}
        if jid not in self._accounts:
            self._accounts.add(jid)
            self.database.write_now(lambda connection: connection.insert(_ADD, row))

    def connects(self, text: str, roster: bool = False, presence: str = "") -> Client:
        """A client binds the full JID `text`; what it is told in answer is dropped."""
        jid = JID.parse(text)
        self.account(jid.bare)
        loaded: list[LiveAccount | None] = []
        self.router.load(jid.bare).addCallback(loaded.append)
        self.turns.until(lambda: bool(loaded))
        assert loaded[0] is not None
        client = Client(self, Session(self.router, loaded[0], jid, "SCRAM-SHA-256"))
        self.router.table.add(client.session)
        if roster:
            client.asks_for_roster()
        if presence:
            client.sends(presence)
        client.gets()
        return client

    def subscribes(self, one: str, other: str) -> None:
        """Before anybody connects: `one` sees the presence of `other`."""
        self.account(other)
        for asker, kind, to in (
            (one, "subscribe", other),
            (other, "subscribed", one),
        ):
            client = self.connects(f"{asker}/scene")
            client.sends(f"<presence type='{kind}' to='{to}'/>")
            client.ends()
        self.settle()


def brief(element: Element) -> str:
    """A stanza in one line, without what is different each time."""
    kind = element.tag.rpartition("}")[2]
    item = element.find(_ITEM)
    if kind == "iq" and element.get("type") == "set" and item is not None:
        return " ".join(["push", *_item(item)])
    line = [kind, element.get("type", "")]
    if kind == "presence":
        line.append(f"{element.get('from')} > {element.get('to')}")
    error = element.find("{jabber:client}error")
    if error is not None:
        line.append(error[0].tag.rpartition("}")[2])
    else:
        line += [f"{child.tag.rpartition('}')[2]}={child.text}" for child in element if child.text]
        line += [f"({', '.join(_item(found))})" for found in element.findall(_ITEM)]
    return " ".join(filter(None, line))


def _item(item: Element) -> list[str]:
    marks = [name for name in ("ask", "approved") if item.get(name)]
    groups = [f"#{group.text}" for group in item]
    name = item.get("name")
    texts = [item.get("jid", ""), item.get("subscription", "")]
    return [*texts, *marks, *([f"'{name}'"] if name else []), *groups]
