"""msgd beside real Prosody and real ejabberd: everything that people do over a link."""

from __future__ import annotations

import pytest

from msgd.wire.certificates import self_signed
from tests.harness import Msgd
from tests.links.peers import Ejabberd, Peer, Prosody
from tests.links.traffic import Traffic, hears_all
from tests.links.world import CLIENT, Someone, World

KINDS = {"prosody": Prosody, "ejabberd": Ejabberd}


@pytest.fixture(params=KINDS)
def peer(request: pytest.FixtureRequest, world: World) -> Peer:
    """A peer that proves itself by its certificate, and wants the same of us."""
    made: Peer = KINDS[request.param](world, "peer.example", ["juliet"])
    made.start()
    return made


@pytest.fixture
def server(world: World) -> Msgd:
    """Ours."""
    return world.msgd("a.example", ["romeo"])


def test_subscriptions_presence_and_chat(server: Msgd, peer: Peer) -> None:
    romeo, juliet = Someone(server, "romeo").arrives(), Someone(peer, "juliet").arrives()
    befriend(romeo, juliet)
    romeo.says(juliet, "But soft")
    assert juliet.hears() == "But soft"
    juliet.says(romeo, "Ay me")
    assert romeo.hears() == "Ay me"
    # One leaves, the other sees it; coming back is seen as well, and who is there is told.
    juliet.leaves()
    romeo.sees(juliet.full, "unavailable")
    juliet = Someone(peer, "juliet").arrives()
    romeo.sees(juliet.full)
    juliet.sees(romeo.full)
    romeo.leaves()
    juliet.sees(romeo.full, "unavailable")
    romeo = Someone(server, "romeo").arrives()
    juliet.sees(romeo.full)
    romeo.sees(juliet.full)
    romeo.actor.send(f"<presence to='{juliet.bare}' type='unsubscribed'/>")
    juliet.sees(romeo.full, "unavailable")


def befriend(one: Someone, other: Someone) -> None:
    """Both see each other."""
    for asking, asked in ((one, other), (other, one)):
        asking.actor.send(f"<presence to='{asked.bare}' type='subscribe'/>")
        asked.sees(asking.bare, "subscribe")
        asked.actor.send(f"<presence to='{asking.bare}' type='subscribed'/>")
        asking.sees(asked.full)


def test_offline_messages_both_ways(server: Msgd, peer: Peer) -> None:
    romeo = Someone(server, "romeo").arrives()
    for number in range(3):
        romeo.says("juliet@peer.example", f"night {number}")
    assert romeo.asks("peer.example", "<ping xmlns='urn:xmpp:ping'/>").get("type") == "result"
    juliet = Someone(peer, "juliet").arrives()
    assert [juliet.hears() for _ in range(3)] == ["night 0", "night 1", "night 2"]
    romeo.leaves()
    for number in range(3):
        juliet.says("romeo@a.example", f"day {number}")
    assert juliet.asks("a.example", "<ping xmlns='urn:xmpp:ping'/>").get("type") == "result"
    romeo = Someone(server, "romeo").arrives()
    assert [romeo.hears() for _ in range(3)] == ["day 0", "day 1", "day 2"]


def test_questions_both_ways(server: Msgd, peer: Peer) -> None:
    romeo, juliet = Someone(server, "romeo").arrives(), Someone(peer, "juliet").arrives()
    vcard = "<vCard xmlns='vcard-temp'><FN>{}</FN></vCard>"
    for who in (romeo, juliet):
        assert who.asks(who.bare, vcard.format(who.bare), "set").get("type") == "result"
    for who, other in ((romeo, juliet), (juliet, romeo)):
        there = other.server.domain
        assert who.asks(there, "<ping xmlns='urn:xmpp:ping'/>").get("type") == "result"
        version = who.asks(there, "<query xmlns='jabber:iq:version'/>")
        assert version.findtext("{jabber:iq:version}query/{jabber:iq:version}name")
        information = who.asks(there, "<query xmlns='http://jabber.org/protocol/disco#info'/>")
        assert information.find(".//{http://jabber.org/protocol/disco#info}identity") is not None
        card = who.asks(other.bare, "<vCard xmlns='vcard-temp'/>")
        assert card.findtext("{vcard-temp}vCard/{vcard-temp}FN") == other.bare
        error = who.asks(f"nobody@{there}/x", "<query xmlns='jabber:iq:version'/>")
        assert error.get("type") == "error"
        assert error.find(CLIENT + "error") is not None


@pytest.mark.parametrize("kind", KINDS)
def test_a_peer_with_dialback_only(world: World, kind: str) -> None:
    pair = world.directory / "self.crt", world.directory / "self.key"
    for file, content in zip(pair, self_signed("peer.example"), strict=True):
        file.write_bytes(content)
        file.chmod(0o600)
    peer: Peer
    if kind == "prosody":
        peer = Prosody(
            world, "peer.example", ["juliet"], pair, modules=["dialback"], without=[], secure=False
        )
    else:
        peer = Ejabberd(world, "peer.example", ["juliet"], pair, dialback=True, starttls="optional")
    peer.start()
    server = world.msgd("a.example", ["romeo"], ['federation.dialback = ["peer.example"]'])
    romeo, juliet = Someone(server, "romeo").arrives(), Someone(peer, "juliet").arrives()
    juliet.says(romeo, "by DNS")
    assert romeo.hears() == "by DNS"
    romeo.says(juliet, "likewise")
    assert juliet.hears() == "likewise"
    assert "dialback" in server.command("links")


def test_a_peer_without_a_good_certificate_is_refused_both_ways(world: World) -> None:
    peer = Prosody(
        world, "peer.example", ["juliet"], world.authority.issue("bad", "other.example"), secure=False,
        modules=["dialback"], without=[],
    )  # fmt: skip
    peer.start()
    server = world.msgd("a.example", ["romeo"])
    romeo, juliet = Someone(server, "romeo").arrives(), Someone(peer, "juliet").arrives()
    assert romeo.asks("peer.example", "<ping xmlns='urn:xmpp:ping'/>").get("type") == "error"
    assert juliet.asks("a.example", "<ping xmlns='urn:xmpp:ping'/>").get("type") == "error"
    told = server.command("why peer.example")
    assert told.count("its certificate is for other.example") == 2


def test_they_are_killed_under_traffic_and_so_are_we(world: World, peer: Peer) -> None:
    server = world.msgd("a.example", ["romeo"], movable=True)
    traffic = Traffic(server, peer, "juliet@peer.example", total=300)
    traffic.flows(kills=2, ours_too=True)
    hears_all(Someone(peer, "juliet").arrives(), traffic.texts)
