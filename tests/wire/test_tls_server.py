"""TLS at the doors of a real server: versions, names, protocols, renegotiation, handshakes that stop.

RFC 7590, XEP-0368; the stream inside is the business of the transcripts.
"""

from __future__ import annotations

import socket
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from OpenSSL import SSL

from tests.forks import ForkServer
from tests.harness import Msgd

_PATIENCE = 20.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, forks: ForkServer) -> Iterator[Msgd]:
    """A server for all of them."""
    server = Msgd(tmp_path_factory.mktemp("tls") / "data", movable=True, forks=forks)
    server.start()
    yield server
    server.stop()


def _context(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    if version is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # old versions are what is tested
            context.minimum_version = context.maximum_version = version
    return context


def _connect(server: Msgd) -> socket.socket:
    return socket.create_connection(server.address(direct=True), timeout=_PATIENCE)


def _stream_header(connection: ssl.SSLSocket) -> bytes:
    """What comes back when a stream is opened."""
    connection.sendall(
        b"<stream:stream to='localhost' version='1.0' xmlns='jabber:client'"
        b" xmlns:stream='http://etherx.jabber.org/streams'>"
    )
    answer = b""
    while b"</stream:features>" not in answer:
        piece = connection.recv(65536)
        assert piece, answer
        answer += piece
    return answer


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions_that_are_spoken(server: Msgd, version: ssl.TLSVersion) -> None:
    with _context(version).wrap_socket(_connect(server), server_hostname="localhost") as connection:
        assert b"SCRAM-SHA-256-PLUS" in _stream_header(connection)
        assert connection.compression() is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_versions_that_are_not(server: Msgd, version: ssl.TLSVersion) -> None:
    with _connect(server) as connection, pytest.raises(OSError, match=r"(?i)alert|version|reset"):
        _context(version).wrap_socket(connection, server_hostname="localhost")


@pytest.mark.parametrize("cipher", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "NULL-SHA"])
def test_ciphers_without_forward_secrecy_or_authentication(server: Msgd, cipher: str) -> None:
    context = _context(ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")
    with _connect(server) as connection, pytest.raises(OSError, match=r"(?i)handshake|reset"):
        context.wrap_socket(connection, server_hostname="localhost")


@pytest.mark.parametrize("name", [None, "localhost", "LOCALHOST", "unknown.example", "a.b." * 50 + "c"])
def test_any_server_name_gets_a_certificate(server: Msgd, name: str | None) -> None:
    """The client decides whether it is the right one; the stream header names the domain."""
    with _context().wrap_socket(_connect(server), server_hostname=name) as connection:
        assert b"<stream:features>" in _stream_header(connection)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["xmpp-client"], "xmpp-client"),
        (["h2", "xmpp-client"], "xmpp-client"),
        (["xmpp-server"], None),
        (["h2", "http/1.1"], None),
        ([], None),
    ],
)
def test_application_protocol(server: Msgd, offered: list[str], chosen: str | None) -> None:
    context = _context()
    if offered:
        context.set_alpn_protocols(offered)
    with context.wrap_socket(_connect(server), server_hostname="localhost") as connection:
        assert connection.selected_alpn_protocol() == chosen


def test_no_renegotiation(server: Msgd) -> None:
    """CVE-2021-32920: it costs the server far more than who asks for it."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    with _connect(server) as plain:
        plain.settimeout(None)
        connection = SSL.Connection(context, plain)
        connection.set_connect_state()
        connection.do_handshake()
        connection.renegotiate()
        with pytest.raises(SSL.Error, match="no renegotiation"):
            connection.do_handshake()


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"<?xml version='1.0'?><stream:stream to='localhost'>",
        b"\x16\x03\x01\xff\xff" + b"\x00" * 100,
        b"\x00" * 64,
        b"\x80\x2e\x01\x00\x02",
    ],
    ids=["HTTP", "XML", "length", "zeros", "SSLv2"],
)
def test_what_is_no_handshake_is_cut_off(server: Msgd, said: bytes) -> None:
    with _connect(server) as connection:
        connection.sendall(said)
        while True:
            try:
                if not connection.recv(65536):
                    return
            except ConnectionResetError:
                return


def test_half_a_handshake_is_not_held(server: Msgd) -> None:
    """A connection that stops in the middle of it goes when the time for negotiation is over."""
    outgoing = ssl.MemoryBIO()
    client = _context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    with _connect(server) as connection:
        connection.sendall(hello[: len(hello) // 2])
        while not _streams(server):
            pass
        server.advance(61)
        try:
            while connection.recv(65536):
                pass
        except ConnectionResetError:
            pass
    while _streams(server):
        pass


def _streams(server: Msgd) -> int:
    """How many connections are not logged in."""
    for line in server.command("status").splitlines():
        if line.startswith("streams not logged in"):
            return int(line.split()[-1])
    raise AssertionError(server.command("status"))


def test_certificate_made_at_the_first_start(server: Msgd, tmp_path: Path) -> None:
    """Self-signed, for the domain, not usable as an authority."""
    from cryptography import x509

    with _context().wrap_socket(_connect(server), server_hostname="localhost") as connection:
        der = connection.getpeercert(binary_form=True)
    assert der is not None
    certificate = x509.load_der_x509_certificate(der)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "localhost" in names.get_values_for_type(x509.DNSName)
