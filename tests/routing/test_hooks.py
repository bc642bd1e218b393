"""Extensions that act on the stanzas of some accounts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from msgd.accounts.uses import Uses, mark
from msgd.routing.account import LiveAccount
from msgd.routing.extension import Extension, Rfc, on_element
from msgd.routing.hooks import Dropped
from msgd.routing.session import Session
from msgd.routing.stream_management import Kept, Receipt
from msgd.storage import schema
from msgd.storage.database import Connection
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from tests.routing.world import World


class Guard(Extension):
    """Keeps Paris away, and is loaded for who uses it."""

    xep = Rfc(6121)
    uses = Uses.BLOCKING
    seen: list[str]

    def load(self, connection: Connection, account: LiveAccount) -> None:
        """See Extension."""
        account.hook(self)

    def permit_in(self, account: LiveAccount, stanza: Stanza) -> None:
        """See Acting."""
        if stanza.from_ is not None and stanza.from_.local == "paris":
            raise StanzaError("not-acceptable")

    def permit_out(self, account: LiveAccount, stanza: Stanza) -> None:
        """See Acting."""
        if stanza.to is not None and stanza.to.local == "paris":
            raise Dropped

    @on_element("urn:guard", "wake")
    def wake(self, session: Session, attributes: dict[str, str], raw: bytes) -> None:
        """Says who woke it."""
        self.seen = [session.jid, attributes["how"]]


class Copier(Extension):
    """Sees what goes out, marked by who was before it, and what comes in."""

    xep = Rfc(6121)

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]  # the router
        self.seen: list[str] = []

    def outgoing(
        self, account: LiveAccount, session: Session, stanza: Stanza, receipt: Receipt | None
    ) -> Stanza:
        """See Acting."""
        self.seen.append(f"out {stanza.to} {len(stanza.children)}")
        return stanza

    def incoming(
        self, account: LiveAccount, stanza: Stanza, targets: list[Session], kept: Kept | None
    ) -> None:
        """See Acting."""
        self.seen.append(f"in {account.jid} {len(targets)}")


class Marker(Extension):
    """Marks the sender's own copy."""

    xep = Rfc(6121)

    def outgoing(
        self, account: LiveAccount, session: Session, stanza: Stanza, receipt: Receipt | None
    ) -> Stanza:
        """See Acting."""
        return stanza.with_child(b"<x xmlns='urn:mark'/>", "urn:mark x")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A server without doors."""
    made = World(tmp_path)
    yield made
    made.close()


def _uses(world: World, name: str) -> None:
    jid = JID.parse(name)
    world.account(name)
    found = select(schema.account.c.id).where(schema.account.c.name == jid.local)

    def note(connection: Connection) -> None:
        number = connection.one(found)
        assert number is not None
        mark(connection, number[0], Uses.PEP, True)
        mark(connection, number[0], Uses.BLOCKING, True)
        mark(connection, number[0], Uses.PEP, False)

    world.database.write_now(note)


def test_only_accounts_that_use_it_load_it(world: World) -> None:
    world.router.extensions.load(Guard(world.router))
    _uses(world, "juliet@localhost")
    juliet = world.connects("juliet@localhost/balcony")
    assert juliet.session.account.uses == Uses.BLOCKING
    assert juliet.session.account.hooks is not None
    assert world.connects("romeo@localhost/orchard").session.account.hooks is None


def test_what_is_not_permitted(world: World) -> None:
    guard = Guard(world.router)
    world.router.extensions.load(guard)
    _uses(world, "juliet@localhost")
    world.subscribes("paris@localhost", "juliet@localhost")
    world.subscribes("juliet@localhost", "paris@localhost")
    juliet = world.connects("juliet@localhost/balcony", roster=True, presence="<presence/>")
    paris = world.connects("paris@localhost/vault", roster=True)
    # Neither sees the other's presence, though both rosters would allow it.
    assert paris.sends("<presence/>") == ["presence paris@localhost/vault > paris@localhost"]
    assert juliet.gets() == []
    headline = "<message type='headline' to='juliet@localhost/balcony'><body>Happily met</body></message>"
    assert paris.sends(headline) == ["message error not-acceptable"]
    asked = "<iq type='get' id='1' to='juliet@localhost{}'><ping xmlns='urn:xmpp:ping'/></iq>"
    assert paris.sends(asked.format("/balcony")) == ["iq error not-acceptable"]
    assert paris.sends(asked.format("")) == ["iq error not-acceptable"]
    assert juliet.sends(headline.replace("juliet@localhost/balcony", "paris@localhost/vault")) == []
    assert paris.gets() == juliet.gets() == []
    world.router.extensions.unload(guard)
    assert juliet.session.account.hooks is None
    assert juliet.sends(headline.replace("juliet@localhost/balcony", "paris@localhost/vault")) == []
    assert paris.gets() == ["message headline body=Happily met"]


def test_each_sees_what_the_one_before_made(world: World) -> None:
    copier = Copier(world.router)
    world.router.extensions.load(Marker(world.router))
    world.router.extensions.load(copier)
    romeo = world.connects("romeo@localhost/orchard")
    juliet = world.connects("juliet@localhost/balcony")
    # In the order of registration, not in that of hooking.
    romeo.session.account.hook(copier)
    romeo.session.account.hook(world.router.extensions.loaded[-2])
    juliet.session.account.hook(copier)
    romeo.sends("<message type='headline' to='juliet@localhost/balcony'><body>Ho</body></message>")
    assert copier.seen == ["out juliet@localhost/balcony 2", "in juliet@localhost 1"]
    assert juliet.gets() == ["message headline body=Ho"]
    romeo.session.account.unhook(copier)
    romeo.session.account.unhook(world.router.extensions.loaded[-2])
    assert romeo.session.account.hooks is None


def test_elements_and_what_holds_stanzas_back(world: World) -> None:
    guard = Guard(world.router)
    world.router.extensions.load(guard)
    juliet = world.connects("juliet@localhost/balcony")
    juliet.session.frame_received("urn:guard wake", {"how": "gently"}, (), b"<wake xmlns='urn:guard'/>")
    assert guard.seen == ["juliet@localhost/balcony", "gently"]
    held: list[Stanza | None] = []

    def hold(session: Session, stanza: Stanza | None) -> bool:
        held.append(stanza)
        return stanza is not None and stanza.kind == "presence"

    juliet.session.filter = hold
    juliet.sends("<presence/>")
    assert juliet.gets() == []
    romeo = world.connects("romeo@localhost/orchard")
    romeo.sends("<message type='headline' to='juliet@localhost/balcony'><body>Ho</body></message>")
    assert juliet.gets() == ["message headline body=Ho"]
    assert [stanza.kind for stanza in held if stanza] == ["presence", "message"]
