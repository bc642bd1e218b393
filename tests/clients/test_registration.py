"""In-band registration (XEP-0077) with a real client: a new account, its password, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from slixmpp.exceptions import IqError

from tests.clients.conftest import People
from tests.clients.person import LoginFailed, Person
from tests.forks import ForkServer
from tests.harness import Msgd

_REGISTER = ("xep_0077",)


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory, forks: ForkServer) -> Iterator[Msgd]:
    """A server where everybody may have an account."""
    server = Msgd(tmp_path_factory.mktemp("open"), ["registration.open = true"], forks=forks)
    server.start()
    yield server
    server.stop()
    assert "Traceback" not in server.log.read_text()


def _newcomer(server: Msgd, jid: str, conditions: list[str]) -> Person:
    """Somebody who registers before logging in; why it failed is noted in `conditions`."""
    person = Person(server, jid, password="first", plugins=_REGISTER)

    async def register(_: object) -> None:
        iq = person.xmpp.make_iq(itype="set")
        iq["to"] = "localhost"
        iq["register"]["username"] = person.xmpp.requested_jid.user
        iq["register"]["password"] = person.xmpp.password
        try:
            await iq.send(timeout=30)
        except IqError as error:
            conditions.append(error.condition)

    person.xmpp.add_event_handler("register", register)
    return person


def test_an_account_from_beginning_to_end(open_server: Msgd) -> None:
    async def scene() -> None:
        conditions: list[str] = []
        async with _newcomer(open_server, "paris@localhost/square", conditions) as paris:
            async with Person(open_server, "paris@localhost/home", password="first") as home:
                gone = asyncio.ensure_future(home.lost())
                await paris.xmpp.plugin["xep_0077"].change_password("second")
                await gone  # who knows only the old password is thrown out; who changed it stays
                assert await paris.xmpp.plugin["xep_0199"].ping("localhost") >= 0
            with pytest.raises(LoginFailed, match="^not-authorized"):
                await Person(open_server, "paris@localhost", password="first").connect()
            # The name is taken now.
            other = _newcomer(open_server, "Paris@localhost", conditions)
            other.xmpp.password = "third"
            with pytest.raises(LoginFailed, match="^not-authorized"):
                await other.connect()
            assert conditions == ["conflict"]
            gone = asyncio.ensure_future(paris.lost())
            await paris.xmpp.plugin["xep_0077"].cancel_registration()
            await gone
        with pytest.raises(LoginFailed, match="^not-authorized"):
            await Person(open_server, "paris@localhost", password="second").connect()

    asyncio.run(scene())


def test_where_registration_is_closed_clients_see_no_offer(server: Msgd, people: People) -> None:
    async def scene() -> None:
        conditions: list[str] = []
        romeo = _newcomer(server, people("romeo"), conditions)
        romeo.xmpp.password = "secret"
        async with romeo:
            assert "register" not in romeo.xmpp.features
            # Changing the password works always.
            await romeo.xmpp.plugin["xep_0077"].change_password("new secret")
        assert not conditions
        async with Person(server, people("romeo"), password="new secret"):
            pass

    asyncio.run(scene())
