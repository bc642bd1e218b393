"""Verification strings: what an entity can do, as a hash (XEP-0115 §5).

The string that is hashed can be read in several ways: a name may hold the separator, and what is a feature
in one reading is part of a form in another. `wanted_nodes` refuses every answer in which that could hide or
add a wish to be told of a node, so nobody can poison the cache for others (§9.3).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from msgd.xeps.data_forms import FORM_TYPE, read_form
from msgd.xeps.data_forms import NAMESPACE as FORMS

#: The hash functions that are computed here, by their names in the XEP.
HASHES: Final = frozenset({"sha-1", "sha-256", "sha-512"})
NOTIFY: Final = "+notify"
_INFO: Final = "{http://jabber.org/protocol/disco#info}"
_LANG: Final = "{http://www.w3.org/XML/1998/namespace}lang"

#: Category, type, language and name.
Parts = tuple[str, str, str, str]


class IllFormed(Exception):
    """An answer that §5.4 says to disregard, or that can be read in two ways."""


class Described(NamedTuple):
    """What an entity says that it is and can do; forms with their FORM_TYPE."""

    identities: Sequence[Parts]
    features: Sequence[str]
    forms: Sequence[Mapping[str, Sequence[str]]]

    def hashed(self, hash: str = "sha-1") -> str:
        """§5.1: the verification string."""
        parts = ["/".join(identity) for identity in sorted(self.identities, key=_octets)]
        parts += sorted(self.features, key=str.encode)
        for form in sorted(self.forms, key=lambda form: form[FORM_TYPE][0].encode()):
            parts += form[FORM_TYPE]
            for var in sorted(form.keys() - {FORM_TYPE}, key=str.encode):
                parts += [var, *sorted(form[var], key=str.encode)]
        text = "".join(part + "<" for part in parts).encode()
        # SHA-1 is what the XEP makes mandatory; nothing secret depends on it.
        digest = hashlib.new(hash.replace("-", "", 1), text, usedforsecurity=False).digest()
        return base64.b64encode(digest).decode()


def _octets(identity: Parts) -> list[bytes]:
    return [part.encode() for part in identity]


def described(query: Element) -> Described:
    """What a disco#info answer says. Raises IllFormed (§5.4, steps 3.3 to 3.6)."""
    identities = [
        (each.get("category", ""), each.get("type", ""), each.get(_LANG, ""), each.get("name", ""))
        for each in query.findall(f"{_INFO}identity")
    ]
    features = [each.get("var", "") for each in query.findall(f"{_INFO}feature")]
    forms = []
    for form in query.findall(f"{{{FORMS}}}x"):
        values = read_form(form)
        kinds = values.get(FORM_TYPE, [])
        if len(set(kinds)) > 1:
            raise IllFormed("a form with two types")
        if kinds and _is_hidden(form):
            forms.append({**values, FORM_TYPE: kinds[:1]})
    for each in (identities, features, [form[FORM_TYPE][0] for form in forms]):
        if len(set(each)) < len(each):
            raise IllFormed("something is there twice")
    return Described(identities, features, forms)


def _is_hidden(form: Element) -> bool:
    fields = form.findall(f"{{{FORMS}}}field")
    return any(field.get("var") == FORM_TYPE and field.get("type") == "hidden" for field in fields)


def wanted_nodes(found: Described) -> tuple[str, ...]:
    """The nodes of whose news the entity wants to be told (XEP-0163 §4.2). Raises IllFormed."""
    others = ["/".join(identity) for identity in found.identities]
    for form in found.forms:
        for var, values in form.items():
            others += [var, *values]
    if any(NOTIFY in text for text in others) or any("<" in text for text in (*others, *found.features)):
        raise IllFormed("it can be read in two ways")
    return wishes(found.features)


def wishes(features: Iterable[str]) -> tuple[str, ...]:
    """The nodes in features that end in '+notify'."""
    return tuple(sorted(feature.removesuffix(NOTIFY) for feature in features if feature.endswith(NOTIFY)))
