"""XEP-0163 Personal Eventing Protocol: every account is a publish-subscribe service of its own.

Who sees an account's presence is subscribed to its nodes without asking, and told of those that his client
names in its capabilities: of news as it comes, and of the last item when he comes, may see it, or wants more.
Contacts in other domains are known by the presence that they show to the account (`contacts_elsewhere.py`).
Accounts without nodes cost nothing here.
"""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.accounts.uses import Uses
from msgd.routing.account import LiveAccount
from msgd.routing.extension import Extension, Identity, Xep, on_event
from msgd.storage.database import Connection
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from msgd.xeps.client_capabilities import NAMESPACE as CAPABILITIES
from msgd.xeps.contacts_elsewhere import begin, elsewhere, end
from msgd.xeps.interests import interests
from msgd.xeps.pubsub.last_items import send_last_items, send_last_items_elsewhere

if TYPE_CHECKING:
    from msgd.routing.roster_store import Item
    from msgd.routing.router import Router
    from msgd.routing.session import Session

_log = Logger("msgd.pubsub")
_CAPABILITIES: Final = f"{CAPABILITIES} c"


class PersonalEventing(Extension):
    """XEP-0163 Personal Eventing Protocol."""

    xep = Xep(163, "1.2.2")
    account_identities = (Identity("pubsub", "pep"),)
    account_features = frozenset({
        "http://jabber.org/protocol/pubsub#auto-subscribe",
        "http://jabber.org/protocol/pubsub#filtered-notifications",
    })  # fmt: skip
    uses = Uses.PEP
    proves = "xep_0163/*"
    without = "The account itself is no collection that one can subscribe to (§5)."

    def __init__(self, router: Router) -> None:
        super().__init__(router)
        # Clients elsewhere that are sent last items just now: of which nodes they are to get them then. So
        # who comes and goes without end has one read under way.
        self._sending: dict[tuple[int, JID], set[str]] = {}

    def load(self, connection: Connection, account: LiveAccount) -> None:
        """See Extension."""
        account.hook(self)

    @on_event("nodes-kept")
    def kept(self, account: LiveAccount, on: bool) -> None:
        """The first node is there: contacts elsewhere may want to hear of it; or the last is gone."""
        if on:
            account.hook(self)
            self._meet(account)
        else:
            account.unhook(self)
            end(account)

    # -- who comes, and wants to be told -------------------------------------------------------

    @on_event("session-interested")
    def interested(self, session: Session, nodes: Sequence[str]) -> None:
        """§4.3.3: a client came, or wants to be told of more."""
        account = session.account
        owners = (account.jid, *account.subscriptions)
        self._begin(send_last_items(self.router, session, owners, frozenset(nodes)))

    @on_event("contact-interested")
    def interested_elsewhere(self, account: LiveAccount, contact: JID, nodes: Sequence[str]) -> None:
        """The same of a client in another domain."""
        self._send_elsewhere(account, contact, nodes)

    @on_event("presence-shared")
    def shared(self, account: LiveAccount, contact: JID) -> None:
        """§4.3.4: a new subscriber."""
        if not account.uses & Uses.PEP:
            return
        theirs, known = self.router.table.account(contact), elsewhere(account)
        if theirs is not None:
            for session in theirs.available():
                if interests(session):
                    work = send_last_items(
                        self.router, session, (account.jid,), frozenset(interests(session))
                    )
                    self._begin(work)
        elif known is not None:
            for jid, client in known.of(contact):
                self._send_elsewhere(account, jid, client.wanted)

    def _send_elsewhere(self, account: LiveAccount, contact: JID, nodes: Collection[str]) -> None:
        if contact.bare not in account.subscribers or not nodes:
            return
        waiting = self._sending.get((account.id, contact))
        if waiting is not None:
            waiting.update(nodes)
        else:
            self._sending[account.id, contact] = set(nodes)
            self._begin(self._send_waiting(account, contact))

    async def _send_waiting(self, account: LiveAccount, contact: JID) -> None:
        waiting = self._sending[account.id, contact]
        try:
            while waiting:
                nodes = frozenset(waiting)
                waiting.clear()
                await send_last_items_elsewhere(self.router, account, contact, nodes)
        finally:
            del self._sending[account.id, contact]

    def _begin(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        Deferred.fromCoroutine(work).addErrback(
            lambda failure: _log.failure("last items could not be sent", failure)
        )

    # -- contacts in other domains -------------------------------------------------------------

    def shown(self, account: LiveAccount, presence: Stanza) -> None:
        """A contact elsewhere comes, says what its client can do, or goes."""
        jid = presence.from_
        if jid is None or self.router.table.is_local(jid.domain):
            return
        if presence.type is None:
            contact = jid.bare
            if _CAPABILITIES in presence.children and (
                contact in account.subscribers or contact in account.subscriptions
            ):
                self.router.note("contact-capabilities", account, presence)
        else:
            self._forget(account, jid)

    @on_event("session-available")
    def available(self, session: Session) -> None:
        """Its account's contacts elsewhere were just asked if they are there (RFC 6121 §4.3.1)."""
        account = session.account
        if account.hooks is not None and account.uses & Uses.PEP:
            begin(account)

    @on_event("session-resumed")
    def resumed(self, session: Session) -> None:
        """After a restart nobody has asked them yet."""
        if session.available and session.account.uses & Uses.PEP:
            self._meet(session.account)

    def _meet(self, account: LiveAccount) -> None:
        """Ask the contacts elsewhere that see the account for their presence, where it is not known."""
        if elsewhere(account) is None:
            begin(account)
            for contact in account.subscriptions & account.subscribers:
                if not self.router.table.is_local(contact.domain):
                    self.router.presence.ask(account, contact)

    @on_event("message-returned")
    def returned(self, account: LiveAccount, error: Stanza) -> None:
        """§4.3.1: who cannot be told is not there any more, unless it is for the time being."""
        jid, known = error.from_, elsewhere(account)
        if jid is None or known is None or known.client(jid) is None:
            return
        found = error.tree.find("{jabber:client}error")
        if found is None or found.get("type") != "wait":
            known.forget(jid)

    @on_event("roster-changed")
    def changed(self, account: LiveAccount, item: Item) -> None:
        """Neither sees the other any more."""
        if item.subscription in ("none", "remove"):
            self._forget(account, item.jid)

    @staticmethod
    def _forget(account: LiveAccount, jid: JID) -> None:
        known = elsewhere(account)
        if known is not None:
            known.forget(jid)
