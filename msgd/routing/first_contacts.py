"""How many strangers an account may write to: a limit on different addresses, not on messages.

Spam is many first messages to people who never heard of the sender. Who is in touch with somebody pays one
look into a set for each message; only an address that is new to the account is looked at: whether it shares
presence with the account, or has written to it. What does neither is a stranger, whether it exists or not,
and of these an account may address so many in an hour, with messages and subscription requests together.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.account import LiveAccount
    from msgd.routing.router import Router

_HOUR: Final = 3600.0
#: Addresses that are remembered for an account while it is in memory, some 100 bytes each.
_MOST_PEERS: Final = 1000
#: What is no first message: answers, and what rooms let nobody send who has not entered.
_EXEMPT: Final = frozenset({"error", "groupchat"})


class FirstContacts:
    """Of all accounts that wrote to strangers in the last hour: when."""

    def __init__(self, router: Router) -> None:
        self._router = router
        # The account that wrote last is the last. Each is bounded by the limit.
        self._times: dict[int, deque[float]] = {}

    def meet(self, account: LiveAccount, stanza: Stanza) -> None:
        """`account` sends something to an address that is not among its `peers`. Raises StanzaError."""
        to = stanza.to
        if to is None or not to.local or stanza.type in _EXEMPT:
            return
        bare = to.bare
        if bare not in account.peers and not self._related(account, bare):
            self._count(account)
        if not isinstance(account.peers, set) or len(account.peers) >= _MOST_PEERS:
            account.peers = set()
        account.peers |= {to, bare}

    def _related(self, account: LiveAccount, peer: JID) -> bool:
        if peer == account.jid or peer in account.subscribers or peer in account.subscriptions:
            return True
        there = self._router.table.account(peer)
        return there is not None and account.jid in there.peers

    def _count(self, account: LiveAccount) -> None:
        most = self._router.config.limits.first_contacts
        if not most:
            return
        since = self._router.clock.seconds() - _HOUR
        times = self._times.pop(account.id, None) or deque()
        while times and times[0] <= since:
            times.popleft()
        self._times[account.id] = times
        self._forget(since)
        if len(times) >= most:
            raise StanzaError("policy-violation", "too many first messages to strangers", type="wait")
        times.append(since + _HOUR)

    def _forget(self, since: float) -> None:
        """Those that wrote to no stranger for an hour, from the front."""
        while True:
            id, times = next(iter(self._times.items()))
            if not times or times[-1] > since:
                return
            del self._times[id]
