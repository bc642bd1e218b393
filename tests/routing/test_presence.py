"""Presence: who is told of whom, and when (RFC 6121 §4)."""

from __future__ import annotations

from typing import Any

import pytest

from msgd.routing import presence
from msgd.routing.extension import Extension, Rfc, on_event
from msgd.wire.jid import JID
from tests.routing.world import World

ROMEO, JULIET, NURSE = "romeo@localhost", "juliet@localhost", "nurse@localhost"
ORCHARD, BALCONY, CHAMBER = f"{ROMEO}/orchard", f"{JULIET}/balcony", f"{JULIET}/chamber"


class Watch(Extension):
    """Notes the events."""

    xep = Rfc(6121)

    def start(self) -> None:
        self.seen: list[str] = []

    @on_event("session-available")
    def available(self, session: Any) -> None:
        """See EVENTS."""
        self.seen.append(f"available {session.jid}")

    @on_event("session-unavailable")
    def unavailable(self, session: Any) -> None:
        """See EVENTS."""
        self.seen.append(f"unavailable {session.jid}")


@pytest.fixture
def friends(world: World) -> World:
    """Romeo sees Juliet's presence; she does not see his."""
    world.subscribes(ROMEO, JULIET)
    return world


def leaving(world: World) -> list[str]:
    """What is given to the router from now on: type, from, to and id."""
    routed: list[str] = []
    route = world.router.route

    def note(stanza: Any, receipt: Any = None) -> bool:
        routed.append(f"{stanza.type} {stanza.from_} > {stanza.to} {stanza.id}")
        return route(stanza, receipt)

    world.router.route = note  # type: ignore[method-assign]  # to see what leaves
    return routed


# -- broadcast ------------------------------------------------------------------------------------


def test_initial_presence_goes_to_subscribers_and_own_resources(friends: World) -> None:
    romeo = friends.connects(ORCHARD, presence="<presence/>")
    absent = friends.connects(f"{ROMEO}/connected")
    nurse = friends.connects(f"{NURSE}/kitchen", presence="<presence/>")
    balcony = friends.connects(BALCONY, presence="<presence/>")
    romeo.gets()
    chamber = friends.connects(CHAMBER)
    lines = chamber.sends("<presence><show>chat</show></presence>")
    own = f"presence {CHAMBER} > {JULIET} show=chat"
    assert lines == [own, f"presence {BALCONY} > {JULIET}"]
    assert balcony.gets() == [own]
    assert romeo.gets() == [f"presence {CHAMBER} > {ROMEO} show=chat"]
    assert nurse.gets() == absent.gets() == []


def test_a_new_resource_learns_who_is_there(friends: World) -> None:
    friends.connects(BALCONY, presence="<presence id='b'><status>Here</status></presence>")
    friends.connects(CHAMBER)
    romeo = friends.connects(ORCHARD)
    assert romeo.sends("<presence/>") == [
        f"presence {ORCHARD} > {ROMEO}",
        f"presence {BALCONY} > {ROMEO} status=Here",
    ]
    # Only once: a change of presence asks for nothing.
    assert romeo.sends("<presence/>") == [f"presence {ORCHARD} > {ROMEO}"]


def test_the_stanza_is_the_same_for_everybody(friends: World) -> None:
    romeo = friends.connects(ORCHARD, presence="<presence/>")
    juliet = friends.connects(BALCONY)
    (mine,) = juliet.exchanges(
        "<presence id='x' xml:lang='de'><show>dnd</show><status>Übung &amp; mehr</status>"
        "<c xmlns='http://jabber.org/protocol/caps' node='n' ver='v' hash='sha-1'/></presence>"
    )
    his = romeo.elements()[0]
    assert mine.attrib.pop("to") == JULIET
    assert his.attrib.pop("to") == ROMEO
    assert mine.attrib == his.attrib
    assert [(child.tag, child.text, child.attrib) for child in mine] == [
        (child.tag, child.text, child.attrib) for child in his
    ]
    assert his.get("{http://www.w3.org/XML/1998/namespace}lang") == "de"


def test_unavailable_is_told_once(friends: World) -> None:
    romeo = friends.connects(ORCHARD, presence="<presence/>")
    balcony = friends.connects(BALCONY, presence="<presence/>")
    chamber = friends.connects(CHAMBER, presence="<presence/>")
    romeo.gets()
    balcony.gets()
    gone = "<presence type='unavailable'><status>Home</status></presence>"
    assert chamber.sends(gone) == [f"presence unavailable {CHAMBER} > {JULIET} status=Home"]
    assert romeo.gets() == [f"presence unavailable {CHAMBER} > {ROMEO} status=Home"]
    assert balcony.gets() == [f"presence unavailable {CHAMBER} > {JULIET} status=Home"]
    assert chamber.sends(gone) == []
    chamber.ends()
    assert romeo.gets() == balcony.gets() == []
    assert not chamber.session.available
    # What it said last is for who asks later for the last activity.
    assert chamber.session.presence is not None
    assert chamber.session.presence.type == "unavailable"


def test_the_end_of_a_session_is_unavailable(friends: World) -> None:
    romeo = friends.connects(ORCHARD, presence="<presence/>")
    juliet = friends.connects(BALCONY, presence="<presence/>")
    romeo.gets()
    juliet.ends()
    assert romeo.gets() == [f"presence unavailable {BALCONY} > {ROMEO}"]


def test_available_again_is_initial_presence(friends: World) -> None:
    romeo = friends.connects(ORCHARD, presence="<presence/>")
    juliet = friends.connects(BALCONY, presence="<presence/>")
    romeo.sends("<presence type='unavailable'/>")
    juliet.sends("<presence><show>away</show></presence>")
    assert romeo.gets() == []
    assert romeo.sends("<presence/>") == [
        f"presence {ORCHARD} > {ROMEO}",
        f"presence {BALCONY} > {ROMEO} show=away",
    ]


def test_a_contact_elsewhere_is_told_and_asked(world: World) -> None:
    world.connects(ORCHARD).sends("<presence type='subscribe' to='tybalt@example.org'/>")
    romeo = world.connects(f"{ROMEO}/garden")
    account = romeo.session.account
    account.subscribers = account.subscriptions = frozenset({JID.parse("tybalt@example.org")})
    routed = leaving(world)
    romeo.sends("<presence/>")
    assert [line for line in routed if line.split()[3] == "tybalt@example.org"] == [
        f"None {ROMEO}/garden > tybalt@example.org None",
        f"probe {ROMEO} > tybalt@example.org None",
        f"subscribe {ROMEO} > tybalt@example.org None",
    ]


def test_rosters_that_disagree_are_mended(friends: World) -> None:
    """As the answer to a probe would: who is not a subscriber any more learns it (§4.3.2)."""
    friends.connects(BALCONY, presence="<presence/>").session.account.subscribers = frozenset()
    romeo = friends.connects(ORCHARD, roster=True)
    assert romeo.sends("<presence/>") == [
        f"presence {ORCHARD} > {ROMEO}",
        f"presence unsubscribed {JULIET} > {ROMEO}",
        f"push {JULIET} none",
    ]


# -- priority, types ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "priority"),
    [("0", 0), ("127", 127), ("-128", -128), ("+5", 5), (" 7\n", 7), ("007", 7)],
)
def test_priorities(world: World, text: str, priority: int) -> None:
    romeo = world.connects(ORCHARD)
    romeo.sends(f"<presence><priority>{text}</priority></presence>")
    assert romeo.session.priority == priority
    assert romeo.session.available


@pytest.mark.parametrize(
    "content",
    [
        "<priority>128</priority>",
        "<priority>-129</priority>",
        "<priority>1.0</priority>",
        "<priority>١</priority>",
        "<priority/>",
        "<priority>99999999999999999999</priority>",
        "<priority>1</priority><priority>2</priority>",
    ],
)
def test_what_is_no_priority(friends: World, content: str) -> None:
    romeo = friends.connects(ORCHARD, presence="<presence/>")
    juliet = friends.connects(BALCONY, presence="<presence><priority>1</priority></presence>")
    romeo.gets()
    error = f"presence error {JULIET} > {BALCONY} bad-request"
    assert juliet.sends(f"<presence>{content}</presence>") == [error]
    assert juliet.session.priority == 1
    assert romeo.gets() == []


def test_a_priority_of_another_namespace_is_none(world: World) -> None:
    romeo = world.connects(ORCHARD)
    romeo.sends("<presence><x xmlns='y'><priority>-1</priority></x></presence>")
    assert romeo.session.priority == 0


def test_an_unknown_type_is_refused(world: World) -> None:
    romeo = world.connects(ORCHARD)
    for to in ("", f" to='{JULIET}'"):
        answer = romeo.sends(f"<presence type='available'{to}/>")
        assert answer[0].endswith("bad-request")


def test_types_that_mean_nothing_without_an_address_are_dropped(world: World) -> None:
    romeo = world.connects(ORCHARD)
    assert romeo.sends("<presence type='probe'/>") == []
    assert romeo.sends("<presence type='error'/>") == []


def test_who_can_be_reached_is_told_to_the_spool_and_the_extensions(world: World) -> None:
    watch = Watch(world.router)
    watch.start()
    world.router.extensions.load(watch)
    romeo = world.connects(ORCHARD)
    drained = world.spool.drained
    romeo.sends("<presence><priority>-1</priority></presence>")
    assert drained == []
    romeo.sends("<presence/>")
    romeo.sends("<presence><show>away</show></presence>")
    assert drained == [ROMEO]
    romeo.sends("<presence type='unavailable'/>")
    romeo.sends("<presence/>")
    romeo.ends()
    assert drained == [ROMEO, ROMEO]
    assert watch.seen == [f"{what} {ORCHARD}" for what in ("available", "unavailable") * 2]


# -- directed presence ----------------------------------------------------------------------------


def test_directed_presence_is_remembered_until_the_end(world: World) -> None:
    nurse = world.connects(f"{NURSE}/kitchen", presence="<presence/>")
    juliet = world.connects(BALCONY, presence="<presence/>")
    juliet.sends(f"<presence to='{NURSE}'/>")
    assert nurse.gets() == [f"presence {BALCONY} > {NURSE}"]
    juliet.sends("<presence><show>away</show></presence>")
    assert nurse.gets() == []
    juliet.ends()
    assert nurse.gets() == [f"presence unavailable {BALCONY} > {NURSE}"]


def test_directed_presence_before_any_other(world: World) -> None:
    nurse = world.connects(f"{NURSE}/kitchen", presence="<presence/>")
    juliet = world.connects(BALCONY)
    juliet.sends(f"<presence to='{NURSE}/kitchen'/>")
    nurse.gets()
    assert juliet.sends("<presence type='unavailable'/>") == []
    assert nurse.gets() == [f"presence unavailable {BALCONY} > {NURSE}/kitchen"]
    juliet.ends()
    assert nurse.gets() == []


def test_who_was_told_of_the_end_is_not_told_again(world: World) -> None:
    nurse = world.connects(f"{NURSE}/kitchen", presence="<presence/>")
    juliet = world.connects(BALCONY, presence="<presence/>")
    juliet.sends(f"<presence to='{NURSE}'/>")
    juliet.sends(f"<presence to='{NURSE}' type='unavailable'/>")
    nurse.gets()
    juliet.ends()
    assert nurse.gets() == []


def test_a_subscriber_is_told_once(friends: World) -> None:
    romeo = friends.connects(ORCHARD, presence="<presence/>")
    juliet = friends.connects(BALCONY)
    juliet.sends(f"<presence to='{ORCHARD}'/>")
    juliet.sends("<presence/>")
    juliet.sends(f"<presence to='{ROMEO}'/>")
    assert len(romeo.gets()) == 3
    juliet.ends()
    assert romeo.gets() == [f"presence unavailable {BALCONY} > {ROMEO}"]


def test_who_leaves_is_taken_from_the_list(world: World) -> None:
    nurse = world.connects(f"{NURSE}/kitchen", presence="<presence/>")
    juliet = world.connects(BALCONY, presence="<presence/>")
    juliet.sends(f"<presence to='{NURSE}/kitchen'/>")
    nurse.sends(f"<presence to='{BALCONY}' type='unavailable'/>")
    assert not juliet.session.directed
    nurse.gets()
    juliet.ends()
    assert nurse.gets() == []


def test_directed_presence_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "MOST_DIRECTED", 2)
    juliet = world.connects(BALCONY)
    for n in range(2):
        assert juliet.sends(f"<presence to='guest{n}@localhost'/>") == []
    assert juliet.sends("<presence to='guest2@localhost'/>") == [
        f"presence error guest2@localhost > {BALCONY} resource-constraint"
    ]
    assert juliet.sends("<presence to='guest1@localhost'/>") == []


def test_presence_to_a_resource_reaches_that_one(world: World) -> None:
    kitchen = world.connects(f"{NURSE}/kitchen")
    hall = world.connects(f"{NURSE}/hall", presence="<presence/>")
    juliet = world.connects(BALCONY, presence="<presence/>")
    juliet.sends(f"<presence to='{NURSE}/kitchen'/>")
    juliet.sends(f"<presence to='{NURSE}/cellar'/>")
    assert kitchen.gets() == [f"presence {BALCONY} > {NURSE}/kitchen"]
    assert hall.gets() == []


# -- probes ---------------------------------------------------------------------------------------


def test_a_probe_of_a_subscriber_gets_full_presence(friends: World) -> None:
    friends.connects(BALCONY, presence="<presence id='p1'><show>away</show></presence>")
    romeo = friends.connects(ORCHARD)
    (answer,) = romeo.exchanges(f"<presence type='probe' to='{JULIET}' id='q'/>")
    assert (answer.get("from"), answer.get("id"), len(answer)) == (BALCONY, "p1", 1)


def test_a_probe_of_a_resource_gets_the_mere_fact(friends: World) -> None:
    friends.connects(BALCONY, presence="<presence id='p1'><show>away</show></presence>")
    romeo = friends.connects(ORCHARD)
    assert romeo.sends(f"<presence type='probe' to='{BALCONY}'/>") == [f"presence {BALCONY} > {ORCHARD}"]
    assert romeo.sends(f"<presence type='probe' to='{CHAMBER}'/>") == [
        f"presence unavailable {CHAMBER} > {ORCHARD}"
    ]


def test_a_probe_of_the_absent_tells_since_when(friends: World) -> None:
    romeo = friends.connects(ORCHARD)
    (answer,) = romeo.exchanges(f"<presence type='probe' to='{JULIET}' id='q'/>")
    assert (answer.get("type"), answer.get("from"), answer.get("id")) == (
        "unavailable", JULIET, "q",
    )  # fmt: skip


@pytest.mark.parametrize("resource", ["", "/balcony", "/nowhere"])
@pytest.mark.parametrize("contact", [JULIET, "nobody@localhost"])
def test_a_probe_of_a_stranger_learns_nothing(world: World, contact: str, resource: str) -> None:
    """The same answer whether the account exists, is there, or is not."""
    world.connects(BALCONY, presence="<presence/>")
    tybalt = world.connects("tybalt@localhost/street")
    routed = leaving(world)
    tybalt.sends(f"<presence type='probe' to='{contact}{resource}' id='q'/>")
    (_, answer) = routed
    assert answer == f"unsubscribed {contact} > tybalt@localhost/street q"
    assert tybalt.gets() == []  # it never was subscribed, so there is nothing to tell its client


def test_a_probe_of_who_got_directed_presence(world: World) -> None:
    """RFC 6121 §4.6.6: the mere fact, and of that resource only."""
    juliet = world.connects(BALCONY)
    world.connects(CHAMBER, presence="<presence/>")
    nurse = world.connects(f"{NURSE}/kitchen")
    juliet.sends(f"<presence to='{NURSE}/kitchen'><show>away</show></presence>")
    nurse.gets()
    assert nurse.sends(f"<presence type='probe' to='{BALCONY}'/>") == [
        f"presence {BALCONY} > {NURSE}/kitchen"
    ]
    routed = leaving(world)
    assert nurse.sends(f"<presence type='probe' to='{CHAMBER}'/>") == []
    assert routed[1] == f"unsubscribed {JULIET} > {NURSE}/kitchen None"


def test_directed_presence_to_one_is_not_told_to_another(friends: World) -> None:
    juliet = friends.connects(BALCONY)
    juliet.sends(f"<presence to='{NURSE}'/>")
    romeo = friends.connects(ORCHARD)
    assert romeo.sends(f"<presence type='probe' to='{BALCONY}'/>") == [
        f"presence unavailable {BALCONY} > {ORCHARD}"
    ]


def test_errors_go_where_they_are_sent(world: World) -> None:
    juliet = world.connects(BALCONY, presence="<presence/>")
    chamber = world.connects(CHAMBER, presence="<presence/>")
    juliet.gets()
    nurse = world.connects(f"{NURSE}/kitchen")
    error = "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    nurse.sends(f"<presence type='error' to='{BALCONY}'>{error}</presence>")
    assert juliet.gets() == [f"presence error {NURSE}/kitchen > {BALCONY} gone"]
    assert chamber.gets() == []
    assert nurse.gets() == []
