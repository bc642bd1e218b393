"""-PLUS over real TLS: both ends take the binding from their own end of the connection."""

import hashlib

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from msgd.negotiation.sasl import Challenge, SaslExchange, SaslFailure, Success, offered_mechanisms
from msgd.wire.jid import JID
from msgd.wire.tls import ConnectionBindings
from tests.accounts.world import World
from tests.negotiation.scram_client import ScramClient

ROMEO = JID.parse("romeo@montague.example")


def _connected(version: int) -> tuple[SSL.Connection, SSL.Connection]:
    """Return client and server after a handshake in memory."""
    authority = trustme.CA()
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    authority.issue_cert("montague.example").configure_cert(context)
    client_context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    client_context.set_max_proto_version(version)
    client, server = SSL.Connection(client_context), SSL.Connection(context)
    client.set_connect_state()
    server.set_accept_state()
    waiting = {client, server}
    while waiting:
        for end, other in ((client, server), (server, client)):
            try:
                end.do_handshake()
                waiting.discard(end)
            except SSL.WantReadError:
                pass
            try:
                other.bio_write(end.bio_read(100_000))
            except SSL.WantReadError:
                pass
    return client, server


def _client_data(client: SSL.Connection, type: str) -> bytes:
    if type == "tls-exporter":
        return bytes(client.export_keying_material(b"EXPORTER-Channel-Binding", 32))
    certificate = client.get_peer_certificate(as_cryptography=True)
    assert certificate is not None
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()


def _log_in(world: World, server: SSL.Connection, type: str, data: bytes) -> None:
    bindings = ConnectionBindings(server)
    client = ScramClient("SCRAM-SHA-256-PLUS", "romeo", "wherefore", type, data)
    exchange = SaslExchange(
        client.mechanism,
        "montague.example",
        world.accounts,
        bindings,
        offered_mechanisms(bindings.types()),
    )
    challenge = world.wait(exchange.respond(client.first()))
    assert isinstance(challenge, Challenge)
    success = world.wait(exchange.respond(client.final(challenge.data)))
    assert isinstance(success, Success)
    client.verify(success.data)


@pytest.mark.parametrize(
    ("version", "type"),
    [
        (SSL.TLS1_3_VERSION, "tls-exporter"),
        (SSL.TLS1_3_VERSION, "tls-server-end-point"),
        (SSL.TLS1_2_VERSION, "tls-server-end-point"),
    ],
)
def test_login_is_bound_to_the_tls_connection(world: World, version: int, type: str) -> None:
    world.wait(world.accounts.create(ROMEO, "wherefore"))
    client, server = _connected(version)
    data = _client_data(client, type)
    _log_in(world, server, type, data)
    _, other_server = _connected(version)  # as somebody between would have
    with pytest.raises(SaslFailure, match="not-authorized"):
        _log_in(world, other_server, type, data)


def test_tls_1_2_does_not_offer_the_exporter(world: World) -> None:
    world.wait(world.accounts.create(ROMEO, "wherefore"))
    client, server = _connected(SSL.TLS1_2_VERSION)
    with pytest.raises(SaslFailure, match="not supported"):
        _log_in(world, server, "tls-exporter", _client_data(client, "tls-exporter"))
