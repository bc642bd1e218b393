"""Log-in with each mechanism, over STARTTLS and direct TLS, with the certificate verified."""

from __future__ import annotations

import asyncio

import pytest

from tests.clients.conftest import People
from tests.clients.person import LoginFailed, Person
from tests.harness import Msgd


@pytest.mark.parametrize("direct", [False, True], ids=["STARTTLS", "direct TLS"])
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_login(server: Msgd, people: People, mechanism: str, direct: bool) -> None:
    async def scene() -> None:
        async with Person(server, people("romeo") + "/orchard", mechanism=mechanism, direct=direct) as romeo:
            assert romeo.jid == people("romeo") + "/orchard"
            assert romeo.xmpp.plugin["feature_mechanisms"].mech.name == mechanism
            assert ("starttls" in romeo.xmpp.features) is not direct
            assert romeo.xmpp.socket.version() == "TLSv1.3"
            assert await romeo.xmpp.plugin["xep_0199"].ping("localhost") >= 0

    asyncio.run(scene())


def test_a_client_that_may_choose_takes_the_strongest(server: Msgd, people: People) -> None:
    async def scene() -> None:
        async with Person(server, people("romeo")) as romeo:
            # It knows the -PLUS mechanisms, but Python's ssl cannot give it what they need.
            assert romeo.xmpp.plugin["feature_mechanisms"].mech.name == "SCRAM-SHA-512"
            assert romeo.jid.partition("/")[2]  # a resource of the server's choice

    asyncio.run(scene())


@pytest.mark.parametrize("name", ["romeo", "nobody"])
def test_a_wrong_password_is_refused_as_is_a_stranger(server: Msgd, people: People, name: str) -> None:
    async def scene() -> None:
        with pytest.raises(LoginFailed, match="^not-authorized"):
            await Person(server, people(name), password="wrong").connect()

    asyncio.run(scene())


def test_these_clients_verify_the_certificate(server: Msgd, people: People) -> None:
    async def scene() -> None:
        romeo = Person(server, people("romeo"), direct=True)
        romeo.xmpp.ssl_context.check_hostname = True
        romeo.xmpp.default_domain = "capulet.example"  # a name that the certificate has not
        with pytest.raises(LoginFailed, match="(?i)certificate"):
            await romeo.connect()
        romeo.xmpp.cancel_connection_attempt()

    asyncio.run(scene())
