"""Encrypted messages (XEP-0384) with people of another server: nothing is configured on either.

Keys are in nodes of the accounts (XEP-0163), which people of the other server read over the link; of a new
device tells a notification, which goes to those whose clients want it.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.clients.person import PATIENCE, Home, Person
from tests.clients.test_omemo import Keys, device, listen, whisper
from tests.clients.test_talk import become_contacts
from tests.harness import Msgd
from tests.links.peers import Prosody
from tests.links.world import World


@pytest.fixture
def server(world: World) -> Msgd:
    """Ours."""
    return world.msgd("a.example", ["romeo"])


@pytest.fixture(params=["msgd", "prosody"])
def peer(request: pytest.FixtureRequest, world: World, server: Msgd) -> Home:
    """The other one."""
    if request.param == "msgd":
        return world.msgd("b.example", ["juliet"])
    made = Prosody(world, "b.example", ["juliet"])
    made.start()
    return made


async def _told(person: Person) -> None:
    """Until the client has got a list of devices."""
    await person.xmpp.wait_until("oldmemo_device_list_publish", PATIENCE)


def test_strangers(world: World, server: Msgd, peer: Home) -> None:
    async def scene() -> None:
        trusted = world.authority.file
        async with (
            device(server, "romeo@a.example/orchard", Keys(), trusted) as romeo,
            device(peer, "juliet@b.example/balcony", Keys(), trusted) as juliet,
        ):
            await whisper(romeo, juliet.bare, "Art thou not Juliet?")
            assert await listen(juliet) == "Art thou not Juliet?"
            await whisper(juliet, romeo.bare, "Neither, if thee dislike")
            assert await listen(romeo) == "Neither, if thee dislike"

    asyncio.run(scene())


def test_new_devices_are_told_of_both_ways(world: World, server: Msgd, peer: Home) -> None:
    async def scene() -> None:
        trusted = world.authority.file
        async with (
            device(server, "romeo@a.example/orchard", Keys(), trusted) as romeo,
            device(peer, "juliet@b.example/balcony", Keys(), trusted) as juliet,
        ):
            # Contacts are not asked for their lists any more: these come by themselves.
            lists = asyncio.gather(_told(romeo), _told(juliet))
            await become_contacts(romeo, juliet)
            await lists
            await whisper(romeo, juliet.bare, "One")
            assert await listen(juliet) == "One"
            await whisper(juliet, romeo.bare, "One")
            assert await listen(romeo) == "One"
            for owner, home, contact in ((romeo, server, juliet), (juliet, peer, romeo)):
                told = asyncio.ensure_future(_told(contact))
                async with device(home, f"{owner.bare}/pocket", Keys(), trusted) as phone:
                    await told
                    await whisper(contact, owner.bare, "Two")
                    assert [await listen(owner), await listen(phone)] == ["Two", "Two"]

    asyncio.run(scene())
