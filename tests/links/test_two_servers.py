"""Two msgd, and their people."""

from __future__ import annotations

from tests.links.world import Someone, World


def test_people_of_two_servers_talk(world: World) -> None:
    a = world.msgd("a.example", ["romeo"])
    b = world.msgd("b.example", ["juliet"])
    romeo, juliet = Someone(a, "romeo", managed=True).arrives(), Someone(b, "juliet").arrives()
    romeo.says(juliet, "Good morrow &amp; <x/>".replace("<x/>", ""))
    assert juliet.hears() == "Good morrow & "
    juliet.says(romeo, "Ay me")
    assert romeo.hears() == "Ay me"
    assert romeo.asks("b.example", "<query xmlns='jabber:iq:version'/>").get("type") == "result"
