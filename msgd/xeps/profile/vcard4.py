"""From vcard-temp to vCard4 and back, as far as both know the same (XEP-0292 §9).

A photo is no matter of these: avatars have nodes of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element

from msgd.wire.xml import element

OLD: Final = "vcard-temp"
NEW: Final = "urn:ietf:params:xml:ns:vcard-4.0"

#: One value: the old name, the new name and how its value is written.
_PLAIN: Final = (
    ("FN", "fn", "text"), ("NICKNAME", "nickname", "text"), ("BDAY", "bday", "date"), ("TZ", "tz", "text"),
    ("URL", "url", "uri"), ("TITLE", "title", "text"), ("ROLE", "role", "text"), ("UID", "uid", "text"),
    ("REV", "rev", "timestamp"), ("PRODID", "prodid", "text"), ("DESC", "note", "text"),
)  # fmt: skip
#: Also known by other names in old cards.
_ALSO: Final = (("NOTE", "note", "text"),)
#: Several values in a structure.
_PARTS: Final = (
    ("N", "n", (("FAMILY", "surname"), ("GIVEN", "given"), ("MIDDLE", "additional"), ("PREFIX", "prefix"),
                ("SUFFIX", "suffix"))),
    ("ADR", "adr", (("POBOX", "pobox"), ("EXTADD", "ext"), ("STREET", "street"), ("LOCALITY", "locality"),
                    ("REGION", "region"), ("PCODE", "code"), ("CTRY", "country"))),
)  # fmt: skip
_TYPES: Final = ("HOME", "WORK", "VOICE", "FAX", "PAGER", "CELL", "VIDEO", "TEXT")


def to_new(card: Element) -> Element:
    """The vCard4 of a vcard-temp."""
    new = element(NEW, "vcard")
    for old in card:
        new.extend(_new_property(old))
    if new.find(f"{{{NEW}}}fn") is None:  # RFC 6350 §6.2.1: there is one at least
        nick = (card.findtext(f"{{{OLD}}}NICKNAME") or "").strip()
        new.insert(0, _new("fn", element(NEW, "text", None, nick)))
    return new


def _new_property(old: Element) -> Iterator[Element]:
    name = old.tag.removeprefix(f"{{{OLD}}}")
    text = (old.text or "").strip()
    for before, after, kind in (*_PLAIN, *_ALSO):
        if before == name and text:
            yield _new(after, element(NEW, kind, None, text))
    for before, after, parts in _PARTS:
        if before == name and len(old):
            made = _new(after, *(element(NEW, new, None, _part(old, part)) for part, new in parts))
            yield _typed(made, old)
    if name == "TEL" and _part(old, "NUMBER"):
        number = "tel:" + "-".join(_part(old, "NUMBER").split())
        yield _typed(_new("tel", element(NEW, "uri", None, number)), old)
    elif name == "EMAIL" and (_part(old, "USERID") or text):
        yield _typed(_new("email", element(NEW, "text", None, _part(old, "USERID") or text)), old)
    elif name == "JABBERID" and text:
        yield _new("impp", element(NEW, "uri", None, f"xmpp:{text}"))
    elif name == "ORG":
        units = [_part(old, "ORGNAME"), *(_text(unit) for unit in old.iterfind(f"{{{OLD}}}ORGUNIT"))]
        yield _new("org", *(element(NEW, "text", None, unit) for unit in units if unit))
    elif name == "GEO":
        yield _new("geo", element(NEW, "uri", None, f"geo:{_part(old, 'LAT')},{_part(old, 'LON')}"))


def _new(name: str, *values: Element) -> Element:
    return element(NEW, name, None, *values)


def _typed(new: Element, old: Element) -> Element:
    """With the types that an old property has as empty elements."""
    types = [name.lower() for name in _TYPES if old.find(f"{{{OLD}}}{name}") is not None]
    if types:
        texts = [element(NEW, "text", None, type) for type in types]
        new.insert(0, element(NEW, "parameters", None, element(NEW, "type", None, *texts)))
    return new


def _part(old: Element, name: str) -> str:
    return (old.findtext(f"{{{OLD}}}{name}") or "").strip()


def to_old(card: Element) -> Element:
    """The vcard-temp of a vCard4."""
    old = element(OLD, "vCard")
    for new in card:
        name = new.tag.removeprefix(f"{{{NEW}}}")
        made = _old_property(name, new)
        if made is not None:
            old.append(made)
    return old


def _old_property(name: str, new: Element) -> Element | None:
    for before, after, _ in _PLAIN:
        if after == name:
            return _old(before, _value(new))
    for before, after, parts in _PARTS:
        if after == name:
            made = element(OLD, before, None, *_old_types(new))
            made.extend(_old(part, _text(new.find(f"{{{NEW}}}{inside}"))) for part, inside in parts)
            return made
    value = _value(new)
    if name == "tel":
        return element(OLD, "TEL", None, *_old_types(new), _old("NUMBER", value.removeprefix("tel:")))
    if name == "email":
        return element(OLD, "EMAIL", None, *_old_types(new), _old("USERID", value))
    if name == "impp" and value.startswith("xmpp:"):
        return _old("JABBERID", value.removeprefix("xmpp:"))
    if name == "org":
        texts = [_text(text) for text in new.iterfind(f"{{{NEW}}}text")]
        names = ("ORGNAME", *["ORGUNIT"] * (len(texts) - 1))
        return element(
            OLD, "ORG", None, *(_old(each, text) for each, text in zip(names, texts, strict=False))
        )
    if name == "geo" and value.startswith("geo:"):
        latitude, _, longitude = value.removeprefix("geo:").partition(",")
        return element(OLD, "GEO", None, _old("LAT", latitude), _old("LON", longitude))
    return None


def _old(name: str, text: str) -> Element:
    return element(OLD, name, None, text)


def _value(new: Element) -> str:
    """The first value of a new property, whatever its kind."""
    return next((_text(child) for child in new if child.tag != f"{{{NEW}}}parameters"), "")


def _old_types(new: Element) -> list[Element]:
    texts = new.iterfind(f"{{{NEW}}}parameters/{{{NEW}}}type/{{{NEW}}}text")
    said = {_text(text).upper() for text in texts}
    return [element(OLD, name) for name in _TYPES if name in said]


def _text(found: Element | None) -> str:
    return (found.text or "").strip() if found is not None else ""
