"""XEP-0059 Result Set Management: which page of a long result somebody wants, and what he is told of it.

Read and written by those extensions that have long results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

from msgd.routing.extension import Extension, Xep
from msgd.wire.errors import StanzaError
from msgd.wire.xml import escape

NAMESPACE: Final = "http://jabber.org/protocol/rsm"
#: Characters of a number that are looked at.
_DIGITS: Final = 10


class ResultSets(Extension):
    """XEP-0059 Result Set Management."""

    xep = Xep(59, "1.0")
    account_features = frozenset({NAMESPACE})
    proves = "xep_0059/*"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a `<set/>` asks for: at most `most` items, behind `after` or in front of `before`.

    `backwards`: the last ones of these; with an empty `before` the last ones of all.
    """

    most: int
    after: str = ""
    before: str = ""
    backwards: bool = False


def wanted(parent: Element, most: int) -> Wanted:
    """What the `<set/>` in `parent` asks for, `most` items where there is none or it wants more.

    Raises StanzaError for what cannot be understood, and for what is not done here: pages by number (§2.6).
    """
    found = parent.findall(f"{{{NAMESPACE}}}set")
    if not found:
        return Wanted(most)
    if len(found) > 1:
        raise StanzaError("bad-request", "more than one <set/>")
    parts = {name: found[0].find(f"{{{NAMESPACE}}}{name}") for name in ("max", "after", "before", "index")}
    if parts["index"] is not None:
        raise StanzaError("feature-not-implemented", "pages are found by their ids")
    if parts["after"] is not None and parts["before"] is not None:
        raise StanzaError("bad-request", "either <after/> or <before/>")
    if parts["max"] is not None:
        most = min(most, _number(parts["max"].text or ""))
    after, before = parts["after"], parts["before"]
    return Wanted(
        most,
        after=(after.text or "") if after is not None else "",
        before=(before.text or "") if before is not None else "",
        backwards=before is not None,
    )


def _number(text: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit()):
        raise StanzaError("bad-request", "<max/> is a number from 0 on")
    # So long a number is more than anybody gets.
    return int(text[-_DIGITS:]) if len(text) <= _DIGITS else 10**_DIGITS


def told(first: str | None, last: str | None, count: int | None, index: int | None) -> bytes:
    """The `<set/>` of an answer (§2.2): the ids at both ends of the page, None for an empty one.

    `count` is the size of the whole, `index` the place of the first; None where that is not known.
    """
    out = [f"<set xmlns='{NAMESPACE}'>"]
    if first is not None and last is not None:
        place = f" index='{index}'" if index is not None else ""
        out.append(f"<first{place}>{escape(first)}</first><last>{escape(last)}</last>")
    if count is not None:
        out.append(f"<count>{count}</count>")
    out.append("</set>")
    return "".join(out).encode()
