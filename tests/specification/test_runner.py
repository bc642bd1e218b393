"""The runner itself: what must fail does fail, and says why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.forks import ForkServer
from tests.specification.match import Recipient, match, parse_block
from tests.specification.play import Failed, is_step
from tests.specification.schema import SchemaError, check
from tests.specification.stage import Stage, performances
from tests.specification.transcript import TranscriptError, find, read

_HEAD = """# A title

Proves: RFC 6120 §1

- Romeo is romeo@localhost/orchard.
- Juliet is juliet@localhost/balcony.

"""
ROMEO = Recipient("romeo@localhost/orchard", "romeo@localhost")


def _matches(expected: str, got: str, exact: bool = False) -> dict[str, str] | None:
    (wanted,), (came,) = parse_block(expected), parse_block(got)
    return match(wanted, came, {}, ROMEO, exact)[0]


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ("<iq id='1'/>", "<iq id='1'/>"),
        ("<iq id='1' a='2'/>", "<iq a='2' id='1'/>"),
        ("<iq><a/><b/></iq>", "<iq><b/><a/></iq>"),
        ("<iq id='{any}'/>", "<iq id='x'/>"),
        ("<iq id='{optional}'/>", "<iq/>"),
        ("<iq>{more}</iq>", "<iq><a/>text<b/></iq>"),
        ("<iq/>", "<iq to='romeo@localhost/orchard' from='romeo@localhost'/>"),
        ("<message/>", "<message><stanza-id xmlns='urn:xmpp:sid:0' by='a' id='b'/></message>"),
        ("<message>{delay}</message>", "<message><delay xmlns='urn:xmpp:delay' stamp='x'/></message>"),
        ("<iq><error/></iq>",
         "<iq><error by='x'><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>x</text></error></iq>"),
        ("<a>{base64:r=${n},x}</a>", "<a>cj1hYmMseA==</a>"),
        ("<iq><a x='${n}'/><b y='${n}'/></iq>", "<iq><b y='1'/><a x='1'/></iq>"),
    ],
)  # fmt: skip
def test_what_matches(expected: str, got: str) -> None:
    assert _matches(expected, got) is not None


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ("<iq id='1'/>", "<iq id='2'/>"),
        ("<iq id='1'/>", "<iq/>"),
        ("<iq/>", "<iq id='1'/>"),
        ("<iq/>", "<presence/>"),
        ("<iq/>", "<iq xmlns='other'/>"),
        ("<iq><a/></iq>", "<iq/>"),
        ("<iq/>", "<iq><a/></iq>"),
        ("<iq><a/></iq>", "<iq><a/><a/></iq>"),
        ("<iq>text</iq>", "<iq>other</iq>"),
        ("<iq/>", "<iq to='juliet@localhost'/>"),
        ("<iq><x/></iq>", "<iq><x to='romeo@localhost'/></iq>"),
        ("<message/>", "<message><delay xmlns='urn:xmpp:delay' stamp='x'/></message>"),
        ("<iq><a x='${n}'/><b y='${n}'/></iq>", "<iq><b y='1'/><a x='2'/></iq>"),
        ("<a>{base64:r=${n},x}</a>", "<a>cj1hYmM=</a>"),
    ],
)
def test_what_does_not_match(expected: str, got: str) -> None:
    assert _matches(expected, got) is None


def test_exactly_is_exact() -> None:
    assert _matches("<iq/>", "<iq to='romeo@localhost/orchard'/>", exact=True) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Romeo conects.", "not a step"),
        ("Romeo connects. Romeo sings.", "not a step"),
        ("The server is painted.", "not a step"),
        ("Romeo sends:", "no block"),
        ("Romeo connects.\n\n```xml\n<a/>\n```", "a block without a step"),
        ("Romeo sends:\n\n```xml\n<a/>", "has no end"),
        ("Romeo sends:\n\n```xml\n<a/>\n```\n\n```xml\n<b/>\n```", "a block without a step"),
        ("Nothing happens here.", "no cast or no steps"),
        ("Rows:\n\n| a | b |\n|---|---|\n| 1 |\n\nRomeo connects.", "1 cells under 2 headings"),
    ],
)
def test_faults_of_a_transcript(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "fault.md"
    path.write_text(_HEAD + text)
    with pytest.raises(TranscriptError, match=re.escape(reason)):
        read(path, is_step)


def test_every_file_proves_something_and_names_are_sentences() -> None:
    for path in find():
        for transcript in read(path, is_step):
            assert re.search(r"(RFC \d+|XEP-\d{4}) §[A-Z\d]", transcript.proves), path
        assert re.fullmatch(r"[A-Z0-9.]*[a-zA-Z0-9.-]+\.md", path.name), path


@pytest.mark.parametrize(
    "xml",
    [
        "<iq type='result' id='1'><query xmlns='jabber:iq:unknown'/></iq>",
        "<iq type='result'/>",
        "<iq type='set' id='1'><query xmlns='jabber:iq:roster'/></iq>",
        "<iq type='error' id='1' from='localhost'/>",
        "<iq type='error' id='1'><error type='bad'>"
        "<gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
        "<message><body>from nobody</body></message>",
        "<message from='a@b'><delay xmlns='urn:xmpp:delay' stamp='yesterday'/></message>",
        "<presence from='a@b' type='odd'/>",
        "<stream:features><unknown xmlns='urn:example:x'/></stream:features>",
        "<stream:error><oops xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
        "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>***</challenge>",
        "<a xmlns='urn:xmpp:sm:3'/>",
        "<other xmlns='urn:example:x'/>",
    ],
)
def test_schemas_refuse(xml: str) -> None:
    (element,) = parse_block(xml)
    with pytest.raises(SchemaError):
        check(ElementTree.fromstring(ElementTree.tostring(element)), ROMEO)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, forks: ForkServer) -> Iterator[Stage]:
    """A server for the transcripts below, which are made to fail."""
    folder = tmp_path_factory.mktemp("runner")
    for name, (text, _) in _FAILING.items():
        (folder / f"{name}.md").write_text(_HEAD + text)
    stage = Stage(folder / "servers", performances(sorted(folder.glob("*.md")), (False,)), forks)
    yield stage
    stage.close()


_MESSAGE = "```xml\n<message to='juliet@localhost' id='m1'><body>Hi</body></message>\n```\n"
_FAILING = {
    "leftover": (f"Romeo connects. Juliet is available.\n\nRomeo sends:\n\n{_MESSAGE}",
                 "Juliet expected nothing more"),
    "nothing": (f"Romeo connects. Juliet is available.\n\nRomeo sends:\n\n{_MESSAGE}\n"
                "Juliet receives nothing.", "Juliet expected nothing more"),
    "other": (f"Romeo connects. Juliet is available.\n\nRomeo sends:\n\n{_MESSAGE}\n"
              "Juliet receives:\n\n```xml\n<message id='m2'>{more}</message>\n```", "id of"),
    "error": ("Romeo connects.\n\nRomeo sends:\n\n```xml\n<foo/>\n```\n\n"
              "Romeo's stream ends with the error conflict.", "expected the stream error conflict"),
    "end": ("Romeo connects.\n\nRomeo sends:\n\n```xml\n<foo/>\n```\n\nRomeo's stream ends.",
            "expected the end of the stream"),
    "variable": ("Romeo connects.\n\nRomeo sends:\n\n```xml\n<message to='${who}'/>\n```", "who"),
    "disconnect": (f"Romeo connects. Juliet is available.\n\nRomeo sends:\n\n{_MESSAGE}\n"
                   "Juliet disconnects.", "Juliet expected nothing more"),
}  # fmt: skip


@pytest.mark.parametrize("name", _FAILING)
def test_transcripts_that_must_fail(stage: Stage, name: str) -> None:
    (performance,) = [each for each in stage.everything if each.name == name]
    with pytest.raises(Failed) as failed:
        stage.play(performance)
    assert _FAILING[name][1] in str(failed.value)
    assert f"{name}.md:" in str(failed.value)
