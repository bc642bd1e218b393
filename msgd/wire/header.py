"""The header of an XML stream: its start tag, read apart from all that follows (RFC 6120 §4.7, §4.8)."""

from __future__ import annotations

import pyexpat
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from msgd.wire import expat
from msgd.wire.border import DIALBACK_NAMESPACE, SERVER_NAMESPACE
from msgd.wire.errors import StreamError
from msgd.wire.framer import MAX_ATTRIBUTES
from msgd.wire.xml import STREAM_NAMESPACE

#: Bytes of a stream header.
MAX_HEADER: Final = 4096

#: A longer one is read anew each time, so that what is remembered is bounded.
_LONGEST_USUAL: Final = 512

#: ASCII that means itself in an attribute value; names of attributes that are looked at below.
_VALUE: Final = rb"(?:'[ !#-%(-;=?-~]*'|\"[ !#-%(-;=?-~]*\")"
_USUAL: Final = re.compile(
    rb"(?:<\?xml version=(?:'1\.0'|\"1\.0\")(?: encoding=(?:'(?:UTF|utf)-8'|\"(?:UTF|utf)-8\"))? ?\?>\s*)?"
    rb"<stream:stream((?:\s+[a-z:]+=" + _VALUE + rb")*)\s*>"
)
_ATTRIBUTE: Final = re.compile(rb"([a-z:]+)=(?:'([^']*)'|\"([^\"]*)\")")
_USUAL_NAMES: Final = frozenset((b"xmlns", b"xmlns:stream", b"to", b"from", b"id", b"version", b"xml:lang"))


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
    """No prefix but `stream` is bound by it, so elements can be forwarded as they are. Between servers
    `db`, for dialback, is usual too."""
    raw: bytes
    id: str | None = None


@lru_cache(maxsize=256)  # of one kind of client all send the same bytes
def _usual_header(data: bytes) -> Header | None:
    """The header in the form that nearly every client sends, without a parser made for it.

    None for anything else, whatever it is: `parse_header` then looks closely.
    """
    match = _USUAL.fullmatch(data)
    if match is None:
        return None
    found: dict[bytes, str] = {}
    for name, single, double in _ATTRIBUTE.findall(match[1]):
        if name in found or name not in _USUAL_NAMES:
            return None
        found[name] = (single or double).decode()
    if found.get(b"xmlns:stream") != STREAM_NAMESPACE or b"xmlns" not in found:
        return None
    return Header(
        namespace=found[b"xmlns"],
        to=found.get(b"to"),
        from_=found.get(b"from"),
        version=found.get(b"version"),
        lang=found.get(b"xml:lang"),
        plain=True,
        raw=b"<stream:stream" + match[1] + b">",
        id=found.get(b"id"),
    )


def parse_header(data: bytes) -> tuple[Header | None, bytes]:
    """The stream header at the start of `data` and the bytes behind it, once it is complete."""
    end = data.find(b">", data.find(b"<stream:")) + 1  # the usual form has no other '>' in it
    usual = _usual_header(data[:end]) if 0 < end <= _LONGEST_USUAL else None
    if usual is not None:
        return usual, data[end:]
    # UTF-16 and UTF-32, with or without a mark; told by as few bytes as may have come.
    if data[:1] in (b"\xff", b"\xfe", b"\x00") or data[:2] == b"<\x00":
        raise StreamError("unsupported-encoding", "the stream has to be UTF-8")
    # A byte order mark is a character like any other here, and as such has no place (§11.6).
    stripped = data.lstrip(b" \t\r\n")
    if stripped and not stripped.startswith(b"<"):
        raise StreamError("not-well-formed", "this is no XML stream")
    end = _header_end(stripped)
    found: list[tuple[str, dict[str, str]]] = []
    parser = expat.new_parser()
    prefixes: dict[str, str] = {}

    def on_declaration(version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.upper() != "UTF-8":
            raise StreamError("unsupported-encoding", "the stream has to be UTF-8")

    def on_namespace(prefix: str | None, uri: str | None) -> None:
        expat.refuse_braces(prefix, uri)
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
        raise expat.translate(error, head) from None
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
        plain=prefixes.keys() - _usual_prefixes(prefixes) == {"", "stream"},
        raw=tag,
        id=attributes.get("id"),
    )


def _usual_prefixes(prefixes: dict[str, str]) -> set[str]:
    """Those that every stream between servers may be read with."""
    between_servers = prefixes.get("") == SERVER_NAMESPACE
    return {"db"} if between_servers and prefixes.get("db") == DIALBACK_NAMESPACE else set()
