"""What an operator allows of links, and changes while they are there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from msgd.wire.certificates import self_signed
from tests.harness import Msgd
from tests.links.played import Listening, Stream, call
from tests.links.waiting import links, rows, until_told, until_waiting, wait_until
from tests.links.world import Someone, World

OURS, THEIRS, OTHERS = "a.example", "b.example", "c.example"
_BURST = 4 * 1024 * 1024
_numbers = itertools.count(1)

_SET = ("federation.allow", "federation.block", "federation.dialback", "federation.bytes_per_second")


def _reload(server: Msgd, *options: str) -> None:
    """These are the options of the policy from now on."""
    lines = server.configuration.read_text().splitlines()
    lines = [line for line in lines if not line.startswith(_SET)]
    server.configuration.write_text("\n".join([*lines, *options]) + "\n")
    told = server.command("reload")
    assert "reloaded" in told, told


def _ask(stream: Stream, domain: str) -> bytes:
    """Ask our server for a sign; what its answer has in it."""
    id = f"p{next(_numbers)}"
    ping = "<ping xmlns='urn:xmpp:ping'/>"
    stream.send(f"<iq type='get' id='{id}' from='{domain}' to='{OURS}'>{ping}</iq>".encode())
    return f"id='{id}'".encode()


def _is_answered(stream: Stream, domain: str, on: Stream | None = None) -> None:
    """The answer comes on that stream, or `on` another one of the same domain."""
    (on or stream).until(_ask(stream, domain))


@pytest.fixture
def played(world: World) -> Iterator[Listening]:
    """The server of `THEIRS`."""
    made = Listening(world, THEIRS)
    yield made
    made.close()


def test_links_are_with_those_that_are_allowed_and_not_blocked(world: World) -> None:
    a = world.msgd(OURS, ["romeo"], ['federation.allow = ["*.example"]', f'federation.block = ["{OTHERS}"]'])
    b, c, d = (world.msgd(domain, ["juliet"]) for domain in (THEIRS, OTHERS, "d.test"))
    romeo, juliet = Someone(a, "romeo").arrives(), Someone(b, "juliet").arrives()
    romeo.says(juliet, "good morrow")
    assert juliet.hears() == "good morrow"
    for server in (c, d):
        romeo.says(f"juliet@{server.domain}", "good morrow")
        assert romeo.hears() == "error remote-server-not-found"
        assert "not allowed here" in a.command(f"why {server.domain}")
        assert "policy-violation" in server.command(f"why {OURS}")
    assert "are not allowed" in a.command(f"routes juliet@{OTHERS}")


def test_who_is_blocked_later_is_cut_off(world: World, played: Listening) -> None:
    a = world.msgd(OURS, ["romeo"], movable=True)
    romeo = Someone(a, "romeo").arrives()
    romeo.says(f"juliet@{THEIRS}", "one")
    stream = played.accepts()
    stream.until(b"<body>one</body>")
    stream.pong()
    own = call(a, world.authority.issue("own", THEIRS))
    _is_answered(own, THEIRS, on=stream)
    other = call(a, world.authority.issue("other", OTHERS), OTHERS)
    _is_answered(other, OTHERS)
    romeo.says(f"juliet@{THEIRS}", "two")
    stream.until(b"<body>two</body>")
    _reload(a, f'federation.block = ["{THEIRS}"]')
    # What has not arrived there for certain comes back, and so does all that is sent from now on.
    for ended in (stream, own):
        assert b"<policy-violation" in ended.rest()
    assert romeo.hears() == "error remote-server-not-found"
    romeo.says(f"juliet@{THEIRS}", "three")
    a.advance(20)
    assert romeo.hears() == "error remote-server-not-found"
    assert not links(a, THEIRS)
    _is_answered(other, OTHERS)
    # And back.
    _reload(a)
    a.advance(20)
    romeo.says(f"juliet@{THEIRS}", "four")
    stream = played.accepts()
    stream.until(b"<body>four</body>")
    stream.pong()


def test_what_waits_for_one_that_is_blocked_comes_back(world: World) -> None:
    a = world.msgd(OURS, ["romeo"], movable=True)
    world.msgd(THEIRS, start=False)
    romeo = Someone(a, "romeo").arrives()
    romeo.says(f"juliet@{THEIRS}", "one")
    until_waiting(a, THEIRS, 1)
    until_told(a, f"link {THEIRS}", "Connection refused")
    _reload(a, f'federation.block = ["{THEIRS}"]')
    assert romeo.hears() == "error remote-server-not-found"


def test_who_has_only_dns_as_a_proof_is_cut_off_when_that_is_not_enough_any_more(world: World) -> None:
    pair = world.directory / "self.crt", world.directory / "self.key"
    for file, content in zip(pair, self_signed(THEIRS), strict=True):
        file.write_bytes(content)
        file.chmod(0o600)
    a = world.msgd(OURS, ["romeo"])
    _reload(a, f'federation.dialback = ["{THEIRS}"]')
    b = world.msgd(THEIRS, ["juliet"], pair=pair)
    romeo, juliet = Someone(a, "romeo").arrives(), Someone(b, "juliet").arrives()
    romeo.says(juliet, "one")
    assert juliet.hears() == "one"
    juliet.says(romeo, "two")
    assert romeo.hears() == "two"
    assert links(a, THEIRS)
    _reload(a, 'federation.dialback = ["*"]')
    assert links(a, THEIRS)
    _reload(a)
    assert not links(a, THEIRS)
    assert "self-signed" in a.command(f"why {THEIRS}")


def test_a_stream_does_not_outlive_the_certificate_of_its_peer(world: World) -> None:
    a = world.msgd(OURS, ["romeo"], ["ping.interval = 0", "federation.idle = 86400"], movable=True)
    soon = world.authority.issue("soon", THEIRS, not_after=datetime.now(UTC) + timedelta(hours=1))
    stream = call(a, soon)
    _is_answered(stream, THEIRS)
    other = call(a, world.authority.issue("other", OTHERS), OTHERS)
    a.advance(50 * 60)
    _is_answered(stream, THEIRS)
    _is_answered(other, OTHERS)
    a.advance(11 * 60)
    assert b"<reset " in stream.rest()
    _is_answered(other, OTHERS)


def test_all_streams_of_a_domain_have_one_rate(world: World) -> None:
    a = world.msgd(OURS, [], ["federation.bytes_per_second = 1000", "ping.interval = 0"], movable=True)
    pair, others = (world.authority.issue(domain, domain) for domain in (THEIRS, OTHERS))
    one, two = call(a, pair), call(a, pair)
    other = call(a, others, OTHERS)
    # Both are links by now, and the first is the one on which answers come.
    _is_answered(one, THEIRS)
    _is_answered(two, THEIRS, on=one)
    # As much as may come at once, and a little more.
    unasked = f"<iq type='result' id='x' from='{THEIRS}' to='{OURS}'><x>{'x' * 100_000}</x></iq>".encode()
    count = _BURST // 100_000 + 1
    for _ in range(count):
        one.send(unasked)
    wait_until(
        lambda: sum(each["received"] for each in links(a, THEIRS)) >= count + 2,
        lambda: f"all is read, at last {rows(a, 'links')}",
    )
    first = _ask(two, THEIRS)  # that is read, and then no more
    one.until(first)
    late = _ask(two, THEIRS)
    for _ in range(3):
        _is_answered(other, OTHERS)
    assert not one.came(late)
    a.advance(100)
    one.until(late)
    # No limit any more, for streams that are there too.
    _reload(a)
    for _ in range(2 * count):
        one.send(unasked)
    _is_answered(one, THEIRS)
    _is_answered(two, THEIRS, on=one)
