"""What is read without a parser, where it is written as nearly all do, is what a parser would have read."""

from __future__ import annotations

import pytest

from msgd.negotiation.binding import requested_resource
from msgd.routing.presence import _priority_text
from msgd.routing.roster import _asked_version
from msgd.wire.errors import StanzaError
from msgd.wire.stanza import Stanza

_BIND = "xmlns='urn:ietf:params:xml:ns:xmpp-bind'"
_ROSTER = "xmlns='jabber:iq:roster'"


@pytest.mark.parametrize(
    ("bind", "resource"),
    [
        (f"<bind {_BIND}><resource>balcony</resource></bind>", "balcony"),
        (f"<bind {_BIND}><resource> at the balcony </resource></bind>", "at the balcony"),
        (f"<bind {_BIND}><resource>&lt;é&gt;</resource></bind>", "<é>"),
        (f"<bind {_BIND}><resource>é</resource></bind>", "é"),
        (f"<bind {_BIND}><resource/></bind>", ""),
        (f"<bind {_BIND}/>", ""),
        (f"<bind {_BIND}>\n<resource>balcony</resource>\n</bind>", "balcony"),
        (f"<b:bind xmlns:b='{_BIND[7:-1]}'><b:resource>balcony</b:resource></b:bind>", "balcony"),
        (f"<bind {_BIND}><resource xmlns='urn:example'>orchard</resource></bind>", ""),
        (f"<bind {_BIND}><x xmlns='urn:example'><resource>orchard</resource></x></bind>", ""),
        (f"<bind {_BIND}><resource><![CDATA[<balcony>]]></resource></bind>", "<balcony>"),
    ],
)
def test_the_resource(bind: str, resource: str) -> None:
    assert requested_resource(Stanza.from_bytes(f"<iq type='set' id='a>b'>{bind}</iq>".encode())) == resource
    assert requested_resource(Stanza.from_bytes(f"<iq type='set' id='b'>{bind}</iq>".encode())) == resource


@pytest.mark.parametrize(
    ("query", "version"),
    [
        (f"<query {_ROSTER}/>", None),
        (f"<query {_ROSTER} />", None),
        (f"<query {_ROSTER}></query>", None),
        (f"<query {_ROSTER} ver=''/>", ""),
        (f"<query {_ROSTER} ver='17'/>", "17"),
        (f'<query ver="17" {_ROSTER}/>', "17"),
        (f"<query {_ROSTER} ver='&#49;7'/>", "17"),
        (f"<query {_ROSTER} ver='ver11'></query>", "ver11"),
        (f"<q:query xmlns:q='{_ROSTER[7:-1]}' ver='17'/>", "17"),
    ],
)
def test_the_version_of_the_roster(query: str, version: str | None) -> None:
    assert _asked_version(Stanza.from_bytes(f"<iq type='get' id='r'>{query}</iq>".encode())) == version


def test_an_item_in_a_request_for_the_roster() -> None:
    raw = f"<iq type='get' id='r'><query {_ROSTER} ver='17'><item jid='a@localhost'/></query></iq>"
    with pytest.raises(StanzaError):
        _asked_version(Stanza.from_bytes(raw.encode()))


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        ("<priority>5</priority>", "5"),
        ("<priority>-5</priority><show>away</show>", "-5"),
        ("<priority xml:lang='en'>5</priority>", "5"),
        ("<priority/>", ""),
        ("<priority>&#53;</priority>", "5"),
        ("<x xmlns='urn:example'><priority>1</priority></x><priority xml:lang='en'>5</priority>", "5"),
        ("<x xmlns='urn:example'><priority>1</priority></x><priority>5</priority>", "5"),
        ("<status><![CDATA[<priority>1</priority>]]></status><priority >5</priority >", "5"),
        ("<status>priority</status><priority>5</priority>", "5"),
        ("<p:priority xmlns:p='jabber:client'>5</p:priority>", "5"),
    ],
)
def test_the_priority(inside: str, text: str) -> None:
    assert _priority_text(f"<presence>{inside}</presence>".encode()) == text
