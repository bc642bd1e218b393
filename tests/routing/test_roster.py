"""What clients read and change of the roster, and what is pushed to whom (RFC 6121 §2)."""

from typing import Any

import pytest

from msgd.routing import roster, roster_store
from msgd.storage.database import DatabaseFault
from tests.routing.world import Client, World

ROMEO, JULIET, NURSE = "romeo@localhost", "juliet@localhost", "nurse@localhost"


@pytest.fixture
def romeo(world: World) -> Client:
    """Romeo's orchard, interested in the roster."""
    return world.connects(f"{ROMEO}/orchard", roster=True)


def version(client: Client) -> str:
    """The version that a roster get tells."""
    (answer,) = client.exchanges("<iq type='get' id='v'><query xmlns='jabber:iq:roster'/></iq>")
    return answer[0].get("ver", "")


def test_a_change_is_pushed_to_the_interested(world: World, romeo: Client) -> None:
    garden = world.connects(f"{ROMEO}/garden", roster=True)
    street = world.connects(f"{ROMEO}/street", presence="<presence/>")
    item = f"<item jid='{NURSE}' name='Nurse'><group>Servants</group></item>"
    push = f"push {NURSE} none 'Nurse' #Servants"
    assert romeo.sets(item) == [push, "iq result"]
    assert garden.gets() == [push]
    assert street.gets() == []
    assert street.asks_for_roster() == [f"iq result ({NURSE}, none, 'Nurse', #Servants)"]


def test_what_the_client_must_not_set_is_ignored(romeo: Client) -> None:
    item = f"<item jid='{NURSE}' subscription='both' ask='subscribe' approved='true'/>"
    assert romeo.sets(item)[0] == f"push {NURSE} none"


def test_addresses_are_prepared(romeo: Client) -> None:
    assert romeo.sets("<item jid='NURSE@LocalHost'/>")[0] == f"push {NURSE} none"
    assert romeo.sets(f"<item jid='{NURSE}' name='One'/>")[0] == f"push {NURSE} none 'One'"
    assert romeo.asks_for_roster() == [f"iq result ({NURSE}, none, 'One')"]


@pytest.mark.parametrize(
    ("items", "condition"),
    [
        ("", "bad-request"),
        (f"<item jid='{NURSE}'/><item jid='{JULIET}'/>", "bad-request"),
        ("<item name='x'/>", "bad-request"),
        ("<item jid='@@'/>", "jid-malformed"),
        ("<item jid=''/>", "jid-malformed"),
        (f"<item jid='{NURSE}/kitchen'/>", "jid-malformed"),
        (f"<item jid='{ROMEO}'/>", "not-allowed"),
        ("<item jid='Romeo@localhost'/>", "not-allowed"),
        (f"<item jid='{NURSE}'><group>A</group><group>A</group></item>", "bad-request"),
        (f"<item jid='{NURSE}'><group>\u00e4</group><group>a\u0308</group></item>", "bad-request"),
        (f"<item jid='{NURSE}'><group/></item>", "not-acceptable"),
        (f"<item jid='{NURSE}'><group>{'x' * 1024}</group></item>", "not-acceptable"),
        (f"<item jid='{NURSE}' name='{'x' * 1024}'/>", "not-acceptable"),
        (
            f"<item jid='{NURSE}'>{''.join(f'<group>{n}</group>' for n in range(51))}</item>",
            "not-acceptable",
        ),
        (f"<item jid='{NURSE}' subscription='remove'/>", "item-not-found"),
        ("<item jid='@' subscription='remove'/>", "jid-malformed"),
    ],
)
def test_what_is_wrong_is_refused_and_changes_nothing(romeo: Client, items: str, condition: str) -> None:
    assert romeo.sets(items) == [f"iq error {condition}"]
    assert romeo.asks_for_roster() == ["iq result"]


def test_a_get_with_an_item_is_no_get(romeo: Client) -> None:
    query = f"<query xmlns='jabber:iq:roster'><item jid='{NURSE}'/></query>"
    assert romeo.sends(f"<iq type='get' id='g'>{query}</iq>") == ["iq error bad-request"]


@pytest.mark.parametrize("contact", [JULIET, "nobody@localhost"])
@pytest.mark.parametrize("kind", ["get", "set"])
def test_the_roster_of_another_is_refused(world: World, romeo: Client, kind: str, contact: str) -> None:
    world.account(JULIET)
    query = f"<query xmlns='jabber:iq:roster'><item jid='{NURSE}'/></query>"
    assert romeo.sends(f"<iq type='{kind}' id='g' to='{contact}'>{query}</iq>") == ["iq error forbidden"]


def test_the_largest_roster(world: World, romeo: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "MOST_ITEMS", 2)
    romeo.sets(f"<item jid='{NURSE}'/>")
    romeo.sets(f"<item jid='{JULIET}'/>")
    assert romeo.sets("<item jid='tybalt@localhost'/>") == ["iq error resource-constraint"]
    assert romeo.sets(f"<item jid='{NURSE}' name='Nurse'/>")[1] == "iq result"


def test_removing_a_contact_ends_what_was_between_the_two(world: World) -> None:
    world.subscribes(ROMEO, JULIET)
    world.subscribes(JULIET, ROMEO)
    romeo = world.connects(f"{ROMEO}/orchard", roster=True, presence="<presence/>")
    juliet = world.connects(f"{JULIET}/balcony", roster=True, presence="<presence/>")
    romeo.gets()
    lines = romeo.sets(f"<item jid='{JULIET}' subscription='remove'/>")
    assert lines == [
        f"push {JULIET} remove",
        "iq result",
        f"presence unavailable {JULIET}/balcony > {ROMEO}",
    ]
    assert juliet.gets() == [
        f"presence unavailable {ROMEO}/orchard > {JULIET}",
        f"presence unsubscribe {ROMEO} > {JULIET}",
        f"push {ROMEO} to",
        f"presence unsubscribed {ROMEO} > {JULIET}",
        f"push {ROMEO} none",
    ]
    romeo.sends("<presence/>")
    assert juliet.gets() == []
    assert romeo.asks_for_roster() == ["iq result"]


def test_removing_a_contact_that_waits_for_an_answer_denies_it(world: World) -> None:
    romeo = world.connects(f"{ROMEO}/orchard", roster=True)
    juliet = world.connects(f"{JULIET}/balcony", roster=True)
    juliet.sends(f"<presence type='subscribe' to='{ROMEO}'/>")
    romeo.sets(f"<item jid='{JULIET}'/>")
    juliet.gets()
    romeo.sets(f"<item jid='{JULIET}' subscription='remove'/>")
    assert juliet.gets() == [
        f"presence unsubscribed {ROMEO} > {JULIET}",
        f"push {ROMEO} none",
    ]


# -- versions, §2.6 -------------------------------------------------------------------------------


def test_an_up_to_date_client_gets_an_empty_result(romeo: Client) -> None:
    romeo.sets(f"<item jid='{NURSE}'/>")
    assert romeo.asks_for_roster(version(romeo)) == ["iq result"]
    assert romeo.elements() == []


def test_changes_come_behind_an_empty_result(world: World, romeo: Client) -> None:
    for n in range(6):
        romeo.sets(f"<item jid='servant{n}@localhost'/>")
    known = version(romeo)
    romeo.sets(f"<item jid='{NURSE}'/>")
    romeo.sets("<item jid='servant1@localhost' subscription='remove'/>")
    garden = world.connects(f"{ROMEO}/garden")
    garden.sends(f"<iq type='get' id='r'><query xmlns='jabber:iq:roster' ver='{known}'/></iq>", wait=False)
    world.settle()
    result, *pushes = garden.elements()
    assert (result.get("type"), len(result)) == ("result", 0)
    told = [(push[0][0].get("jid"), push[0][0].get("subscription")) for push in pushes]
    assert told == [(NURSE, "none"), ("servant1@localhost", "remove")]
    versions = [int(push[0].get("ver", "")) for push in pushes]
    assert versions == sorted(versions)
    assert str(versions[-1]) == version(garden)
    assert len({push.get("id") for push in pushes}) == 2


@pytest.mark.parametrize("ver", ["", "x", "-1", "1e3", "9" * 18, "9" * 100, "0", "\u0664"])
def test_a_version_that_is_not_ours_gets_the_whole_roster(romeo: Client, ver: str) -> None:
    romeo.sets(f"<item jid='{NURSE}'/>")
    assert romeo.asks_for_roster(ver) == [f"iq result ({NURSE}, none)"]


def test_a_change_while_the_roster_is_read_is_pushed_behind_it(
    world: World, romeo: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the reading of a copy and its delivery another client changes the roster."""
    romeo.sets(f"<item jid='{NURSE}'/>")
    garden = world.connects(f"{ROMEO}/garden")
    read = world.database.look_up

    async def slow(work: Any) -> Any:
        copy = await read(work)
        if isinstance(copy, roster_store.RosterCopy) and not copy.items[0].name:
            romeo.sends(
                "<iq type='set' id='s'><query xmlns='jabber:iq:roster'>"
                f"<item jid='{NURSE}' name='New'/></query></iq>",
                wait=False,
            )
            await world.database.write(lambda connection: None)  # it is through, and told
            assert romeo.gets() == [f"push {NURSE} none 'New'", "iq result"]
            assert garden.gets() == []
        return copy

    monkeypatch.setattr(world.database, "look_up", slow)
    assert garden.asks_for_roster() == [
        f"iq result ({NURSE}, none)",
        f"push {NURSE} none 'New'",
    ]
    assert not world.roster._held


def test_a_change_before_the_roster_is_read_is_not_pushed_again(
    world: World, romeo: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    garden = world.connects(f"{ROMEO}/garden")
    read = world.database.look_up

    async def late(work: Any) -> Any:
        romeo.sends(
            f"<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='{NURSE}'/></query></iq>",
            wait=False,
        )
        await world.database.write(lambda connection: None)
        return await read(work)

    monkeypatch.setattr(world.database, "look_up", late)
    assert garden.asks_for_roster() == [f"iq result ({NURSE}, none)"]


def test_a_fault_of_the_database_is_an_error(
    world: World, romeo: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(work: object) -> Any:
        raise DatabaseFault("gone")

    with monkeypatch.context() as patch:
        patch.setattr(world.database, "look_up", fails)
        patch.setattr(world.database, "write", fails)
        assert romeo.asks_for_roster() == ["iq error internal-server-error"]
        assert romeo.sets(f"<item jid='{NURSE}'/>") == ["iq error internal-server-error"]
    assert not world.roster._held
    assert romeo.sets(f"<item jid='{NURSE}'/>")[1] == "iq result"


def test_stream_features(world: World) -> None:
    assert world.roster.stream_feature("localhost", False) == b""
    feature = world.roster.stream_feature("localhost", True)
    assert b"urn:xmpp:features:rosterver" in feature
    assert b"urn:xmpp:features:pre-approval" in feature
