"""The two kinds of clients whose capabilities are learnt: of sessions here, and of contacts elsewhere.

What is learnt is kept with the session (`interests.py`), or with the account whose contact it is
(`contacts_elsewhere.py`), and who has to do something about it is told by an event. See
`client_capabilities.Asked`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgd.routing.account import LiveAccount
from msgd.wire.jid import JID
from msgd.xeps.client_capabilities import Wanted
from msgd.xeps.contacts_elsewhere import Client, elsewhere
from msgd.xeps.interests import interests, remember

if TYPE_CHECKING:
    from msgd.routing.router import Router
    from msgd.routing.session import Session


class OfSession:
    """The client of a session; the server asks."""

    __slots__ = ("_router", "_session", "asker", "domain", "jid")

    def __init__(self, router: Router, session: Session) -> None:
        self._router = router
        self._session = session
        self.domain = ""
        self.jid = session.jid
        self.asker = session.jid.domain_jid

    @property
    def is_there(self) -> bool:
        """See Asked."""
        return not self._session.ended

    @property
    def can_answer(self) -> bool:
        """See Asked."""
        return not self._session.ended and self._session.transport is not None

    def known(self, version: str, wanted: Wanted) -> None:
        """Presence may have named another version meanwhile."""
        session = self._session
        if not session.available or session.presence is None or version.encode() not in session.presence.raw:
            return
        new = _new(wanted, interests(session))
        remember(session, version, wanted)
        if new:
            self._router.note("session-interested", session, new)

    def unknown(self, version: str) -> None:
        """Its next presence is a reason to ask again."""


class OfContact:
    """A client of somebody in another domain, who shows it to an account here; that one asks."""

    __slots__ = ("_account", "_router", "asker", "domain", "jid")

    def __init__(self, router: Router, account: LiveAccount, jid: JID) -> None:
        self._router = router
        self._account = account
        self.domain = jid.domain
        self.jid = jid
        self.asker = account.jid

    def _client(self, version: str) -> Client | None:
        """What is noted of it, unless that has become something else meanwhile."""
        known = elsewhere(self._account)
        client = known.client(self.jid) if known is not None else None
        return client if client is not None and client.version == version else None

    @property
    def is_there(self) -> bool:
        """See Asked."""
        known = elsewhere(self._account)
        return known is not None and known.client(self.jid) is not None

    @property
    def can_answer(self) -> bool:
        """See Asked."""
        return self.is_there

    def known(self, version: str, wanted: Wanted) -> None:
        """See Asked. A client that wants nothing need not be remembered."""
        known, client = elsewhere(self._account), self._client(version)
        if known is None or client is None:
            return
        if not wanted:
            known.forget(self.jid)
            return
        known.note(self.jid, Client(version, wanted))
        new = _new(wanted, client.wanted)
        if new:
            self._router.note("contact-interested", self._account, self.jid, new)

    def unknown(self, version: str) -> None:
        """It is asked again when it shows itself again."""
        known, client = elsewhere(self._account), self._client(version)
        if known is not None and client is not None:
            if client.wanted:
                known.note(self.jid, Client("", client.wanted))
            else:
                known.forget(self.jid)


def _new(wanted: Wanted, before: Iterable[str]) -> Wanted:
    return tuple(node for node in wanted if node not in set(before))
