"""Domains that are not ours: what leaves for them, and what comes from them."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from msgd.routing.account import LiveAccount
from msgd.routing.extension import Extension, Rfc
from msgd.routing.hooks import Dropped
from msgd.routing.stream_management import Receipt
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from msgd.wire.xml import parse
from tests.routing.world import World, brief

ROMEO, JULIET = "romeo@localhost", "juliet@localhost"
ORCHARD, BALCONY = f"{ROMEO}/orchard", f"{JULIET}/balcony"
MARE, FAR = "nurse@gate.localhost", "tybalt@example.net"


class Gate:
    """A destination that keeps what it is sent."""

    def __init__(self, takes: bool = False) -> None:
        self.takes = takes
        self.receipts: list[Receipt | None] = []
        self.ids: list[str | None] = []
        self._sent: list[str] = []

    def send(self, stanza: Stanza, receipt: Receipt | None) -> bool:
        """See Destination."""
        element = parse(stanza.raw)
        line = brief(element)
        self._sent.append(line if " > " in line else f"{line} {stanza.from_} > {stanza.to}")
        self.receipts.append(receipt)
        self.ids.append(stanza.id)
        return self.takes

    def explain(self, to: JID) -> str:
        """See Destination."""
        return "a gate"

    def gets(self) -> list[str]:
        """What came since the last time."""
        sent, self._sent = self._sent, []
        return sent


@pytest.fixture
def gate(world: World) -> Gate:
    """Where stanzas for gate.localhost go."""
    return world.router.table.destinations.setdefault("gate.localhost", Gate())  # type: ignore[return-value]  # it is one


@pytest.fixture
def far(world: World) -> Gate:
    """Where stanzas for all other domains go."""
    far = world.router.table.elsewhere = Gate()
    return far


def comes(world: World, text: str) -> None:
    """A stanza comes from another domain."""
    world.router.from_remote(Stanza.from_bytes(text.encode()))
    world.settle()


def test_every_domain_leads_to_its_destination(world: World, gate: Gate, far: Gate) -> None:
    romeo = world.connects(ORCHARD)
    for to in (MARE, FAR, "gate.localhost", "other.gate.localhost"):
        romeo.sends(f"<message to='{to}'/>")
        romeo.sends(f"<iq to='{to}' type='get' id='1'><q xmlns='q'/></iq>")
        romeo.sends(f"<presence to='{to}'/>")
    for there, domains in ((gate, [MARE, "gate.localhost"]), (far, [FAR, "other.gate.localhost"])):
        assert there.gets() == [
            line
            for to in domains
            for line in (
                f"message {ORCHARD} > {to}",
                f"iq get {ORCHARD} > {to}",
                f"presence {ORCHARD} > {to}",
            )
        ]
    assert world.router.table.destination("gate.localhost").explain(JID.parse(MARE)) == "a gate"


def test_without_a_destination_there_is_no_such_server(world: World) -> None:
    romeo = world.connects(ORCHARD)
    assert romeo.sends(f"<message to='{FAR}'/>") == ["message error remote-server-not-found"]
    error = f"presence error {FAR} > {ORCHARD} remote-server-not-found"
    assert romeo.sends(f"<presence to='{FAR}'/>") == [error]
    assert romeo.sends(f"<presence to='{FAR}' type='unavailable'/>") == []
    assert "remote-server-not-found" in world.router.table.destination("example.net").explain(JID.parse(FAR))


def test_a_destination_takes_the_receipt_over_or_not(world: World, gate: Gate) -> None:
    romeo = world.connects(ORCHARD).session
    for takes in (False, True):
        gate.takes, receipt = takes, Receipt()
        message = Stanza.build("message", to=JID.parse(MARE), from_=romeo.jid)
        world.router.from_client(romeo, message, receipt)
        assert gate.receipts.pop() is receipt
        assert receipt.safe is not takes


# -- from there -----------------------------------------------------------------------------------


def test_what_comes_from_there_reaches_accounts(world: World, gate: Gate) -> None:
    romeo = world.connects(ORCHARD, presence="<presence/>")
    comes(world, f"<message to='{ORCHARD}' from='{MARE}' type='headline'/>")
    comes(world, f"<presence to='{ROMEO}' from='{MARE}/x'/>")
    comes(world, f"<iq to='{ORCHARD}' from='{MARE}/x' type='get' id='1'><q xmlns='q'/></iq>")
    assert romeo.gets() == ["message headline", f"presence {MARE}/x > {ROMEO}", "iq get"]
    assert romeo.sends(f"<iq to='{MARE}/x' type='result' id='1'/>") == []
    assert gate.gets() == [f"iq result {ORCHARD} > {MARE}/x"]


def test_what_comes_from_there_and_cannot_be_delivered_is_returned(world: World, gate: Gate) -> None:
    comes(world, f"<message to='nobody@localhost' from='{MARE}' id='1'/>")
    comes(world, f"<iq to='localhost' from='{MARE}' type='get' id='1'><q xmlns='q'/></iq>")
    comes(world, f"<iq to='nobody@localhost' from='{MARE}' type='get'><q xmlns='q'/></iq>")
    comes(world, f"<iq to='nobody@localhost' from='{MARE}' type='result'/>")
    assert gate.gets() == [
        f"message error service-unavailable nobody@localhost > {MARE}",
        f"iq error service-unavailable localhost > {MARE}",
        f"iq error bad-request nobody@localhost > {MARE}",
    ]


def test_its_receipt_is_settled_when_nobody_took_it_over(world: World, gate: Gate) -> None:
    world.connects(ORCHARD, presence="<presence/>")
    for to in (ORCHARD, "nobody@localhost", FAR):
        receipt = Receipt()
        message = Stanza.build("message", to=JID.parse(to), from_=JID.parse(MARE), type="headline")
        world.router.from_remote(message, receipt)
        world.settle()
        assert receipt.safe


def test_one_domain_writes_to_the_other(world: World, gate: Gate, far: Gate) -> None:
    comes(world, f"<message to='{FAR}' from='{MARE}'/>")
    comes(world, f"<message to='{MARE}' from='{FAR}'/>")
    assert far.gets() == [f"message {MARE} > {FAR}"]
    assert gate.gets() == [f"message {FAR} > {MARE}"]


def test_a_defect_is_answered(world: World, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> bool:
        raise RuntimeError

    monkeypatch.setattr(world.router, "route", fails)
    world.router.fail = lambda stanza, error: gate.gets() or gate._sent.append(error.condition)  # type: ignore[method-assign,assignment,func-returns-value]  # only what it is told
    comes(world, f"<message to='{ROMEO}' from='{MARE}'/>")
    assert gate.gets() == ["internal-server-error"]
    assert world.router.failures == 1


# -- subscriptions and presence -------------------------------------------------------------------


def test_a_subscription_there_and_back(world: World, gate: Gate) -> None:
    romeo = world.connects(ORCHARD, roster=True, presence="<presence/>")
    assert romeo.sends(f"<presence to='{MARE}/x' type='subscribe'/>") == [f"push {MARE} none ask"]
    assert gate.gets() == [f"presence subscribe {ROMEO} > {MARE}"]
    comes(world, f"<presence from='{MARE}/y' to='{ROMEO}' type='subscribed'/>")
    assert romeo.gets() == [f"presence subscribed {MARE} > {ROMEO}", f"push {MARE} to"]
    comes(world, f"<presence from='{MARE}' to='{ROMEO}' type='subscribe'/>")
    assert romeo.gets() == [f"presence subscribe {MARE} > {ROMEO}"]
    assert romeo.sends(f"<presence to='{MARE}' type='subscribed'/>") == [f"push {MARE} both"]
    shown = [f"presence subscribed {ROMEO} > {MARE}", f"presence {ORCHARD} > {MARE}"]
    assert gate.gets() == shown
    assert romeo.sends(f"<presence to='{MARE}' type='unsubscribed'/>") == [f"push {MARE} to"]
    assert gate.gets() == [
        f"presence unavailable {ORCHARD} > {MARE}",
        f"presence unsubscribed {ROMEO} > {MARE}",
    ]
    comes(world, f"<presence from='{MARE}' to='{ROMEO}' type='unsubscribed'/>")
    assert romeo.gets() == [f"presence unsubscribed {MARE} > {ROMEO}", f"push {MARE} none"]


@pytest.fixture
def friend(world: World, gate: Gate) -> Gate:
    """Romeo and somebody at the gate see each other."""
    scene = world.connects(f"{ROMEO}/scene")
    scene.sends(f"<presence to='{MARE}' type='subscribe'/>")
    comes(world, f"<presence from='{MARE}' to='{ROMEO}' type='subscribed'/>")
    comes(world, f"<presence from='{MARE}' to='{ROMEO}' type='subscribe'/>")
    scene.sends(f"<presence to='{MARE}' type='subscribed'/>")
    scene.ends()
    gate.gets()
    return gate


def test_presence_there_from_log_in_to_log_out(world: World, friend: Gate) -> None:
    romeo = world.connects(ORCHARD, presence="<presence/>")
    assert friend.gets() == [f"presence {ORCHARD} > {MARE}", f"presence probe {ROMEO} > {MARE}"]
    comes(world, f"<presence from='{MARE}/x' to='{ROMEO}'/>")
    assert romeo.gets() == [f"presence {MARE}/x > {ROMEO}"]
    romeo.sends("<presence><show>away</show></presence>")
    assert friend.gets() == [f"presence {ORCHARD} > {MARE} show=away"]
    romeo.ends()
    assert friend.gets() == [f"presence unavailable {ORCHARD} > {MARE}"]


def test_a_probe_from_there(world: World, friend: Gate) -> None:
    comes(world, f"<presence from='{MARE}' to='{ROMEO}' type='probe'/>")
    assert friend.gets() == [f"presence unavailable {ROMEO} > {MARE}"]
    world.connects(ORCHARD, presence="<presence/>")
    friend.gets()
    comes(world, f"<presence from='{MARE}' to='{ROMEO}' type='probe'/>")
    assert friend.gets() == [f"presence {ORCHARD} > {MARE}"]
    for to in (ROMEO, "nobody@localhost"):
        comes(world, f"<presence from='x@gate.localhost' to='{to}' type='probe'/>")
        assert friend.gets() == [f"presence unsubscribed {to} > x@gate.localhost"]


def test_directed_presence_and_its_end(world: World, gate: Gate) -> None:
    romeo = world.connects(ORCHARD, presence="<presence/>")
    romeo.sends("<presence to='room@gate.localhost/Romeo'/>")
    assert gate.gets() == [f"presence {ORCHARD} > room@gate.localhost/Romeo"]
    romeo.ends()
    assert gate.gets() == [f"presence unavailable {ORCHARD} > room@gate.localhost/Romeo"]


def test_a_contact_there_is_removed(world: World, friend: Gate) -> None:
    romeo = world.connects(ORCHARD, roster=True, presence="<presence/>")
    friend.gets()
    romeo.sets(f"<item jid='{MARE}' subscription='remove'/>")
    assert friend.gets() == [
        f"presence unavailable {ORCHARD} > {MARE}",
        f"presence unsubscribe {ROMEO} > {MARE}",
        f"presence unsubscribed {ROMEO} > {MARE}",
    ]


def test_a_request_that_never_reached_its_session_is_answered(world: World, gate: Gate) -> None:
    world.router.undelivered(f"<iq from='gate.localhost' to='{ORCHARD}' type='get' id='1'><q/></iq>".encode())
    world.router.undelivered(f"<iq from='localhost' to='{ORCHARD}' type='get' id='1'><q/></iq>".encode())
    assert gate.gets() == [f"iq error recipient-unavailable {ORCHARD} > gate.localhost"]


class Silent(Extension):
    """Lets nothing out."""

    xep = Rfc(6121)

    def permit_out(self, account: LiveAccount, stanza: Stanza) -> None:
        """See Acting."""
        raise Dropped


def test_who_lets_nothing_out_probes_nobody(world: World, friend: Gate) -> None:
    romeo = world.connects(ORCHARD)
    romeo.session.account.hook(Silent(world.router))
    world.router.presence.from_client(
        romeo.session, Stanza.build("presence", to=None, from_=romeo.session.jid)
    )
    assert friend.gets() == []


# -- what the server itself asks ------------------------------------------------------------------


def ask(world: World) -> list[object]:
    """The server asks the gate something for Romeo's account; the answer, or the error's condition."""
    found: list[object] = []
    request = Stanza.build(
        "iq", to=JID.parse(MARE), from_=JID.parse(ROMEO), type="set", content=b"<publish xmlns='urn:p'/>"
    )
    asking = Deferred.fromCoroutine(world.router.ask(request, 10))
    asking.addCallbacks(
        lambda stanza: found.append(stanza.type),
        lambda failure: found.append(failure.value.condition),
    )
    return found


def test_the_server_asks_somebody_there(world: World, gate: Gate) -> None:
    world.connects(ORCHARD)
    for answer, seen in (("result", "result"), ("error", "undefined-condition")):
        found = ask(world)
        id = gate.ids.pop()
        for sender, known in (("other@gate.localhost", []), (MARE, [seen])):
            raw = f"<iq type='{answer}' id='{id}' from='{sender}' to='{ROMEO}'/>"
            world.router.from_remote(Stanza.from_bytes(raw.encode()))
            assert found == known
    found = ask(world)
    world.clock.advance(11)
    assert found == ["remote-server-timeout"]


def test_the_server_asks_where_nobody_is(world: World) -> None:
    world.connects(ORCHARD)
    found = ask(world)
    assert found == ["remote-server-not-found"]
