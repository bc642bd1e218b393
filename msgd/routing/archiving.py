"""What an account wants its archive to keep: the preferences of XEP-0441 §2.

Hangs on a live account (`LiveAccount.archive`) where anything is archived at all; the spool asks it for
each message. Kinds of messages are the business of `kinds.py`.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Final

from msgd.routing import roster_store
from msgd.storage.database import Connection
from msgd.wire.jid import JID

ALWAYS: Final = "always"
NEVER: Final = "never"
ROSTER: Final = "roster"


class Preference:
    """`default` is ALWAYS, NEVER or ROSTER; it holds for who is neither in `always` nor in `never`.

    `contacts` are those of the roster, needed for ROSTER alone.
    """

    __slots__ = ("always", "contacts", "default", "never")

    def __init__(self, default: str, always: Set[JID] = frozenset(), never: Set[JID] = frozenset()) -> None:
        self.default = default
        self.always = frozenset(always)
        self.never = frozenset(never)
        self.contacts: frozenset[JID] = frozenset()

    @property
    def anything(self) -> bool:
        """Whether anything at all may be archived."""
        return self.default != NEVER or bool(self.always)

    def read_contacts(self, connection: Connection, account_id: int) -> None:
        """Read the roster of the account, where the default needs it."""
        if self.default == ROSTER:
            items = roster_store.roster(connection, account_id, None).items
            self.contacts = frozenset(item.jid for item in items)

    def wants(self, peer: JID) -> bool:
        """Whether messages from or to `peer` are archived (§2.3). Who is in both lists is not."""
        bare = peer.bare
        if self.never and (bare in self.never or peer in self.never):
            return False
        if self.default == ALWAYS or (self.always and (bare in self.always or peer in self.always)):
            return True
        return self.default == ROSTER and bare in self.contacts
