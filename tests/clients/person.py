"""Somebody with a real client, slixmpp: login, roster, chat, resumption, each awaited by its event."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from slixmpp import ClientXMPP

from tests.harness import PASSWORD

#: Seconds that anything may take; on a busy machine much less is enough.
PATIENCE: Final = 30.0
#: What every client here can do.
PLUGINS: Final = ("xep_0030", "xep_0115", "xep_0199", "xep_0203", "xep_0359")
#: Events after which the client may know something new.
_NEWS: Final = ("roster_update", "message", "presence", "changed_status", "stanza_acked")


class Home(Protocol):
    """A server with accounts."""

    domain: str
    data: Path

    def address(self, direct: bool = False) -> tuple[str, int]:
        """Where clients connect."""


class LoginFailed(Exception):
    """The server did not let the client in; the text is the SASL condition, or why else."""


class Person:
    """One resource with a client. `async with` logs in and, when it is over, says farewell.

    The certificate of the server is verified, as people's clients do it. `xmpp` is the slixmpp client
    itself, `messages` holds what came and was not read.
    """

    def __init__(
        self,
        server: Home,
        jid: str,
        *,
        direct: bool = False,
        mechanism: str | None = None,
        password: str = PASSWORD,
        plugins: tuple[str, ...] = (),
        trusted: Path | None = None,
    ) -> None:
        """`trusted` has who signed the server's certificate; by default the server itself."""
        self.server = server
        self.direct = direct
        certificate = trusted or server.data / "certificates" / f"{server.domain}.crt"
        context = ssl.create_default_context(cafile=str(certificate))
        xmpp: Any = ClientXMPP(jid, password, sasl_mech=mechanism, ssl_context=context)
        self.xmpp = xmpp
        xmpp.enable_direct_tls, xmpp.enable_starttls = direct, not direct
        xmpp.auto_authorize = xmpp.auto_subscribe = None  # people decide themselves
        for plugin in (*PLUGINS, *plugins):
            xmpp.register_plugin(plugin)
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.requests: asyncio.Queue[str] = asyncio.Queue()
        self._news = asyncio.Event()
        xmpp.add_event_handler("message", self.messages.put_nowait)
        xmpp.add_event_handler(
            "presence_subscribe", lambda presence: self.requests.put_nowait(presence["from"].bare)
        )
        for event in _NEWS:
            xmpp.add_event_handler(event, lambda _: self._news.set())

    @property
    def jid(self) -> str:
        """The full address."""
        return str(self.xmpp.boundjid.full)

    @property
    def bare(self) -> str:
        """The address of the account."""
        return str(self.xmpp.boundjid.bare)

    # -- in and out ----------------------------------------------------------------------------

    async def connect(self, event: str = "session_start") -> None:
        """Connect and log in, until `event`. Raises LoginFailed."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        refused: list[str] = []

        def fail(reason: object) -> None:
            if not done.done():
                done.set_exception(LoginFailed(", ".join(refused) or str(reason)))

        def succeed(_: object) -> None:
            if not done.done():
                done.set_result(None)

        handlers: dict[str, Callable[[Any], None]] = {
            event: succeed,
            "failed_auth": lambda failure: refused.append(failure["condition"]),
            "failed_all_auth": fail,
            "connection_failed": fail,
            "disconnected": fail,
        }
        for name, handler in handlers.items():
            self.xmpp.add_event_handler(name, handler)
        try:
            self.xmpp.connect(*self.server.address(self.direct))
            await asyncio.wait_for(done, PATIENCE)
        finally:
            for name, handler in handlers.items():
                self.xmpp.del_event_handler(name, handler)

    async def appear(self) -> None:
        """Log in, fetch the roster and be available, as clients do."""
        await self.connect()
        await self.roster()
        await self.announce()

    async def announce(self, **presence: object) -> None:
        """Send presence to all, until it is known to our own client too."""
        reflected = asyncio.ensure_future(self.xmpp.wait_until("presence", PATIENCE))
        await asyncio.sleep(0)  # the waiting has begun
        self.xmpp.send_presence(**presence)
        await reflected

    def cut(self) -> None:
        """The network drops: the connection is gone, without a word."""
        self.xmpp.transport.abort()

    async def lost(self) -> None:
        """Until the client knows that its connection is gone."""
        if self.xmpp.transport is not None:
            await self.xmpp.wait_until("disconnected", PATIENCE)

    async def leave(self) -> None:
        """End the stream politely."""
        if self.xmpp.transport is not None:
            gone = asyncio.ensure_future(self.lost())
            self.xmpp.disconnect(wait=PATIENCE)
            await gone

    async def __aenter__(self) -> Self:
        await self.appear()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.xmpp.cancel_connection_attempt()
        if kind is None:
            await self.leave()
        elif self.xmpp.transport is not None:
            self.cut()

    # -- what people do ------------------------------------------------------------------------

    async def roster(self) -> dict[str, str]:
        """Fetch the whole roster, whatever version we have: the subscription of each contact."""
        self.xmpp.client_roster.version = ""
        answer = await self.xmpp.get_roster(timeout=PATIENCE)
        return {str(jid): item["subscription"] for jid, item in answer["roster"]["items"].items()}

    def say(self, to: str, text: str) -> Any:
        """Send a chat message; the stanza."""
        message = self.xmpp.make_message(to, text, mtype="chat")
        message["id"] = self.xmpp.new_id()
        message.send()
        return message

    async def hear(self) -> Any:
        """The next message."""
        return await asyncio.wait_for(self.messages.get(), PATIENCE)

    async def written(self) -> None:
        """Until what was said is written; slixmpp would write the rest to the next connection."""
        await asyncio.wait_for(self.xmpp.waiting_queue.join(), PATIENCE)

    async def acknowledged(self) -> None:
        """Until the server has acknowledged everything (with stream management)."""
        await self.written()
        self.xmpp.plugin["xep_0198"].request_ack()
        await self.until(lambda: not self.xmpp.plugin["xep_0198"].unacked_queue)

    async def asked(self) -> str:
        """Who asks next to see our presence."""
        return await asyncio.wait_for(self.requests.get(), PATIENCE)

    async def until(self, condition: Callable[[], object]) -> None:
        """Until the client knows something, looked at whenever something came."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def subscription(self, contact: str) -> str:
        """How the client has this contact in its roster; empty when it has not."""
        roster = self.xmpp.client_roster
        return str(roster[contact]["subscription"]) if contact in roster else ""

    def sees(self, contact: str) -> dict[str, Any]:
        """The resources of a contact that are there, with what they said of themselves."""
        roster = self.xmpp.client_roster
        return dict(roster.presence(contact)) if contact in roster else {}
