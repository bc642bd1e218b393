"""A gateway with a real component library, slixmpp: its contacts answer, echo, and show their presence."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Final, Self

from slixmpp import ComponentXMPP

from tests.clients.person import PATIENCE
from tests.harness import Msgd

_PLUGINS: Final = ("xep_0030", "xep_0092", "xep_0199")


class Gateway:
    """`async with` connects and, when it is over, closes the stream.

    Everybody who asks may see its contacts, and it asks back. What is said to a contact is said back in
    capitals. `presence` holds what came of that kind, as type, from and to.
    """

    def __init__(self, server: Msgd, domain: str, secret: str) -> None:
        self._address = server.component_address()
        component: Any = ComponentXMPP  # has no types
        xmpp = component(domain, secret, *self._address)
        self.xmpp = xmpp
        xmpp.auto_authorize = xmpp.auto_subscribe = None
        xmpp.roster.auto_authorize = xmpp.roster.auto_subscribe = None
        for plugin in _PLUGINS:
            xmpp.register_plugin(plugin)
        xmpp.plugin["xep_0030"].add_identity(category="gateway", itype="xmpp", name="A gate")
        xmpp.plugin["xep_0092"].software_name = "gate"
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.presence: asyncio.Queue[tuple[str, str, str]] = asyncio.Queue()
        xmpp.add_event_handler("message", self._echo)
        xmpp.add_event_handler("presence", self._note)
        xmpp.add_event_handler("presence_subscribe", self._agree)
        xmpp.add_event_handler("presence_probe", self._answer)

    def _echo(self, message: Any) -> None:
        self.messages.put_nowait(message)
        if message["type"] == "chat":
            message.reply(message["body"].upper()).send()

    def _note(self, presence: Any) -> None:
        self.presence.put_nowait((presence["type"], str(presence["from"]), str(presence["to"])))

    def _agree(self, presence: Any) -> None:
        contact, person = presence["to"].bare, presence["from"].bare
        for type in ("subscribed", "available", "subscribe"):
            self.xmpp.send_presence(pto=person, pfrom=contact, ptype=type)

    def _answer(self, probe: Any) -> None:
        self.xmpp.send_presence(pto=probe["from"], pfrom=probe["to"].bare, pstatus="here again")

    async def connect(self, event: str = "session_start") -> None:
        """Connect, until `event`."""
        done = asyncio.ensure_future(self.xmpp.wait_until(event, PATIENCE))
        await asyncio.sleep(0)  # the waiting has begun
        self.xmpp.connect()
        await done

    async def noticed(self, wanted: tuple[str, str, str]) -> None:
        """Until this presence came."""
        async with asyncio.timeout(PATIENCE):
            while await self.presence.get() != wanted:
                pass

    async def close(self) -> None:
        """End the stream politely."""
        if self.xmpp.transport is not None:
            gone = asyncio.ensure_future(self.xmpp.wait_until("disconnected", PATIENCE))
            self.xmpp.disconnect(wait=PATIENCE)
            await gone

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.xmpp.cancel_connection_attempt()
        await self.close()
