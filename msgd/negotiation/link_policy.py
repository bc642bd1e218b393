"""What the operator allows of links: with whom, and how they may prove who they are."""

from __future__ import annotations

from collections.abc import Iterable

from msgd.limits import Federation
from msgd.wire.jid import JID, JIDError


class Domains:
    """A list of domains; "*.example.org" are all below example.org, "*" is every domain."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._exactly: set[str] = set()
        self._below: set[str] = set()
        self.all = False
        for text in texts:
            if text == "*":
                self.all = True
            elif text.startswith("*."):
                self._below.add(_prepared(text[2:]))
            else:
                self._exactly.add(_prepared(text))

    def __bool__(self) -> bool:
        return self.all or bool(self._exactly or self._below)

    def __contains__(self, domain: str) -> bool:
        if self.all or domain in self._exactly:
            return True
        parts = domain.split(".")
        return any(".".join(parts[i:]) in self._below for i in range(1, len(parts)))


def _prepared(text: str) -> str:
    try:
        return JID.parse(text)
    except JIDError:
        return text


class Policy:
    """What is allowed with each domain."""

    def __init__(self, options: Federation) -> None:
        self._allow = Domains(options.allow)
        self._block = Domains(options.block)
        self._dialback = Domains(options.dialback)

    def permits(self, domain: str) -> bool:
        """Whether there may be links with `domain`."""
        return domain not in self._block and (not self._allow or domain in self._allow)

    def dialback(self, domain: str) -> bool:
        """Whether DNS is proof enough of being `domain` (XEP-0220)."""
        return domain in self._dialback

    @property
    def any_dialback(self) -> bool:
        """Whether it is for any domain at all."""
        return bool(self._dialback)
