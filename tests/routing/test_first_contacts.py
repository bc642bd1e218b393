"""How many strangers an account may write to, and what is remembered for that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from msgd.routing import first_contacts
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from tests.routing.world import Client, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A server where an account may write to three strangers an hour."""
    made = World(tmp_path)
    config = made.router.config
    made.router.config = replace(config, limits=replace(config.limits, first_contacts=3))
    yield made
    made.close()


def _writes(client: Client, *to: str) -> list[bool]:
    """Whether each of these messages was let through."""
    let = []
    for each in to:
        headline = f"<message type='headline' to='{each}'><body>Buy</body></message>"
        let.append("message error policy-violation" not in client.sends(headline))
    return let


def test_different_addresses_count(world: World) -> None:
    spam = world.connects("tybalt@localhost/street")
    for number in range(1, 6):
        world.account(f"a{number}@localhost")
    assert _writes(spam, "a1@localhost", "a1@localhost/x", "A1@localhost", "a2@localhost") == [True] * 4
    assert _writes(spam, "a3@localhost", "a4@localhost", "a1@localhost") == [True, False, True]
    world.clock.advance(3599)
    assert _writes(spam, "a4@localhost") == [False]
    world.clock.advance(2)
    assert _writes(spam, "a4@localhost", "a5@localhost") == [True, True]


def test_who_shares_presence_or_wrote_first_is_none(world: World) -> None:
    world.subscribes("nurse@localhost", "tybalt@localhost")
    world.subscribes("tybalt@localhost", "juliet@localhost")
    spam = world.connects("tybalt@localhost/street")
    romeo = world.connects("romeo@localhost/orchard")
    # That it asked Juliet was the first of three.
    assert _writes(spam, "nobody1@localhost", "nobody2@localhost", "nobody3@localhost") == [True, True, False]
    assert _writes(spam, "nurse@localhost", "juliet@localhost", "localhost", "tybalt@localhost") == [True] * 4
    assert _writes(spam, "romeo@localhost") == [False]
    assert _writes(romeo, "tybalt@localhost") == [True]
    assert _writes(spam, "romeo@localhost") == [True]


def test_what_is_remembered_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_contacts, "_MOST_PEERS", 10)
    world.subscribes("nurse@localhost", "tybalt@localhost")
    spam = world.connects("tybalt@localhost/street")
    for number in range(100):
        _writes(spam, f"nurse@localhost/{number}")
    assert len(spam.session.account.peers) <= 11
    times = world.router.first_contacts._times
    times.clear()
    for number in range(20):
        other = world.connects(f"b{number}@localhost/x")
        _writes(other, *(f"nobody{stranger}@localhost" for stranger in range(5)))
    assert [len(each) for each in times.values()] == [3] * 20
    world.clock.advance(3601)
    _writes(spam, "nobody@localhost")
    assert len(times) == 1


def test_no_limit(world: World) -> None:
    config = world.router.config
    world.router.config = replace(config, limits=replace(config.limits, first_contacts=0))
    spam = world.connects("tybalt@localhost/street")
    assert all(_writes(spam, *(f"nobody{number}@localhost" for number in range(50))))
    assert not world.router.first_contacts._times


class Gateway:
    """A destination that takes everything."""

    def send(self, stanza: Stanza, receipt: object) -> bool:
        """See Destination."""
        return False

    def explain(self, to: JID) -> str:
        """See Destination."""
        return ""


def _comes(world: World, sender: str, *to: str) -> list[bool]:
    """Whether each of these messages from another domain is let through."""
    let = []
    for each in to:
        refused: list[str] = []
        world.router.fail = lambda stanza, error, refused=refused: refused.append(error.condition)  # type: ignore[method-assign, misc]  # in place of a link
        text = f"<message type='headline' from='{sender}' to='{each}'><body>Buy</body></message>"
        world.router.from_remote(Stanza.from_bytes(text.encode()))
        world.settle()
        let.append("policy-violation" not in refused)
    return let


def test_senders_of_another_domain(world: World) -> None:
    config = world.router.config
    world.router.config = replace(
        config, limits=replace(config.limits, first_contacts=3, first_contacts_from_domain=5)
    )
    for number in range(1, 6):
        world.account(f"a{number}@localhost")
    names = [f"a{number}@localhost" for number in range(1, 6)]
    # Accounts that have to be looked up first count just so.
    assert _comes(world, "tybalt@verona.example/x", *names) == [True] * 3 + [False] * 2
    assert _comes(world, "tybalt@verona.example/y", *names) == [True] * 3 + [False] * 2
    assert _comes(world, "paris@verona.example/x", *names) == [True] * 2 + [False] * 3
    assert _comes(world, "benvolio@mantua.example/x", names[0]) == [True]
    world.router.table.destinations["gate.example"] = Gateway()
    assert _comes(world, "news@gate.example", *names) == [True] * 5
    world.clock.advance(3601)
    assert _comes(world, "paris@verona.example/x", *names[2:]) == [True] * 3


def test_what_is_remembered_of_other_domains_is_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_contacts, "_MOST_ELSEWHERE", 20)
    for number in range(50):
        assert _comes(world, f"a{number}@d{number}.example", "nobody@localhost") == [True]
    assert len(world.router.first_contacts._elsewhere) == 20
    world.clock.advance(3601)
    _comes(world, "a@verona.example", "nobody@localhost")
    assert list(world.router.first_contacts._elsewhere) == ["a@verona.example", "verona.example"]
    assert not world.router.first_contacts._times
