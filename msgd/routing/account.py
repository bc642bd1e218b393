"""A live account: what the server remembers of an account while stanzas for it come by.

Exists while the account has sessions or was needed recently; the table (`table.py`) bounds how many.
Knows its sessions and the two sets of the roster on which presence depends; everything else of the
roster stays in the database.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final

from msgd.accounts.uses import Uses
from msgd.routing.hooks import Acting, Hooks, hooks_of
from msgd.wire.jid import JID

if TYPE_CHECKING:
    from msgd.routing.archiving import Preference
    from msgd.routing.session import Session


#: One empty set for all accounts: Python makes a new one each time it is asked.
NOBODY: Final[frozenset[JID]] = frozenset()


class Mailbox:
    """What the spool holds for one account; only the spool changes it.

    `count` and `size` (bytes) are of everything kept, in memory and in the database; `waiting` are
    entries in memory that no session has, in order; `held` those that sessions have, by id.
    """

    __slots__ = ("count", "drain", "held", "overflowed", "size", "waiting")

    def __init__(self) -> None:
        self.count = 0
        self.size = 0
        self.waiting: dict[int, Any] | None = None
        self.held: dict[int, Any] | None = None
        self.drain: Any = None
        self.overflowed = False

    @property
    def idle(self) -> bool:
        """Nothing in memory hangs on it."""
        return not self.waiting and not self.held and self.drain is None


class LiveAccount:
    """One account of this server.

    `subscribers` are the contacts that see this account's presence (roster 'from' and 'both'),
    `subscriptions` those whose presence it sees ('to' and 'both'). `waiting`: subscription requests
    may wait for the account's answer, or for that of a contact; False when it is known that none do.
    `uses` says for which extensions there is more in the database, `extras` has what they keep in memory,
    by their classes; `hooks` is who acts on the account's stanzas, None for nobody. `archive` says which
    messages its archive keeps, None for none. `peers` are addresses to which it has sent something before, or
    that wrote to it from another server (`first_contacts.py`): some of them.
    """

    __slots__ = ("archive", "extras", "hooks", "id", "jid", "mailbox", "peers", "sessions",
                 "subscribers", "subscriptions", "uses", "waiting")  # fmt: skip

    def __init__(self, id: int, jid: JID) -> None:
        self.id = id
        self.jid = jid
        self.sessions: dict[str, Session] = {}
        self.subscribers = NOBODY
        self.subscriptions = NOBODY
        self.waiting = True
        self.mailbox = Mailbox()
        self.uses = Uses(0)
        self.hooks: Hooks | None = None
        self.extras: dict[type, Any] | None = None
        self.archive: Preference | None = None
        self.peers: AbstractSet[JID] = NOBODY

    def hook(self, extension: Acting) -> None:
        """Have the extension act on this account's stanzas from now on."""
        others = self.hooks.extensions if self.hooks is not None else ()
        self.hooks = hooks_of(frozenset((*others, extension)))

    def unhook(self, extension: Acting) -> None:
        """Have it act no more."""
        if self.hooks is not None:
            self.hooks = hooks_of(frozenset(self.hooks.extensions) - {extension})

    def available(self) -> list[Session]:
        """The sessions that sent available presence, whatever their priority."""
        return [session for session in self.sessions.values() if session.available]

    def reachable(self) -> list[Session]:
        """The available sessions with a non-negative priority (RFC 6121 §8.5.2.1)."""
        return [s for s in self.sessions.values() if s.available and s.priority >= 0]

    def shows_presence_to(self, asker: JID) -> bool:
        """Whether `asker` may know if the account is there (RFC 6121 §11.1): itself, subscribers."""
        contact = asker.bare
        return contact == self.jid or contact in self.subscribers
