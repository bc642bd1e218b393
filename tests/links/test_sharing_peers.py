"""Several domains on one link to real Prosody and real ejabberd, and what they have behind their domains."""

from __future__ import annotations

from pathlib import Path

import pytest

from msgd.wire.certificates import self_signed
from tests.harness import Msgd
from tests.links.peers import Ejabberd, Peer, Prosody
from tests.links.test_sharing import made, talk, until
from tests.links.world import CLIENT, Someone, World

PEER, PEER2, ROOMS = "peer.example", "peer2.example", "conference.peer.example"
PEOPLE = ["juliet", f"nurse@{PEER2}"]


def certificate(world: World, good: bool, *domains: str) -> tuple[Path, Path]:
    """One that is good for all of them, or for nothing: then there is dialback."""
    if good:
        return world.authority.issue(f"of {domains[0]}", *domains)
    pair = world.directory / f"self-{domains[0]}.crt", world.directory / f"self-{domains[0]}.key"
    for file, content in zip(pair, self_signed(domains[0]), strict=True):
        file.write_bytes(content)
        file.chmod(0o600)
    return pair


def msgd(world: World, good: bool = True) -> Msgd:
    """Ours, of two domains."""
    return world.msgd(
        "a.example", ["romeo", "benvolio@a2.example"],
        [f'federation.dialback = ["{PEER}", "*.{PEER}", "{PEER2}"]'] if not good else [],
        certificate(world, good, "a.example", "a2.example"), others=["a2.example"],
    )  # fmt: skip


def prosody(world: World, good: bool = True) -> Peer:
    """Two domains, and rooms."""
    pair = certificate(world, good, PEER, PEER2, ROOMS)
    peer = Prosody(
        world, PEER, PEOPLE, pair, modules=["dialback"], without=[], secure=good,
        extra=f'VirtualHost "{PEER2}"\nComponent "{ROOMS}" "muc"\nmuc_room_locking = false\n',
    )  # fmt: skip
    return begun(world, peer)


def ejabberd(world: World) -> Peer:
    """The same."""
    pair = certificate(world, True, PEER, PEER2, ROOMS)
    peer = Ejabberd(
        world, PEER, PEOPLE, pair, dialback=True, others=[PEER2], modules=f'  mod_muc: {{host: "{ROOMS}"}}\n'
    )
    return begun(world, peer)


def begun(world: World, peer: Peer) -> Peer:
    for domain in (PEER2, ROOMS):
        world.dns.service(domain, "localhost", peer.server)
    peer.start()
    return peer


def enter(who: Someone) -> None:
    """Enter the room, until oneself is seen there."""
    here = f"verona@{ROOMS}/{who.bare.partition('@')[0]}"
    who.actor.send(f"<presence to='{here}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
    who.sees(here)


def said(who: Someone) -> str:
    """The next thing said in the room."""
    found = who.until(lambda e: e.tag == CLIENT + "message" and e.find(CLIENT + "body") is not None)
    assert found.get("type") == "groupchat"
    return found.findtext(CLIENT + "body") or ""


def all_talk(server: Msgd, peer: Peer) -> list[Someone]:
    """Everybody with everybody, and in a room; those of ours."""
    romeo, benvolio = (
        Someone(server, "romeo").arrives(),
        Someone(server, "benvolio", domain="a2.example").arrives(),
    )
    juliet, nurse = Someone(peer, "juliet").arrives(), Someone(peer, "nurse", domain=PEER2).arrives()
    for one in (romeo, benvolio):
        for other in (juliet, nurse):
            talk(one, other)
    for one in (juliet, romeo, benvolio):
        enter(one)
    for one in (romeo, benvolio):
        one.actor.send(
            f"<message to='verona@{ROOMS}' type='groupchat' id='g'><body>{one.bare}</body></message>"
        )
        assert [said(each) for each in (romeo, benvolio, juliet)] == [one.bare] * 3
    return [romeo, benvolio]


@pytest.mark.parametrize("good", [True, False])
def test_prosody(world: World, good: bool) -> None:
    """It does not tell errors (0.12), so each of its domains has a stream, which both of ours share."""
    server, peer = msgd(world, good), prosody(world, good)
    all_talk(server, peer)
    ours = [line for line in server.command("links").splitlines() if line.startswith("out ")]
    proof = "EXTERNAL" if good else "dialback"
    assert sorted(line.partition(f" {proof} ")[0] for line in ours) == [
        f"out a.example, a2.example {each}" for each in (ROOMS, PEER, PEER2)
    ]
    until(lambda: made(server, server, peer.server) == 3)  # those on which its keys were verified are gone


def test_ejabberd(world: World) -> None:
    """It tells errors, so one stream is enough for all."""
    server, peer = msgd(world), ejabberd(world)
    all_talk(server, peer)
    (line,) = [line for line in server.command("links").splitlines() if line.startswith("out ")]
    assert line.startswith(f"out a.example, a2.example {ROOMS}, {PEER}, {PEER2} EXTERNAL")
    until(lambda: made(server, server, peer.server) == 1)


def test_prosody_that_cannot_verify_is_not_waited_for(world: World) -> None:
    """Nothing leads it to our second domain: it does not answer, and we have a stream for that."""
    server, peer = msgd(world), prosody(world)
    world.dns.forget("a2.example")
    romeo, benvolio = (
        Someone(server, "romeo").arrives(),
        Someone(server, "benvolio", domain="a2.example").arrives(),
    )
    juliet = Someone(peer, "juliet").arrives()
    talk(romeo, juliet)
    benvolio.says(juliet, "alone")
    assert juliet.hears(30) == "alone"
    romeo.says(juliet, "as before")
    assert juliet.hears() == "as before"
    assert len([line for line in server.command("links").splitlines() if line.startswith("out ")]) == 2
