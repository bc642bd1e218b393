"""Destinations: where stanzas go whose domain is none of this server's own.

Three kinds of domains: those of this server, which have accounts; those for which somebody is entered in
`Table.destinations` (a component); and all others, which are `Table.elsewhere` (links to other servers).
What comes from there is handed to `Router.from_remote`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgd.routing.stream_management import Receipt
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza


class Destination(Protocol):
    """Who takes the stanzas for a domain."""

    def send(self, stanza: Stanza, receipt: Receipt | None) -> bool:
        """Take a complete stanza, `to` and `from` set.

        True when `receipt` was taken over, and is settled once the stanza is safe. What cannot be
        delivered is returned to its sender with an error; nothing is raised.
        """

    def explain(self, to: JID) -> str:
        """Where a stanza for `to` would go now, for an operator."""


class Nowhere:
    """Domains that nobody leads to: what is sent there comes back (RFC 6120 §10.4)."""

    def __init__(self, fail: Callable[[Stanza, StanzaError], None]) -> None:
        self._fail = fail

    def send(self, stanza: Stanza, receipt: Receipt | None) -> bool:
        """See `Destination`."""
        if is_told(stanza):
            self._fail(stanza, StanzaError("remote-server-not-found"))
        return False

    def explain(self, to: JID) -> str:
        """See `Destination`."""
        return f"{to.domain} is not a domain of this server: remote-server-not-found"


def is_told(stanza: Stanza) -> bool:
    """Whether who sent this is to learn that its domain cannot be reached.

    Of presence only what somebody waits for: farewells, probes and answers are the server's own doing.
    """
    return stanza.kind != "presence" or stanza.type in ("subscribe", None)
