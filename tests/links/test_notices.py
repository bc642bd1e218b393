"""Who wrote to a server that cannot be reached learns that the message waits."""

from __future__ import annotations

import time
from xml.etree.ElementTree import Element

from tests.harness import Msgd
from tests.links.world import CLIENT, Someone, World

OURS, THEIRS = "a.example", "b.example"
JULIET = f"juliet@{THEIRS}"


def _is_notice(event: Element) -> bool:
    return event.tag == CLIENT + "message" and event.get("type") == "headline"


def _is_told(person: Someone) -> str:
    """The text of the next notice."""
    notice = person.until(_is_notice)
    assert notice.get("from") == OURS
    return notice.findtext(CLIENT + "body") or ""


def _is_not_told(person: Someone) -> None:
    """Nothing came, and nothing is on its way."""
    person.asks(OURS, "<ping xmlns='urn:xmpp:ping'/>")
    while person.actor.unclaimed:
        event = person.actor.take()
        assert isinstance(event, Element) and not _is_notice(event)


def _waiting(server: Msgd, count: int) -> None:
    deadline = time.monotonic() + 30
    while f" {count} messages wait" not in (told := server.command(f"routes {JULIET}")):
        assert time.monotonic() < deadline, told
        time.sleep(0.02)


def test_senders_are_told_once_that_their_messages_wait(world: World) -> None:
    people = ["romeo", "nurse", "paris", "tybalt"]
    a = world.msgd(OURS, people, ["ping.interval = 0"], movable=True)
    b = world.msgd(THEIRS, ["juliet"], start=False)
    romeo, nurse, paris = (Someone(a, name).arrives() for name in people[:3])
    romeo.says(JULIET, "one")
    romeo.says(JULIET, "two")
    # What a client says by itself, or for somebody who is not there to be told.
    paris.actor.send(f"<message to='{JULIET}'><received xmlns='urn:xmpp:receipts' id='x'/></message>")
    tybalt = Someone(a, "tybalt", managed=True).arrives()
    tybalt.says(JULIET, "three")
    tybalt.until_safe()  # so what came before is as well
    tybalt.leaves()
    a.advance(29 * 60)
    _is_not_told(romeo)
    a.advance(2 * 60)
    told = _is_told(romeo)
    assert THEIRS in told and "48 hours" in told
    # Who writes later is told at once; nobody is told twice.
    nurse.says(JULIET, "four")
    _is_told(nurse)
    nurse.says(JULIET, "five")
    romeo.says(JULIET, "six")
    tybalt = Someone(a, "tybalt", managed=True).arrives()
    tybalt.says(JULIET, "seven")
    _is_told(tybalt)
    tybalt.until_safe()
    for each in (romeo, nurse, paris, tybalt):
        _is_not_told(each)
    # The same outage still, after a crash.
    a.kill()
    a.start()
    romeo = Someone(a, "romeo").arrives()
    a.advance(31 * 60)  # it has gone back with the process
    _is_told(romeo)
    b.start()
    juliet = Someone(b, "juliet").arrives()
    a.advance(60 * 60)
    assert [juliet.hears() for _ in range(7)] == ["one", "two", "three", "four", "five", "six", "seven"]
    _waiting(a, 0)
    # Another outage.
    b.kill()
    romeo.says(JULIET, "eight")
    _waiting(a, 1)
    a.advance(29 * 60)
    _is_not_told(romeo)
    a.advance(2 * 60)
    _is_told(romeo)


def test_nobody_is_told_where_the_operator_does_not_want_it(world: World) -> None:
    a = world.msgd(OURS, ["romeo"], ["ping.interval = 0", "federation.notice = 0"], movable=True)
    world.msgd(THEIRS, start=False)
    romeo = Someone(a, "romeo").arrives()
    romeo.says(JULIET, "one")
    _waiting(a, 1)
    a.advance(24 * 3600)
    _is_not_told(romeo)
    _waiting(a, 1)
