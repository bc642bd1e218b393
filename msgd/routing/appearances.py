"""Who in a component's domain is shown to whom as available: all of them leave when the component dies.

Else they would look available until one logs in again; RFC 6121 §4.5.2 has servers say it for clients that
cannot. When the component is back it tells itself who is there.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.router import Router
    from msgd.routing.session import Session

#: Resources that are shown to an account or, directly, to a session, all together: 500 accounts with a
#: hundred contacts behind a gateway for instance, or a room of two hundred. Some 15 MiB. Those to whom
#: something was shown first are forgotten first.
_MOST: Final = 50_000
#: Farewells in one turn of the reactor.
_AT_A_TIME: Final = 200


class Appearances:
    """Those of one component."""

    def __init__(self, router: Router) -> None:
        self._router = router
        # By the address to which the presence was sent.
        self._shown: dict[JID, set[JID]] = {}
        self._leaving: deque[tuple[JID, JID]] = deque()
        self.count = 0

    def note(self, presence: Stanza) -> None:
        """The component sends presence to an address."""
        sender, to = presence.from_, presence.to
        if sender is None or to is None:
            return
        if presence.type is None:
            self._note(sender, to)
        elif presence.type in ("unavailable", "error") and to in self._shown:
            shown = self._shown[to]
            gone = {sender} if sender.resource else {each for each in shown if each.bare == sender}
            self._remove(to, gone & shown)

    def _note(self, sender: JID, to: JID) -> None:
        account = self._router.table.account(to.bare)
        if account is None or not account.sessions:
            return  # nobody sees it
        shown = self._shown.setdefault(to, set())
        if sender not in shown:
            shown.add(sender)
            self.count += 1
            while self.count > _MOST:
                first = next(iter(self._shown))
                self._remove(first, set(self._shown[first]))

    def _remove(self, to: JID, gone: set[JID]) -> None:
        self.count -= len(gone)
        self._shown[to] -= gone
        if not self._shown[to]:
            del self._shown[to]

    def session_ended(self, session: Session) -> None:
        """Nobody sees what was shown to it alone; nor, if it was the last, what was shown to its account."""
        for to in (session.jid, session.account.jid):
            if to in self._shown and (to.resource or not session.account.sessions):
                self._remove(to, set(self._shown[to]))

    def forget(self) -> None:
        """The server stops; it does not know who will be there then."""
        self._shown.clear()
        self.count = 0

    # -- the component is gone -----------------------------------------------------------------

    def leave(self) -> None:
        """All of them leave, some in each turn."""
        for to, senders in self._shown.items():
            self._leaving.extend((sender, to) for sender in senders)
        self.forget()
        self._go_on()

    def _go_on(self) -> None:
        for _ in range(min(_AT_A_TIME, len(self._leaving))):
            self._farewell()
        if self._leaving:
            self._router.clock.callLater(0, self._go_on)

    def _farewell(self) -> None:
        sender, to = self._leaving.popleft()
        self._router.from_remote(Stanza.build("presence", to=to, from_=sender, type="unavailable"))

    def come_back(self) -> None:
        """The component has connected again: first all of them have left."""
        while self._leaving:
            self._farewell()
