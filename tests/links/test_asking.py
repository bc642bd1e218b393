"""A stream of ours takes one more pair of domains (XEP-0220 §2.6); the peer is played by hand."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness import Msgd
from tests.links.played import BIDI, BODY, DIALBACK, SM, Listening, Stream, call, message
from tests.links.world import Someone, World

OURS = ("a.example", "a2.example", "a3.example")
_ENABLED = b"<enabled xmlns='urn:xmpp:sm:3' id='the-link' resume='true'/>"
_ACK = re.compile(rb"<a xmlns='urn:xmpp:sm:3' h='(\d+)'/>")
_REQUEST = b"<r xmlns='urn:xmpp:sm:3'/>"
Listens = Callable[..., Listening]


@pytest.fixture
def listen(world: World) -> Iterator[Listens]:
    """Makes a peer."""
    made: list[Listening] = []

    def make(*domains: str, **options: object) -> Listening:
        made.append(Listening(world, *domains, **options))  # type: ignore[arg-type]  # as they are there
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def server(world: World) -> Msgd:
    """Ours, with three domains; nothing happens on it by itself."""
    people = [f"romeo@{domain}" for domain in OURS]
    return world.msgd(OURS[0], people, ["ping.interval = 0"], others=OURS[1:], movable=True)


@pytest.fixture
def romeos(server: Msgd) -> list[Someone]:
    """One of each domain."""
    return [Someone(server, "romeo", True, domain).arrives() for domain in OURS]


def begin(peer: Listening, romeo: Someone) -> Stream:
    """The stream that there is: something went over it, and has arrived."""
    romeo.says("x@b.example", "first")
    stream = peer.accepts()
    assert stream.until(BODY) == b"first"
    if peer.both_ways:
        stream.pong()
    return stream


def until_waiting(server: Msgd, count: int = 0) -> None:
    """Until so many messages wait for the peer, or for its acknowledgement."""
    deadline = time.monotonic() + 30
    while True:
        told = server.command("routes x@b.example")
        if sum(map(int, re.findall("([0-9]+) messages wait", told))) == count:
            return
        assert time.monotonic() < deadline, told
        time.sleep(0.02)


def nothing_comes(stream: Stream, romeo: Someone, but: bytes = b"<db:") -> None:
    """Nothing of that kind is before what `romeo` says now."""
    romeo.says("x@b.example", "mark")
    assert but not in stream.before(b"<body>mark</body>")


def test_what_waits_goes_when_it_is_accepted(listen: Listens, server: Msgd, romeos: list[Someone]) -> None:
    peer = listen("b.example", behind=DIALBACK)
    stream = begin(peer, romeos[0])
    romeos[1].says("x@b.example", "second")
    stream.request("a2.example")
    nothing_comes(stream, romeos[0], b"second")  # what is proved goes on
    stream.answer("a2.example")
    assert stream.until(BODY) == b"second"
    romeos[1].says("x@b.example", "third")
    assert stream.until(BODY) == b"third"
    assert peer.accepted == 1
    (line,) = server.command("links").splitlines()
    assert line.startswith("both a.example, a2.example b.example EXTERNAL")


def test_a_key_is_good_for_its_pair_and_its_stream(
    world: World, listen: Listens, server: Msgd, romeos: list[Someone]
) -> None:
    stream = begin(listen("b.example", behind=DIALBACK), romeos[0])
    romeos[1].says("x@b.example", "second")
    key = stream.request("a2.example")
    asking = call(server, world.authority.issue("b", "b.example"), external=False)

    def verified(ours: str, theirs: str, id: str) -> bytes:
        asking.send(f"<db:verify from='{theirs}' to='{ours}' id='{id}'>{key}</db:verify>".encode())
        return asking.until(re.compile(rb"<db:verify [^>]* type='(\w+)'/>"))

    assert verified("a2.example", "b.example", "x2") == b"valid"
    for pair in (("a.example", "b.example"), ("a3.example", "b.example"), ("a2.example", "c.example")):
        assert verified(*pair, "x2") == b"invalid"
    assert verified("a2.example", "b.example", "x1") == b"invalid"


@pytest.mark.parametrize(
    "behind",
    [b"", DIALBACK.replace(b"<errors/>", b"")],
    ids=["no dialback", "no errors"],
)
def test_only_who_offers_dialback_is_asked(listen: Listens, romeos: list[Someone], behind: bytes) -> None:
    peer = listen("b.example", "c.example", behind=behind)
    stream = begin(peer, romeos[0])
    romeos[0].says("x@c.example", "of theirs")
    assert peer.accepts().until(BODY) == b"of theirs"  # where errors are not told, that could end the stream
    romeos[1].says("x@b.example", "of ours")
    if behind:
        stream.request("a2.example")
    else:
        assert peer.accepts("a2.example").until(BODY) == b"of ours"
        nothing_comes(stream, romeos[0])


# -- other domains of theirs ---------------------------------------------------------------------


def test_one_more_domain_of_theirs(listen: Listens, romeos: list[Someone]) -> None:
    peer = listen("b.example", "c.example", behind=DIALBACK)
    stream = begin(peer, romeos[0])
    romeos[0].says("x@c.example", "second")
    stream.request("a.example", "c.example")
    stream.answer("a.example", "c.example")
    assert stream.until(BODY) == b"second"
    romeos[1].says("x@c.example", "third")
    stream.request("a2.example", "c.example")  # there is a stream to that domain now
    stream.answer("a2.example", "c.example")
    assert stream.until(BODY) == b"third"
    assert peer.accepted == 1


def test_a_domain_that_is_elsewhere_has_its_own_stream(listen: Listens, romeos: list[Someone]) -> None:
    stream = begin(listen("b.example", behind=DIALBACK, certified=("b.example", "c.example")), romeos[0])
    elsewhere = listen("c.example", behind=DIALBACK)
    romeos[0].says("x@c.example", "second")
    assert elsewhere.accepts().until(BODY) == b"second"
    nothing_comes(stream, romeos[0])


def test_a_domain_that_the_certificate_does_not_name(
    listen: Listens, server: Msgd, romeos: list[Someone]
) -> None:
    """DNS leads there, and that is not enough: anybody's may."""
    peer = listen("b.example", "c.example", behind=DIALBACK, certified=("b.example",))
    stream = begin(peer, romeos[0])
    romeos[0].says("x@c.example", "not for them")
    assert "its certificate is for b.example" in server.command("why c.example")
    nothing_comes(stream, romeos[0])


def test_a_domain_for_which_dns_is_enough(world: World, listen: Listens) -> None:
    server = world.msgd("a.example", ["romeo"], ['federation.dialback = ["c.example"]'])
    romeo = Someone(server, "romeo", True).arrives()
    peer = listen("b.example", "c.example", behind=DIALBACK, certified=("b.example",))
    stream = begin(peer, romeo)
    romeo.says("x@c.example", "second")
    stream.request("a.example", "c.example")
    stream.answer("a.example", "c.example")
    assert stream.until(BODY) == b"second"


# -- when the answer is no -----------------------------------------------------------------------


def test_an_error_leaves_the_stream_alone(listen: Listens, server: Msgd, romeos: list[Someone]) -> None:
    peer = listen("b.example", behind=DIALBACK)
    stream = begin(peer, romeos[0])
    romeos[1].says("x@b.example", "second")
    stream.request("a2.example")
    stream.answer("a2.example", type="error", condition="not-authorized")
    own = peer.accepts("a2.example")
    assert own.until(BODY) == b"second"
    nothing_comes(stream, romeos[0])
    # Others may have more luck.
    romeos[2].says("x@b.example", "third")
    stream.request("a3.example")
    stream.answer("a3.example")
    assert stream.until(BODY) == b"third"
    told = server.command("why b.example")
    assert "not accepted on the stream of a.example to b.example: dialback: error not-authorized" in told
    # It is not asked for again, for a while.
    own.pong()
    own.close()
    romeos[1].says("x@b.example", "fourth")
    assert peer.accepts("a2.example").until(BODY) == b"fourth"
    nothing_comes(stream, romeos[0])
    assert "it was not accepted some time ago" in server.command("why b.example")


@pytest.mark.parametrize("owed", [False, True])
def test_invalid_is_the_end_of_the_stream(
    listen: Listens, server: Msgd, romeos: list[Someone], owed: bool
) -> None:
    """XEP-0220 §2.1.1: nothing more should be sent on it. What was sent may still be acknowledged."""
    peer = listen("b.example", behind=DIALBACK)
    stream = begin(peer, romeos[0])
    romeos[0].says("x@b.example", "on its way")
    assert stream.until(BODY) == b"on its way"
    ping = stream.ping()
    romeos[1].says("x@b.example", "second")
    stream.request("a2.example")
    stream.answer("a2.example", type="invalid")
    own = peer.accepts("a2.example")
    assert own.until(BODY) == b"second"
    romeos[0].says("x@b.example", "another way")
    server.advance(6)
    if owed:
        server.advance(10)  # it is not waited for without end
    else:
        stream.pong(ping)
        until_waiting(server, 2)
        server.advance(6)
    assert b"another way" not in stream.rest()
    server.advance(6)
    own.request("a.example")
    own.answer("a.example")
    if owed:
        assert own.until(BODY) == b"on its way"
    assert own.until(BODY) == b"another way"


def test_who_does_not_answer_is_not_waited_for(listen: Listens, server: Msgd, romeos: list[Someone]) -> None:
    peer = listen("b.example", behind=DIALBACK)
    stream = begin(peer, romeos[0])
    romeos[1].says("x@b.example", "second")
    stream.request("a2.example")
    server.advance(11)
    assert peer.accepts("a2.example").until(BODY) == b"second"
    romeos[2].says("x@b.example", "third")
    own = peer.accepts("a3.example")
    assert own.until(BODY) == b"third"  # nobody else is asked for there
    stream.answer("a2.example")  # late, and asked for all the same
    nothing_comes(stream, romeos[0])


def test_who_ends_the_stream_is_not_asked_again(listen: Listens, server: Msgd, romeos: list[Someone]) -> None:
    peer = listen("b.example", behind=DIALBACK)
    stream = begin(peer, romeos[0])
    romeos[1].says("x@b.example", "second")
    stream.request("a2.example")
    stream.send(b"<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")
    stream.send(b"</stream:stream>")
    own = peer.accepts("a2.example")
    assert own.until(BODY) == b"second"
    romeos[2].says("x@b.example", "third")
    assert peer.accepts("a3.example").until(BODY) == b"third"
    own.close()


def test_a_stream_that_is_full(listen: Listens, romeos: list[Someone]) -> None:
    """XEP-0220 §2.5: another connection is tried, and the next domains go there."""
    peer = listen("b.example", behind=DIALBACK)
    stream = begin(peer, romeos[0])
    romeos[1].says("x@b.example", "second")
    stream.request("a2.example")
    stream.answer("a2.example", type="error", condition="resource-constraint")
    own = peer.accepts("a2.example")
    assert own.until(BODY) == b"second"
    romeos[2].says("x@b.example", "third")
    own.request("a3.example")
    own.answer("a3.example")
    assert own.until(BODY) == b"third"
    nothing_comes(stream, romeos[0])


def test_more_domains_than_one_stream_takes(world: World, listen: Listens) -> None:
    domains = [f"d{number}.a.example" for number in range(51)]
    server = world.msgd("a.example", others=domains)
    peer = listen("b.example", behind=DIALBACK)

    def accept() -> list[str]:
        """All but the one with which each of two streams begins."""
        asked: list[str] = []
        for count in (49, 1):
            stream = peer.accepts(None)
            for _ in range(count):
                asked.append(stream.until(re.compile(rb"<db:result from='([^']+)'")).decode())
                stream.answer(asked[-1])
        return asked

    with ThreadPoolExecutor(1) as pool:
        accepting = pool.submit(accept)
        told = server.command("why b.example")
        assert len(set(accepting.result(30))) == 50
    assert told.count("accepted by dialback on the stream of a.example") == 49
    assert told.count("there is a link") == 52
    assert peer.accepted == 2


def test_over_whose_message_a_stream_ended_has_its_own(
    listen: Listens, server: Msgd, romeos: list[Someone]
) -> None:
    """Until it is known which message that was; the other domains must not be blamed for it."""
    peer = listen("b.example", behind=DIALBACK)
    stream = begin(peer, romeos[0])
    romeos[1].says("x@b.example", "bad")
    stream.request("a2.example")
    stream.answer("a2.example")
    romeos[0].says("x@b.example", "good")
    assert {stream.until(BODY), stream.until(BODY)} == {b"bad", b"good"}
    refusal = b"<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
    stream.send(refusal)
    server.advance(3)
    own = {each.domain: each for each in (peer.accepts(None), peer.accepts(None))}
    assert own["a.example"].until(BODY) == b"good"
    own["a.example"].pong()
    assert own["a2.example"].until(BODY) == b"bad"
    own["a2.example"].send(refusal)
    server.advance(6)
    bad = peer.accepts("a2.example")
    assert bad.until(BODY) == b"bad"
    bad.send(refusal)
    assert romeos[1].hears() == "error not-acceptable"
    romeos[1].says(romeos[0], "mark")
    assert romeos[0].hears() == "mark"
    until_waiting(server)


# -- answers that nobody asked for ---------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        "<db:result from='b.example' to='a3.example' type='valid'/>",
        "<db:result from='c.example' to='a2.example' type='valid'/>",
        "<db:result from='a2.example' to='b.example' type='valid'/>",
        "<db:verify from='b.example' to='a2.example' id='x2' type='valid'/>",
        "<db:result from='b.example' to='a3.example' type='error'/>",
        "<db:result from='c.example' to='a.example'>key</db:result>",
    ],
)
@pytest.mark.parametrize("asked", [True, False])
def test_answers_to_nothing_end_the_stream(
    listen: Listens, server: Msgd, romeos: list[Someone], asked: bool, answer: str
) -> None:
    """CVE-2012-3525: whoever sends them could have anybody's messages. The stream is for one way."""
    peer = listen("b.example", "c.example", before=b"", behind=DIALBACK)
    stream = begin(peer, romeos[0])
    if asked:
        romeos[1].says("x@b.example", "second")
        stream.request("a2.example")
    stream.send(answer.encode())
    assert b"<not-authorized " in stream.rest()


def test_an_answer_that_comes_twice(listen: Listens, romeos: list[Someone]) -> None:
    stream = begin(listen("b.example", behind=DIALBACK), romeos[0])
    romeos[1].says("x@b.example", "second")
    stream.request("a2.example")
    stream.answer("a2.example")
    assert stream.until(BODY) == b"second"
    stream.answer("a2.example")
    assert b"<not-authorized " in stream.rest()


# -- both ways (XEP-0288) ------------------------------------------------------------------------


def test_the_inverse_of_what_was_accepted_is_good_for_the_peer(
    listen: Listens, romeos: list[Someone]
) -> None:
    peer = listen("b.example", "c.example", behind=DIALBACK)
    stream = begin(peer, romeos[0])
    for ours, theirs, romeo in (
        ("a2.example", "b.example", romeos[1]), ("a.example", "c.example", romeos[0]),
    ):  # fmt: skip
        romeo.says(f"x@{theirs}", "there")
        stream.request(ours, theirs)
        stream.answer(ours, theirs)
        assert stream.until(BODY) == b"there"
        stream.send(message(f"x@{theirs}", romeo.bare, "and back"))
        assert romeo.hears() == "and back"
    assert peer.accepted == 1


@pytest.mark.parametrize("state", ["not asked", "not answered", "refused", "one way"])
def test_nothing_else_is(listen: Listens, romeos: list[Someone], state: str) -> None:
    before = b"" if state == "one way" else BIDI
    peer = listen("b.example", "c.example", before=before, behind=DIALBACK)
    stream = begin(peer, romeos[0])
    if state != "not asked":
        romeos[0].says("x@c.example", "there")
        stream.request("a.example", "c.example")
    if state == "refused":
        stream.answer("a.example", "c.example", "error", "item-not-found")
    elif state == "one way":
        stream.answer("a.example", "c.example")
        assert stream.until(BODY) == b"there"
    stream.send(message("x@c.example", romeos[0].bare, "and back"))
    assert b"<invalid-from " in stream.rest()


def test_the_peer_asks_on_our_stream(listen: Listens, romeos: list[Someone]) -> None:
    """Its certificate is good for the domain, and the server of that has given out the key."""
    peer = listen("b.example", "c.example", "d.example", certified=("b.example", "c.example"))
    stream = begin(peer, romeos[0])
    stream.send(b"<db:result from='d.example' to='a2.example'>mine</db:result>")
    assert b"<not-authorized " in stream.until(
        re.compile(rb"(<db:result [^>]* type='error'>.*?</db:result>)")
    )
    stream.send(b"<db:result from='c.example' to='a2.example'>forged</db:result>")
    assert b"<forbidden " in stream.until(re.compile(rb"(<db:result [^>]* type='error'>.*?</db:result>)"))
    stream.send(b"<db:result from='c.example' to='a2.example'>mine</db:result>")
    stream.until(b"<db:result from='a2.example' to='c.example' type='valid'/>")
    stream.send(message("x@c.example", romeos[1].bare, "from the other side"))
    assert romeos[1].hears() == "from the other side"
    romeos[1].says("x@c.example", "and back")
    assert stream.until(BODY) == b"and back"
    stream.send(message("x@d.example", romeos[1].bare, "not proved"))
    assert b"<invalid-from " in stream.rest()


# -- stream management (XEP-0198) ----------------------------------------------------------------


def managed(peer: Listening, romeos: list[Someone]) -> Stream:
    """A stream with stream management, on which a message of each of two domains is not acknowledged."""
    romeos[0].says("x@b.example", "one")
    stream = peer.accepts()
    stream.until(b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
    stream.send(_ENABLED)
    assert stream.until(BODY) == b"one"
    romeos[1].says("x@b.example", "two")
    stream.request("a2.example")
    stream.answer("a2.example")
    assert stream.until(BODY) == b"two"
    return stream


def test_stanzas_of_all_pairs_are_counted_together(
    listen: Listens, server: Msgd, romeos: list[Someone]
) -> None:
    stream = managed(listen("b.example", behind=DIALBACK + SM), romeos)
    stream.send(
        message("x@b.example", romeos[0].bare, "back") + message("x@b.example", romeos[1].bare, "back")
    )
    stream.send(b"<r xmlns='urn:xmpp:sm:3'/>")
    assert stream.until(_ACK) == b"2"
    stream.send(b"<a xmlns='urn:xmpp:sm:3' h='2'/>")
    until_waiting(server)


@pytest.mark.parametrize("first", [0, 1])
def test_a_link_goes_on_with_all_its_pairs(
    listen: Listens, server: Msgd, romeos: list[Someone], first: int
) -> None:
    """By the pair with which it began, whoever has something to say."""
    peer = listen("b.example", behind=DIALBACK + SM)
    managed(peer, romeos).close()
    romeos[first].says("x@b.example", "three")
    server.advance(6)
    stream = peer.accepts("a.example")
    stream.until(b"<resume xmlns='urn:xmpp:sm:3' previd='the-link' h='0'/>")
    stream.send(b"<resumed xmlns='urn:xmpp:sm:3' previd='the-link' h='1'/>")
    assert [stream.until(BODY), stream.until(BODY)] == [b"two", b"three"]
    romeos[1].says("x@b.example", "four")
    assert stream.until(BODY) == b"four"  # nothing is asked again
    stream.send(message("x@b.example", romeos[1].bare, "back"))
    assert romeos[1].hears() == "back"
    stream.send(b"<a xmlns='urn:xmpp:sm:3' h='4'/>")
    until_waiting(server)
    assert peer.accepted == 2


def test_a_link_that_does_not_go_on(listen: Listens, server: Msgd, romeos: list[Someone]) -> None:
    peer = listen("b.example", behind=DIALBACK + SM)
    managed(peer, romeos).close()
    romeos[1].says("x@b.example", "three")
    server.advance(6)
    stream = peer.accepts("a.example")
    stream.until(b"<resume ")
    stream.send(b"<failed xmlns='urn:xmpp:sm:3'/>")
    stream.until(b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
    stream.send(_ENABLED.replace(b"the-link", b"another"))
    assert stream.until(BODY) == b"one"
    stream.request("a2.example")
    stream.answer("a2.example")
    assert [stream.until(BODY), stream.until(BODY)] == [b"two", b"three"]
    stream.send(b"<a xmlns='urn:xmpp:sm:3' h='3'/>")
    until_waiting(server)


def test_a_link_does_not_go_on_where_the_peer_is_not_all_of_it(
    world: World, listen: Listens, server: Msgd, romeos: list[Someone]
) -> None:
    """One of two domains has moved: its new host must not get what is for the other."""
    peer = listen("b.example", "c.example", behind=DIALBACK + SM)
    romeos[0].says("x@b.example", "one")
    stream = peer.accepts()
    stream.until(b"<enable ")
    stream.send(_ENABLED)
    assert stream.until(BODY) == b"one"
    romeos[0].says("x@c.example", "secret")
    stream.request("a.example", "c.example")
    stream.answer("a.example", "c.example")
    assert stream.until(BODY) == b"secret"
    peer.show(world.authority.issue("moved", "b.example"))
    stream.close()
    server.advance(6)
    stream = peer.accepts()
    assert b"<resume " not in stream.before(b"<enable ")
    stream.send(_ENABLED.replace(b"the-link", b"another"))
    assert stream.until(BODY) == b"one"
    nothing_comes(stream, romeos[0], b"secret")


def test_a_peer_that_forgets_the_pairs_of_a_link(
    listen: Listens, server: Msgd, romeos: list[Someone]
) -> None:
    """It is not resumed a second time: what is for one pair must not keep the others from going on."""
    peer = listen("b.example", behind=DIALBACK + SM)
    managed(peer, romeos).close()
    server.advance(6)
    stream = peer.accepts()
    stream.until(b"<resume ")
    stream.send(b"<resumed xmlns='urn:xmpp:sm:3' previd='the-link' h='1'/>")
    assert stream.until(BODY) == b"two"
    stream.send(b"<stream:error><invalid-from xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")
    stream.close()
    server.advance(12)
    stream = peer.accepts("a2.example")
    assert b"<resume " not in stream.before(b"<enable ")
    stream.send(_ENABLED.replace(b"the-link", b"another"))
    assert stream.until(BODY) == b"two"


def test_acknowledgements_are_asked_for_while_others_are_owed(
    listen: Listens, server: Msgd, romeos: list[Someone]
) -> None:
    """A peer that answers when it is safe takes its time; what is sent meanwhile is asked for as well."""
    stream = managed(listen("b.example", behind=DIALBACK + SM), romeos)
    stream.until(_REQUEST)
    for number in range(198):
        romeos[0].says("x@b.example", str(number))
    for _ in range(3):  # behind 64, 128 and 192
        stream.until(_REQUEST)
    until_waiting(server, count=200)
    # One answer may be for several requests, and for a part of what was sent.
    stream.send(b"<a xmlns='urn:xmpp:sm:3' h='150'/>")
    until_waiting(server, count=50)
    stream.send(b"<a xmlns='urn:xmpp:sm:3' h='200'/>" * 2)
    until_waiting(server)
    # Nothing is owed any more, so it is not left.
    server.advance(61)
    server.advance(6)
    romeos[0].says("x@b.example", "the last")
    while stream.until(BODY) != b"the last":
        pass
