"""What a client asks for with `<authenticate/>` (XEP-0388 §2.3) and with what stands inside of it.

Everything is read before anything is done: who asks for something that makes no sense is told so before it is
logged in. Elements that nobody here knows are nobody's business (they may be extensions of tomorrow).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

from msgd.accounts.device_store import UserAgent
from msgd.negotiation.failure import SaslFailure
from msgd.negotiation.fast import NAMESPACE as FAST
from msgd.negotiation.sasl import decode_data
from msgd.wire.jid import JID, JIDError
from msgd.wire.xml import parse

NAMESPACE: Final = "urn:xmpp:sasl:2"
BIND: Final = "urn:xmpp:bind:0"
SM: Final = "urn:xmpp:sm:3"

#: XEP-0388 wants a UUID v4. Those of other versions are as stable, and clients have them.
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_COUNT: Final = re.compile(r"[0-9]{1,10}")
#: Characters that are kept of what a client calls itself and its device: a line for people to read.
_LONGEST: Final = 100
#: What stands behind the tag in a resource, to find out whether both fit.
_ROOM: Final = "/" + 20 * "x"
_TRUE: Final = ("true", "1")


@dataclass(frozen=True, slots=True)
class BindRequest:
    """`<bind/>` (XEP-0386 §3.2): the tag, and what is to be enabled."""

    tag: str
    features: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One `<authenticate/>`. `initial` is the initial response, None for none.

    `resume` are the attributes of XEP-0198's `<resume/>`; `token_for` the mechanism for which a token is
    wanted, or empty. `fast`: it logs in with a token; `count` and `invalidate` belong to that (XEP-0484).
    """

    mechanism: str
    initial: bytes | None
    agent: UserAgent | None
    bind: BindRequest | None
    resume: dict[str, str] | None
    token_for: str
    fast: bool
    count: int | None
    invalidate: bool


def read_request(raw: bytes, domain: JID) -> Request:
    """Read an `<authenticate/>`. Raises SaslFailure for what is wrong in it."""
    root = parse(raw)
    children = _by_name(root)
    initial = children.get(f"{{{NAMESPACE}}}initial-response")
    agent = children.get(f"{{{NAMESPACE}}}user-agent")
    bind = children.get(f"{{{BIND}}}bind")
    resume = children.get(f"{{{SM}}}resume")
    wanted = children.get(f"{{{FAST}}}request-token")
    fast = children.get(f"{{{FAST}}}fast")
    return Request(
        mechanism=root.get("mechanism", ""),
        initial=None if initial is None else decode_data((initial.text or "").strip()),
        agent=None if agent is None else _agent(agent),
        bind=None if bind is None else _bind(bind, domain),
        resume=None if resume is None else dict(resume.attrib),
        token_for="" if wanted is None else wanted.get("mechanism", "-"),
        fast=fast is not None,
        count=None if fast is None else _count(fast.get("count")),
        invalidate=fast is not None and fast.get("invalidate") in _TRUE,
    )


def _by_name(root: Iterable[Element]) -> dict[str, Element]:
    """The children by their names. Raises SaslFailure where one is there twice: which is meant?"""
    found: dict[str, Element] = {}
    for child in root:
        if child.tag in found:
            raise SaslFailure("malformed-request", "an element is there twice")
        found[child.tag] = child
    return found


def _agent(element: Element) -> UserAgent | None:
    id = element.get("id")
    if id is None:
        return None
    if not _UUID.fullmatch(id):
        raise SaslFailure("malformed-request", "the id of a user agent is a UUID")
    return UserAgent(id.lower(), _line(element, "software"), _line(element, "device"))


def _line(element: Element, name: str) -> str:
    return " ".join((element.findtext(f"{{{NAMESPACE}}}{name}") or "").split())[:_LONGEST]


def _bind(element: Element, domain: JID) -> BindRequest:
    children = _by_name(element)
    tag = (element.findtext(f"{{{BIND}}}tag") or "").strip()
    try:
        domain.with_resource(tag + _ROOM)
    except JIDError:
        raise SaslFailure("malformed-request", "the tag cannot be part of an address") from None
    children.pop(f"{{{BIND}}}tag", None)
    return BindRequest(tag, tuple(children.values()))


def _count(text: str | None) -> int | None:
    if text is None:
        return None
    if not _COUNT.fullmatch(text):
        raise SaslFailure("malformed-request", "the count is a number")
    return int(text)
