"""Bytes become elements: framing of an XML stream with expat.

Stands between the transport and whoever listens to a stream (negotiation first, then the session).
One framer serves every entrance. It checks well-formedness and namespaces, refuses what RFC 6120
§11 forbids, holds every limit while it reads, and tells where each element of the stream begins
and ends; the bytes themselves are kept as they came.

A framer is *leased*: a stream holds one only while it is inside an element. Between elements all
streams share one, so an idle stream has no parser. The shared framer is replaced every few thousand
elements, so that names which a stranger made expat remember go away again.

Sources: RFC 6120 §4.2-4.4, §4.9, §11.
"""

from __future__ import annotations

import pyexpat
from dataclasses import dataclass
from typing import Final, Protocol

from msgd.wire.errors import StreamError
from msgd.wire.xml import CLIENT_NAMESPACE, STREAM_NAMESPACE, parse, serialise

_HEADER: Final = (
    f"<stream:stream xmlns='{CLIENT_NAMESPACE}' xmlns:stream='{STREAM_NAMESPACE}'>".encode()
)
#: Elements after which the shared framer is replaced.
_FRAMER_LIFE: Final = 5000
#: How often the bytes of one element are read again on a build of expat that holds tokens back.
_REREADS: Final = 32
#: Attributes of one element; more serve nobody.
MAX_ATTRIBUTES: Final = 64
#: Elements within elements; real clients stay below 20.
MAX_DEPTH: Final = 64
#: Bytes of a stream header.
MAX_HEADER: Final = 4096

#: Elements that begin so use no prefix of the header's; a quick test for most.
_STANDS_ALONE: Final = (b"<message", b"<iq", b"<presence", b"<a ", b"<r ")

#: One element of the stream: expanded name, attributes, expanded names of its children, its bytes.
Frame = tuple[str, dict[str, str], tuple[str, ...], bytes]

_EXPAT_CONDITIONS: Final = {
    "unclosed token": "not-well-formed",
    "unbound prefix": "bad-namespace-prefix",
    "must not undeclare prefix": "bad-namespace-prefix",
    "reserved prefix (xml) must not be undeclared or bound to another namespace name":
        "bad-namespace-prefix",
    "reserved prefix (xmlns) must not be declared or undeclared": "bad-namespace-prefix",
    "prefix must not be bound to one of the reserved namespace names": "bad-namespace-prefix",
    "undefined entity": "restricted-xml",
    "unknown encoding": "unsupported-encoding",
    "encoding specified in XML declaration is incorrect": "unsupported-encoding",
    "partial character": "unsupported-encoding",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What one element of a stream may hold: bytes, and elements within it."""

    size: int
    elements: int


@dataclass(frozen=True, slots=True)
class Header:
    """The start tag of a stream (RFC 6120 §4.7)."""

    namespace: str
    """The default namespace: `jabber:client`, `jabber:server` …"""
    to: str | None
    from_: str | None
    version: str | None
    lang: str | None
    plain: bool
    """No prefix but `stream` is bound by it, so elements can be forwarded as they are."""
    raw: bytes


def _restricted(what: str) -> StreamError:
    return StreamError("restricted-xml", f"{what} are not allowed")


def _translate(error: pyexpat.ExpatError, data: bytes) -> StreamError:
    """The stream error for what expat did not like."""
    message = pyexpat.ErrorString(error.code) or "error"
    condition = _EXPAT_CONDITIONS.get(message, "not-well-formed")
    if condition == "not-well-formed" and b"<!D" in data:  # perhaps no more of it has come
        return _restricted("document types")
    if condition == "not-well-formed":
        try:
            data.decode()
        except UnicodeDecodeError as bad:
            # RFC 6120 §4.9.3.22: UTF-8 broken, unless the read merely ended within a character.
            if bad.end < len(data) or "end of data" not in bad.reason:
                condition = "unsupported-encoding"
    return StreamError(condition, message)


def _new_parser() -> pyexpat.XMLParserType:
    parser = pyexpat.ParserCreate("UTF-8", " ")
    defer = getattr(parser, "SetReparseDeferralEnabled", None)
    if defer is not None:
        defer(False)

    def doctype(*_: object) -> None:
        raise _restricted("document types")

    def entity(*_: object) -> None:
        raise _restricted("entity declarations")

    def comment(*_: object) -> None:
        raise _restricted("comments")

    def instruction(*_: object) -> None:
        raise _restricted("processing instructions")

    parser.StartDoctypeDeclHandler = doctype
    parser.EntityDeclHandler = entity
    parser.CommentHandler = comment
    parser.ProcessingInstructionHandler = instruction
    return parser


def _holds_tokens_back() -> bool:
    """Whether this build of expat delays a token that is split over two reads.

    Some distributions' builds have expat's reparse deferral without the switch that turns it off.
    """
    parser = _new_parser()
    seen: list[str] = []
    parser.StartElementHandler = lambda name, attributes: seen.append(name)
    parser.Parse(b"<a>", False)
    parser.Parse(b"<b" + b"b" * 100, False)
    parser.Parse(b"/>", False)
    return len(seen) != 2


HOLDS_TOKENS_BACK: Final = _holds_tokens_back()


class _Framer:
    """One expat parser inside a stream header, and the bytes of the element it is inside of."""

    __slots__ = ("_events", "_offset", "_parse", "_parser", "count", "failure", "header", "held",
                 "limits", "pending", "rereads")  # fmt: skip

    def __init__(self, header: bytes = _HEADER) -> None:
        self.header = header
        self.pending = b""  # of the unfinished element
        self.held = b""  # not yet given to expat (only where it holds tokens back)
        self.limits = Limits(0, 0)
        self.count = 0
        self.rereads = 0
        self.failure: StreamError | None = None  # what ends the stream behind the last elements
        self._start()

    def _start(self) -> None:
        parser = _new_parser()
        events: list[tuple[str, dict[str, str], list[str], int, int]] = []
        depth = 0
        elements = 0
        start = 0
        name = ""
        attributes: dict[str, str] = {}
        children: list[str] = []

        def on_start(tag: str, found: dict[str, str]) -> None:
            nonlocal depth, elements, start, name, attributes, children
            if depth == 1:
                start = parser.CurrentByteIndex
                name = tag
                attributes = found
                children = []
                elements = 0
            elif depth == 2:
                children.append(tag)
            elif depth > MAX_DEPTH:
                raise StreamError("policy-violation", f"elements nest deeper than {MAX_DEPTH}")
            depth += 1
            elements += 1
            if elements > self.limits.elements and depth > 1 and self.limits.elements:
                raise StreamError(
                    "policy-violation", f"more than {self.limits.elements} elements in one"
                )
            if len(found) > MAX_ATTRIBUTES:
                raise StreamError("policy-violation", f"more than {MAX_ATTRIBUTES} attributes")

        def on_end(tag: str) -> None:
            nonlocal depth
            depth -= 1
            if depth == 1:
                events.append((name, attributes, children, start, parser.CurrentByteIndex))
            elif depth == 0:
                events.append(("", {}, [], parser.CurrentByteIndex, -1))

        parser.StartElementHandler = on_start
        parser.EndElementHandler = on_end
        parser.Parse(self.header, False)
        self._parser = parser
        self._parse = parser.Parse
        self._events = events
        self._offset = len(self.header)  # of the first byte of `pending` within what expat read

    def feed(self, data: bytes) -> list[Frame]:
        """The elements completed by `data`; an empty name stands for the end of the stream.

        Raises `StreamError`, or leaves it in `failure` when there are elements before the fault.
        """
        if HOLDS_TOKENS_BACK:
            data = self._hold(data)
            if not data:
                return []
        self._give(data)
        if self.pending:
            data = self.pending + data
        if HOLDS_TOKENS_BACK and not self._events and data.endswith(b">"):
            self._reread(data)
        events = self._events
        frames: list[Frame] = []
        offset = self._offset
        done = 0
        for name, attributes, children, start, end in events:
            start -= offset
            if start != done and not data[done:start].isspace():
                raise StreamError("bad-format", "text between the elements of the stream")
            if end < 0:
                frames.append(("", {}, (), b""))
                done = len(data)
                break
            end -= offset
            # expat tells the start of the end tag, or what is behind the '/>' of <an-empty/> one;
            # the latter may be the end tag of the stream.
            if data.startswith(b"</", end) and (
                data[end - 2 : end] != b"/>" or b"<" in data[start + 1 : end]
            ):
                done = data.index(b">", end) + 1
            else:
                done = end
            frames.append((name, attributes, tuple(children), data[start:done]))
            if done - start > self.limits.size:
                raise _too_big(self.limits)
        if events:
            events.clear()
            self.count += len(frames)
        if self.failure is not None:
            if frames:
                return frames
            raise self.failure
        rest = data[done:] if done else data
        if rest and rest.isspace():
            done += len(rest)
            rest = b""
        elif frames:
            self.rereads = 0
        if len(rest) + len(self.held) > self.limits.size:
            raise _too_big(self.limits)
        if rest and not rest.lstrip().startswith(b"<"):
            raise StreamError("bad-format", "text between the elements of the stream")
        self.pending = rest
        self._offset = offset + done
        return frames

    def _give(self, data: bytes) -> None:
        """Let expat read; a fault is kept until what came before it has been handled."""
        try:
            self._parse(data, False)
        except pyexpat.ExpatError as error:
            if not (self._events and self._events[-1][-1] < 0):  # nothing counts behind the end
                self.failure = _translate(error, self.pending + data)
        except StreamError as error:
            self.failure = error

    def _hold(self, data: bytes) -> bytes:
        """Keep an unfinished tag back: this expat would not tell when it is finished."""
        data = self.held + data
        cut = data.rfind(b">") + 1
        self.held = data[cut:]
        if len(self.held) + len(self.pending) > self.limits.size:
            raise _too_big(self.limits)
        if self.held.isspace():
            cut, self.held = len(data), b""
        return data[:cut]

    def _reread(self, data: bytes) -> None:
        """Nothing came of bytes that end a tag: read the unfinished element from its start."""
        if self.rereads >= _REREADS:
            raise StreamError("policy-violation", "the element comes in too many pieces")
        self.rereads += 1
        self._start()
        self._give(data)

    @property
    def idle(self) -> bool:
        """Between two elements."""
        return not self.pending and not self.held


def _too_big(limits: Limits) -> StreamError:
    return StreamError("policy-violation", f"an element is larger than {limits.size} bytes")


_shared = _Framer()


def _fresh() -> _Framer:
    global _shared
    _shared = _Framer()
    return _shared


class Listener(Protocol):
    """Who listens to a stream."""

    def stream_opened(self, header: Header) -> None:
        """The peer sent its stream header."""

    def frame_received(
        self, name: str, attributes: dict[str, str], children: tuple[str, ...], raw: bytes
    ) -> None:
        """The peer sent one element of the stream."""

    def stream_closed(self) -> None:
        """The peer sent `</stream:stream>`."""

    def stream_failed(self, error: StreamError) -> None:
        """What the peer sent ends the stream; nothing more will be read."""

    def connection_lost(self) -> None:
        """The socket is gone."""

    def output_drained(self) -> None:
        """Everything written has gone to the socket, after the socket had been full."""


class XMLStream:
    """The incoming half of one XML stream.

    `data_received` takes bytes as they come; `listener` gets what is in them. `limits` may be
    changed at any time and holds for the elements that follow.
    """

    __slots__ = ("_framer", "_own_header", "_unread", "limits", "listener")

    def __init__(self, listener: Listener, limits: Limits) -> None:
        self.listener: Listener | None = listener
        self.limits = limits
        self._framer: _Framer | None = None
        self._own_header: bytes | None = None
        # Bytes of a stream header that is not complete; None once there is one.
        self._unread: bytes | None = b""

    def reset(self) -> None:
        """Expect a new stream header (RFC 6120 §4.3.3); bytes already read are forgotten."""
        self._framer = None
        self._own_header = None
        self._unread = b""

    def close(self) -> None:
        """Listen no more."""
        self.listener = None
        self._framer = None

    def connection_lost(self) -> None:
        """The socket is gone."""
        listener, self.listener = self.listener, None
        self._framer = None
        if listener is not None:
            listener.connection_lost()

    def output_drained(self) -> None:
        """The socket, full before, took everything."""
        if self.listener is not None:
            self.listener.output_drained()

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer."""
        if self.listener is None:
            return
        try:
            if self._unread is not None:
                data = self._read_header(data)
            if data:
                self._read_elements(data)
        except StreamError as error:
            listener, self.listener = self.listener, None
            self._framer = None
            if listener is not None:
                listener.stream_failed(error)

    def _read_header(self, data: bytes) -> bytes:
        """Wait for the stream header; the bytes behind it once it is there."""
        assert self._unread is not None  # the caller looked
        data = self._unread + data
        header, rest = _parse_header(data)
        if header is None:
            if len(data) > MAX_HEADER:
                raise StreamError("policy-violation", "the stream header is too long")
            self._unread = data
            return b""
        self._unread = None
        if not header.plain:
            self._own_header = header.raw
            self._framer = _Framer(header.raw)
        if self.listener is not None:
            self.listener.stream_opened(header)
        return rest if self._unread is None else b""

    def _read_elements(self, data: bytes) -> None:
        global _shared
        framer = self._framer
        if framer is None:
            if data.isspace():
                return
            framer = _shared
            framer.limits = self.limits
            try:
                frames = framer.feed(data)
            except BaseException:
                _fresh()
                raise
            if not framer.idle or framer.failure is not None:
                self._framer = framer  # leased until the element is complete
                _fresh()
            elif framer.count > _FRAMER_LIFE or (frames and not frames[-1][0]):
                _fresh()
        else:
            framer.limits = self.limits
            frames = framer.feed(data)
            if framer.idle and self._own_header is None and framer.failure is None:
                self._framer = None
                if framer.count <= _FRAMER_LIFE and not (frames and not frames[-1][0]):
                    _shared = framer
        for name, attributes, children, raw in frames:
            listener = self.listener
            if listener is None or self._unread is not None:
                return  # the stream ended or starts anew: what follows belongs to nobody
            if not name:
                self.close()
                listener.stream_closed()
                return
            if self._own_header is not None or not raw.startswith(_STANDS_ALONE):
                raw = self._rewrite(name, raw)
            listener.frame_received(name, attributes, children, raw)
        if framer.failure is not None and self.listener is not None and self._unread is None:
            raise framer.failure

    def _rewrite(self, name: str, raw: bytes) -> bytes:
        """Bytes that may need the header's prefixes, written again where they do."""
        local = name.rpartition(" ")[2].encode()
        if self._own_header is None and raw.startswith(local, 1):
            return raw
        return serialise(parse(raw, header=self._own_header))


def _parse_header(data: bytes) -> tuple[Header | None, bytes]:
    """The stream header at the start of `data` and the bytes behind it, once it is complete."""
    # UTF-16 and UTF-32, with or without a mark; told by as few bytes as may have come.
    if data[:1] in (b"\xff", b"\xfe", b"\x00") or data[:2] == b"<\x00":
        raise StreamError("unsupported-encoding", "the stream has to be UTF-8")
    stripped = data.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if stripped and not stripped.startswith(b"<"):
        raise StreamError("not-well-formed", "this is no XML stream")
    end = _header_end(stripped)
    found: list[tuple[str, dict[str, str]]] = []
    parser = _new_parser()
    prefixes: dict[str, str] = {}

    def on_declaration(version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.upper() != "UTF-8":
            raise StreamError("unsupported-encoding", "the stream has to be UTF-8")

    def on_namespace(prefix: str | None, uri: str | None) -> None:
        prefixes[prefix or ""] = uri or ""

    def on_start(name: str, attributes: dict[str, str]) -> None:
        found.append((name, attributes))

    parser.XmlDeclHandler = on_declaration
    parser.StartNamespaceDeclHandler = on_namespace
    parser.StartElementHandler = on_start
    head = stripped[:end] if end else stripped
    try:
        parser.Parse(head, False)
    except pyexpat.ExpatError as error:
        raise _translate(error, head) from None
    if not end or not found:
        return None, b""
    name, attributes = found[0]
    return _header(name, attributes, prefixes, head), stripped[end:]


def _header_end(data: bytes) -> int:
    """Where the start tag of the root ends: behind its '>' outside of quotes, or 0."""
    at = 0
    if data.startswith(b"<?"):
        at = data.find(b"?>") + 2
        if at < 2:
            return 0
    quote = 0
    inside = False
    for position in range(at, len(data)):
        byte = data[position]
        if quote:
            if byte == quote:
                quote = 0
        elif byte in b"'\"" and inside:
            quote = byte
        elif byte == 0x3C:
            inside = True
        elif byte == 0x3E and inside:
            return position + 1
    return 0


def _header(name: str, attributes: dict[str, str], prefixes: dict[str, str], raw: bytes) -> Header:
    uri, _, local = name.rpartition(" ")
    if uri != STREAM_NAMESPACE:
        raise StreamError("invalid-namespace", "the stream's namespace is not the one of XMPP")
    if local != "stream":
        raise StreamError("bad-format", "a stream begins with <stream>")
    if prefixes.get("stream") != STREAM_NAMESPACE:
        raise StreamError("bad-namespace-prefix", "the prefix of the stream has to be 'stream'")
    if len(attributes) > MAX_ATTRIBUTES:
        raise StreamError("policy-violation", "too many attributes")
    tag = raw[raw.rindex(b"<") :]
    if raw.endswith(b"/>"):
        raise StreamError("bad-format", "the stream ends where it begins")
    return Header(
        namespace=prefixes.get("", ""),
        to=attributes.get("to"),
        from_=attributes.get("from"),
        version=attributes.get("version"),
        lang=attributes.get("http://www.w3.org/XML/1998/namespace lang"),
        plain=set(prefixes) == {"", "stream"},
        raw=tag,
    )
