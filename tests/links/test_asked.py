"""Other servers ask for one more pair of domains on their streams (XEP-0220 §2.6), and resume them all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Msgd
from tests.links.played import BODY, DIALBACK, Listening, Stream, call, message
from tests.links.world import Someone, World

_RESULT = re.compile(rb"(<db:result [^>]*type='\w+'(?:/>|>.*?</db:result>))")
_ENABLED = re.compile(rb"<enabled xmlns='urn:xmpp:sm:3' id='([^']+)'")
Calls = Callable[..., Stream]


@pytest.fixture
def server(world: World) -> Msgd:
    """Ours, of two domains; DNS is enough for no domain."""
    return world.msgd("a.example", ["romeo", "romeo@a2.example"], others=["a2.example"])


@pytest.fixture
def romeos(server: Msgd) -> list[Someone]:
    """One of each domain."""
    return [Someone(server, "romeo", True, domain).arrives() for domain in ("a.example", "a2.example")]


@pytest.fixture
def authoritative(world: World) -> Iterator[Listening]:
    """The server of three domains; it has given out the key 'mine'. It takes streams, too."""
    made = Listening(world, "b.example", "c.example", "d.example", behind=DIALBACK)
    yield made
    made.close()


@pytest.fixture
def pair(world: World) -> tuple[Path, Path]:
    """The certificate for two of them."""
    return world.authority.issue("two", "b.example", "c.example")


@pytest.fixture
def callers(server: Msgd, authoritative: Listening, pair: tuple[Path, Path]) -> Iterator[Calls]:
    """Makes streams to ours."""
    made: list[Stream] = []

    def make(**options: object) -> Stream:
        made.append(call(server, pair, **options))  # type: ignore[arg-type]  # as they are there
        return made[-1]

    yield make
    for each in made:
        each.close()


def ask(stream: Stream, domain: str, key: str = "mine", to: str = "a.example") -> bytes:
    """The answer."""
    stream.send(f"<db:result from='{domain}' to='{to}'>{key}</db:result>".encode())
    return stream.until(_RESULT)


def enable(stream: Stream) -> str:
    """Stream management; the id."""
    stream.send(b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
    return stream.until(_ENABLED).decode()


def test_behind_external_a_certificate_and_the_key_are_needed(callers: Calls, romeos: list[Someone]) -> None:
    stream = callers()
    assert b"<not-authorized " in ask(stream, "d.example")  # DNS leads there, and the key is good
    assert b"<forbidden " in ask(stream, "c.example", "forged")
    assert b"<item-not-found " in ask(stream, "c.example", to="nobody.example")
    assert b"type='valid'" in ask(stream, "c.example")
    assert b"type='valid'" in ask(stream, "c.example")  # asked for a second time
    stream.send(message("x@b.example", romeos[0].bare, "one") + message("x@c.example", romeos[0].bare, "two"))
    assert [romeos[0].hears(), romeos[0].hears()] == ["one", "two"]
    stream.send(message("x@d.example", romeos[0].bare, "three"))
    assert b"<invalid-from " in stream.rest()


def test_what_a_stream_may_ask_is_bounded(callers: Calls, romeos: list[Someone]) -> None:
    stream = callers()
    answers = [ask(stream, f"d{number}.example") for number in range(60)]
    assert [b"<not-authorized " in each for each in answers] == [True] * 50 + [False] * 10
    assert all(b"<resource-constraint " in each for each in answers[50:])
    stream.send(message("x@b.example", romeos[0].bare, "goes on"))
    assert romeos[0].hears() == "goes on"


@pytest.mark.parametrize("external", [True, False])
def test_any_key_is_looked_at(callers: Calls, external: bool) -> None:
    """Who verifies keys of ours may log in before or not; nothing has to be allowed for it."""
    stream = callers(external=external)
    stream.send(b"<db:verify from='b.example' to='a.example' id='x'>forged</db:verify>")
    stream.until(b"<db:verify from='a.example' to='b.example' id='x' type='invalid'/>")


@pytest.mark.parametrize(
    "answer",
    [
        b"<db:result from='b.example' to='a.example' type='valid'/>",
        b"<db:result from='c.example' to='a2.example' type='valid'/>",
        b"<db:verify from='b.example' to='a.example' id='x' type='valid'/>",
        b"<db:result from='b.example' to='a.example' type='invalid'/>",
    ],
)
@pytest.mark.parametrize("both_ways", [True, False])
def test_answers_to_nothing_end_the_stream(callers: Calls, answer: bytes, both_ways: bool) -> None:
    """CVE-2012-3525, where the stream goes both ways too (XEP-0288 §4)."""
    stream = callers(both_ways=both_ways)
    stream.send(answer)
    assert b"<not-authorized " in stream.rest()


# -- both ways (XEP-0288 §2.2) -------------------------------------------------------------------


def test_the_inverse_of_a_pair_that_was_asked_for_is_ours(
    callers: Calls, authoritative: Listening, romeos: list[Someone]
) -> None:
    stream = callers()
    assert b"type='valid'" in ask(stream, "c.example", to="a2.example")
    romeos[1].says("x@c.example", "inverse")
    assert stream.until(BODY) == b"inverse"
    stream.close()


def test_who_multiplexes_is_asked_on_its_stream(
    callers: Calls, authoritative: Listening, romeos: list[Someone]
) -> None:
    before = authoritative.accepted
    stream = callers()
    assert b"type='valid'" in ask(stream, "c.example")
    for theirs in ("b.example", "c.example"):
        romeos[1].says(f"x@{theirs}", f"to {theirs}")
        stream.request("a2.example", theirs)
        stream.answer("a2.example", theirs)
        assert stream.until(BODY).decode() == f"to {theirs}"
    assert authoritative.accepted == before + 1  # for the key


@pytest.mark.parametrize("both_ways", [True, False])
def test_others_are_not(
    callers: Calls, authoritative: Listening, romeos: list[Someone], both_ways: bool
) -> None:
    """Some end a stream of theirs when they are asked on it."""
    stream = callers(both_ways=both_ways)
    if not both_ways:
        assert b"type='valid'" in ask(stream, "c.example")
    romeos[1].says("x@b.example", "own")
    assert authoritative.accepts("a2.example").until(BODY) == b"own"
    stream.send(b"<db:verify from='b.example' to='a.example' id='x'>forged</db:verify>")
    assert b"db:result" not in stream.before(b"<db:verify ")


# -- resumed -------------------------------------------------------------------------------------


def test_a_link_is_resumed_with_all_its_pairs(callers: Calls, romeos: list[Someone]) -> None:
    stream = callers()
    assert b"type='valid'" in ask(stream, "c.example")
    id = enable(stream)
    stream.send(message("x@b.example", romeos[0].bare, "one") + message("x@c.example", romeos[0].bare, "two"))
    assert [romeos[0].hears(), romeos[0].hears()] == ["one", "two"]
    # What he has heard counts when it is known to be safe, and that takes a moment.
    stream.send(b"<r xmlns='urn:xmpp:sm:3'/>")
    stream.until(b"<a xmlns='urn:xmpp:sm:3' h='2'/>")
    stream.close()
    stream = callers()
    stream.send(f"<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>".encode())
    stream.until(f"<resumed xmlns='urn:xmpp:sm:3' previd='{id}' h='2'/>".encode())
    stream.send(message("x@c.example", romeos[0].bare, "three"))
    assert romeos[0].hears() == "three"
    romeos[0].says("x@c.example", "inverse")
    assert stream.until(BODY) == b"inverse"


@pytest.mark.parametrize("domain", ["b.example", "d.example"])
def test_pairs_belong_to_the_stream_and_its_id(
    world: World, server: Msgd, callers: Calls, romeos: list[Someone], domain: str
) -> None:
    """Who has proved one of its domains and does not know the id has not the others; nor has who knows the id
    and has proved another."""
    stream = callers()
    assert b"type='valid'" in ask(stream, "c.example")
    id = enable(stream)
    stream.close()
    if domain == "d.example":
        stream = call(server, world.authority.issue("d", "d.example"), "d.example")
        stream.send(f"<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>".encode())
    else:
        stream = callers()
        stream.send(f"<resume xmlns='urn:xmpp:sm:3' previd='{id[:-1]}' h='0'/>".encode())
    stream.until(b"<failed ")
    stream.send(message("x@c.example", romeos[0].bare, "forged"))
    assert b"<invalid-from " in stream.rest()


def test_what_went_another_way_is_not_counted_on_a_resumed_link(
    callers: Calls, romeos: list[Someone]
) -> None:
    stream = callers()
    id = enable(stream)
    romeos[0].says("x@b.example", "one")
    assert stream.until(BODY) == b"one"
    stream.close()
    stream = callers()
    assert stream.until(BODY) == b"one"
    stream.send(f"<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='1'/>".encode())
    stream.until(b"<resumed ")
    romeos[0].says("x@b.example", "two")
    assert stream.until(BODY) == b"two"
    stream.until(b"<r xmlns='urn:xmpp:sm:3'/>")
    stream.send(b"<a xmlns='urn:xmpp:sm:3' h='2'/>")
    romeos[0].says("x@b.example", "three")
    assert stream.until(BODY) == b"three"
