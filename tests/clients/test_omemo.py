"""Encrypted messages between two fresh accounts (XEP-0384), with nothing configured on the server.

The plugin knows both namespaces; its device lists and bundles are in nodes of the accounts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from omemo.storage import Just, Maybe, Nothing, Storage
from slixmpp.plugins import register_plugin
from slixmpp_omemo import XEP_0384, TrustLevel

from tests.clients.conftest import People
from tests.clients.person import PATIENCE, Home, Person
from tests.clients.test_talk import become_contacts
from tests.harness import Msgd

_PLUGINS: Final = ("xep_0060", "xep_0163", "xep_0198", "xep_0280", "xep_0334", "xep_0384")
_LISTS: Final = ("eu.siacs.conversations.axolotl.devicelist", "urn:xmpp:omemo:2:devices")


class Keys(Storage):
    """What a device remembers, also when it is switched off."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Any] = {}

    async def _load(self, key: str) -> Maybe[Any]:
        return Just(self.kept[key]) if key in self.kept else Nothing()

    async def _store(self, key: str, value: Any) -> None:
        self.kept[key] = value

    async def _delete(self, key: str) -> None:
        self.kept.pop(key, None)


class Omemo(XEP_0384):
    """The plugin for people who trust each other."""

    default_config = {**XEP_0384.default_config, "keys": None}  # noqa: RUF012  # slixmpp wants it so

    @property
    def storage(self) -> Storage:
        """See XEP_0384."""
        found: Storage = self.config["keys"]
        return found

    @property
    def _btbv_enabled(self) -> bool:
        return True

    async def _prompt_manual_trust(self, devices: Any, identifier: str | None) -> None:
        manager = await self.get_session_manager()
        for device in devices:
            await manager.set_trust(device.bare_jid, device.identity_key, TrustLevel.TRUSTED.value)


register_plugin(Omemo)


@asynccontextmanager
async def device(server: Home, jid: str, keys: Keys, trusted: Path | None = None) -> AsyncIterator[Person]:
    """A device that encrypts, its keys published."""
    person = Person(server, jid, trusted=trusted)
    for plugin in _PLUGINS:
        person.xmpp.register_plugin(plugin, {"keys": keys} if plugin == "xep_0384" else {})
    ready = asyncio.ensure_future(person.xmpp.wait_until("omemo_initialized", PATIENCE))
    async with person:
        await ready
        yield person


async def whisper(person: Person, to: str, text: str) -> Any:
    """Send a message that only the recipient can read."""
    message = person.xmpp.make_message(to, text, mtype="chat")
    message["id"] = person.xmpp.new_id()
    encrypted, errors = await person.xmpp.plugin["xep_0384"].encrypt_message(message, {message["to"]})
    assert encrypted is not None and not errors
    encrypted["to"], encrypted["type"] = message["to"], "chat"
    encrypted["id"] = person.xmpp.new_id()
    encrypted.send()
    return encrypted


async def listen(person: Person) -> str:
    """The next message that can be read."""
    plugin = person.xmpp.plugin["xep_0384"]
    while True:
        heard = await person.hear()
        if plugin.is_encrypted(heard):
            message, _ = await plugin.decrypt_message(heard)
            if message["body"]:
                return str(message["body"])


@pytest.mark.parametrize("contacts", [True, False], ids=["contacts", "strangers"])
def test_two_fresh_accounts(server: Msgd, people: People, contacts: bool) -> None:
    async def scene() -> None:
        romeo_keys, juliet_keys = Keys(), Keys()
        async with device(server, people("romeo") + "/orchard", romeo_keys) as romeo:
            async with device(server, people("juliet") + "/balcony", juliet_keys) as juliet:
                if contacts:
                    await become_contacts(romeo, juliet)
                await whisper(romeo, juliet.bare, "Art thou not Juliet?")
                assert await listen(juliet) == "Art thou not Juliet?"
                await whisper(juliet, romeo.bare, "Neither, if thee dislike")
                assert await listen(romeo) == "Neither, if thee dislike"
            # She is gone; what he says waits for her, and her keys are still to be had.
            await whisper(romeo, people("juliet"), "Good night")
            await whisper(romeo, people("juliet"), "Good night")
            await romeo.acknowledged()
        async with device(server, people("juliet") + "/balcony", juliet_keys) as juliet:
            assert [await listen(juliet) for _ in range(2)] == ["Good night"] * 2

    asyncio.run(scene())


def test_a_device_that_comes_later_is_found(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with (
            device(server, people("romeo") + "/orchard", Keys()) as romeo,
            device(server, people("juliet") + "/balcony", Keys()) as juliet,
        ):
            await become_contacts(romeo, juliet)
            await whisper(romeo, juliet.bare, "One")
            assert await listen(juliet) == "One"
            known = asyncio.ensure_future(romeo.xmpp.wait_until("oldmemo_device_list_publish", PATIENCE))
            async with device(server, people("juliet") + "/pocket", Keys()) as phone:
                await known  # her list has changed, and he was told
                await whisper(romeo, juliet.bare, "Two")
                assert [await listen(juliet), await listen(phone)] == ["Two", "Two"]

    asyncio.run(scene())


def test_nodes_that_nobody_could_read_are_put_right(server: Msgd, people: People) -> None:
    """As another client may have left them: for contacts only, or for nobody."""

    async def scene() -> None:
        async with Person(server, people("juliet") + "/balcony", plugins=("xep_0060",)) as juliet:
            for node in _LISTS:
                form = juliet.xmpp.plugin["xep_0004"].make_form("submit")
                form.add_field("FORM_TYPE", "hidden", value="http://jabber.org/protocol/pubsub#node_config")
                form.add_field("pubsub#access_model", value="whitelist")
                await juliet.xmpp.plugin["xep_0060"].create_node(juliet.bare, node, config=form)
        async with (
            device(server, people("juliet") + "/balcony", Keys()) as juliet,
            device(server, people("romeo") + "/orchard", Keys()) as romeo,
        ):
            await whisper(romeo, juliet.bare, "Art thou not Juliet?")
            assert await listen(juliet) == "Art thou not Juliet?"

    asyncio.run(scene())
