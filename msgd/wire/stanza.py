"""A stanza on its way through the server: what the framer saw, and the bytes as they came.

A stanza is read once and its bytes are forwarded; routing stamps `from` by splicing the start tag.
Only who must look inside asks for `tree`. Source: RFC 6120 §8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from xml.etree.ElementTree import Element

from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID
from msgd.wire.xml import CLIENT_NAMESPACE, START_TAG, escape, expanded, parse, serialise

XML_LANG: Final = "http://www.w3.org/XML/1998/namespace lang"
_KINDS: Final = ("message", "presence", "iq")
#: Each kind, by the name that its element has on a stream (see `XMLStream`).
STANZAS: Final = {f"{CLIENT_NAMESPACE} {kind}": kind for kind in _KINDS}
#: How each kind begins and ends in most bytes.
STARTS: Final = {kind: b"<" + kind.encode() for kind in _KINDS}
ENDS: Final = {kind: b"</" + kind.encode() + b">" for kind in _KINDS}


class Stanza:
    """A message, presence or IQ.

    `kind` is the element name, `children` the expanded names ('namespace name') of the direct
    children in their order, `raw` the bytes with `jabber:client` as the default namespace, exactly
    as they will be sent. `attributes` are those that came on the start tag (expanded names where
    they have a namespace); `type` is None where the attribute is absent.
    """

    __slots__ = ("_tree", "attributes", "children", "from_", "id", "kind", "raw", "to", "type")

    def __init__(
        self,
        kind: str,
        raw: bytes,
        attributes: dict[str, str],
        children: tuple[str, ...],
        to: JID | None = None,
        from_: JID | None = None,
    ) -> None:
        self.kind = kind
        self.raw = raw
        self.attributes = attributes
        self.children = children
        self.to = to
        self.from_ = from_
        self.id = attributes.get("id")
        self.type = attributes.get("type")
        self._tree: Element | None = None

    def __repr__(self) -> str:
        # Never the content: a stanza may end up in a log or a traceback.
        return f"<Stanza {self.kind} type={self.type} {len(self.raw)} bytes>"

    @classmethod
    def build(
        cls,
        kind: str,
        *,
        to: JID | None,
        from_: JID | None,
        type: str | None = None,
        id: str | None = None,
        content: bytes = b"",
        children: tuple[str, ...] = (),
        lang: str | None = None,
    ) -> Stanza:
        """A stanza of the server's own; `content` is its serialised children.

        `children` may name them for those who ask `has`; the tree is right without it.
        """
        attributes = {}
        if type is not None:
            attributes["type"] = type
        if id is not None:
            attributes["id"] = id
        if lang is not None:
            attributes[XML_LANG] = lang
        raw = _start(kind, attributes, from_, to)
        raw += b">" + content + b"</" + kind.encode() + b">" if content else b"/>"
        return cls(kind, raw, attributes, children, to, from_)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Stanza:
        """A stanza that this server wrote down earlier (the spool): vetted, addresses prepared."""
        tree = parse(raw)
        attributes = {expanded(key): value for key, value in tree.items()}
        to, from_ = attributes.pop("to", None), attributes.pop("from", None)
        kind = tree.tag.rpartition("}")[2]
        children = tuple(expanded(child.tag) for child in tree)
        stanza = cls(
            kind,
            raw,
            attributes,
            children,
            JID.parse(to) if to else None,
            JID.parse(from_) if from_ else None,
        )
        stanza._tree = tree
        return stanza

    @property
    def lang(self) -> str | None:
        """Its `xml:lang`; None where it has none of its own."""
        return self.attributes.get(XML_LANG)

    @property
    def tree(self) -> Element:
        """The parsed stanza; made once, from vetted bytes. Do not change it: see `replace`."""
        if self._tree is None:
            self._tree = parse(self.raw)
        return self._tree

    @property
    def payload(self) -> Element | None:
        """The first child that is not `<error/>`: what an IQ asks for or answers."""
        for child in self.tree:
            if child.tag != "{jabber:client}error":
                return child
        return None

    def has(self, namespace: str, name: str) -> bool:
        """Whether there is a direct child of that name."""
        return f"{namespace} {name}" in self.children

    @property
    def wants_no_reply(self) -> bool:
        """True for what must never be answered with an error (RFC 6120 §8.3.1)."""
        return self.type == "error" or (self.kind == "iq" and self.type == "result")

    # -- bytes ---------------------------------------------------------------------------------

    def stamp(self, prefix: bytes, from_: JID) -> None:
        """Make `from_` the sender, whatever the client wrote (RFC 6120 §8.1.2.1). `to` has to be set before.

        `prefix` is `b" from='…'"`, made once for a session, where needed with the xml:lang that the
        stanza inherits from its stream. The common case splices it in behind the element's name.
        """
        start, raw = STARTS[self.kind], self.raw
        if "from" in self.attributes or not raw.startswith(start):
            self._restart(prefix)
        else:
            self.raw = start + prefix + raw[len(start) :]
        self.from_ = from_
        self._tree = None

    def _restart(self, prefix: bytes) -> None:
        """Write the start tag anew: the client's `from` goes, `prefix` comes."""
        rest = self._after_start()
        self.raw = _start(self.kind, self.attributes, None, self.to, prefix) + rest

    def addressed(self, to: JID) -> Stanza:
        """A copy for another recipient; the content is shared."""
        rest = self._after_start()
        raw = _start(self.kind, self.attributes, self.from_, to) + rest
        return Stanza(self.kind, raw, self.attributes, self.children, to, self.from_)

    def _after_start(self) -> bytes:
        """What follows the start tag's attributes: '/>', or '>' and the rest."""
        match = START_TAG.match(self.raw)
        if match is not None and b"xmlns" in match.group():
            # Prefixes declared there may be used inside: write it all with default namespaces.
            self.raw = serialise(parse(self.raw))
            match = START_TAG.match(self.raw)
        if match is None:  # the framer accepted the element, so it has a start tag
            raise ValueError("a stanza without a start tag")
        end = match.end()
        return self.raw[end - 2 if match.group().endswith(b"/>") else end - 1 :]

    def with_child(self, child: bytes, name: str) -> Stanza:
        """A copy with `child` (serialised, called `name` in expanded form) as its last child."""
        raw = self.raw_with_child(child)
        children = (*self.children, name)
        return Stanza(self.kind, raw, self.attributes, children, self.to, self.from_)

    def raw_with_child(self, child: bytes) -> bytes:
        """The bytes of `with_child`."""
        end, raw = ENDS[self.kind], self.raw
        if raw.endswith(end):
            return raw[: -len(end)] + child + end
        if raw.endswith(b"/>"):
            return raw[:-2] + b">" + child + end
        return raw[: raw.rindex(b"</")] + child + end  # white space in the end tag

    def filtered(self, wanted: Callable[[Element], bool]) -> Stanza:
        """A copy with only the direct children that are `wanted`; serialised anew."""
        tree = parse(self.raw)
        for child in list(tree):
            if not wanted(child):
                tree.remove(child)
        children = tuple(expanded(child.tag) for child in tree)
        raw = serialise(tree)
        return Stanza(self.kind, raw, self.attributes, children, self.to, self.from_)

    def embedded(self) -> bytes:
        """The bytes for use inside an element of another namespace, as when it is forwarded (XEP-0297)."""
        match = START_TAG.match(self.raw)
        if match is None:  # the framer accepted the element, so it has a start tag
            raise ValueError("a stanza without a start tag")
        if b"xmlns" in match.group():
            return serialise(parse(self.raw), namespace="")
        name = STARTS[self.kind]
        return name + b" xmlns='jabber:client'" + self.raw[len(name) :]

    @property
    def content(self) -> bytes:
        """The serialised children, as received."""
        match = START_TAG.match(self.raw)
        if match is None or match.group().endswith(b"/>"):
            return b""
        return self.raw[match.end() : self.raw.rindex(b"</")]

    # -- answers -------------------------------------------------------------------------------

    def reply(self, content: bytes | Element = b"") -> Stanza:
        """The result of this IQ, `to` and `from` exchanged (RFC 6120 §8.2.3)."""
        return self.reply_from(self.to, content)

    def reply_from(self, sender: JID | None, content: bytes | Element = b"") -> Stanza:
        """The result of this IQ; its `from` is `sender`, or is not there."""
        if not isinstance(content, bytes):
            content = serialise(content)
        return Stanza.build(
            self.kind, to=self.from_, from_=sender, type="result", id=self.id, content=content
        )

    def error(self, error: StanzaError) -> Stanza:
        """This stanza returned to its sender with an error (RFC 6120 §8.3.1)."""
        return Stanza.build(
            self.kind,
            to=self.from_,
            from_=self.to,
            type="error",
            id=self.id,
            content=(self.content if error.quote else b"") + error.xml(),
            children=(*(self.children if error.quote else ()), "jabber:client error"),
        )


def _start(
    kind: str,
    attributes: dict[str, str],
    from_: JID | None,
    to: JID | None,
    prefix: bytes = b"",
) -> bytes:
    """A start tag without its end."""
    out = [b"<", kind.encode(), prefix]
    if from_ is not None:
        out += (b" from='", from_.attribute, b"'")
    if to is not None:
        out += (b" to='", to.attribute, b"'")
    for key, value in attributes.items():
        if key == "from" or key == "to":
            continue
        if key == XML_LANG:
            key = "xml:lang"
        elif " " in key:
            continue  # foreign attributes on the stanza itself mean nothing in jabber:client
        out.append(f" {key}='{escape(value)}'".encode())
    return b"".join(out)
