"""XEP-0153 vCard-Based Avatars: presence says which avatar there is, so that others know when to ask.

The server adds the hash for the client (XEP-0398 §4): to what is broadcast, and to what is sent to one
address where everybody may see the avatar, as in rooms. An account without an avatar pays nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgd.accounts.uses import Uses
from msgd.routing.account import LiveAccount
from msgd.routing.extension import Extension, Xep, on_event
from msgd.storage.database import Connection
from msgd.wire.stanza import Stanza
from msgd.wire.xml import parse
from msgd.xeps.profile import avatar
from msgd.xeps.profile.avatar import Avatar

if TYPE_CHECKING:
    from msgd.routing.session import Session

NAMESPACE: Final = "vcard-temp:x:update"
_X: Final = f"{{{NAMESPACE}}}x"
_PHOTO: Final = f"{{{NAMESPACE}}}photo"
_NAME: Final = f"{NAMESPACE} x"
_NONE: Final = b"<photo/>"


class VCardAvatars(Extension):
    """XEP-0153 vCard-Based Avatars."""

    xep = Xep(153, "1.1.1")
    uses = Uses.PEP
    proves = "xep_0153/*"

    def load(self, connection: Connection, account: LiveAccount) -> None:
        """The account has nodes: perhaps an avatar."""
        self._show(account, avatar.current(connection, account.id))

    def _show(self, account: LiveAccount, shown: Avatar | None) -> None:
        if shown is not None:
            if account.extras is None:
                account.extras = {}
            account.extras[VCardAvatars] = shown
            account.hook(self)
        elif account.extras is not None and account.extras.pop(VCardAvatars, None):
            account.unhook(self)

    def amend(self, account: LiveAccount, session: Session, stanza: Stanza) -> Stanza:
        """XEP-0398 §4: available presence with the hash."""
        if stanza.kind != "presence" or stanza.type is not None or account.extras is None:
            return stanza
        shown: Avatar = account.extras[VCardAvatars]
        if stanza.to is not None and not shown.open and not account.shows_presence_to(stanza.to):
            return stanza
        return _with_hash(stanza, shown.hash)

    @on_event("avatar-changed")
    def changed(self, account: LiveAccount, shown: Avatar | None) -> None:
        """§3.2: those who see the account's presence learn of it."""
        before = account.extras.get(VCardAvatars) if account.extras is not None else None
        self._show(account, shown)
        if before is not None and shown is not None and before.hash == shown.hash:
            return
        for session in account.available():
            presence = session.presence
            if presence is None or (shown is None and before is None) or _says_none(presence):
                continue
            if shown is not None:
                presence = _with_hash(presence, shown.hash)
                self.router.presence.again(session, presence, presence)
            else:
                # What is kept says nothing of an avatar, so it can be told from a client that has none.
                self.router.presence.again(session, _replaced(presence, _NONE), _without(presence))


def _with_hash(stanza: Stanza, hash: str) -> Stanza:
    """With the hash, unless the client says that it has no avatar."""
    return stanza if _says_none(stanza) else _replaced(stanza, f"<photo>{hash}</photo>".encode())


def _says_none(stanza: Stanza) -> bool:
    """Whether the client wants to show no avatar: an empty `<photo/>`."""
    if _NAME not in stanza.children:
        return False
    # Parsed aside, so that the tree does not stay in memory with the stanza.
    photo = parse(stanza.raw).find(f"{_X}/{_PHOTO}")
    return photo is not None and not (photo.text or "").strip()


def _replaced(stanza: Stanza, photo: bytes) -> Stanza:
    return _without(stanza).with_child(f"<x xmlns='{NAMESPACE}'>".encode() + photo + b"</x>", _NAME)


def _without(stanza: Stanza) -> Stanza:
    return stanza.filtered(lambda child: child.tag != _X) if _NAME in stanza.children else stanza
