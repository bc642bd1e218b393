"""Validates what the server says against protocol_spec/schemas/ (RELAX NG, by lxml).

What the server says itself is validated whole, against `server.rng`. Of what it forwards for somebody
else, and of errors, which carry the sender's own content, only the envelope, against `forwarded.rng`.
"""

from __future__ import annotations

from functools import cache
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from lxml import etree

from tests.specification.connection import End, Event
from tests.specification.match import STANZAS, Recipient, show
from tests.specification.transcript import SPECIFICATION

#: What we have read once is well-formed; namespaces that are no URIs are the clients' affair.
_PARSER = etree.XMLParser(recover=True, huge_tree=True)


class SchemaError(Exception):
    """The server sent what the schema does not allow."""


@cache
def _schema(name: str) -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse(SPECIFICATION / "schemas" / name))


def check(event: Event, recipient: Recipient) -> None:
    """Raises SchemaError."""
    if isinstance(event, End):
        return
    schema = _schema("forwarded.rng" if _is_forwarded(event, recipient) else "server.rng")
    document = etree.fromstring(ElementTree.tostring(event), _PARSER)
    if not schema.validate(document):
        reasons = "; ".join(entry.message for entry in schema.error_log)
        raise SchemaError(f"{schema_name(event, recipient)}: {reasons}\ngot: {show(event)}")


def check_nothing(event: Event, recipient: Recipient) -> None:
    """In place of `check`, for other servers."""


def schema_name(event: Element, recipient: Recipient) -> str:
    """Which schema is for it."""
    return "forwarded.rng" if _is_forwarded(event, recipient) else "server.rng"


def _is_forwarded(event: Element, recipient: Recipient) -> bool:
    """Whether the content is somebody else's."""
    if event.tag not in STANZAS:
        return False
    if event.get("type") == "error":
        return True
    sender = event.get("from", "")
    if event.find("{http://jabber.org/protocol/pubsub#event}event") is not None and "/" not in sender:
        return False
    if not event.tag.endswith("}iq"):
        return sender != recipient.bare or event.find("{urn:xmpp:mam:2}result") is None
    return "@" in sender and sender != recipient.bare
