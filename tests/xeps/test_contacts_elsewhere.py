"""What is remembered of the clients of contacts in other domains, and who is asked for it, is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from msgd.routing.account import LiveAccount
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from msgd.xeps import client_capabilities, contacts_elsewhere
from msgd.xeps.client_capabilities import Caps, ClientCapabilities, Wanted
from msgd.xeps.contacts_elsewhere import Client, Elsewhere, wanting
from tests.routing.world import World

TUNE = Client("v", ("tune",))


@pytest.fixture
def known() -> Elsewhere:
    """Nobody is known."""
    return Elsewhere()


def test_one_contact_has_ten_resources(known: Elsewhere) -> None:
    for number in range(30):
        known.note(JID.parse(f"juliet@verona.example/{number}"), TUNE)
    assert [jid.resource for jid, _ in known.of(JID.parse("juliet@verona.example"))] == [
        str(number) for number in range(20, 30)
    ]
    assert known.count == 10
    known.forget(JID.parse("juliet@verona.example/25"))
    known.forget(JID.parse("juliet@verona.example/25"))
    assert known.count == 9
    known.forget(JID.parse("juliet@verona.example"))
    assert (known.count, known._clients) == (0, {})


def test_the_contact_seen_first_gives_way(known: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contacts_elsewhere, "_MOST", 6)
    for number in range(5):
        for resource in "ab":
            known.note(JID.parse(f"c{number}@verona.example/{resource}"), TUNE)
    assert known.count == 6
    assert list(known._clients) == [f"c{number}@verona.example" for number in (2, 3, 4)]
    # What is known already changes without room.
    known.note(JID.parse("c2@verona.example/a"), Client("w", ()))
    assert known.client(JID.parse("c2@verona.example/a")) == Client("w", ())
    assert known.count == 6


def test_wanting() -> None:
    account = LiveAccount(1, JID.parse("romeo@localhost"))
    juliet = JID.parse("juliet@verona.example")
    assert list(wanting(account, juliet, "tune")) == []
    known = contacts_elsewhere.begin(account)
    known.note(juliet.with_resource("a"), TUNE)
    known.note(juliet.with_resource("b"), Client("w", ("mood",)))
    assert list(wanting(account, juliet, "tune")) == ["juliet@verona.example/a"]
    contacts_elsewhere.end(account)
    assert list(wanting(account, juliet, "tune")) == []


class Asked:
    """A client that shows a hash, and what it is told."""

    def __init__(self, jid: str, elsewhere: bool) -> None:
        self.jid = JID.parse(jid)
        self.asker = JID.parse("localhost")
        self.domain = self.jid.domain if elsewhere else ""
        self.is_there = self.can_answer = True
        self.told: list[object] = []

    def known(self, version: str, wanted: Wanted) -> None:
        """See client_capabilities.Asked."""
        self.told.append(wanted)

    def unknown(self, version: str) -> None:
        """See client_capabilities.Asked."""
        self.told.append(None)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A server."""
    made = World(tmp_path)
    yield made
    made.close()


class Silence:
    """Who is asked; nobody answers."""

    def __init__(self, world: World) -> None:
        self.asked: list[str] = []
        self._open: list[Deferred[Stanza]] = []
        world.router.ask = self._ask  # type: ignore[method-assign]  # in place of a network

    async def _ask(self, iq: Stanza, timeout: float) -> Stanza:
        self.asked.append(str(iq.to))
        answer: Deferred[Stanza] = Deferred()
        self._open.append(answer)
        return await answer

    def ends(self) -> None:
        """Time is over, for all questions one after the other."""
        while self._open:
            self._open.pop(0).errback(StanzaError("remote-server-timeout"))


def test_a_domain_that_does_not_answer_is_asked_once(world: World) -> None:
    silence = Silence(world)
    capabilities = ClientCapabilities(world.router)
    clients = [Asked(f"c{number}@verona.example/x", True) for number in range(3)]
    clients += [Asked("nurse@mantua.example/x", True), Asked("romeo@localhost/x", False)]
    for client in clients:
        capabilities.learn(client, Caps("sha-1", "hash", "urn:x"))
    silence.ends()
    # The first, then the one of this server, then one of each other domain.
    assert silence.asked == ["c0@verona.example/x", "romeo@localhost/x", "nurse@mantua.example/x"]
    assert [client.told for client in clients] == [[None]] * 5
    assert (capabilities._asked, capabilities._elsewhere) == ({}, {})


def test_one_domain_does_not_take_all_the_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_capabilities, "_MOST_ELSEWHERE", 30)
    silence = Silence(world)
    capabilities = ClientCapabilities(world.router)
    for domain, most in (("verona.example", 20), ("mantua.example", 10)):
        clients = [Asked(f"c{number}@{domain}/x", True) for number in range(25)]
        for client in clients:
            capabilities.learn(client, Caps("sha-1", str(client.jid), "urn:x"))
        assert [client.told for client in clients] == [[]] * most + [[None]] * (25 - most)
    here = Asked("romeo@localhost/x", False)
    capabilities.learn(here, Caps("sha-1", "mine", "urn:x"))
    assert len(silence.asked) == 31
    assert silence.asked[-1] == "romeo@localhost/x"
    silence.ends()
    assert here.told == [None]
    assert (capabilities._asked, capabilities._elsewhere) == ({}, {})
