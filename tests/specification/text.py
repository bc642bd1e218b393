"""What stands in blocks for something else: fresh accounts, captures, repetitions, base64.

Source: 'Matching' in protocol_spec/README.md.
"""

from __future__ import annotations

import base64
import re
from xml.sax.saxutils import escape

from tests.specification.transcript import Role

VARIABLE = re.compile(r"\$\{([^}]+)\}")
#: The text inside may hold ${variables} and {any}.
_BASE64 = re.compile(r"\{base64:((?:\$\{[^}]*\}|\{any\}|[^}])*)\}")
_TIMES = re.compile(r"\{(\d+) times: (.*?)\}", re.DOTALL)


class Unbound(Exception):
    """A variable that nothing has captured."""


class Names:
    """The fresh accounts of one play, and what has been captured."""

    def __init__(self, cast: dict[str, Role], token: str) -> None:
        self.values: dict[str, str] = {}
        self.fresh: dict[tuple[str, str], str] = {}
        for role in cast.values():
            if role.is_component:
                self.values[role.name] = role.domain
                continue
            if role.server:
                first, dot, rest = role.domain.partition(".")
                self.fresh["", role.domain] = self.values[role.name] = f"{first}-{token}{dot}{rest}"
                continue
            local = self.fresh.setdefault((role.local, role.domain), f"{role.local}-{token}")
            self.values[role.name] = f"{local}@{role.domain}/{role.resource}"
            self.values[f"{role.name}'s name"] = local
        self._there = [
            (re.compile(rf"(?<![\w.-]){re.escape(local)}@{re.escape(domain)}\b"),
             f"{fresh}@{domain}")
            if local
            else (re.compile(rf"(?<![\w.-]){re.escape(domain)}\b"), fresh)
            for (local, domain), fresh in self.fresh.items()
        ]  # fmt: skip

    def local(self, role: Role) -> str:
        """The localpart of the fresh account of `role`."""
        return self.fresh[role.local, role.domain] if not role.is_component else ""

    def rename(self, text: str) -> str:
        """`romeo@localhost` becomes the fresh account."""
        for pattern, fresh in self._there:
            text = pattern.sub(fresh, text)
        return text

    def original(self, text: str) -> str:
        """The other way round, for reports."""
        for (local, domain), fresh in self.fresh.items():
            text = text.replace(f"{fresh}@{domain}", f"{local}@{domain}").replace(fresh, local or domain)
        return text

    def fill(self, text: str, xml: bool = True) -> str:
        """A text to be sent, with everything put in. Raises Unbound."""

        def value(match: re.Match[str]) -> str:
            try:
                found = self.values[match.group(1)]
            except KeyError:
                raise Unbound(match.group(1)) from None
            return _escaped(found) if xml else found

        text = VARIABLE.sub(value, self.rename(text))
        return _TIMES.sub(_repeated, encode(text))

    def fill_known(self, text: str) -> str:
        """An expected text, with everything put in that is known."""

        def known(match: re.Match[str]) -> str:
            found = self.values.get(match.group(1))
            return match.group() if found is None else _escaped(found)

        return encode(VARIABLE.sub(known, self.rename(text)))


def _escaped(text: str) -> str:
    return escape(text, {"'": "&apos;", '"': "&quot;"})


def encode(text: str) -> str:
    """`{base64:…}` encoded; what still has to be captured in one is left for the comparison."""

    def encoded(match: re.Match[str]) -> str:
        inner = match.group(1)
        if VARIABLE.search(inner) or "{any}" in inner:
            return match.group()
        return base64.b64encode(unescape(inner)).decode()

    return _BASE64.sub(encoded, text)


def unescape(text: str) -> bytes:
    """Python's escapes to bytes: `\\x00` is that byte, `\\u2028` the UTF-8 of that character."""
    out = bytearray()
    for part in re.split(r"(\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\[nrt\\])", text):
        if part.startswith("\\x"):
            out.append(int(part[2:], 16))
        elif part.startswith("\\u"):
            out += chr(int(part[2:], 16)).encode("utf-8", "surrogatepass")
        elif part.startswith("\\") and len(part) == 2:
            out += {"n": b"\n", "r": b"\r", "t": b"\t", "\\": b"\\"}[part[1]]
        else:
            out += part.encode("utf-8")
    return bytes(out)


def _repeated(match: re.Match[str]) -> str:
    count, text = int(match.group(1)), match.group(2)
    if "%%" not in text:
        return text * count
    return "".join(text.replace("%%", str(number)) for number in range(1, count + 1))
