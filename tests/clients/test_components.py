"""A gateway on slixmpp's component, and people who use it with slixmpp's client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from slixmpp.exceptions import IqError

from tests.clients.conftest import People
from tests.clients.gateway import Gateway
from tests.clients.person import Person
from tests.clients.test_resumption import enabled
from tests.forks import ForkServer
from tests.harness import Msgd, NewAccount

GATE, SECRET = "gate.localhost", "open sesame"
NURSE = f"nurse@{GATE}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, forks: ForkServer) -> Iterator[Msgd]:
    accounts = [NewAccount(f"{name}-{number}") for name in ("romeo", "juliet") for number in range(60)]
    options = [f'component."{GATE}".secret = "{SECRET}"']
    made = Msgd(tmp_path_factory.mktemp("components"), options, accounts, forks=forks)
    made.start()
    yield made
    made.stop()
    assert "Traceback" not in made.log.read_text()


async def befriend(person: Person, contact: str) -> None:
    """The person asks, the gateway agrees and asks back, the person agrees."""
    person.xmpp.send_presence_subscription(contact)
    assert await person.asked() == contact
    person.xmpp.send_presence_subscription(contact, ptype="subscribed")
    await person.until(lambda: person.subscription(contact) == "both")


def test_people_talk_to_contacts_of_a_gateway(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with (
            Gateway(server, GATE, SECRET) as gate,
            Person(server, people("romeo") + "/orchard") as romeo,
            Person(server, people("juliet") + "/balcony") as juliet,
        ):
            for person in (romeo, juliet):
                await befriend(person, GATE)
                await befriend(person, NURSE)
                await person.until(lambda person=person: person.sees(NURSE))  # type: ignore[misc]  # the loop's
                await gate.noticed(("available", person.jid, NURSE))
            for text in ("where is romeo?", "kde jsi? שלום 👩‍❤️‍👨", "<b>&amp;</b>", "x" * 50_000):
                juliet.say(NURSE, text)
                answer = await juliet.hear()
                assert (answer["body"], answer["from"]) == (text.upper(), NURSE)
            gate.xmpp.send_message(romeo.bare, "hello", mfrom=f"{NURSE}/kitchen", mtype="chat")
            heard = await romeo.hear()
            assert (heard["body"], heard["from"]) == ("hello", f"{NURSE}/kitchen")

            gate.xmpp.send_presence(pto=romeo.bare, pfrom=NURSE, pshow="away", pstatus="Busy")
            await romeo.until(lambda: romeo.sees(NURSE).get("", {}).get("status") == "Busy")
            await romeo.announce(pshow="dnd")
            await gate.noticed(("dnd", romeo.jid, NURSE))
            await romeo.leave()
            await gate.noticed(("unavailable", romeo.jid, NURSE))

    asyncio.run(scene())


def test_what_clients_and_components_ask_each_other(server: Msgd, people: People) -> None:
    async def scene() -> None:
        plugins = ("xep_0092",)
        async with (
            Gateway(server, GATE, SECRET) as gate,
            Person(server, people("romeo") + "/orchard", plugins=plugins) as romeo,
        ):
            romeo.xmpp.plugin["xep_0092"].software_name = "Orchard"
            listed = await romeo.xmpp.plugin["xep_0030"].get_items("localhost")
            assert {item[0] for item in listed["disco_items"]["items"]} == {GATE}
            for asker, asked, name in (
                (romeo, GATE, "gate"),
                (gate, romeo.jid, "Orchard"),
                (gate, "localhost", "msgd"),
            ):
                plugin, sender = asker.xmpp.plugin, {} if asker is romeo else {"ifrom": GATE}
                info = await plugin["xep_0030"].get_info(asked, **sender)
                assert "urn:xmpp:ping" in info["disco_info"]["features"]
                assert await plugin["xep_0199"].ping(asked, **sender) >= 0
                version = await plugin["xep_0092"].get_version(asked, **sender)
                assert version["software_version"]["name"] == name
            with pytest.raises(IqError) as refused:
                await gate.xmpp.plugin["xep_0030"].get_info("nobody@localhost/x", ifrom=NURSE, timeout=30)
            # slixmpp looks for errors in the namespace of clients; on this stream they are in another.
            error = refused.value.iq.xml.find("{jabber:component:accept}error")
            assert error[0].tag == "{urn:ietf:params:xml:ns:xmpp-stanzas}service-unavailable"

    asyncio.run(scene())


def test_a_gateway_restarts_and_asks_who_is_there(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with Person(server, people("romeo") + "/orchard") as romeo:
            async with Gateway(server, GATE, SECRET):
                await befriend(romeo, NURSE)
            romeo.say(NURSE, "anybody?")
            answer = await romeo.hear()
            assert (answer["type"], answer["error"]["type"]) == ("error", "wait")
            async with Gateway(server, GATE, SECRET) as gate:
                gate.xmpp.send_presence(pto=romeo.bare, pfrom=NURSE, ptype="probe")
                await gate.noticed(("available", romeo.jid, NURSE))
                romeo.say(NURSE, "again")
                assert (await romeo.hear())["body"] == "AGAIN"
                # Another device comes: the server asks for it.
                async with Person(server, romeo.bare + "/tomb") as tomb:
                    await tomb.until(lambda: tomb.sees(NURSE))

    asyncio.run(scene())


def test_a_component_with_the_wrong_secret_is_refused(server: Msgd) -> None:
    async def scene() -> None:
        gate = Gateway(server, GATE, "wrong")
        errors: asyncio.Queue[str] = asyncio.Queue()
        gate.xmpp.add_event_handler("stream_error", lambda error: errors.put_nowait(error["condition"]))
        await gate.connect("disconnected")
        gate.xmpp.cancel_connection_attempt()
        assert await asyncio.wait_for(errors.get(), 30) == "not-authorized"
        async with Gateway(server, GATE, SECRET):
            pass

    asyncio.run(scene())


def test_the_client_of_a_gateway_is_cut_off_and_resumes(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with Gateway(server, GATE, SECRET) as gate:
            romeo = Person(server, people("romeo") + "/orchard", plugins=("xep_0198", "xep_0092"))
            await enabled(romeo)
            await befriend(romeo, NURSE)
            # The answer, a message, a request and presence come while Romeo is away.
            lost = asyncio.ensure_future(romeo.lost())
            romeo.say(NURSE, "one")
            await romeo.written()
            romeo.cut()
            await lost
            gate.xmpp.send_presence(pto=romeo.bare, pfrom=NURSE, pstatus="Late")
            gate.xmpp.send_message(romeo.jid, "two", mfrom=NURSE, mtype="chat")
            version = asyncio.ensure_future(
                gate.xmpp.plugin["xep_0092"].get_version(romeo.jid, ifrom=GATE, timeout=30)
            )
            await gate.xmpp.plugin["xep_0199"].ping("localhost", ifrom=GATE)  # the server has it all
            await romeo.connect("session_resumed")
            assert {(await romeo.hear())["body"] for _ in range(2)} == {"ONE", "two"}
            assert (await version)["software_version"]["name"]
            await romeo.until(lambda: romeo.sees(NURSE).get("", {}).get("status") == "Late")
            # It was never gone.
            assert all(type != "unavailable" for type, _, _ in gate.presence._queue)  # type: ignore[attr-defined]  # to look
            await romeo.acknowledged()
            await romeo.leave()
            await gate.noticed(("unavailable", romeo.jid, NURSE))

    asyncio.run(scene())
