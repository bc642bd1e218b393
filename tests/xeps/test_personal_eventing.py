"""Somebody with 10,000 contacts: what they publish, and what he does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Table, insert

from msgd.accounts.uses import Uses
from msgd.storage import schema
from msgd.storage.database import Connection
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from msgd.xeps.interests import remember
from msgd.xeps.xep_0060_pubsub import PublishSubscribe
from msgd.xeps.xep_0163_pep import PersonalEventing
from tests.routing.world import Client, World

_CONTACTS = 10_000
_TUNE = "<tune xmlns='urn:example:tune'/>"


def _contacts(connection: Connection) -> None:
    """Everybody but Romeo has a node with an item; Romeo sees them all, and they see him."""
    ids = range(1000, 1000 + _CONTACTS)
    rows: dict[Table, list[dict[str, object]]] = {
        schema.account: [
            {"id": id, "domain": "localhost", "name": f"c{id}", "created": 0, "uses": int(Uses.PEP)}
            for id in ids
        ],
        schema.pubsub_node: [
            {"account_id": id, "name": "urn:example:tune", "configuration": "{}"} for id in ids
        ],
        schema.pubsub_item: [
            {
                "account_id": id, "node": "urn:example:tune", "id": "current", "number": 1,
                "published": 0, "size": len(_TUNE), "xml": _TUNE.encode(),
            }
            for id in ids
        ],
        schema.roster_item: [
            {
                "account_id": owner, "jid": contact, "name": "", "subscription": "both", "ask": False,
                "approved": False, "groups": "[]", "version": 1,
            }
            for id in ids
            for owner, contact in ((1, f"c{id}@localhost"), (id, "romeo@localhost"))
        ],
    }  # fmt: skip
    for table, values in rows.items():
        connection.run_many(insert(table), values)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    for extension in (PublishSubscribe, PersonalEventing):
        world.router.extensions.load(extension(world.router))
    world.account("romeo@localhost")
    world.database.write_now(_contacts)
    yield world
    world.close()


def _there(world: World, jid: str) -> Client:
    world._accounts.add(JID.parse(jid).bare)  # it is made already
    return world.connects(jid, presence="<presence/>")


def _comes(world: World, jid: str) -> Client:
    client = _there(world, jid)
    remember(client.session, "v", ("urn:example:tune",))
    return client


def test_the_last_items_of_all_come_and_nobody_waits_for_it_to_end(world: World) -> None:
    reads: list[int] = []
    read = world.database.read

    def counted(work: object) -> object:
        reads.append(1)
        return read(work)  # type: ignore[arg-type]  # what was given

    world.database.read = counted  # type: ignore[method-assign, assignment]  # to count
    romeo = _comes(world, "romeo@localhost/orchard")
    world.router.note("session-interested", romeo.session, ("urn:example:tune",))
    world.settle()
    assert len({message.get("from") for message in romeo.elements()}) == _CONTACTS
    # In so many steps, between which others have their turn.
    assert 50 <= len(reads) <= _CONTACTS / 50


def test_who_comes_and_goes_elsewhere_has_one_read_under_way(world: World) -> None:
    romeo = _there(world, "romeo@localhost/orchard")
    romeo.sends(
        "<iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'>"
        f"<publish node='urn:example:tune'><item id='current'>{_TUNE}</item></publish></pubsub></iq>"
    )
    account, juliet = romeo.session.account, JID.parse("juliet@verona.example/balcony")
    account.subscribers |= {juliet.bare}
    row = {
        "account_id": account.id, "jid": str(juliet.bare), "name": "", "subscription": "from", "ask": False,
        "approved": False, "groups": "[]", "version": 1,
    }  # fmt: skip
    world.database.write_now(lambda connection: connection.insert(insert(schema.roster_item), row))
    sent: list[str] = []

    class Verona:
        """Takes everything."""

        def send(self, stanza: Stanza, receipt: object) -> bool:
            """See Destination."""
            sent.append(str(stanza.to))
            return False

        def explain(self, to: JID) -> str:
            """See Destination."""
            return ""

    world.router.table.destinations["verona.example"] = Verona()
    for _ in range(100):
        world.router.note("contact-interested", account, juliet, ("urn:example:tune",))
    assert world._under_way == 1
    world.settle()
    # The first, and one for all that came meanwhile.
    assert sent == [str(juliet)] * 2


def test_news_goes_to_those_who_are_there_and_want_it(world: World) -> None:
    romeo = _there(world, "romeo@localhost/orchard")
    wanting = _comes(world, "c1000@localhost/here")
    not_wanting = _there(world, "c1001@localhost/here")
    for client in (romeo, wanting, not_wanting):
        client.gets()
    romeo.sends(
        "<iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'>"
        f"<publish node='urn:example:tune'><item id='current'>{_TUNE}</item></publish></pubsub></iq>"
    )
    assert wanting.gets() == ["message headline"]
    assert not_wanting.gets() == []
