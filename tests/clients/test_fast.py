"""Fast login by a client over real TLS: tokens bound to the channel, and round trips counted."""

from __future__ import annotations

import base64
import hmac
from typing import Final
from xml.etree.ElementTree import Element

import pytest
from OpenSSL import SSL

from tests.clients.bound_client import BoundClient
from tests.clients.conftest import People
from tests.harness import PASSWORD, Msgd
from tests.negotiation.scram_client import ScramClient

_SASL2: Final = "{urn:xmpp:sasl:2}"
_FAST: Final = "{urn:xmpp:fast:0}"
_SM: Final = "{urn:xmpp:sm:3}"
_AGENT: Final = "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>"
_TYPES: Final = {
    "HT-SHA-256-EXPR": "tls-exporter",
    "HT-SHA-256-ENDP": "tls-server-end-point",
    "HT-SHA-256-NONE": "",
}


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _token(client: BoundClient, name: str, mechanism: str) -> str:
    """Log in by password and ask for a token."""
    scram = ScramClient("SCRAM-SHA-256", name, PASSWORD)
    challenge = client.ask(
        f"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-256'>"
        f"<initial-response>{_encoded(scram.first())}</initial-response>{_AGENT}"
        f"<request-token xmlns='urn:xmpp:fast:0' mechanism='{mechanism}'/></authenticate>",
        _SASL2 + "challenge",
    )
    final = scram.final(base64.b64decode(challenge.text or ""))
    success = client.ask(
        f"<response xmlns='urn:xmpp:sasl:2'>{_encoded(final)}</response>", _SASL2 + "success"
    )
    token = success.find(_FAST + "token")
    assert token is not None
    return token.get("token", "")


def _proof(name: str, token: str, binding: bytes) -> str:
    hashed = hmac.digest(token.encode(), b"Initiator" + binding, "sha256")
    return _encoded(name.encode() + b"\0" + hashed)


def _authenticate(name: str, token: str, mechanism: str, binding: bytes, inline: str = "") -> str:
    return (
        f"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'>"
        f"<initial-response>{_proof(name, token, binding)}</initial-response>{_AGENT}"
        f"<fast xmlns='urn:xmpp:fast:0'/>{inline}</authenticate>"
    )


@pytest.mark.parametrize("mechanism", _TYPES)
def test_a_token_bound_to_the_channel(server: Msgd, people: People, mechanism: str) -> None:
    name = people("romeo").partition("@")[0]
    with BoundClient(server.address(True)) as client:
        token = _token(client, name, mechanism)
    with BoundClient(server.address(True)) as client:
        type = _TYPES[mechanism]
        binding = client.binding(type) if type else b""
        success = client.ask(_authenticate(name, token, mechanism, binding), _SASL2 + "success")
        answer = base64.b64decode(success.findtext(_SASL2 + "additional-data") or "")
        assert answer == hmac.digest(token.encode(), b"Responder" + binding, "sha256")


def test_what_was_bound_to_another_channel_is_refused(server: Msgd, people: People) -> None:
    name = people("romeo").partition("@")[0]
    with BoundClient(server.address(True)) as client:
        token = _token(client, name, "HT-SHA-256-EXPR")
        overheard = client.binding("tls-exporter")
    with BoundClient(server.address(True)) as client:
        request = _authenticate(name, token, "HT-SHA-256-EXPR", overheard)
        failure = client.ask(request, _SASL2 + "failure")
        assert failure[0].tag.endswith("}not-authorized")


def test_tls_1_2_has_no_token_for_the_exporter(server: Msgd, people: People) -> None:
    name = people("romeo").partition("@")[0]
    with BoundClient(server.address(True), version=SSL.TLS1_2_VERSION) as client:
        assert client.fast == ["HT-SHA-256-ENDP", "HT-SHA-256-NONE"]
        request = _authenticate(name, "x", "HT-SHA-256-EXPR", b"")
        failure = client.ask(request, _SASL2 + "failure")
        assert failure[0].tag.endswith("}invalid-mechanism")


# -- round trips -----------------------------------------------------------------------------------


def _online(client: BoundClient, request: str, last: str) -> list[Element]:
    """Send all of it at once, and read on until the element `last`."""
    found = [client.ask(request)]
    while found[-1].tag != last:
        found.append(client.ask(""))
    return found


def test_one_round_trip_from_tls_to_being_online(server: Msgd, people: People) -> None:
    """Header, token, binding, copies, stream management: one flight there, one back. Resumed as well."""
    name = people("romeo").partition("@")[0]
    with BoundClient(server.address(True)) as client:
        token = _token(client, name, "HT-SHA-256-EXPR")
    with BoundClient(server.address(True), open=False) as client:
        bind = (
            "<bind xmlns='urn:xmpp:bind:0'><tag>phone</tag><enable xmlns='urn:xmpp:carbons:2'/>"
            "<enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>"
        )
        binding = client.binding("tls-exporter")
        login = _authenticate(name, token, "HT-SHA-256-EXPR", binding, bind)
        events = _online(client, client.header() + login + "<presence/>", "{jabber:client}presence")
        assert client.round_trips == 1
        enabled = next(event.find(f".//{_SM}enabled") for event in events if event.tag == _SASL2 + "success")
        assert enabled is not None
        stream = enabled.get("id")
    with BoundClient(server.address(True), open=False) as client:
        resume = f"<resume xmlns='urn:xmpp:sm:3' h='1' previd='{stream}'/>" + bind
        binding = client.binding("tls-exporter")
        login = _authenticate(name, token, "HT-SHA-256-EXPR", binding, resume)
        ping = "<iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>"
        events = _online(client, client.header() + login + ping, "{jabber:client}iq")
        assert client.round_trips == 1
        assert any(event.find(_SM + "resumed") is not None for event in events)


def test_the_classic_way_takes_six(server: Msgd, people: People) -> None:
    """Without any of it, nor sent ahead: header, SASL twice, header, binding, stream management."""
    with BoundClient(server.address(True), open=False) as client:
        client.open_stream()
        assert client.log_in(ScramClient("SCRAM-SHA-256", people("romeo").partition("@")[0], PASSWORD)) == ""
        client.bind()
        client.ask("<enable xmlns='urn:xmpp:sm:3' resume='true'/>", _SM + "enabled")
        assert client.round_trips == 6
