"""XEP-0163 Personal Eventing Protocol: every account is a publish-subscribe service of its own.

Who sees an account's presence is subscribed to its nodes without asking, and told of those that his client
names in its capabilities: of news as it comes, and of the last item when he comes, may see it, or wants more.
Accounts without nodes cost nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.accounts.uses import Uses
from msgd.routing.account import LiveAccount
from msgd.routing.extension import Extension, Identity, Xep, on_event
from msgd.wire.jid import JID
from msgd.xeps.interests import interests
from msgd.xeps.pubsub.last_items import send_last_items

if TYPE_CHECKING:
    from msgd.routing.session import Session

_log = Logger("msgd.pubsub")


class PersonalEventing(Extension):
    """XEP-0163 Personal Eventing Protocol."""

    xep = Xep(163, "1.2.2")
    account_identities = (Identity("pubsub", "pep"),)
    account_features = frozenset({
        "http://jabber.org/protocol/pubsub#auto-subscribe",
        "http://jabber.org/protocol/pubsub#filtered-notifications",
    })  # fmt: skip
    proves = "xep_0163/*"
    without = "The account itself is no collection that one can subscribe to (§5)."

    @on_event("session-interested")
    def interested(self, session: Session, nodes: Sequence[str]) -> None:
        """§4.3.3: a client came, or wants to be told of more."""
        account = session.account
        self._send(session, (account.jid, *account.subscriptions), nodes)

    @on_event("presence-shared")
    def shared(self, account: LiveAccount, contact: JID) -> None:
        """§4.3.4: a new subscriber."""
        theirs = self.router.table.account(contact)
        if not account.uses & Uses.PEP or theirs is None:
            return
        for session in theirs.available():
            if interests(session):
                self._send(session, (account.jid,), interests(session))

    def _send(self, session: Session, owners: Iterable[JID], nodes: Sequence[str]) -> None:
        work = send_last_items(self.router, session, owners, frozenset(nodes))
        Deferred.fromCoroutine(work).addErrback(
            lambda failure: _log.failure("last items could not be sent", failure)
        )
