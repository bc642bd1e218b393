"""XEP-0280 Message Carbons: the devices of an account that ask for it get copies of what the others do.

A session that enables carbons says so in its `extras`, which survive resumption and restarts; while an
account has such sessions, this extension hangs on it. Which messages are copied: `msgd.routing.kinds`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element

from msgd.routing.account import LiveAccount
from msgd.routing.extension import OWN, Extension, Xep, on_bind, on_event, on_iq
from msgd.routing.kinds import copied
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.session import Session
    from msgd.routing.stream_management import Kept, Receipt

NAMESPACE: Final = "urn:xmpp:carbons:2"
RULES: Final = "urn:xmpp:carbons:rules:0"
_EXTRA: Final = "carbons"


class Carbons(Extension):
    """XEP-0280 Message Carbons."""

    xep = Xep(280, "1.0.1")
    features = frozenset({NAMESPACE, RULES})
    account_features = frozenset({NAMESPACE, RULES})
    proves = "xep_0280/*"

    # -- switching it on and off ---------------------------------------------------------------

    @on_iq("set", NAMESPACE, "enable", at=(OWN,))
    async def enable_by_iq(self, stanza: Stanza) -> None:
        """§4; to ask again changes nothing (§10.1)."""
        session = self.router.table.session(stanza.from_) if stanza.from_ is not None else None
        if session is not None:
            self.enable(session)

    @on_iq("set", NAMESPACE, "disable", at=(OWN,))
    async def disable_by_iq(self, stanza: Stanza) -> None:
        """§5."""
        session = self.router.table.session(stanza.from_) if stanza.from_ is not None else None
        if session is not None and session.extras is not None:
            session.extras.pop(_EXTRA, None)
            self._look(session.account)

    @on_bind(NAMESPACE, "enable")
    def enable_when_bound(self, session: Session, asked: Element) -> bytes:
        """XEP-0386 §3.2; it cannot fail, and there is no answer."""
        self.enable(session)
        return b""

    def enable(self, session: Session) -> None:
        """From now on the session gets copies."""
        if session.extras is None:
            session.extras = {}
        session.extras[_EXTRA] = True
        session.account.hook(self)

    @on_event("session-restored")
    def _restored(self, session: Session) -> None:
        if _wants(session):
            session.account.hook(self)

    @on_event("session-ended")
    def _ended(self, session: Session) -> None:
        if _wants(session):
            self._look(session.account)

    def _look(self, account: LiveAccount) -> None:
        if not any(map(_wants, account.sessions.values())):
            account.unhook(self)

    # -- copies --------------------------------------------------------------------------------

    def outgoing(
        self, account: LiveAccount, session: Session, stanza: Stanza, receipt: Receipt | None
    ) -> Stanza:
        """§8: the other devices see what this one sends; what goes to the account itself they get anyway."""
        to = stanza.to
        if (to is None or to.bare != account.jid) and copied(stanza, sent=True):
            self._copy(account, stanza, "sent", [session], None)
        return stanza

    def incoming(
        self, account: LiveAccount, stanza: Stanza, targets: list[Session], kept: Kept | None
    ) -> None:
        """§7: those that do not get the message itself see it too."""
        if len(targets) < len(account.sessions) and copied(stanza, sent=False):
            sender = stanza.from_
            own = sender is not None and sender.bare == account.jid
            author = account.sessions.get(sender.resource) if own and sender is not None else None
            but = [*targets, author] if author is not None else targets
            self._copy(account, stanza, "received", but, kept)

    def _copy(
        self, account: LiveAccount, stanza: Stanza, direction: str, but: list[Session], kept: Kept | None
    ) -> None:
        """Who has a copy of what is kept has the message: it is not sent there again for want of another."""
        content = (
            f"<{direction} xmlns='{NAMESPACE}'><forwarded xmlns='urn:xmpp:forward:0'>".encode()
            + stanza.embedded()
            + f"</forwarded></{direction}>".encode()
        )
        for session in list(account.sessions.values()):
            if session in but or not _wants(session):
                continue
            copy = Stanza.build(
                "message",
                to=session.jid,
                from_=account.jid,
                type=stanza.type,
                content=content,
                children=(f"{NAMESPACE} {direction}",),
            )
            if kept is None:
                session.send(copy)
            elif not session.congested():  # as with messages for all: who takes nothing misses some
                self.router.spool.hand_over_copy(kept, copy.raw, session)


def _wants(session: Session) -> bool:
    return session.extras is not None and _EXTRA in session.extras
