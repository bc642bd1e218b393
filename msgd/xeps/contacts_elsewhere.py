"""What the clients of contacts in other domains want to be told of an account's nodes (XEP-0163 §4.3).

Their presence and capabilities are known only here: of sessions on this server `interests.py` knows it. It is
kept in memory, with accounts that have nodes, of contacts that are there; when it is lost, the next presence
brings it again, and an account asks for that when it logs in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from msgd.wire.jid import JID

if TYPE_CHECKING:
    from msgd.routing.account import LiveAccount

#: Resources of one contact; more than msgd lets an account have. The one seen first gives way.
_MOST_RESOURCES: Final = 10
#: Resources of all contacts of an account: 500 people elsewhere who are there with two clients each, some
#: 600 bytes for one. The contact seen first gives way; he can still read the nodes.
_MOST: Final = 1000


class Client(NamedTuple):
    """A client of a contact: the verification string that it showed last, and what it is known to want."""

    version: str
    wanted: tuple[str, ...]


class Elsewhere:
    """The clients of one account's contacts in other domains, by bare and full JID, oldest first."""

    __slots__ = ("_clients", "count")

    def __init__(self) -> None:
        self._clients: dict[JID, dict[JID, Client]] = {}
        self.count = 0

    def client(self, jid: JID) -> Client | None:
        """What is known of a full JID."""
        return self._clients.get(jid.bare, {}).get(jid)

    def of(self, contact: JID) -> list[tuple[JID, Client]]:
        """The clients of a contact."""
        return list(self._clients.get(contact, {}).items())

    def note(self, jid: JID, client: Client) -> None:
        """A client is there."""
        clients = self._clients.setdefault(jid.bare, {})
        if jid not in clients:
            if len(clients) >= _MOST_RESOURCES:
                self.forget(next(iter(clients)))
            elif self.count >= _MOST:
                self.forget(next(iter(self._clients)))
                clients = self._clients.setdefault(jid.bare, {})
            self.count += 1
        clients[jid] = client

    def forget(self, jid: JID) -> None:
        """A client is gone, or with a bare JID all of a contact."""
        clients = self._clients.get(jid.bare)
        if clients is None:
            return
        if jid.resource:
            self.count -= clients.pop(jid, None) is not None
        else:
            self.count -= len(clients)
            clients.clear()
        if not clients:
            del self._clients[jid.bare]


def elsewhere(account: LiveAccount) -> Elsewhere | None:
    """The account's; None while nobody has asked for its contacts."""
    return account.extras.get(Elsewhere) if account.extras is not None else None


def begin(account: LiveAccount) -> Elsewhere:
    """Note from now on who is there."""
    if account.extras is None:
        account.extras = {}
    found: Elsewhere = account.extras.setdefault(Elsewhere, Elsewhere())
    return found


def end(account: LiveAccount) -> None:
    """The account has no nodes any more."""
    if account.extras is not None:
        account.extras.pop(Elsewhere, None)


def wanting(account: LiveAccount, contact: JID, node: str) -> Iterator[JID]:
    """The clients of a contact in another domain that want to hear of a node of the account."""
    known = elsewhere(account)
    if known is not None:
        for jid, client in known.of(contact):
            if node in client.wanted:
                yield jid
