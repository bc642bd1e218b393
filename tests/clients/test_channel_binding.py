"""SCRAM-…-PLUS by a client that can do it, over real TLS: bound logins, and those of somebody between."""

from __future__ import annotations

import pytest
from OpenSSL import SSL

from tests.clients.bound_client import BoundClient
from tests.clients.conftest import People
from tests.harness import PASSWORD, Msgd
from tests.negotiation.scram_client import ScramClient

_BINDINGS = ("tls-exporter", "tls-server-end-point")


def _scram(people: People, mechanism: str, type: str = "", data: bytes = b"", **more: str) -> ScramClient:
    return ScramClient(mechanism, people("romeo").partition("@")[0], PASSWORD, type, data, **more)


@pytest.mark.parametrize("direct", [False, True], ids=["STARTTLS", "direct TLS"])
@pytest.mark.parametrize("type", _BINDINGS)
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512-PLUS"])
def test_a_bound_login(server: Msgd, people: People, mechanism: str, type: str, direct: bool) -> None:
    with BoundClient(server.address(direct), direct=direct) as client:
        assert client.offered[0] == "SCRAM-SHA-512-PLUS"
        assert mechanism in client.offered
        assert tuple(client.bindings) == _BINDINGS
        assert client.log_in(_scram(people, mechanism, type, client.binding(type))) == ""
        assert client.bind().startswith(people("romeo") + "/")


def test_tls_1_2_binds_to_the_certificate_only(server: Msgd, people: People) -> None:
    with BoundClient(server.address(True), version=SSL.TLS1_2_VERSION) as client:
        assert client.bindings == ["tls-server-end-point"]
        exported = client.binding("tls-exporter")
        refused = _scram(people, "SCRAM-SHA-256-PLUS", "tls-exporter", exported)
        assert client.log_in(refused) == "not-authorized"
        data = client.binding("tls-server-end-point")
        assert client.log_in(_scram(people, "SCRAM-SHA-256-PLUS", "tls-server-end-point", data)) == ""


@pytest.mark.parametrize("type", _BINDINGS)
@pytest.mark.parametrize("data", [b"", bytes(32), b"\xff" * 64], ids=["none", "zeros", "longer"])
def test_wrong_binding_data_is_refused(server: Msgd, people: People, type: str, data: bytes) -> None:
    with BoundClient(server.address(True)) as client:
        assert client.log_in(_scram(people, "SCRAM-SHA-256-PLUS", type, data)) == "not-authorized"
        # It was the data: with the right one the same connection logs in.
        right = _scram(people, "SCRAM-SHA-256-PLUS", type, client.binding(type))
        assert client.log_in(right) == ""


def test_the_binding_of_another_connection_is_refused(server: Msgd, people: People) -> None:
    """Who sits between has a TLS connection of his own to the server, with other keys."""
    with BoundClient(server.address(True)) as victim, BoundClient(server.address(True)) as between:
        data = victim.binding("tls-exporter")
        assert data != between.binding("tls-exporter")
        login = _scram(people, "SCRAM-SHA-256-PLUS", "tls-exporter", data)
        assert between.log_in(login) == "not-authorized"


def test_the_right_data_of_the_wrong_type_is_refused(server: Msgd, people: People) -> None:
    with BoundClient(server.address(True)) as client:
        for type, other in (_BINDINGS, _BINDINGS[::-1]):
            login = _scram(people, "SCRAM-SHA-256-PLUS", type, client.binding(other))
            assert client.log_in(login) == "not-authorized"


def test_a_downgrade_is_noticed(server: Msgd, people: People) -> None:
    """'y': the client could bind, but was told that the server cannot: somebody took -PLUS off the list."""
    with BoundClient(server.address(True)) as client:
        assert client.log_in(_scram(people, "SCRAM-SHA-256", flag="y")) == "not-authorized"
        # A client that cannot bind says 'n', and is let in.
        assert client.log_in(_scram(people, "SCRAM-SHA-256", flag="n")) == ""
