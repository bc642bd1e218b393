"""XEP-0490 Message Displayed Synchronization: what one device has shown, the others need not show again.

The marks are items of a private node, one for each conversation. The server assists (§3.4): a mark that comes
within a message is taken out before anybody else sees it, and published for the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.routing.extension import Extension, Xep, on_child
from msgd.storage.database import DatabaseError
from msgd.wire.errors import StanzaError
from msgd.wire.stanza import Stanza
from msgd.wire.xml import serialise
from msgd.xeps.pubsub.change import LONGEST_NAME
from msgd.xeps.pubsub.service import Service

if TYPE_CHECKING:
    from msgd.routing.account import LiveAccount
    from msgd.routing.router import Router
    from msgd.routing.session import Session

_log = Logger("msgd.displayed")
NAMESPACE: Final = "urn:xmpp:mds:displayed:0"
_MARK: Final = f"{{{NAMESPACE}}}displayed"
_STANZA_ID: Final = "{urn:xmpp:sid:0}stanza-id"


class DisplayedSynchronization(Extension):
    """XEP-0490 Message Displayed Synchronization."""

    xep = Xep(490, "1.0.1")
    account_features = frozenset({"urn:xmpp:mds:server-assist:0"})
    proves = "xep_0490/*"

    def __init__(self, router: Router) -> None:
        super().__init__(router)
        self._service = Service(router)

    @on_child(NAMESPACE, "displayed")
    def assist(self, session: Session, stanza: Stanza) -> Stanza:
        """§3.4: publish the mark; its item has the address as the client wrote it. The message without it."""
        marks = stanza.tree.findall(_MARK)
        to = stanza.attributes.get("to", "")
        if to and len(to) <= LONGEST_NAME and len(marks) == 1 and len(marks[0].findall(_STANZA_ID)) == 1:
            mark = serialise(marks[0], namespace="-")
            Deferred.fromCoroutine(self._publish(session.account, to, mark)).addErrback(
                lambda failure: _log.failure("a read mark could not be published", failure)
            )
        return stanza.filtered(lambda child: child.tag != _MARK)

    async def _publish(self, account: LiveAccount, chat: str, mark: bytes) -> None:
        """Nobody waits for an answer; where it fails, the next mark says the same and more."""
        try:
            # §5: whatever the node was, the marks are the owner's alone: its rule sees to it.
            await self._service.change(account, lambda change: change.publish(NAMESPACE, [(chat, mark)]))
        except (StanzaError, DatabaseError) as error:
            _log.warn("a read mark was not published: {error}", error=str(error))
