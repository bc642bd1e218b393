"""Devices: what is stored of them and of their tokens, when it is written, and when a token is void."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from msgd.accounts import store
from msgd.accounts.accounts import Account
from msgd.accounts.devices import Known, TokenSpent, UserAgent, Visit
from msgd.accounts.tokens import CURRENT, NEW, Token, mask, new_token, unmask
from msgd.accounts.uses import Uses
from msgd.storage.schema import account
from msgd.wire.jid import JID
from tests.accounts.world import World

ROMEO = JID.parse("romeo@montague.example")
PHONE = UserAgent("d4565fa7-4d72-4749-b3d3-740edbf87770", "AwesomeXMPP", "Romeo's telephone")
LAPTOP = replace(PHONE, id="aaaaaaaa-4d72-4749-b3d3-740edbf87770", device="laptop")
NOBODY: frozenset[str] = frozenset()
DAY = 86_400


@pytest.fixture
def romeo(world: World) -> Account:
    """An account."""
    return world.wait(world.accounts.create(ROMEO, "wherefore"))


def _find(world: World, agent: UserAgent = PHONE) -> Known:
    return world.wait(world.accounts.devices.find(ROMEO, agent))


def _visit(world: World, of: Account, agent: UserAgent = PHONE) -> Visit:
    devices = world.accounts.devices
    return Visit(of.id, devices.id_of(ROMEO, agent), agent, "orchard", devices.now)


def _keep(world: World, visit: Visit, most: int = 10, busy: frozenset[str] = NOBODY) -> bool:
    return world.wait(world.accounts.devices.keep(visit, _find(world, visit.agent), most, busy))


def _give(world: World, of: Account, agent: UserAgent = PHONE, lifetime: int = 21 * DAY) -> Token:
    token = new_token("HT-SHA-256-NONE", world.accounts.devices.now, lifetime)
    assert _keep(world, replace(_visit(world, of, agent), give=token))
    return token


def _uses(world: World) -> Uses:
    row = world.database.read_now(lambda c: c.one(select(account.c.uses)))
    assert row is not None
    return Uses(row[0])


def _bytes(path: Path) -> bytes:
    return b"".join(part.read_bytes() for part in path.parent.iterdir() if part.is_file())


def test_a_token_is_found_by_its_client_alone(world: World, romeo: Account) -> None:
    token = _give(world, romeo)
    assert [stored.token for stored in _find(world).tokens] == [token]
    assert _find(world, LAPTOP).tokens == ()
    stranger = JID.parse("nobody@montague.example")
    assert world.wait(world.accounts.devices.find(stranger, PHONE)) == Known(None, None, 0, ())


def test_who_steals_the_database_has_no_token_and_no_client(world: World, romeo: Account) -> None:
    token = _give(world, romeo)
    assert world.accounts.devices.id_of(ROMEO, PHONE).encode() in _bytes(world.path), "nothing was looked at"
    stolen = _bytes(world.path)
    for secret in (token.text.encode(), PHONE.id.encode(), bytes.fromhex(PHONE.id.replace("-", ""))):
        assert secret not in stolen


def test_a_mask_is_another_each_time_and_of_no_use_with_another_id() -> None:
    token = new_token("HT-SHA-256-NONE", 0, DAY)
    (salt, masked), (other_salt, other) = mask(token, PHONE.id), mask(token, PHONE.id)
    assert masked != other
    assert unmask(masked, PHONE.id, salt) == unmask(other, PHONE.id, other_salt) == token.text
    assert unmask(masked, LAPTOP.id, salt) != token.text


def test_tokens_are_random_enough() -> None:
    texts = {new_token("HT-SHA-256-NONE", 0, DAY).text for _ in range(1000)}
    assert len(texts) == 1000
    assert {len(text) for text in texts} == {43}  # 256 bit


def test_a_device_is_told_by_account_and_client(world: World) -> None:
    devices, juliet = world.accounts.devices, JID.parse("juliet@montague.example")
    ids = {devices.id_of(jid, agent) for jid in (ROMEO, juliet) for agent in (PHONE, LAPTOP)}
    assert len(ids) == 4
    assert devices.id_of(ROMEO.with_resource("orchard"), PHONE) == devices.id_of(ROMEO, PHONE)


def test_an_account_without_devices_has_no_bit(world: World, romeo: Account) -> None:
    assert _uses(world) == Uses(0)
    _give(world, romeo)
    _give(world, romeo, LAPTOP)
    assert _uses(world) == Uses.DEVICES
    for agent in (PHONE, LAPTOP):
        assert Uses.DEVICES in _uses(world)
        removed = world.accounts.devices.remove(romeo.id, ROMEO, world.accounts.devices.id_of(ROMEO, agent))
        assert world.wait(removed)
    assert _uses(world) == Uses(0)
    assert world.wait(world.accounts.devices.list(romeo.id)) == []


def test_a_login_that_tells_nothing_new_is_not_written(world: World, romeo: Account) -> None:
    _give(world, romeo)
    used = _find(world).tokens[0]
    assert used.slot == NEW
    _keep(world, replace(_visit(world, romeo), used=used))
    used = _find(world).tokens[0]
    assert used.slot == CURRENT
    before = world.database.commits
    for _ in range(3):
        _keep(world, replace(_visit(world, romeo), used=used))
    assert world.database.commits == before
    for change in (
        {"tag": "balcony"},
        {"agent": replace(PHONE, software="Better")},
        {"now": int(world.now) + 4000},
        {"count": 1, "used": used},
    ):
        before = world.database.commits
        _keep(world, replace(_visit(world, romeo), **change))
        assert world.database.commits == before + 1, change


def test_a_count_is_taken_once_also_by_two_at_once(world: World, romeo: Account) -> None:
    _give(world, romeo)
    known = _find(world)
    visit = replace(_visit(world, romeo), used=known.tokens[0], count=5)
    devices = world.accounts.devices
    outcomes = [world.start(devices.keep(visit, known, 10, NOBODY)) for _ in range(2)]
    while not all(outcomes):
        world.turn()
    assert outcomes[0] == [True]
    assert outcomes[1][0].check(TokenSpent)  # type: ignore[union-attr]  # a Failure, which is what is proven
    for count in (5, 0):
        with pytest.raises(TokenSpent):
            _keep(world, replace(visit, count=count))
    assert _keep(world, replace(visit, count=6))


def test_two_tokens_and_no_more(world: World, romeo: Account) -> None:
    first = _give(world, romeo)
    _keep(world, replace(_visit(world, romeo), used=_find(world).tokens[0]))
    lost, last = _give(world, romeo), _give(world, romeo)
    found = {stored.slot: stored.token for stored in _find(world).tokens}
    assert found == {CURRENT: first, NEW: last}
    assert lost not in found.values()
    new = next(stored for stored in _find(world).tokens if stored.slot == NEW)
    _keep(world, replace(_visit(world, romeo), used=new))
    assert [(stored.slot, stored.token) for stored in _find(world).tokens] == [(CURRENT, last)]


def test_a_token_that_ends_sooner_goes_when_a_later_one_is_used(world: World, romeo: Account) -> None:
    """The operator shortens their life; the client has not got the short one, and uses the long one."""
    long = _give(world, romeo)
    _keep(world, replace(_visit(world, romeo), used=_find(world).tokens[0]))
    _give(world, romeo, lifetime=DAY)
    used = next(stored for stored in _find(world).tokens if stored.token == long)
    _keep(world, replace(_visit(world, romeo), used=used))
    assert [stored.token for stored in _find(world).tokens] == [long]


@pytest.mark.parametrize("change", ["password", "offline", "disable", "remove"])
def test_what_makes_a_token_void(world: World, romeo: Account, change: str) -> None:
    _give(world, romeo)
    used = _find(world).tokens[0]
    removed: list[str] = []
    world.accounts.devices.removed.append(lambda jid, device: removed.append(f"{jid} {device}"))
    device = world.accounts.devices.id_of(ROMEO, PHONE)
    if change == "password":
        world.wait(world.accounts.set_password(ROMEO, "other"))
    elif change == "offline":  # as `msgd user passwd` does
        world.database.write_now(lambda c: store.set_password(c, ROMEO, {}, 0))
    elif change == "disable":
        world.wait(world.accounts.disable(ROMEO))
    else:
        assert world.wait(world.accounts.devices.remove(romeo.id, ROMEO, device))
        assert removed == [f"{ROMEO} {device}"]
        assert not world.wait(world.accounts.devices.remove(romeo.id, ROMEO, device))
    assert _find(world).tokens == ()
    # Nor is one good that was read before.
    with pytest.raises(TokenSpent):
        _keep(world, replace(_visit(world, romeo), used=used))


def test_a_deleted_account_leaves_nothing(world: World, romeo: Account) -> None:
    _give(world, romeo)
    world.wait(world.accounts.delete(ROMEO))
    again = world.wait(world.accounts.create(ROMEO, "wherefore"))
    assert _find(world) == Known(again, None, 0, ())
    with sqlite3.connect(world.path) as plain:
        for table in ("device", "device_token"):
            assert plain.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_the_one_not_seen_for_longest_gives_way(world: World, romeo: Account) -> None:
    agents = [replace(PHONE, id=f"{number:08}-0000-4000-8000-000000000000") for number in range(4)]
    ids = [world.accounts.devices.id_of(ROMEO, agent) for agent in agents]
    for agent in agents[:3]:
        world.now += 10
        assert _keep(world, _visit(world, romeo, agent), 3)
    world.now += 10
    assert _keep(world, _visit(world, romeo, agents[3]), 3, frozenset({ids[0]}))
    assert [device.id for device in world.wait(world.accounts.devices.list(romeo.id))] == [
        ids[0], ids[2], ids[3],
    ]  # fmt: skip
    # All of them have sessions: one more is not remembered, and gets no token.
    token = new_token("HT-SHA-256-NONE", 0, DAY)
    assert not _keep(world, replace(_visit(world, romeo), give=token), 3, frozenset(ids))
    assert len(world.wait(world.accounts.devices.list(romeo.id))) == 3
    # The operator allows fewer now.
    assert _keep(world, _visit(world, romeo), 1)
    assert len(world.wait(world.accounts.devices.list(romeo.id))) == 1


def test_when_it_was_seen_is_written_when_its_session_ends(world: World, romeo: Account) -> None:
    _give(world, romeo)
    world.now += 5000
    world.accounts.devices.left(romeo.id, world.accounts.devices.id_of(ROMEO, PHONE))
    assert world.wait(world.accounts.devices.list(romeo.id))[0].last_seen == int(world.now)
    before = world.database.commits
    world.accounts.devices.write_seen()
    world.turn()
    world.accounts.devices.write_seen()
    assert _find(world).last_seen == int(world.now)
    assert world.database.commits == before + 1
