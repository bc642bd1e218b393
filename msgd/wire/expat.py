"""expat, set up for streams of strangers: what it may read, what its errors mean, and how it is built.

Sources: RFC 6120 §11 (restricted XML), §4.9.3.
"""

from __future__ import annotations

import pyexpat
from typing import Final

from msgd.wire.errors import StreamError

_CONDITIONS: Final = {
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


def _restricted(what: str) -> StreamError:
    return StreamError("restricted-xml", f"{what} are not allowed")


def translate(error: pyexpat.ExpatError, data: bytes) -> StreamError:
    """The stream error for what expat did not like."""
    message = pyexpat.ErrorString(error.code) or "error"
    condition = _CONDITIONS.get(message, "not-well-formed")
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


def new_parser() -> pyexpat.XMLParserType:
    """A parser with namespaces that refuses what RFC 6120 §11.1 forbids. Raises StreamError."""
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


def refuse_braces(prefix: str | None, namespace: str | None) -> None:
    """A handler of namespace declarations, for bytes in which there may be a brace. Raises StreamError.

    ElementTree writes '{namespace}name' and could not read such a one again; no URI has it (RFC 3986 §2).
    """
    if namespace is not None and "}" in namespace:
        raise StreamError("not-well-formed", "a namespace is no URI")


def holds_tokens_back() -> bool:
    """Whether this build of expat delays a token that is split over two reads.

    Some distributions' builds have expat's reparse deferral without the switch that turns it off.
    """
    parser = new_parser()
    seen: list[str] = []
    parser.StartElementHandler = lambda name, attributes: seen.append(name)
    parser.Parse(b"<a>", False)
    parser.Parse(b"<b" + b"b" * 100, False)
    parser.Parse(b"/>", False)
    return len(seen) != 2


HOLDS_TOKENS_BACK: Final = holds_tokens_back()
