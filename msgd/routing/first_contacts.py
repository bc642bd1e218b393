"""How many strangers somebody may write to: a limit on different addresses, not on messages.

Spam is many first messages to people who never heard of the sender. Who is in touch with somebody pays one
look into a set for each message; only an address that is new to the account is looked at: whether it shares
presence with the account, or has written to it. What does neither is a stranger, whether it exists or not,
and of these an account may address so many in an hour, with messages and subscription requests together.

The same holds for who writes from another server, and for all of its domain together, as whoever owns a
domain has as many addresses there as he likes. Components are the operator's own, and not limited.
"""

from __future__ import annotations

from collections import OrderedDict, deque
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
#: Senders elsewhere, and domains, whose first messages are counted; the oldest begin anew. There are so many
#: in an hour only when a hundred domains are at their limits.
_MOST_ELSEWHERE: Final = 50_000
#: What is no first message: answers, and what rooms let nobody send who has not entered.
_EXEMPT: Final = frozenset({"error", "groupchat"})
_NEWS: Final = "http://jabber.org/protocol/pubsub#event event"
_BODY: Final = "jabber:client body"

#: An account's number; the bare address of a sender elsewhere; a domain.
_Key = int | str


class FirstContacts:
    """Of all who wrote to strangers in the last hour: when."""

    def __init__(self, router: Router) -> None:
        self._router = router
        # Who wrote last is the last. Each is bounded by the limit.
        self._times: OrderedDict[_Key, deque[float]] = OrderedDict()
        self._elsewhere: OrderedDict[_Key, deque[float]] = OrderedDict()

    # -- from accounts here --------------------------------------------------------------------

    def meet(self, account: LiveAccount, stanza: Stanza) -> None:
        """`account` sends something to an address that is not among its `peers`. Raises StanzaError."""
        to = stanza.to
        if to is None or not to.local or stanza.type in _EXEMPT:
            return
        bare = to.bare
        most = self._router.config.limits.first_contacts
        if most and bare not in account.peers and not self._related(account, bare):
            self._count(self._times, {account.id: most})
        _remember(account, to, bare)

    def _related(self, account: LiveAccount, peer: JID) -> bool:
        if _sees(account, peer):
            return True
        there = self._router.table.account(peer)
        return there is not None and account.jid in there.peers

    # -- from other servers --------------------------------------------------------------------

    def counts(self, stanza: Stanza) -> bool:
        """Whether a stanza from another domain may be a first one."""
        sender, table = stanza.from_, self._router.table
        if sender is None or sender.domain in table.domains or sender.domain in table.destinations:
            return False
        if stanza.kind != "message":
            return stanza.type == "subscribe"
        # News from services to which somebody subscribed is nothing that anybody reads as a message.
        is_news = _NEWS in stanza.children and _BODY not in stanza.children
        return stanza.type not in _EXEMPT and not is_news

    def come(self, account: LiveAccount | None, stanza: Stanza) -> None:
        """Something that `counts` comes for an account, None for one that is not there. Raises StanzaError.

        Who answers it writes to no stranger.
        """
        assert stanza.from_ is not None  # it counts
        sender = stanza.from_.bare
        if account is not None and sender in account.peers:
            return
        if account is None or not _sees(account, sender):
            limits = self._router.config.limits
            most: dict[_Key, int] = {}
            if sender.local and limits.first_contacts:
                most[sender] = limits.first_contacts
            if limits.first_contacts_from_domain:
                # No address: those have an "@", and this cannot be one of theirs.
                most[sender.domain] = limits.first_contacts_from_domain
            self._count(self._elsewhere, most)
            while len(self._elsewhere) > _MOST_ELSEWHERE:
                self._elsewhere.popitem(last=False)
        if account is not None:
            _remember(account, sender)

    # -- counting ------------------------------------------------------------------------------

    def _count(self, of: OrderedDict[_Key, deque[float]], most: dict[_Key, int]) -> None:
        """One more for each of these, unless one of them has had its most. Raises StanzaError."""
        now = self._router.clock.seconds()
        _forget(of, now - _HOUR)
        for key, limit in most.items():
            if len(_recent(of.get(key, ()), now - _HOUR)) >= limit:
                raise StanzaError("policy-violation", "too many first messages to strangers", type="wait")
        for key in most:
            times = of[key] = _recent(of.pop(key, ()), now - _HOUR)
            times.append(now)


def _sees(account: LiveAccount, peer: JID) -> bool:
    return peer == account.jid or peer in account.subscribers or peer in account.subscriptions


def _remember(account: LiveAccount, *peers: JID) -> None:
    """As peers."""
    if not isinstance(account.peers, set) or len(account.peers) >= _MOST_PEERS:
        account.peers = set()
    account.peers |= {*peers}


def _recent(times: deque[float] | tuple[()], since: float) -> deque[float]:
    """Those after `since`, in place."""
    times = times or deque()
    while times and times[0] <= since:
        times.popleft()
    return times


def _forget(of: OrderedDict[_Key, deque[float]], since: float) -> None:
    """Those that wrote to no stranger for an hour, from the front."""
    while of:
        key, times = next(iter(of.items()))
        if times and times[-1] > since:
            return
        del of[key]
