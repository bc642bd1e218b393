"""What phones ask of a server, with real clients: pushes to an app server, relays for calls, blocking.

slixmpp has no plugins for XEP-0357 and XEP-0215; its publish-subscribe and data forms read what comes.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from tests.clients.conftest import People
from tests.clients.person import PATIENCE, Person
from tests.forks import ForkServer
from tests.harness import Msgd, NewAccount

_PUSH = "urn:xmpp:push:0"
_PUBSUB = "{http://jabber.org/protocol/pubsub}"
_SERVICES = "urn:xmpp:extdisco:2"


class AppServer(Person):
    """A client that stands where an app server stands, and takes every push: `pushes` has node and form."""

    def __init__(self, server: Msgd, jid: str) -> None:
        super().__init__(server, jid, plugins=("xep_0004", "xep_0060"))
        self.pushes: asyncio.Queue[tuple[str, dict[str, Any], dict[str, Any]]] = asyncio.Queue()
        self.xmpp.register_handler(
            Callback("push", MatchXPath(f"{{jabber:client}}iq/{_PUBSUB}pubsub"), self._take)
        )

    def _take(self, iq: Any) -> None:
        assert iq["from"] == "localhost"
        publish = iq["pubsub"]["publish"]
        notification = publish["item"]["payload"]
        assert notification.tag == f"{{{_PUSH}}}notification"
        read = self.xmpp.plugin["xep_0004"].stanza.Form
        form = read(xml=notification[0])
        options = read(xml=iq.xml.find(f".//{_PUBSUB}publish-options")[0])
        self.pushes.put_nowait((publish["node"], form.get_values(), options.get_values()))
        iq.reply().send()

    async def push(self) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """The next push."""
        return await asyncio.wait_for(self.pushes.get(), PATIENCE)


def _ask(person: Person, type: str, payload: Element, to: str = "") -> Any:
    iq = person.xmpp.make_iq(itype=type, ito=to or None)
    iq.append(payload)
    return iq.send(timeout=PATIENCE)


def _enable(person: Person, app: str, secret: str) -> Element:
    enable = Element(f"{{{_PUSH}}}enable", {"jid": app, "node": "n1"})
    form = person.xmpp.plugin["xep_0004"].make_form("submit")
    options = "http://jabber.org/protocol/pubsub#publish-options"
    form.add_field(var="FORM_TYPE", ftype="hidden", value=options)
    form.add_field(var="secret", value=secret)
    enable.append(form.xml)
    return enable


def test_an_app_server_wakes_a_phone(server: Msgd, people: People) -> None:
    async def scene() -> None:
        phone = Person(server, people("juliet") + "/phone", plugins=("xep_0004", "xep_0198"))
        async with (
            AppServer(server, people("nurse") + "/push") as app,
            Person(server, people("romeo") + "/orchard") as romeo,
        ):
            await phone.appear()
            own = await phone.xmpp.plugin["xep_0030"].get_info(phone.bare)
            assert _PUSH in own["disco_info"]["features"]
            await _ask(phone, "set", _enable(phone, app.jid, "eruio234vzxc2kla-91"), phone.bare)
            phone.cut()
            await phone.lost()
            romeo.say(phone.bare, "Wherefore?")
            node, form, options = await app.push()
            assert (node, form["message-count"]) == ("n1", "1")
            assert set(form) == {"FORM_TYPE", "message-count"}
            assert options["secret"] == "eruio234vzxc2kla-91"
            await phone.connect("session_resumed")
            assert (await phone.hear())["body"] == "Wherefore?"
            await phone.leave()
            romeo.say(phone.bare, "Gone?")
            assert (await app.push())[1]["message-count"] == "1"

    asyncio.run(scene())


def test_blocking_with_a_report(server: Msgd, people: People) -> None:
    async def scene() -> None:
        plugins = ("xep_0191", "xep_0377")
        async with (
            Person(server, people("juliet") + "/balcony", plugins=plugins) as juliet,
            Person(server, people("romeo") + "/orchard", plugins=plugins) as romeo,
        ):
            plugin = juliet.xmpp.plugin["xep_0191"]
            info = (await juliet.xmpp.plugin["xep_0030"].get_info("localhost"))["disco_info"]
            assert {"urn:xmpp:blocking", "urn:xmpp:reporting:1"} <= set(info["features"])
            assert await plugin.get_blocked_jids() == set()
            blocked = asyncio.ensure_future(juliet.xmpp.wait_until("blocked", PATIENCE))
            iq = juliet.xmpp.make_iq_set()
            iq["block"].append(_reported(juliet, romeo.bare))
            await iq.send(timeout=PATIENCE)
            await blocked
            assert await plugin.get_blocked_jids() == {romeo.bare}
            romeo.say(juliet.bare, "Buy!")
            assert (await romeo.hear())["error"]["condition"] == "service-unavailable"
            assert f"{juliet.bare} {romeo.bare} spam Never came trouble" in server.command("reports")
            await plugin.unblock(romeo.bare)
            romeo.say(juliet.bare, "Sorry")
            assert (await juliet.hear())["body"] == "Sorry"

    asyncio.run(scene())


def _reported(person: Person, whom: str) -> Any:
    from slixmpp.plugins.xep_0191 import BlockItem

    item = BlockItem()
    item["jid"] = whom
    item["report"]["reason"] = "urn:xmpp:reporting:spam"
    item["report"]["text"] = "Never came trouble"
    return item


def _service(secret: str, port: int) -> str:
    return (
        f'external_services.service = [{{type = "turn", host = "192.0.2.1", port = {port}, '
        f'secret = "{secret}"}}]'
    )


def test_relays_for_calls_change_while_somebody_is_there(tmp_path: Path, forks: ForkServer) -> None:
    server = Msgd(tmp_path / "data", [_service("one", 3478)], [NewAccount("juliet")], forks=forks)
    server.start()

    async def scene() -> None:
        news: asyncio.Queue[Any] = asyncio.Queue()
        async with Person(server, "juliet@localhost/phone") as juliet:
            path = f"{{jabber:client}}iq/{{{_SERVICES}}}services"
            juliet.xmpp.register_handler(Callback("services", MatchXPath(path), news.put_nowait))
            services = Element(f"{{{_SERVICES}}}services", {"type": "turn"})
            answer = await _ask(juliet, "get", services, "localhost")
            assert (await news.get())["type"] == "result"
            (found,) = answer.xml.iter(f"{{{_SERVICES}}}service")
            assert (found.get("host"), found.get("port"), found.get("restricted")) == (
                "192.0.2.1",
                "3478",
                "true",
            )
            credentials = Element(f"{{{_SERVICES}}}credentials")
            SubElement(credentials, f"{{{_SERVICES}}}service", {"type": "turn", "host": "192.0.2.1"})
            (given,) = (await _ask(juliet, "get", credentials, "localhost")).xml.iter(found.tag)
            assert given.get("username", "").partition(":")[2] == found.get("username", "").partition(":")[2]
            server.configure([_service("one", 5349)])
            server.reload()
            told = await asyncio.wait_for(news.get(), PATIENCE)
            assert told["type"] == "set"
            said = [(each.get("action"), each.get("port")) for each in told.xml.iter(found.tag)]
            assert said == [("add", "5349"), ("delete", "3478")]

    try:
        asyncio.run(scene())
    finally:
        server.stop()
    assert "Traceback" not in server.log.read_text()
