"""RFC 3921 §3: the session that clients of the old RFC begin behind resource binding.

RFC 6121 has no such step. It is announced as optional, so that nobody needs it, and answered, because old
clients do not go on without an answer.
"""

from __future__ import annotations

from typing import Final

from msgd.routing.extension import HOST, OWN, Extension, Rfc, on_iq
from msgd.wire.stanza import Stanza

NAMESPACE: Final = "urn:ietf:params:xml:ns:xmpp-session"


class LegacySession(Extension):
    """RFC 3921 §3 Session establishment. The stream feature is written by the negotiation."""

    xep = Rfc(3921, "3")
    proves = "rfc6120/07-legacy-session.md"

    @on_iq("set", NAMESPACE, "session", at=(HOST, OWN))
    async def begin(self, stanza: Stanza) -> None:
        """There is nothing to begin."""
