"""App servers that are slow, fail, or mean harm: what is on its way stays little, and ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest

from msgd.routing.account import LiveAccount
from msgd.wire.jid import JID
from msgd.xeps.push import publisher
from msgd.xeps.push.registration import Registration
from msgd.xeps.push.store import Row
from msgd.xeps.xep_0357_push import Push
from tests.routing.world import Client, World

_APP = "push@localhost/app"
_REFUSED = "<{0} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"


class Pushes(World):
    """A server with an app server, `app`, that answers when it is told to."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.push = Push(self.router)
        self.router.extensions.load(self.push)
        self.push.start()
        self.clock.advance(1)
        self.app: Client = self.connects(_APP)

    def registration(self, number: int = 1) -> Registration:
        """One of an account that has no session."""
        name = f"juliet{number}@localhost"
        self.account(name)
        account = LiveAccount(number, JID.parse(name))
        row = Row(JID.parse(_APP), "n1", "phone", [], 1)
        return self.push._have(account, row)

    def comes(self, registration: Registration) -> None:
        """One more message."""
        registration.unseen += 1
        self.push.publisher.push(registration)

    def asked(self) -> list[Element]:
        """What the app server got since the last time."""
        return self.app.elements()

    def answers(self, asked: Element, error: str = "") -> None:
        """The app server's answer."""
        inside = f"<error type='cancel'>{_REFUSED.format(error)}</error>" if error else ""
        type = "error" if error else "result"
        text = f"<iq to='localhost' type='{type}' id='{asked.get('id')}'>{inside}</iq>"
        self.app.sends(text, wait=False)
        self.turns.until(lambda: not self._under_way)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Pushes]:
    """A world of its own for each test."""
    made = Pushes(tmp_path)
    yield made
    made.close()


def _count(asked: Element) -> str | None:
    field = asked.find(".//{jabber:x:data}field[@var='message-count']/{jabber:x:data}value")
    return field.text if field is not None else None


def test_ten_thousand_messages_are_two_pushes(world: Pushes) -> None:
    one = world.registration()
    for _ in range(10_000):
        world.comes(one)
    (first,) = world.asked()
    assert len(world.router._asked) == len(world.push.publisher.busy) == 1
    world.answers(first)
    (second,) = world.asked()
    assert (_count(first), _count(second)) == ("1", "10000")
    world.answers(second)
    assert world.asked() == []
    assert not world.push.publisher.busy
    assert not world.push.publisher._servers


def test_it_is_asked_later_and_later_and_then_no_more(world: Pushes) -> None:
    one = world.registration()
    world.comes(one)
    waited = []
    while not one.disabled:
        (asked,) = world.asked()
        world.answers(asked, "internal-server-error")
        if one.retry is not None:
            waited.append(one.retry.getTime() - world.clock.seconds())
            world.comes(one)
            assert world.asked() == []
            world.clock.advance(waited[-1])
    assert waited == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    world.comes(one)
    world.clock.advance(100_000)
    assert world.asked() == []
    assert not world.push.publisher.busy


def test_an_answer_in_between_counts_anew(world: Pushes) -> None:
    one = world.registration()
    for error in ("internal-server-error", "", "internal-server-error"):
        world.comes(one)
        (asked,) = world.asked()
        world.answers(asked, error)
        if one.retry is not None:
            assert one.retry.getTime() - world.clock.seconds() == 60
            one.retry.cancel()
            one.retry = None


def test_one_that_never_answers_takes_a_bounded_part_of_the_memory(
    world: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "MOST_OUTSTANDING", 3)
    monkeypatch.setattr(publisher, "MOST_QUEUED", 4)
    many = [world.registration(number) for number in range(1, 10)]
    for each in (*many, *many):
        world.comes(each)
    assert len(world.asked()) == len(world.router._asked) == 3
    assert len(world.push.publisher.busy) == 7
    assert [each.reason for each in many[-2:]] == ["too many pushes wait for the app server"] * 2
    world.clock.advance(60)  # the first three are not answered, the next have their turn
    world.turns.until(lambda: not world._under_way)
    assert len(world.asked()) == 3
    assert [each.failures for each in many] == [1, 1, 1, 0, 0, 0, 0, 0, 0]


def test_what_is_disabled_meanwhile_is_not_repeated(world: Pushes) -> None:
    one = world.registration()
    world.comes(one)
    world.comes(one)
    (asked,) = world.asked()
    world.push._forget(one.account, [(one.jid, one.node)])
    world.answers(asked)
    assert world.asked() == []
    assert one.account.hooks is None


def test_an_account_that_is_looked_up_anew_goes_on_where_it_was(world: Pushes) -> None:
    one = world.registration()
    world.comes(one)
    again = world.registration()
    assert again is one
    world.comes(again)
    assert len(world.asked()) == 1


def test_two_accounts_with_one_node_are_two_registrations(world: Pushes) -> None:
    one, other = world.registration(1), world.registration(2)
    world.comes(one)
    world.comes(other)
    asked, _ = world.asked()
    world.answers(asked, "item-not-found")
    assert one.disabled
    assert not other.disabled
