"""A message that another server does not take: it comes back, and does not block those behind it."""

from __future__ import annotations

import pytest

from tests.links.peers import Prosody
from tests.links.world import Someone, World


@pytest.mark.parametrize("managed", [True, False])
def test_a_message_over_which_prosody_ends_its_streams(world: World, managed: bool) -> None:
    peer = Prosody(
        world, "peer.example", ["juliet"], without=["dialback"] + ([] if managed else ["smacks"]),
        extra="s2s_stanza_size_limit = 20000",
    )  # fmt: skip
    peer.start()
    server = world.msgd("a.example", ["romeo"])
    romeo, juliet = Someone(server, "romeo", managed=True).arrives(), Someone(peer, "juliet").arrives()
    romeo.says(juliet, "before")
    assert juliet.hears() == "before"
    for number in range(3):
        romeo.says(juliet, str(number))
    romeo.says(juliet, "x" * 30_000)
    for number in range(3, 6):
        romeo.says(juliet, str(number))
    heard: list[str] = []
    while heard[-1:] != ["5"]:
        heard.append(juliet.hears(60))
    assert [text for text in dict.fromkeys(heard) if text != "before"] == ["0", "1", "2", "3", "4", "5"]
    assert romeo.hears() in ("error not-acceptable", "error policy-violation")


def test_what_is_larger_than_the_other_server_says_is_not_sent(world: World) -> None:
    a = world.msgd("a.example", ["romeo"])
    b = world.msgd("b.example", ["juliet"], ["federation.stanza_size = 20000"])
    romeo, juliet = Someone(a, "romeo").arrives(), Someone(b, "juliet").arrives()
    romeo.says(juliet, "before")
    assert juliet.hears() == "before"
    romeo.says(juliet, "x" * 30_000)
    romeo.says(juliet, "behind")
    assert juliet.hears() == "behind"
    assert romeo.hears() == "error policy-violation"
    assert len([line for line in a.command("links").splitlines() if "b.example" in line]) == 1
    assert "the other server" not in a.command("link b.example")
