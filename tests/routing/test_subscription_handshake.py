"""Subscriptions between two accounts: what each client gets, and in which order (RFC 6121 §3)."""

from typing import Any

import pytest

from msgd.routing import handshake
from msgd.storage.database import DatabaseFault
from tests.routing.world import Client, World

ROMEO, JULIET = "romeo@localhost", "juliet@localhost"


@pytest.fixture
def romeo(world: World) -> Client:
    """Romeo's only resource, available and interested."""
    return world.connects(f"{ROMEO}/orchard", roster=True, presence="<presence/>")


@pytest.fixture
def juliet(world: World) -> Client:
    """Juliet's only resource, available and interested."""
    return world.connects(f"{JULIET}/balcony", roster=True, presence="<presence/>")


def to(kind: str, contact: str) -> str:
    return f"<presence type='{kind}' to='{contact}'/>"


def test_request_and_approval(world: World, romeo: Client, juliet: Client) -> None:
    assert romeo.sends(to("subscribe", f"{JULIET}/balcony")) == [f"push {JULIET} none ask"]
    assert juliet.gets() == [f"presence subscribe {ROMEO} > {JULIET}"]
    juliet.sends("<presence><show>away</show></presence>")
    juliet.gets()
    assert juliet.sends(to("subscribed", f"{ROMEO}/x")) == [f"push {ROMEO} from"]
    # The stanza, then what it changed, then what that lets him see.
    assert romeo.gets() == [
        f"presence subscribed {JULIET} > {ROMEO}",
        f"push {JULIET} to",
        f"presence {JULIET}/balcony > {ROMEO} show=away",
    ]
    assert juliet.sends("<presence/>") == [f"presence {JULIET}/balcony > {JULIET}"]
    assert romeo.gets() == [f"presence {JULIET}/balcony > {ROMEO}"]
    assert romeo.sends("<presence/>") == [f"presence {ROMEO}/orchard > {ROMEO}"]
    assert juliet.gets() == []


def test_broadcast_waits_for_the_news_of_the_subscription(
    world: World, romeo: Client, juliet: Client
) -> None:
    """Presence sent while the approval is being written must not come before it."""
    romeo.sends(to("subscribe", JULIET))
    romeo.gets()
    juliet.sends(to("subscribed", ROMEO), wait=False)
    # Her part is written and routed; his is on its way to the database.
    world.turns.until(lambda: bool(world.presence.handshake.busy))
    juliet.sends("<presence><show>dnd</show></presence>", wait=False)
    assert romeo.gets() == []
    world.settle()
    assert romeo.gets() == [
        f"presence subscribed {JULIET} > {ROMEO}",
        f"push {JULIET} to",
        f"presence {JULIET}/balcony > {ROMEO}",
        f"presence {JULIET}/balcony > {ROMEO} show=dnd",
    ]
    assert not world.presence.handshake.busy


def test_steps_of_a_pair_keep_their_order(world: World, romeo: Client, juliet: Client) -> None:
    romeo.sends(to("subscribe", JULIET))
    for kind in ("subscribed", "unsubscribed"):
        juliet.sends(to(kind, ROMEO), wait=False)
    world.settle()
    romeo_gets = [line for line in romeo.gets() if line.startswith("presence")]
    assert romeo_gets == [
        f"presence subscribed {JULIET} > {ROMEO}",
        f"presence {JULIET}/balcony > {ROMEO}",
        f"presence unavailable {JULIET}/balcony > {ROMEO}",
        f"presence unsubscribed {JULIET} > {ROMEO}",
    ]


def test_cancellation(world: World) -> None:
    world.subscribes(ROMEO, JULIET)
    romeo = world.connects(f"{ROMEO}/orchard", roster=True, presence="<presence/>")
    juliet = world.connects(f"{JULIET}/balcony", roster=True, presence="<presence/>")
    romeo.gets()
    assert juliet.sends(to("unsubscribed", ROMEO)) == [f"push {ROMEO} none"]
    assert romeo.gets() == [
        f"presence unavailable {JULIET}/balcony > {ROMEO}",
        f"presence unsubscribed {JULIET} > {ROMEO}",
        f"push {JULIET} none",
    ]
    juliet.sends("<presence/>")
    assert romeo.gets() == []


def test_unsubscribing(world: World) -> None:
    world.subscribes(ROMEO, JULIET)
    romeo = world.connects(f"{ROMEO}/orchard", roster=True, presence="<presence/>")
    juliet = world.connects(f"{JULIET}/balcony", roster=True, presence="<presence/>")
    romeo.gets()
    assert romeo.sends(to("unsubscribe", JULIET)) == [
        f"push {JULIET} none",
        f"presence unavailable {JULIET}/balcony > {ROMEO}",
    ]
    assert juliet.gets() == [f"presence unsubscribe {ROMEO} > {JULIET}", f"push {ROMEO} none"]


def test_denial(world: World, romeo: Client, juliet: Client) -> None:
    romeo.sends(to("subscribe", JULIET))
    romeo.gets()
    juliet.gets()
    assert juliet.sends(to("unsubscribed", ROMEO)) == []
    assert romeo.gets() == [
        f"presence unsubscribed {JULIET} > {ROMEO}",
        f"push {JULIET} none",
    ]


def test_pre_approval(world: World, romeo: Client, juliet: Client) -> None:
    assert juliet.sends(to("subscribed", ROMEO)) == [f"push {ROMEO} none approved"]
    assert romeo.gets() == []
    assert romeo.sends(to("subscribe", JULIET)) == [
        f"push {JULIET} none ask",
        f"presence subscribed {JULIET} > {ROMEO}",
        f"push {JULIET} to",
        f"presence {JULIET}/balcony > {ROMEO}",
    ]
    assert juliet.gets() == [f"push {ROMEO} from"]


def test_pre_approval_taken_back(world: World, romeo: Client, juliet: Client) -> None:
    juliet.sends(to("subscribed", ROMEO))
    assert juliet.sends(to("unsubscribed", ROMEO)) == [f"push {ROMEO} none"]
    assert romeo.gets() == []
    romeo.sends(to("subscribe", JULIET))
    assert juliet.gets() == [f"presence subscribe {ROMEO} > {JULIET}"]


def test_a_request_waits_until_it_is_answered(world: World, romeo: Client) -> None:
    world.account(JULIET)
    romeo.sends(f"<presence type='subscribe' to='{JULIET}'><status>It is me</status></presence>")
    romeo.sends(to("subscribe", JULIET))
    romeo.gets()
    asked = f"presence subscribe {ROMEO} > {JULIET} status=It is me"
    balcony = world.connects(f"{JULIET}/balcony", roster=True)
    assert balcony.sends("<presence/>") == [f"presence {JULIET}/balcony > {JULIET}", asked]
    assert balcony.sends("<presence><show>away</show></presence>")[1:] == []
    chamber = world.connects(f"{JULIET}/chamber")
    assert asked in chamber.sends("<presence/>")
    assert asked not in balcony.gets()
    chamber.sends(to("subscribed", ROMEO))
    later = world.connects(f"{JULIET}/later")
    assert not [line for line in later.sends("<presence/>") if "subscribe" in line]


def test_log_in_asks_the_database_only_when_something_may_wait(world: World) -> None:
    romeo = world.connects(f"{ROMEO}/orchard", roster=True, presence="<presence/>")
    reads: list[object] = []
    read = world.database.read

    async def note(work: Any) -> Any:
        reads.append(work)
        return await read(work)

    world.database.read = note  # type: ignore[method-assign]  # to count
    world.connects(f"{ROMEO}/garden", presence="<presence/>")
    assert reads == []
    romeo.sends(to("subscribe", JULIET))
    world.connects(f"{ROMEO}/street", presence="<presence/>")
    assert len(reads) == 1  # what waits


def test_an_unanswered_question_is_asked_again_at_log_in(world: World) -> None:
    """A request that got lost on its way is found when its sender comes back."""
    romeo = world.connects(f"{ROMEO}/orchard")
    romeo.sends(to("subscribe", JULIET))  # there is no such account yet, so nobody has it
    juliet = world.connects(f"{JULIET}/balcony", presence="<presence/>")
    assert juliet.gets() == []
    romeo.sends("<presence/>")
    assert juliet.gets() == [f"presence subscribe {ROMEO} > {JULIET}"]
    world.connects(f"{ROMEO}/garden", presence="<presence/>")
    romeo.ends()
    world.connects(f"{ROMEO}/street", presence="<presence/>")
    assert juliet.gets() == []


def test_one_sees_oneself_without_asking(world: World, romeo: Client) -> None:
    assert romeo.sends(to("subscribe", ROMEO)) == [f"presence error {ROMEO} > {ROMEO}/orchard not-allowed"]
    assert romeo.sends("<presence type='subscribe'/>") == [
        "presence error romeo@localhost > romeo@localhost/orchard bad-request"
    ]


def test_nobody_there_is_silence(world: World, romeo: Client) -> None:
    """RFC 6121 §8.5.1: who asks does not learn which accounts exist."""
    for kind in ("subscribe", "subscribed", "unsubscribe", "unsubscribed"):
        romeo.sends(to(kind, "nobody@localhost"))
    assert not [line for line in romeo.gets() if line.startswith("presence")]


def test_a_storm_of_steps_is_bounded(world: World, romeo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "MOST_STEPS", 3)
    for n in range(5):
        romeo.sends(to("subscribe", f"guest{n}@localhost"), wait=False)
    world.settle()
    lines = romeo.gets()
    assert len([line for line in lines if line.endswith("resource-constraint")]) == 2
    assert len([line for line in lines if line.startswith("push")]) == 3
    assert romeo.sends(to("subscribe", "guest9@localhost")) == ["push guest9@localhost none ask"]


def test_requests_of_strangers_are_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch, romeo: Client
) -> None:
    monkeypatch.setattr(handshake, "MOST_REQUESTS", 1)
    world.account(JULIET)
    world.connects("tybalt@localhost/x").sends(to("subscribe", JULIET))
    assert romeo.sends(to("subscribe", JULIET)) == [
        f"push {JULIET} none ask",
        f"presence error {JULIET} > {ROMEO} resource-constraint",
    ]
    juliet = world.connects(f"{JULIET}/balcony")
    lines = juliet.sends("<presence/>")
    assert [line for line in lines if "subscribe" in line] == [
        f"presence subscribe tybalt@localhost > {JULIET}"
    ]


def test_a_large_request_is_kept_without_its_content(world: World, romeo: Client) -> None:
    world.account(JULIET)
    text = "x" * (handshake.LONGEST_REQUEST + 1)
    romeo.sends(f"<presence type='subscribe' to='{JULIET}'><status>{text}</status></presence>")
    juliet = world.connects(f"{JULIET}/balcony")
    assert juliet.sends("<presence/>")[1:] == [f"presence subscribe {ROMEO} > {JULIET}"]


def test_a_full_roster_says_so(world: World, romeo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "MOST_ITEMS", 1)
    romeo.sends(to("subscribe", JULIET))
    assert romeo.sends(to("subscribe", "nurse@localhost")) == [
        f"presence error nurse@localhost > {ROMEO}/orchard resource-constraint"
    ]


def test_a_fault_of_the_database_is_an_error_and_changes_nothing(
    world: World, romeo: Client, juliet: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(work: object) -> Any:
        raise DatabaseFault("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(world.database, "write", fails)
        assert romeo.sends(to("subscribe", JULIET)) == [
            f"presence error {JULIET} > {ROMEO}/orchard internal-server-error"
        ]
    assert juliet.gets() == []
    assert romeo.asks_for_roster() == ["iq result"]
    assert not world.presence.handshake.busy
    romeo.sends(to("subscribe", JULIET))
    assert juliet.gets() == [f"presence subscribe {ROMEO} > {JULIET}"]


def test_farewell(world: World) -> None:
    world.subscribes(ROMEO, JULIET)
    world.subscribes("nurse@localhost", ROMEO)
    juliet = world.connects(f"{JULIET}/balcony", roster=True, presence="<presence/>")
    nurse = world.connects("nurse@localhost/kitchen", roster=True, presence="<presence/>")
    romeo = world.connects(f"{ROMEO}/orchard")
    world.presence.handshake.farewell(romeo.session.account)
    world.settle()
    assert juliet.gets() == [f"presence unsubscribe {ROMEO} > {JULIET}", f"push {ROMEO} none"]
    assert nurse.gets() == [
        f"presence unsubscribed {ROMEO} > nurse@localhost",
        f"push {ROMEO} none",
    ]
