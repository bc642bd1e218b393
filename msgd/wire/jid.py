"""Addresses: local@domain/resource, prepared once and then compared as plain text (RFC 7622).

A `JID` is its prepared text: a `str` with the parts beside it, so that sets and dictionaries of addresses
work at their usual speed, and a dictionary may be asked with either. Every address from outside comes
through `JID.parse`; nothing else in msgd takes an address apart.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Self, final

from msgd.wire.domain import LABEL_PATTERN, DomainError, prepare_domain
from msgd.wire.precis import PrecisError, opaque, username

#: The most octets (UTF-8, prepared) of each part. Longer is refused, never cut (RFC 7622 §3.1).
LONGEST_PART = 1023

# Texts above this length are not kept, so that the cache's memory is bounded by its number of entries.
_LONGEST_CACHED = 256
_CACHED = 8192

# Characters that PRECIS allows and a localpart must not have (RFC 7622 §3.3.1).
_FORBIDDEN_IN_LOCAL = re.compile("[\"&'/:<>@]")

# What is its own prepared form: lower-case ASCII, no A-labels. Most addresses are.
_PLAIN = re.compile(
    r"(?:([!#$%()*+,\-.0-9;=?\[\\\]^_`a-z{|}~]+)@)?"
    rf"({LABEL_PATTERN}(?:\.{LABEL_PATTERN})*)"
    r"(?:/([ -~]+))?"
)
_PLAIN_RESOURCE = re.compile("[ -~]+")

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;"})

_SPECIAL = re.compile("[&<>'\"]")


class JIDError(ValueError):
    """A text is not an address. `str()` is a short reason without the text."""


@final
class JID(str):
    """A prepared address. `local` and `resource` are "" when the address has none."""

    __slots__ = ("_bare", "domain", "local", "resource")

    local: str
    domain: str
    resource: str
    _bare: JID | None

    def __new__(cls, text: str) -> Self:
        """The same as `parse`."""
        return cls.parse(text)

    @staticmethod
    def parse(text: str) -> JID:
        """Return the address that `text` means, prepared (RFC 7622 §3). Raises JIDError."""
        return _parse_cached(text) if len(text) <= _LONGEST_CACHED else _parse(text)

    @staticmethod
    def make(local: str, domain: str, resource: str = "") -> JID:
        """Return the address of parts that are prepared already, such as those of other addresses."""
        text = f"{local}@{domain}" if local else domain
        jid: JID = str.__new__(JID, f"{text}/{resource}" if resource else text)
        jid.local = local
        jid.domain = domain
        jid.resource = resource
        jid._bare = None
        return jid

    @property
    def bare(self) -> JID:
        """The address without resource; itself if it has none."""
        if not self.resource:
            return self
        bare = self._bare
        if bare is None:
            bare = self._bare = JID.make(self.local, self.domain)
        return bare

    @property
    def is_bare(self) -> bool:
        """Whether the address has no resource."""
        return not self.resource

    @property
    def domain_jid(self) -> JID:
        """The address of the domain alone."""
        return JID.make("", self.domain) if self.local or self.resource else self

    def with_resource(self, resource: str) -> JID:
        """Return the bare address with `resource`, which is prepared here. Raises JIDError."""
        return JID.make(self.local, self.domain, prepare_resource(resource))

    @property
    def attribute(self) -> bytes:
        """The address in UTF-8, escaped to stand between quotes of either kind in XML."""
        # Preparation keeps all of these out of the other parts.
        if self.resource and _SPECIAL.search(self.resource):
            return self.translate(_ENTITIES).encode()
        return self.encode()

    def __repr__(self) -> str:
        return f"JID({str.__repr__(self)})"


def prepare_local(text: str) -> str:
    """Return the prepared form of a localpart (RFC 7622 §3.3). Raises JIDError."""
    try:
        local = username(text)
    except PrecisError as error:
        raise JIDError(f"localpart: {error}") from None
    if _FORBIDDEN_IN_LOCAL.search(local):
        raise JIDError("localpart: has one of \"&'/:<>@")
    return _limited(local, "localpart")


def prepare_resource(text: str) -> str:
    """Return the prepared form of a resourcepart (RFC 7622 §3.4). Raises JIDError."""
    if _PLAIN_RESOURCE.fullmatch(text):
        return _limited(text, "resourcepart")
    try:
        return _limited(opaque(text), "resourcepart")
    except PrecisError as error:
        raise JIDError(f"resourcepart: {error}") from None


def _limited(part: str, name: str) -> str:
    """Return `part` if it is short enough. Raises JIDError."""
    if len(part) > LONGEST_PART or (not part.isascii() and len(part.encode()) > LONGEST_PART):
        raise JIDError(f"{name}: more than {LONGEST_PART} octets")
    return part


def _parse(text: str) -> JID:
    plain = _PLAIN.fullmatch(text) if len(text) <= LONGEST_PART else None
    if plain is not None:
        local, domain, resource = plain.groups("")
        return JID.make(local, domain, resource)
    # The first "/" ends the rest, then the first "@" ends the localpart (RFC 7622 §3.1).
    rest, slash, resource = text.partition("/")
    local, at, domain = rest.partition("@")
    if not at:
        local, domain = "", rest
    try:
        domain = _limited(prepare_domain(domain), "domainpart")
    except DomainError as error:
        raise JIDError(f"domainpart: {error}") from None
    return JID.make(
        prepare_local(local) if at else "",
        domain,
        prepare_resource(resource) if slash else "",
    )


_parse_cached = lru_cache(maxsize=_CACHED)(_parse)
