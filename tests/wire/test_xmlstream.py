"""Framing: what is in the bytes is found however they are cut, and nothing forbidden passes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from msgd.wire import expat
from msgd.wire import framer as framer_module
from msgd.wire import header as header_module
from msgd.wire.errors import StreamError
from msgd.wire.xmlstream import Header, Limits, XMLStream

HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
    b"xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>"
)
MESSAGE = (
    b"<message to='a@b' type='chat' id='1'><body>h\xc3\xa9 &lt; &gt;</body>"
    b"<active xmlns='http://jabber.org/protocol/chatstates'/></message>"
)


class Heard:
    """A listener that writes down what it hears."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self.frames: list[tuple[str, dict[str, str], tuple[str, ...], bytes]] = []
        self.closed = False
        self.failure: StreamError | None = None

    def stream_opened(self, header: Header) -> None:
        self.header = header

    def frame_received(
        self, name: str, attributes: dict[str, str], children: tuple[str, ...], raw: bytes
    ) -> None:
        self.frames.append((name, attributes, children, raw))

    def stream_closed(self) -> None:
        self.closed = True

    def stream_failed(self, error: StreamError) -> None:
        self.failure = error

    def connection_lost(self) -> None:
        pass

    def output_drained(self) -> None:
        pass


def hear(*chunks: bytes, size: int = 262144, elements: int = 2000) -> Heard:
    heard = Heard()
    stream = XMLStream(heard, Limits(size, elements))
    for chunk in chunks:
        stream.data_received(chunk)
    return heard


STREAM = (
    HEADER + MESSAGE + b" \n<presence/>" + b"<iq type='get' id='2'><query xmlns='x'/></iq>"
    b"<message><a xmlns='y'>1<b/>2</a><![CDATA[<x>]]></message></stream:stream>"
)


def test_elements_of_a_stream() -> None:
    heard = hear(STREAM)
    assert heard.header is not None and heard.header.to == "localhost" and heard.header.plain
    assert [frame[0] for frame in heard.frames] == [
        "jabber:client message",
        "jabber:client presence",
        "jabber:client iq",
        "jabber:client message",
    ]
    assert heard.frames[0][1] == {"to": "a@b", "type": "chat", "id": "1"}
    assert heard.frames[0][2] == (
        "jabber:client body",
        "http://jabber.org/protocol/chatstates active",
    )
    assert heard.frames[0][3] == MESSAGE
    assert heard.frames[1][3] == b"<presence/>"
    assert heard.closed and heard.failure is None


@pytest.mark.parametrize("holds", [False, True])
def test_cut_at_every_byte(holds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cut anywhere, a cut everywhere: the same elements at the same time."""
    monkeypatch.setattr(expat, "HOLDS_TOKENS_BACK", holds)
    expected = hear(STREAM).frames
    for at in range(len(STREAM)):
        heard = hear(STREAM[:at], STREAM[at:])
        assert heard.frames == expected, at
    heard = hear(*(STREAM[at : at + 1] for at in range(len(STREAM))))
    assert heard.frames == expected and heard.closed


@pytest.mark.parametrize("holds", [False, True])
def test_an_element_is_there_with_its_last_byte(holds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cuts at every pair of places; nothing waits for bytes behind the element."""
    monkeypatch.setattr(expat, "HOLDS_TOKENS_BACK", holds)
    short = b"<message to='a&gt;'><body a='>'>x</body><active xmlns='y'/></message>"
    for first in range(1, len(short) - 1):
        for second in range(first + 1, len(short)):
            heard = hear(HEADER, short[:first], short[first:second], short[second:])
            assert len(heard.frames) == 1, (first, second)


@pytest.mark.parametrize(
    "raw",
    [
        b"<message>/></message>",
        b"<message id='/>'>a/></message>",
        b"<message id='>'/>",
        b'<message id="/>"/>',
        b"<message>/</message>",
        b"<message><a/>/></message>",
        b"<message><![CDATA[/>]]></message>",
        b"<message></message>",
    ],
)
@pytest.mark.parametrize("behind", [b"", b"<iq/>", b"</stream:stream>", b"</stream:stream><a/>"])
def test_text_that_ends_like_a_tag(raw: bytes, behind: bytes) -> None:
    heard = hear(HEADER + raw + behind)
    assert heard.frames[0][3] == raw
    assert heard.failure is None and heard.closed == behind.startswith(b"</")


DEFERRING = """
import sys
sys.path.insert(0, {root!r})
from msgd.wire import expat
from msgd.wire import header as header_module
real = expat.new_parser
if hasattr(real(), "SetReparseDeferralEnabled"):
    def deferring():
        parser = real()
        parser.SetReparseDeferralEnabled(True)
        return parser
    expat.new_parser = deferring
    assert expat.holds_tokens_back(), "not recognised"
    expat.HOLDS_TOKENS_BACK = True
from tests.wire.test_xmlstream import HEADER, MESSAGE, hear
for first in range(1, len(MESSAGE) - 1):
    for second in range(first + 1, len(MESSAGE)):
        heard = hear(HEADER, MESSAGE[:first], MESSAGE[first:second], MESSAGE[second:])
        assert len(heard.frames) == 1, (first, second)
"""


def test_an_expat_that_holds_tokens_back() -> None:
    """A build of expat with reparse deferral is recognised and does not stall a stanza.

    Where this Python has the switch, deferral is turned on for the test; else expat is as it is.
    """
    root = str(Path(__file__).parents[2])
    subprocess.run([sys.executable, "-c", DEFERRING.format(root=root)], check=True)


@pytest.mark.parametrize(
    ("bad", "condition"),
    [
        (b"<!-- x -->", "restricted-xml"),
        (b"<?pi x?>", "restricted-xml"),
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]>", "restricted-xml"),
        (b"<a>&foo;</a>", "restricted-xml"),
        (b"<a>\xff</a>", "unsupported-encoding"),
        (b"<a>\xed\xa0\x80</a>", "unsupported-encoding"),
        (b"<a>\xc0\x80</a>", "unsupported-encoding"),
        (b"<a>\xef\xbf\xbf</a>", "not-well-formed"),
        (b"<a>\x00</a>", "not-well-formed"),
        (b"<a>&#0;</a>", "not-well-formed"),
        (b"<a>&#xFFFE;</a>", "not-well-formed"),
        (b"<x:a/>", "bad-namespace-prefix"),
        (b"<a xmlns:p=''/>", "bad-namespace-prefix"),
        (b"<a xmlns:xmlns='z'/>", "bad-namespace-prefix"),
        (b"<a></b>", "not-well-formed"),
        (b"<a b='1' b='2'/>", "not-well-formed"),
        (b"<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>", "not-well-formed"),
        (b"<a b=1/>", "not-well-formed"),
        (b"<a>]]></a>", "not-well-formed"),
        (b"<?xml version='1.0'?>", "not-well-formed"),
        (b"<message></stream:stream>", "not-well-formed"),
        (b"hello", "bad-format"),
        (b"<presence/>hello<presence/>", "bad-format"),
        (b"<a>" * 100, "policy-violation"),
        (b"<a " + b" ".join(b"x%d='1'" % n for n in range(200)) + b"/>", "policy-violation"),
        (b"<message>" + b"<b/>" * 3000 + b"</message>", "policy-violation"),
        (b"<a>" + b"x" * 300_000, "policy-violation"),
        (b"<a b='" + b"x" * 300_000, "policy-violation"),
        (b"<" + b"x" * 300_000, "policy-violation"),
    ],
)
@pytest.mark.parametrize("holds", [False, True])
def test_refused(bad: bytes, condition: str, holds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expat, "HOLDS_TOKENS_BACK", holds)
    heard = hear(HEADER, *(bad[at : at + 16384] for at in range(0, len(bad), 16384)), b">")
    assert heard.failure is not None and heard.failure.condition == condition
    # The shared parser is sound for the next stream.
    assert hear(HEADER, MESSAGE).frames[0][3] == MESSAGE


@pytest.mark.parametrize(
    ("bad", "condition"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", "not-well-formed"),
        (b"\x16\x03\x01\x02", "not-well-formed"),
        (b"<stream:stream xmlns='jabber:client' xmlns:stream='foo'>", "invalid-namespace"),
        (b"<?xml version='1.0' encoding='latin1'?><a>", "unsupported-encoding"),
        (HEADER.decode().encode("utf-16"), "unsupported-encoding"),
        (HEADER.decode().encode("utf-16-be"), "unsupported-encoding"),
        (HEADER.decode().encode("utf-32"), "unsupported-encoding"),
        (b"<!DOCTYPE foo>", "restricted-xml"),
        (b"<stream xmlns='http://etherx.jabber.org/streams'>", "bad-namespace-prefix"),
        (b"<a>", "invalid-namespace"),
        (b"<stream:stream xmlns:stream='http://etherx.jabber.org/streams' a='" + b"x" * 5000,
         "policy-violation"),
    ],
)  # fmt: skip
def test_no_stream(bad: bytes, condition: str) -> None:
    heard = hear(bad)
    assert heard.failure is not None and heard.failure.condition == condition


def test_elements_before_a_fault_are_heard() -> None:
    heard = hear(HEADER, MESSAGE + b"<a></b>")
    assert [frame[3] for frame in heard.frames] == [MESSAGE]
    assert heard.failure is not None


def test_nothing_counts_behind_the_end() -> None:
    heard = hear(HEADER, b"</stream:stream><message/>", b"<message/>")
    assert heard.closed and not heard.frames and heard.failure is None


def test_prefixes_of_the_header_are_written_out() -> None:
    """What needs a prefix of the stream header stands alone when it is forwarded."""
    header = HEADER.replace(b" to=", b" xmlns:q='urn:q' to=")
    heard = hear(header, b"<message><q:x q:y='1'/></message>")
    assert heard.frames[0][3] == (b"<message><x xmlns='urn:q' xmlns:a1='urn:q' a1:y='1'/></message>")
    heard = hear(HEADER, b"<p:message xmlns:p='jabber:client'><p:body>x</p:body></p:message>")
    assert heard.frames[0][3] == b"<message><body>x</body></message>"


def test_between_elements_a_stream_has_no_parser() -> None:
    heard = Heard()
    stream = XMLStream(heard, Limits(10_000, 100))
    stream.data_received(HEADER + MESSAGE + b"\n")
    assert stream._framer is None
    stream.data_received(MESSAGE[:20])
    assert stream._framer is not None
    stream.data_received(MESSAGE[20:] + b" ")
    assert stream._framer is None and len(heard.frames) == 2


def test_streams_do_not_disturb_each_other() -> None:
    """Many streams share one parser, each in the middle of another element."""
    streams = []
    for _ in range(5):
        heard = Heard()
        stream = XMLStream(heard, Limits(10_000, 100))
        stream.data_received(HEADER)
        streams.append((heard, stream))
    for at in range(len(MESSAGE)):
        for _, stream in streams:
            stream.data_received(MESSAGE[at : at + 1])
    assert all([frame[3] for frame in heard.frames] == [MESSAGE] for heard, _ in streams)


@pytest.mark.parametrize(
    "header",
    [
        HEADER,
        HEADER.replace(b"'", b'"'),
        HEADER.replace(b"?>", b" encoding='utf-8' ?>\n"),
        HEADER.replace(b" to=", b"\n  xml:lang='de' from='romeo@localhost' id='x' to="),
        HEADER.replace(b"to='localhost'", b"to='a&amp;b'"),
        HEADER.replace(b"to='localhost'", "to='bücher.example'".encode()),
        HEADER.replace(b"to='localhost'", b"to='a>b'"),
        HEADER.replace(b"to='localhost'", b"to='a' to='b'"),
        HEADER.replace(b" to=", b" foo='bar' to="),
        HEADER.replace(b" to=", b" xmlns:x='y' to="),
        HEADER.replace(b"xmlns='jabber:client' ", b""),
        HEADER.replace(b"version='1.0'>", b"version='1.0'/>"),
        HEADER.replace(b"http://etherx", b"http://other"),
        HEADER.replace(b"to='localhost'", b"to=''"),
    ],
)
def test_the_short_way_reads_a_header_like_the_long_one(
    header: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome() -> tuple[object, ...]:
        heard = hear(header + MESSAGE)
        failure = heard.failure.condition if heard.failure else None
        return heard.header, failure, [frame[3] for frame in heard.frames]

    short = outcome()
    monkeypatch.setattr(header_module, "_usual_header", lambda data: None)
    assert outcome() == short


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        (b"<presence/>x>", "bad-format"),
        (b"<presence></presence>x>", "bad-format"),
        (b"x<presence></presence>", "bad-format"),
        (b"<presence/></x>", "not-well-formed"),
        (b"<presence></presence></x>", "not-well-formed"),
    ],
)
def test_bytes_that_almost_are_one_element(chunk: bytes, expected: str) -> None:
    heard = hear(HEADER, chunk)
    assert heard.failure is not None and heard.failure.condition == expected
    assert all(raw in (b"<presence/>", b"<presence></presence>") for _, _, _, raw in heard.frames)


@pytest.mark.parametrize("chunk", [b"<presence/>", b"<presence></presence >", MESSAGE])
@pytest.mark.parametrize("behind", [b"", b" ", b"\n<iq/>", b"</stream:stream", b"<"])
def test_an_element_that_comes_alone_or_with_the_beginning_of_more(chunk: bytes, behind: bytes) -> None:
    heard = hear(HEADER, chunk + behind)
    assert heard.frames[0][3] == chunk and heard.failure is None


@pytest.mark.parametrize("holds", [False, True])
def test_an_element_with_the_first_part_of_the_next(holds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expat, "HOLDS_TOKENS_BACK", holds)
    said = b"<message><body>hello</body></message>"
    for at in range(1, len(said)):
        heard = Heard()
        stream = XMLStream(heard, Limits(1000, 10))
        stream.data_received(HEADER)
        stream.data_received(said + said[:at])
        # What there is of the next one is not left in the parser that other streams share.
        assert [frame[3] for frame in hear(HEADER, said).frames] == [said], at
        stream.data_received(said[at:])
        assert [frame[3] for frame in heard.frames] == [said, said], at


def test_an_element_that_comes_alone_is_not_larger_than_allowed() -> None:
    said = b"<message><body>hello</body></message>"
    assert hear(HEADER, said, size=len(said)).frames[0][3] == said
    heard = hear(HEADER, said, size=len(said) - 1)
    assert heard.failure is not None and heard.failure.condition == "policy-violation" and not heard.frames


@pytest.mark.parametrize("pieces", [1, 2])
def test_what_expat_remembers_of_names_is_forgotten(pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framer_module, "_LIFE", 1000)
    stream = XMLStream(Heard(), Limits(10_000, 100))
    stream.data_received(HEADER)
    framers = set()
    for number in range(200):
        said = b"<message><a%d/></message>" % number
        for at in range(pieces):
            stream.data_received(said[at * 9 : (at + 1) * 9 if at + 1 < pieces else None])
        framers.add(stream._pool.framer)
    assert len(framers) > 4
