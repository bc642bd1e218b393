"""`protocol_spec/compliance.md`: what is told is in the table and there, and nothing else is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from msgd.routing.extension import Extension
from msgd.routing.legacy_session import LegacySession
from msgd.routing.roster import Roster
from msgd.xeps import ALL

ROOT = Path(__file__).parent.parent
SPECIFICATION = ROOT / "protocol_spec"
SERVER: tuple[type[Extension], ...] = (Roster, LegacySession, *ALL)
#: Transcripts that claim all of the features of a stream.
WHOLE = (
    "rfc6120/04.3.2-features-after-authentication.md", "xep_0178/3-external.md",
    "xep_0388/2.1-stream-feature.md", "xep_0440/2-types-of-this-connection.md", "xep_0478/3.1-servers.md",
)  # fmt: skip
#: What is offered only where the operator says so, or only for some.
SOMETIMES = {
    ("register", "http://jabber.org/features/iq-register"),
    ("dialback", "urn:xmpp:features:dialback"),
}
CODE = re.compile("`([^`]+)`")


def _tables() -> dict[str, list[list[str]]]:
    """The rows of each table, by its heading."""
    found: dict[str, list[list[str]]] = {}
    rows: list[list[str]] = []
    for line in (SPECIFICATION / "compliance.md").read_text("utf-8").splitlines():
        if line.startswith("## "):
            rows = found.setdefault(line[3:], [])
        elif line.startswith("| ") and found:
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return {heading: rows[1:] for heading, rows in found.items()}


TABLES = _tables()
STREAMS = TABLES.pop("What streams offer, and what uses it")
DISCOVERY = TABLES.pop("What service discovery tells, and what uses it")


def _transcripts(cell: str) -> Iterator[tuple[str, list[Path]]]:
    for name in CODE.findall(cell):
        yield name, [path for path in SPECIFICATION.glob(name) if path.suffix == ".md"]


@pytest.mark.parametrize("category", TABLES)
def test_what_is_asked_for_is_there_or_is_not_yet(category: str) -> None:
    declared = {extension.xep.name for extension in SERVER}
    for asked, by, module, transcripts, told in TABLES[category]:
        there = module != "not yet"
        assert bool(told) is there, asked
        for name in CODE.findall(module):
            assert (ROOT / name).exists(), name
        if not there:
            assert not transcripts
            continue
        assert list(_transcripts(transcripts)), asked
        for name, paths in _transcripts(transcripts):
            assert paths, name
        assert by.startswith("RFC") or by.partition(",")[0] in declared, by


def test_what_service_discovery_tells_is_used() -> None:
    told = {
        (feature, of)
        for extension in SERVER
        for of, features in (("host", extension.features), ("account", extension.account_features))
        for feature in features
    }
    rows = {(CODE.findall(row[0])[0], of) for row in DISCOVERY for of in row[1].split(", ")}
    assert rows == told


def test_what_streams_offer_is_used() -> None:
    offered = set()
    for name in WHOLE:
        for block in re.findall(r"<stream:features>.*?</stream:features>", _text(name), re.DOTALL):
            opened = block.replace("<stream:features>", "<features xmlns:stream='s'>", 1)
            features = ElementTree.fromstring(opened.replace("</stream:features>", "</features>"))
            inline = [part for each in features.iter("{urn:xmpp:sasl:2}inline") for part in each]
            for element in (*features, *inline):
                namespace, _, local = element.tag[1:].rpartition("}")
                offered.add((local, namespace))
    rows = {tuple(CODE.findall(row[0])) for row in STREAMS}
    assert rows == offered | SOMETIMES


@pytest.mark.parametrize("row", [*STREAMS, *DISCOVERY], ids=lambda row: str(CODE.findall(row[0])[-1]))
def test_what_uses_it_does(row: list[str]) -> None:
    """The transcripts exist, and one has the namespace, where what is told is one."""
    told = CODE.findall(row[0])[-1]
    namespace = told.partition("#")[0] if "pubsub#" in told else told
    texts = []
    for name, paths in _transcripts(row[2]):
        assert paths, name
        texts += [path.read_text("utf-8") for path in paths]
    if told not in _WITHOUT_NAMESPACE:
        assert any(f"'{namespace}'" in text for text in texts)


#: Features that are names of an ability, and no namespace of what is sent.
_WITHOUT_NAMESPACE = {
    "msgoffline", "urn:xmpp:bookmarks-conversion:0", "urn:xmpp:bookmarks:1#compat",
    "urn:xmpp:bookmarks:1#compat-pep", "urn:xmpp:carbons:rules:0", "urn:xmpp:features:bidi",
    "urn:xmpp:features:dialback", "urn:xmpp:features:pre-approval", "urn:xmpp:features:rosterver",
    "http://jabber.org/features/iq-register", "urn:xmpp:mam:2#extended", "urn:xmpp:mds:server-assist:0",
    "urn:xmpp:message-retract:1#tombstone", "urn:xmpp:pep-vcard-conversion:0",
}  # fmt: skip


def _text(name: str) -> str:
    return (SPECIFICATION / name).read_text("utf-8")
