"""The people of a run: senders, and recipients of every kind. Each is a coroutine for one life of a server.

An actor ends when the server is dead and everything that it had sent was read. What an actor keeps from
life to life is in its `Client`s.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from tests.crash.client import Client, Lost
from tests.crash.journal import Delivery, Journal, Message
from tests.crash.stream import Connection

_STANZA_ID: Final = "{urn:xmpp:sid:0}stanza-id"
_RESULT: Final = "{urn:xmpp:mam:2}result"
_FORWARDED: Final = "{urn:xmpp:forward:0}forwarded/{jabber:client}message"
_ENABLE_COPIES: Final = b"<iq type='set' id='copies'><enable xmlns='urn:xmpp:carbons:2'/></iq>"
#: Messages that a sender has out at once.
_WINDOW: Final = 60
#: The receive buffer of a client that does not read, so that it fills soon.
_SMALL_BUFFER: Final = 4096


@dataclass
class World:
    """What the actors of a run share."""

    random: random.Random
    journal: Journal = field(default_factory=Journal)
    address: tuple[str, int] = ("", 0)
    #: The server was killed, or is just being killed.
    dead: bool = False
    #: Senders cut their connections at times.
    cuts: bool = True
    #: Called with each message that is acknowledged.
    on_safe: Callable[[Message], None] = lambda message: None
    #: Connections that nobody looks at any more, to be closed with the life.
    left_behind: list[Connection] = field(default_factory=list)

    def leave_behind(self, client: Client) -> None:
        """The client's network is gone and the server does not know."""
        connection = client.leave_behind()
        if connection is not None:
            self.left_behind.append(connection)

    def client(self, name: str, resource: str = "one") -> Client:
        """A client whose messages are written down."""
        client = Client(name, resource)
        client.on_message = lambda element: self.received(client, element)
        client.on_safe = self._safe
        client.on_fault = self.journal.faults.append
        return client

    def _safe(self, message: Message) -> None:
        self.journal.acknowledged.add(message)
        self.on_safe(message)

    def received(self, client: Client, element: Element) -> None:
        """A message came, perhaps out of the archive, or as a copy of what another device got."""
        archived = element.find(f"{_RESULT}/{_FORWARDED}")
        copied = element.find(f"{{urn:xmpp:carbons:2}}received/{_FORWARDED}")
        element = next((inner for inner in (archived, copied) if inner is not None), element)
        try:
            message = Message.from_id(element.get("id", ""))
        except ValueError:
            self.journal.faults.append(f"an unknown message came: {element.attrib}")
            return
        if element.get("type") == "error":
            self.journal.refused.add(message)
            return
        mark = element.find(_STANZA_ID)
        stanza_id = mark.get("id", "") if mark is not None else ""
        if message not in self.journal.sent or message.recipient != client.name:
            self.journal.faults.append(f"{message} came to {client.name}")
        elif element.findtext("{jabber:client}body") != message.text:
            self.journal.faults.append(f"{message} came damaged")
        else:
            # What was received and not acknowledged comes once more, behind a page of the archive.
            connection = client.logins if archived is None else -client.logins
            early = archived is None and not client.available
            delivery = Delivery(message, client.resource, connection, stanza_id, early)
            self.journal.deliveries.append(delivery)

    async def pause(self, longest: float) -> None:
        """A random while, in seconds."""
        await asyncio.sleep(self.random.uniform(0, longest))


class Sender:
    """Sends numbered messages to everybody, with stream management, and cuts its connection at times."""

    def __init__(self, world: World, name: str, recipients: list[str]) -> None:
        self._world = world
        self._recipients = recipients
        self._numbers = dict.fromkeys(recipients, 0)
        self.client = world.client(name)

    async def live(self) -> None:
        """Send until the server is dead."""
        world, client = self._world, self.client
        while not world.dead:
            try:
                await client.log_in(world.address, manage=True, presence=False)
                await self._traffic()
            except Lost:
                client.cut()
                await asyncio.sleep(0.002)

    async def _traffic(self) -> None:
        world, client, dice = self._world, self.client, self._world.random
        connection = client.connection
        assert connection is not None  # it has just logged in
        while not connection.lost.is_set():
            for _ in range(dice.choice((1, 1, 3, 20))):
                self.send(dice.choice(self._recipients))
            if dice.random() < 0.5 or client.outstanding >= _WINDOW:
                client.request()
            while client.outstanding >= _WINDOW and not connection.lost.is_set():
                client.acknowledged.clear()
                await client.acknowledged.wait()
            if world.cuts and dice.random() < 0.01:
                client.cut()
            elif world.cuts and dice.random() < 0.005:
                world.leave_behind(client)
                return
            await world.pause(0.006)

    def send(self, recipient: str) -> Message:
        """Send the next message for `recipient`."""
        dice = self._world.random
        self._numbers[recipient] += 1
        size = dice.choice((0, 40, 200)) if dice.random() < 0.95 else dice.randrange(20_000)
        message = Message(self.client.name, recipient, self._numbers[recipient], size)
        self._world.journal.sent.add(message)
        resource = "/one" if recipient.startswith("copied") and dice.random() < 0.5 else ""
        raw = (
            f"<message to='{recipient}@localhost{resource}' type='chat' id='{message.id}'>"
            f"<body>{escape(message.text)}</body></message>"
        )
        self.client.send(message, raw.encode())
        return message


class Recipient:
    """A recipient; its kind is what `live` does. `clients` are its resources."""

    kind = ""
    resources: tuple[str, ...] = ("one",)
    manage = True
    answers = True
    taking_over = False

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.clients = [world.client(name, resource) for resource in self.resources]
        for client in self.clients:
            client.answers = self.answers
        #: It has come as far as it ever does.
        self.ready = asyncio.Event()

    async def live(self) -> None:
        """Be there until the server is dead."""
        world = self.world
        while not world.dead:
            try:
                for client in self.clients:
                    await client.log_in(world.address, manage=self.manage, presence=True)
                self.arrived()
                self.ready.set()
                for client in self.clients:
                    await client.wait_lost()
                    client.previous = client.managed
            except Lost:
                for client in self.clients:
                    client.cut()
                await asyncio.sleep(0.002)

    def arrived(self) -> None:
        """Everybody of ours is logged in."""

    def server_died(self) -> None:
        """The server was killed a moment ago."""


class Live(Recipient):
    """Reads, and acknowledges when asked."""

    kind = "live"


class Silent(Recipient):
    """Reads, and never acknowledges."""

    kind = "live, silent"
    answers = False


class Plain(Recipient):
    """Reads, without stream management."""

    kind = "without SM"
    manage = False


class Two(Recipient):
    """Two resources, both of which read and acknowledge."""

    kind = "two resources"
    resources = ("one", "two")


class Unread(Recipient):
    """Does not read its socket. What is in it when the server dies was not received."""

    kind = "not reading"

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.clients[0].receive_buffer = _SMALL_BUFFER

    def arrived(self) -> None:
        """Stop reading."""
        connection = self.clients[0].connection
        if connection is not None and not self.world.dead:
            connection.pause()

    def server_died(self) -> None:
        """The connection never tells that it is gone."""
        connection = self.clients[0].connection
        if connection is not None:
            connection.abort()


class UnreadPlain(Unread):
    """The same without stream management: what has reached its machine was received."""

    kind = "not reading, without SM"
    manage = False

    def server_died(self) -> None:
        """Now it reads, to the end."""
        connection = self.clients[0].connection
        if connection is not None:
            connection.resume()


class Offline(Recipient):
    """Not there until all is over."""

    kind = "offline"

    async def live(self) -> None:
        """Not there."""
        self.ready.set()


class Resuming(Recipient):
    """Comes and goes all the time: cut off, resumed, closed, logged in anew."""

    kind = "coming and going"

    async def live(self) -> None:
        """Be there now and then."""
        world, client = self.world, self.clients[0]
        self.ready.set()
        while not world.dead:
            try:
                await client.log_in(world.address, manage=True, presence=True)
                await world.pause(0.06)
                await self._leave(client)
                await world.pause(0.03)
            except Lost:
                client.cut()
                await asyncio.sleep(0.002)

    async def _leave(self, client: Client) -> None:
        way = self.world.random.random()
        if way < 0.25:
            await client.close()
        elif way < 0.35:
            client.cut()
            client.previous = None  # it has forgotten everything
        elif way < 0.45:
            self.world.leave_behind(client)
        else:
            client.cut()


class Catching(Recipient):
    """Comes and goes, and asks the archive for what it missed before it asks for the rest."""

    kind = "reading the archive"

    async def live(self) -> None:
        """Be there now and then."""
        world, client = self.world, self.clients[0]
        self.ready.set()
        while not world.dead:
            try:
                client.previous = None
                await client.log_in(world.address, manage=True, presence=False)
                query = f"archive-{client.logins}"
                client.on_answer = self._when(query, client)
                client.send(None, self._query(query).encode())
                await world.pause(0.1)
                client.cut()
                await world.pause(0.03)
            except Lost:
                client.cut()
                await asyncio.sleep(0.002)

    @staticmethod
    def _when(query: str, client: Client) -> Callable[[Element], None]:
        """Sends presence when the query is answered."""

        def answered(element: Element) -> None:
            if element.get("id") == query:
                client.send(None, b"<presence/>")

        return answered

    def _query(self, id: str) -> str:
        """A page behind the last message that is known, or the last one."""
        deliveries = self.world.journal.deliveries
        known = [each.stanza_id for each in deliveries if each.message.recipient == self.name]
        where = f"<after>{known[-1]}</after>" if known else "<before/>"
        page = f"<set xmlns='http://jabber.org/protocol/rsm'><max>50</max>{where}</set>"
        return f"<iq type='set' id='{id}'><query xmlns='urn:xmpp:mam:2'>{page}</query></iq>"


class Copied(Recipient):
    """A phone to which half of the messages are sent, and a laptop that gets copies; both come and go."""

    kind = "with copies"
    resources = ("one", "two")
    taking_over = True

    async def live(self) -> None:
        """Be there now and then, each for itself."""
        self.ready.set()
        await asyncio.gather(*map(self._come_and_go, self.clients))

    async def _come_and_go(self, client: Client) -> None:
        world = self.world
        while not world.dead:
            try:
                resumed = await client.log_in(world.address, manage=True, presence=False)
                if not resumed:
                    client.send(None, _ENABLE_COPIES)
                    client.send(None, b"<presence/>")
                await world.pause(0.2)
                if world.random.random() < 0.3:
                    await client.close()
                else:
                    client.cut()
                await world.pause(0.03)
            except Lost:
                client.cut()
                await asyncio.sleep(0.002)


class Flickering(Recipient):
    """Comes and goes without stream management; it always closes its stream."""

    kind = "coming and going, without SM"
    manage = False

    async def live(self) -> None:
        """Be there now and then."""
        world, client = self.world, self.clients[0]
        self.ready.set()
        while not world.dead:
            try:
                await client.log_in(world.address, manage=False, presence=True)
                await world.pause(0.06)
                await client.close()
                await world.pause(0.03)
            except Lost:
                client.cut()
                await asyncio.sleep(0.002)


KINDS: Final[tuple[type[Recipient], ...]] = (
    Live, Silent, Unread, Offline, Plain, UnreadPlain, Two, Resuming, Flickering, Catching, Copied,
)  # fmt: skip
