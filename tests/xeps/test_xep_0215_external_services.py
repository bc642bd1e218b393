"""External services: what a relay that shares a secret can check, and who is told of changes."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from msgd.sections import Service
from msgd.wire.jid import JID
from msgd.xeps.xep_0215_external_services import ExternalServices, credentials
from tests.routing.world import Client, World

_JULIET, _ROMEO = JID.parse("juliet@localhost"), JID.parse("romeo@localhost")
_SERVICE = "{urn:xmpp:extdisco:2}services/{urn:xmpp:extdisco:2}service"
_TURN = Service(type="turn", host="192.0.2.1", port=3478, secret="south wind", lifetime=3600)
_STUN = Service(type="stun", host="192.0.2.1", port=3478)


def test_the_relay_can_check_them_by_itself() -> None:
    given = credentials(_TURN, _JULIET, 1_700_000_000.9)
    expires, _, pseudonym = given["username"].partition(":")
    assert (expires, given["expires"]) == ("1700003600", "2023-11-14T23:13:20Z")
    made = hmac.digest(b"south wind", given["username"].encode(), "sha1")
    assert base64.b64decode(given["password"]) == made
    assert "juliet" not in pseudonym
    assert credentials(_TURN, _JULIET, 0)["username"].endswith(f":{pseudonym}")
    assert not credentials(_TURN, _ROMEO, 0)["username"].endswith(f":{pseudonym}")


def test_fixed_ones_and_none() -> None:
    fixed = Service(type="turn", host="relay", username="guest", password="guest")
    assert credentials(fixed, _JULIET, 0) == {"username": "guest", "password": "guest"}
    assert credentials(_STUN, _JULIET, 0) == {}


class Services(World):
    """A server whose services change."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.extension = ExternalServices(self.router)
        self.router.extensions.load(self.extension)
        self.extension.start()

    def change(self, *services: Service) -> None:
        """As a reload of the configuration does."""
        config = self.router.config
        section = replace(config.external_services, service=services)
        self.extension.config = self.router.config = replace(config, external_services=section)
        self.router.note("configuration-changed", ["external_services.service"])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Services]:
    """A world of its own for each test."""
    made = Services(tmp_path)
    yield made
    made.close()


def _ask(client: Client, type: str = "") -> None:
    wanted = f" type='{type}'" if type else ""
    text = f"<iq type='get' id='1' to='localhost'><services xmlns='urn:xmpp:extdisco:2'{wanted}/></iq>"
    assert [each.get("type") for each in client.exchanges(text)] == ["result"]


def _told(client: Client) -> list[list[tuple[str | None, ...]]]:
    return [
        [(each.get("action"), each.get("type"), each.get("port")) for each in iq.findall(_SERVICE)]
        for iq in client.elements()
        if iq.get("type") == "set"
    ]


def test_who_asked_is_told_of_what_changed(world: Services) -> None:
    world.change(_STUN)
    all_of_them = world.connects("juliet@localhost/balcony")
    turn = world.connects("romeo@localhost/orchard")
    nothing = world.connects("nurse@localhost/house")
    _ask(all_of_them)
    _ask(turn, "turn")
    _ask(turn, "turn")
    world.change(_STUN, _TURN)
    assert _told(all_of_them) == _told(turn) == [[("add", "turn", "3478")]]
    world.change(_STUN, replace(_TURN, lifetime=60))
    assert _told(all_of_them) == _told(turn) == [[("modify", "turn", "3478")]]
    world.change(replace(_TURN, lifetime=60))
    assert _told(all_of_them) == [[("delete", "stun", "3478")]]
    assert _told(turn) == []
    world.change()
    assert _told(all_of_them) == _told(turn) == [[("delete", "turn", "3478")]]
    assert _told(nothing) == []


def test_types_without_end_are_all_of_them(world: Services) -> None:
    client = world.connects("juliet@localhost/balcony")
    for number in range(1000):
        _ask(client, f"t{number}")
    assert client.session.extras is not None
    assert len(client.session.extras["external services"]) <= 10
    world.change(_STUN)
    assert _told(client) == [[("add", "stun", "3478")]]
