"""Compares what came with what a transcript expects. Source: 'Matching' in protocol_spec/README.md."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from tests.specification.connection import STREAM
from tests.specification.text import VARIABLE

CLIENT = "jabber:client"
LANG = "{http://www.w3.org/XML/1998/namespace}lang"
STANZAS = {f"{{{CLIENT}}}{kind}" for kind in ("message", "presence", "iq")}
_LENIENT_CHILDREN = {
    f"{{{CLIENT}}}error": ("{urn:ietf:params:xml:ns:xmpp-stanzas}text",),
    f"{{{STREAM}}}error": ("{urn:ietf:params:xml:ns:xmpp-streams}text",),
    "{urn:ietf:params:xml:ns:xmpp-sasl}failure": ("{urn:ietf:params:xml:ns:xmpp-sasl}text",),
}
_DELAY = "{urn:xmpp:delay}delay"
_STANZA_ID = "{urn:xmpp:sid:0}stanza-id"
_TOKEN = re.compile(r"(\{any\}|\$\{[^}]+\})")
_HEADER = re.compile(r"<stream:stream\b((?:[^>'\"]|'[^']*'|\"[^\"]*\")*?)/?>")

Bindings = dict[str, str]


class BadBlock(Exception):
    """An expected block that is not XML."""


@dataclass(frozen=True)
class Recipient:
    """Whose stream it is: what `to` and `from` may silently be."""

    full: str = ""
    bare: str = ""


def parse_block(text: str) -> list[Element]:
    """The elements of an expected block; a stream header counts as one."""
    text = re.sub(r"<\?xml.*?\?>", "", text)
    if "</stream:stream>" not in text:
        text = _HEADER.sub(r"<stream:stream\1/>", text)
    try:
        root = ElementTree.fromstring(f"<block xmlns='{CLIENT}' xmlns:stream='{STREAM}'>{text}</block>")
    except ElementTree.ParseError as error:
        raise BadBlock(f"{error} in:\n{text}") from None
    return list(root)


def match(
    expected: Element, got: Element, known: Bindings, recipient: Recipient, exact: bool = False
) -> tuple[Bindings | None, str]:
    """The bindings after a match, or None and why not."""
    comparison = _Comparison(recipient, exact)
    for bindings in comparison.element(expected, got, known, top=True):
        return bindings, ""
    return None, comparison.deepest


class _Comparison:
    """One comparison; tries every assignment of children."""

    def __init__(self, recipient: Recipient, exact: bool) -> None:
        self.recipient = recipient
        self.exact = exact
        self.deepest = ""
        self._depth = -1

    def _fail(self, depth: int, reason: str) -> None:
        if depth > self._depth:
            self._depth, self.deepest = depth, reason

    def element(
        self, expected: Element, got: Element, known: Bindings, top: bool = False, depth: int = 0
    ) -> Iterator[Bindings]:
        if expected.tag != got.tag:
            self._fail(depth, f"element {got.tag}, expected {expected.tag}")
            return
        bindings = self._attributes(expected, got, known, top, depth)
        if bindings is None:
            return
        wanted_text, more, delay = _own_text(expected)
        if not more:
            text, _, _ = _own_text(got)
            after = match_text(wanted_text, text, bindings)
            if after is None:
                self._fail(depth, f"text of {got.tag} is {text!r}, expected {wanted_text!r}")
                return
            bindings = after
        children = list(got)
        if not self.exact:
            children = self._without_lenient(expected, got, top)
        if delay:
            children = [child for child in children if child.tag != _DELAY]
        if len(children) < len(expected) or (len(children) > len(expected) and not more):
            names = [child.tag for child in children]
            self._fail(depth, f"{got.tag} has children {names}, expected {[c.tag for c in expected]}")
            return
        yield from self._children(list(expected), children, bindings, depth)

    def _children(
        self, expected: list[Element], got: list[Element], known: Bindings, depth: int
    ) -> Iterator[Bindings]:
        if not expected:
            yield known
            return
        for index, child in enumerate(got):
            for bindings in self.element(expected[0], child, known, depth=depth + 1):
                rest = got[:index] + got[index + 1 :]
                yield from self._children(expected[1:], rest, bindings, depth)

    def _attributes(
        self, expected: Element, got: Element, known: Bindings, top: bool, depth: int
    ) -> Bindings | None:
        bindings = known
        for name, wanted in expected.items():
            value = got.get(name)
            if wanted == "{optional}":
                continue
            if value is None:
                self._fail(depth, f"{got.tag} has no attribute {name}")
                return None
            after = match_text(wanted, value, bindings)
            if after is None:
                self._fail(depth, f"{name} of {got.tag} is {value!r}, expected {wanted!r}")
                return None
            bindings = after
        for name, value in got.items():
            if expected.get(name) is None and not self._may_be_there(got, name, value, top):
                self._fail(depth, f"unexpected attribute {name}={value!r} of {got.tag}")
                return None
        return bindings

    def _may_be_there(self, got: Element, name: str, value: str, top: bool) -> bool:
        if self.exact:
            return False
        if name == LANG:
            return True
        if got.tag == f"{{{CLIENT}}}error" and name in ("by", "code"):
            return True
        if not top or got.tag not in STANZAS:
            return False
        mine = {self.recipient.bare}
        return (name == "to" and value in mine | {self.recipient.full}) or (name == "from" and value in mine)

    def _without_lenient(self, expected: Element, got: Element, top: bool) -> list[Element]:
        lenient = set(_LENIENT_CHILDREN.get(got.tag, ()))
        if top:
            lenient.add(_STANZA_ID)
        lenient -= {child.tag for child in expected}
        return [child for child in got if child.tag not in lenient]


def match_text(wanted: str, got: str, known: Bindings) -> Bindings | None:
    """`known` and what was captured, or None."""
    if "{" not in wanted:
        return known if wanted == got else None
    if wanted.startswith("{base64:") and wanted.endswith("}"):
        try:
            inside = base64.b64decode(got, validate=True).decode()
        except ValueError:
            return None
        return match_text(wanted[8:-1], inside, known)
    pattern, names = "", []
    for part in _TOKEN.split(wanted):
        variable = VARIABLE.fullmatch(part)
        if part == "{any}":
            pattern += ".*"
        elif variable and variable.group(1) in known:
            pattern += re.escape(known[variable.group(1)])
        elif variable:
            pattern += "(.+?)"
            names.append(variable.group(1))
        else:
            pattern += re.escape(part)
    found = re.fullmatch(pattern, got, re.DOTALL)
    if found is None:
        return None
    captured = dict(known)
    for name, value in zip(names, found.groups(), strict=True):
        if captured.setdefault(name, value) != value:
            return None
    return captured


def _own_text(element: Element) -> tuple[str, bool, bool]:
    """The element's own text, and whether {more} and {delay} are in it."""
    text = (element.text or "") + "".join(child.tail or "" for child in element)
    more, delay = "{more}" in text, "{delay}" in text
    text = text.replace("{more}", "").replace("{delay}", "")
    if (len(element) or more or delay) and not text.strip():
        text = ""
    return text, more, delay


def show(element: Element) -> str:
    """For a report: the element as it would be written in a transcript."""
    return _written(element, CLIENT)


def _written(element: Element, namespace: str) -> str:
    own, _, name = element.tag.rpartition("}")
    own = own[1:]
    attributes = "".join(
        f" {'xml:lang' if key == LANG else key}='{_escape(value)}'" for key, value in element.items()
    )
    if own == STREAM:
        name, inner = f"stream:{name}", namespace
    else:
        inner = own
        if own != namespace:
            attributes = f" xmlns='{own}'" + attributes
    content = _escape(element.text or "")
    for child in element:
        content += _written(child, inner) + _escape(child.tail or "")
    return f"<{name}{attributes}>{content}</{name}>" if content else f"<{name}{attributes}/>"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("'", "&apos;")
