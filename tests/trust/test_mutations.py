"""Whatever a client sends, it is answered in XML or its stream ends with an error; nobody else is touched.

MSGD_MUTATIONS says how many inputs are tried at each stage (150); the same ones each time.
"""

from __future__ import annotations

import base64
import hashlib
import os
import random
import re
from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element, tostring

import pytest

from tests.forks import ForkServer
from tests.harness import PASSWORD, Msgd, NewAccount
from tests.specification.connection import Connection, End
from tests.trust.mutation import mutated

_COUNT: Final = int(os.environ.get("MSGD_MUTATIONS", "150"))
_OPTIONS: Final = (
    "login.plain = true",
    "login.failures_per_address = 0",
    "login.failures_per_account = 0",
    "registration.open = true",
    'component."gate.localhost" = { secret = "open sesame", conflict = "replace" }',
)
_COMPONENT_HEADER: Final = (
    b"<stream:stream to='gate.localhost' xmlns='jabber:component:accept'"
    b" xmlns:stream='http://etherx.jabber.org/streams'>"
)
_WITHOUT_SENDER: Final = re.compile(rb"<(message|presence|iq)\b(?![^>]*\bfrom=)")
_HEADER: Final = (
    b"<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client'"
    b" xmlns:stream='http://etherx.jabber.org/streams'>"
)
#: No XML can have it, at no place: whatever came before, the stream is over now.
_END_OF_EVERYTHING: Final = b"\x00"
_PROCEED: Final = "{urn:ietf:params:xml:ns:xmpp-tls}proceed"
_PING: Final = b"<iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, forks: ForkServer) -> Iterator[Msgd]:
    # An input may delete the account from which it comes, or change its password: each has its own.
    own = (f"romeo-{managed}-{number}" for managed in ("false", "true") for number in range(_COUNT))
    accounts = [NewAccount(name) for name in ("romeo", "juliet", "bystander", *own)]
    made = Msgd(tmp_path_factory.mktemp("mutations"), _OPTIONS, accounts, forks=forks)
    made.start()
    yield made
    made.stop()


def _secure(server: Msgd) -> Connection:
    connection = Connection(server.address(direct=True))
    connection.begin_tls("localhost")
    return connection


def _session(server: Msgd, name: str, more: bytes = b"") -> Connection:
    """A session with presence; `more` goes ahead of it."""
    connection = _secure(server)
    secret = base64.b64encode(f"\0{name}\0{PASSWORD}".encode())
    connection.write(
        _HEADER + b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%b</auth>" % secret
    )
    _await(connection, "{urn:ietf:params:xml:ns:xmpp-sasl}success")
    connection.reader.restart()
    connection.write(
        _HEADER + b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
        b"<resource>orchard</resource></bind></iq>" + more + b"<presence/>"
    )
    _await(connection, "{jabber:client}presence")
    return connection


def _await(connection: Connection, tag: str) -> None:
    while getattr(event := connection.next(), "tag", "") != tag:
        assert not isinstance(event, End)


def _ends(connection: Connection) -> None:
    """What comes until the server has ended the stream; it is XML, as the reader has seen."""
    connection.wait(lambda: connection.ended or _awaits_tls(connection))
    events = list(connection.events)
    if _awaits_tls(connection):
        # What followed in plain text is forgotten (rfc6120/05.4.3.3): there is no stream to be ended.
        events[-1] = End()
    connection.close()
    assert events and isinstance(events[-1], End), "the stream was not ended"
    assert not any(isinstance(event, End) for event in events[:-1])
    for event in events[:-1]:
        assert isinstance(event, Element)
        assert b"internal-server-error" not in tostring(event)


def _awaits_tls(connection: Connection) -> bool:
    """The server has agreed to STARTTLS: nothing but a handshake counts now."""
    return bool(connection.events) and getattr(connection.events[-1], "tag", "") == _PROCEED


def _is_untouched(bystander: Connection) -> None:
    bystander.write(_PING)
    _await(bystander, "{jabber:client}iq")


def _log_is_clean(server: Msgd) -> None:
    log = server.log.read_text()
    assert "Traceback" not in log
    assert "#error" not in log and "#critical" not in log


def _inputs(stage: str) -> Iterator[bytes]:
    for number in range(_COUNT):
        yield mutated(random.Random(f"{stage} {number}"))


@pytest.mark.parametrize("stage", ["connected", "secure", "header", "challenged", "authenticated", "sasl2"])
def test_before_there_is_a_session(server: Msgd, stage: str) -> None:
    bystander = _session(server, "bystander")
    for data in _inputs(stage):
        if stage == "connected":
            connection = Connection(server.address())
        else:
            connection = _secure(server)
        if stage == "header":
            connection.write(_HEADER)
        elif stage == "challenged":
            connection.write(
                _HEADER + b"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-1'><initial-response>"
                + base64.b64encode(b"n,,n=romeo,r=0123456789") + b"</initial-response></authenticate>"
            )  # fmt: skip
            _await(connection, "{urn:xmpp:sasl:2}challenge")
        elif stage == "sasl2":
            connection.write(
                _HEADER + b"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>"
                + base64.b64encode(b"\0romeo\0" + PASSWORD.encode()) + b"</initial-response></authenticate>"
            )  # fmt: skip
            _await(connection, "{urn:xmpp:sasl:2}success")
        elif stage == "authenticated":
            connection.write(
                _HEADER + b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"
                + base64.b64encode(b"\0romeo\0" + PASSWORD.encode()) + b"</auth>"
            )  # fmt: skip
            _await(connection, "{urn:ietf:params:xml:ns:xmpp-sasl}success")
            connection.reader.restart()
            connection.write(_HEADER)
        connection.write(data + _END_OF_EVERYTHING)
        _ends(connection)
        _is_untouched(bystander)
    bystander.close()
    _log_is_clean(server)


@pytest.mark.parametrize("managed", [False, True], ids=["plain", "managed"])
def test_in_a_session(server: Msgd, managed: bool) -> None:
    enable = b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>" if managed else b""
    bystander = _session(server, "bystander")
    juliet = _session(server, "juliet")
    for number, data in enumerate(_inputs(f"session {managed}")):
        connection = _session(server, f"romeo-{managed}-{number}".lower(), enable)
        connection.write(data + _END_OF_EVERYTHING)
        _ends(connection)
        _is_untouched(bystander)
        _is_untouched(juliet)
        juliet.events.clear()
    juliet.close()
    # What was stored for her comes, and is XML.
    juliet = _session(server, "juliet")
    _is_untouched(juliet)
    for each in (bystander, juliet):
        each.close()
    _log_is_clean(server)


def _component(server: Msgd) -> Connection:
    """The component of gate.localhost, connected."""
    connection = Connection(server.component_address())
    connection.write(_COMPONENT_HEADER)
    header = connection.next()
    assert isinstance(header, Element)
    digest = hashlib.sha1(f"{header.get('id')}open sesame".encode()).hexdigest()
    connection.write(f"<handshake>{digest}</handshake>".encode())
    _await(connection, "{jabber:component:accept}handshake")
    return connection


@pytest.mark.parametrize("stage", ["component", "component-header", "component-connected"])
def test_on_the_port_for_components(server: Msgd, stage: str) -> None:
    bystander = _session(server, "bystander")
    juliet = _session(server, "juliet")
    for data in _inputs(stage):
        if stage == "component-connected":
            connection = _component(server)
            data = _WITHOUT_SENDER.sub(rb"<\1 from='nurse@gate.localhost/x'", data)
        else:
            connection = Connection(server.component_address())
        if stage == "component-header":
            connection.write(_COMPONENT_HEADER)
        connection.write(data + _END_OF_EVERYTHING)
        _ends(connection)
        for each in (bystander, juliet):
            _is_untouched(each)
            each.events.clear()
    for each in (bystander, juliet):
        each.close()
    _log_is_clean(server)
