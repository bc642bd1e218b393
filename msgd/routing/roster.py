"""The roster: what clients read and change of their contacts, and how they learn of changes.

An account's resources that asked for the roster ('interested') get each change as a push, in the
order of its version. Source: RFC 6121 §2; proved by the transcripts rfc6121/02*.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from itertools import count
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element

from msgd.routing import roster_store
from msgd.routing.broadcast import withdraw
from msgd.routing.extension import ACCOUNT, OWN, Extension, Rfc, on_iq
from msgd.routing.roster_store import Item, RosterCopy, RosterFull
from msgd.routing.subscription import removal
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID, JIDError
from msgd.wire.stanza import Stanza
from msgd.wire.xml import escape

if TYPE_CHECKING:
    from msgd.routing.account import LiveAccount
    from msgd.routing.router import Router
    from msgd.routing.session import Session

NAMESPACE: Final = "jabber:iq:roster"
#: Contacts of one account: the roster is sent as one stanza, some 100 bytes for each.
MOST_ITEMS: Final = 5000
#: Contacts with whom presence is shared up to which a roster is read like anything small.
_FEW: Final = 100
#: Groups of one contact. Clients show some, nobody has dozens.
MOST_GROUPS: Final = 50
#: Characters of a contact's name, and of a group's: as long as the longest part of an address.
LONGEST_NAME: Final = 1023

#: A request for the roster as nearly every client sends it; anything else takes a parser.
_USUAL_REQUEST: Final = re.compile(
    rf"<iq [^<>]*><query xmlns=[\"']{NAMESPACE}[\"'](?: ver=[\"']([0-9]*)[\"'])? ?"
    r"(?:/>|></query>)</iq>".encode()
)
_ITEM: Final = f"{{{NAMESPACE}}}item"
_GROUP: Final = f"{{{NAMESPACE}}}group"
_FEATURES: Final = b"<ver xmlns='urn:xmpp:features:rosterver'/><sub xmlns='urn:xmpp:features:pre-approval'/>"


class _Hold:
    """Pushes that wait because the client is still being told the roster itself."""

    __slots__ = ("interim", "pushes", "reading", "version")

    def __init__(self) -> None:
        self.reading = 0
        self.version = -1  # of the oldest copy that the client was given meanwhile
        self.interim: list[Item] = []  # what changed since the copy that the client had (§2.6.3)
        self.pushes: list[Item] = []

    def due(self) -> list[Item]:
        """What is to be pushed, in the order of versions; what the copy has already is not."""
        newer = [item for item in self.pushes if item.version > self.version]
        by_version = {item.version: item for item in (*self.interim, *newer)}
        return [by_version[version] for version in sorted(by_version)]


class Roster(Extension):
    """RFC 6121 §2: the roster."""

    xep = Rfc(6121, "2")
    features = frozenset({NAMESPACE})
    proves = "rfc6121/02*"

    def __init__(self, router: Router) -> None:
        super().__init__(router)
        self._held: dict[Session, _Hold] = {}
        self._id_prefix = secrets.token_hex(3)
        self._ids = count(1)

    def stream_feature(self, domain: str, authenticated: bool) -> bytes:
        """§2.6.1 roster versioning and §3.4 pre-approval: both are merely informative."""
        return _FEATURES if authenticated else b""

    # -- from clients --------------------------------------------------------------------------

    @on_iq("get", NAMESPACE, "query", at=(OWN,))
    async def tell(self, stanza: Stanza) -> bytes:
        """§2.2, §2.6.2: the whole roster, or nothing and then the changes as pushes."""
        session, account = await self._asker(stanza)
        known = _version(_asked_version(stanza))
        hold = self._hold(session)
        try:
            few = len(account.subscribers) + len(account.subscriptions) <= _FEW
            read = self.database.look_up if few else self.database.read
            copy = await read(lambda connection: roster_store.roster(connection, account.id, known))
            hold.version = copy.version if hold.version < 0 else min(hold.version, copy.version)
            if not copy.whole:
                hold.interim += copy.items
        finally:
            if hold.pushes or hold.interim:
                # They are sent behind the result, which leaves when this coroutine is through.
                self.router.clock.callLater(0, self._release, session)
            else:
                self._release(session)  # nothing can come before it
        return _copy(copy)

    @on_iq("set", NAMESPACE, "query", at=(OWN,))
    async def change(self, stanza: Stanza) -> None:
        """§2.3 to §2.5: add, change or remove one contact."""
        items = _query(stanza).findall(_ITEM)
        if len(items) != 1:
            raise StanzaError("bad-request", "exactly one item is changed at a time")
        wanted = items[0]
        _, account = await self._asker(stanza)
        jid = _contact(wanted.get("jid"), account.jid)
        if wanted.get("subscription") == "remove":
            await self.remove(account, jid)
            return
        name, groups = _name(wanted), _groups(wanted)
        try:
            item = await self.database.write(
                lambda connection: roster_store.put(connection, account.id, jid, name, groups, MOST_ITEMS)
            )
        except RosterFull:
            raise roster_full() from None
        self.push(account, item)

    @on_iq("get", NAMESPACE, "query", at=(ACCOUNT,))
    @on_iq("set", NAMESPACE, "query", at=(ACCOUNT,))
    async def refuse(self, stanza: Stanza) -> None:
        """§2.3.3: nobody reads or changes the roster of another."""
        raise StanzaError("forbidden", "a roster is its owner's alone")

    async def _asker(self, stanza: Stanza) -> tuple[Session, LiveAccount]:
        session = self.router.table.session(stanza.from_) if stanza.from_ is not None else None
        if session is None:
            raise StanzaError("forbidden", "a roster is its owner's alone")
        return session, session.account

    async def remove(self, account: LiveAccount, jid: JID) -> None:
        """§2.5: remove a contact, and end all that was agreed or asked between the two.

        Raises StanzaError item-not-found when there is no such contact.
        """
        done = await self.database.write(lambda connection: roster_store.remove(connection, account.id, jid))
        if done is None:
            raise StanzaError("item-not-found", "no such contact")
        account.subscribers -= {jid}
        account.subscriptions -= {jid}
        if done.state.seen:
            withdraw(self.router, account, jid)
        for type in removal(done.state):
            self.router.route(Stanza.build("presence", to=jid, from_=account.jid, type=type))
        self.push(account, done.item)

    # -- to clients ----------------------------------------------------------------------------

    def push(self, account: LiveAccount, item: Item) -> None:
        """§2.1.6: tell every interested resource of a changed item."""
        self.router.note("roster-changed", account, item)
        for session in list(account.sessions.values()):
            if session.interested:
                hold = self._held.get(session)
                if hold is not None:
                    hold.pushes.append(item)
                else:
                    self._push(session, item)

    def _push(self, session: Session, item: Item) -> None:
        head = f"<query xmlns='{NAMESPACE}' ver='{item.version}'>"
        content = (head + _xml(item) + "</query>").encode()
        id = f"push{self._id_prefix}{next(self._ids):x}"
        # Without `from` it is the account's own, which older clients understand as well (§2.1.6).
        session.send(Stanza.build("iq", to=session.jid, from_=None, type="set", id=id, content=content))

    def _hold(self, session: Session) -> _Hold:
        """From now on the session is interested, and pushes wait until it has the roster."""
        session.interested = True
        hold = self._held.setdefault(session, _Hold())
        hold.reading += 1
        return hold

    def _release(self, session: Session) -> None:
        hold = self._held[session]
        hold.reading -= 1
        if hold.reading:
            return
        del self._held[session]
        for item in hold.due():
            self._push(session, item)


def roster_full() -> StanzaError:
    """The error for one contact too many."""
    text = f"a roster has at most {MOST_ITEMS} contacts"
    return StanzaError("resource-constraint", text, type="cancel")


def _query(stanza: Stanza) -> Element:
    query = stanza.payload
    if query is None:  # the dispatch found it by its name
        raise StanzaError("bad-request")
    return query


def _asked_version(stanza: Stanza) -> str | None:
    """The version that a request for the roster names. Raises StanzaError for one with an item."""
    usual = _USUAL_REQUEST.fullmatch(stanza.raw)
    if usual is not None:
        return usual[1].decode() if usual[1] is not None else None
    query = _query(stanza)
    if query.find(_ITEM) is not None:
        raise StanzaError("bad-request", "who asks for the roster sends no item")
    return query.get("ver")


def _version(text: str | None) -> int | None:
    """The version that a client names, None when it is none of ours."""
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 19):
        return None
    return int(text)


def _contact(text: str | None, owner: JID) -> JID:
    """The address of a roster item (§2.1.2.3)."""
    if text is None:
        raise StanzaError("bad-request", "an item has a jid")
    try:
        jid = JID.parse(text)
    except JIDError as error:
        raise StanzaError("jid-malformed", str(error)) from None
    if not jid.is_bare:
        raise StanzaError("jid-malformed", "a contact is an address without a resource")
    if jid == owner:
        raise StanzaError("not-allowed", "an account is no contact of its own")
    return jid


def _name(item: Element) -> str:
    name = item.get("name", "")
    if len(name) > LONGEST_NAME:
        text = f"a contact's name has at most {LONGEST_NAME} characters"
        raise StanzaError("not-acceptable", text)
    return name


def _groups(item: Element) -> tuple[str, ...]:
    """§2.3.3: what is wrong with groups has two different errors."""
    groups = [group.text or "" for group in item.findall(_GROUP)]
    if len({unicodedata.normalize("NFC", group) for group in groups}) < len(groups):
        raise StanzaError("bad-request", "a contact is in each group once")
    if "" in groups:
        raise StanzaError("not-acceptable", "a group has a name")
    if any(len(group) > LONGEST_NAME for group in groups):
        text = f"a group's name has at most {LONGEST_NAME} characters"
        raise StanzaError("not-acceptable", text)
    if len(groups) > MOST_GROUPS:
        raise StanzaError("not-acceptable", f"a contact is in at most {MOST_GROUPS} groups")
    return tuple(groups)


def _copy(copy: RosterCopy) -> bytes:
    """The payload of the result; empty when the changes follow as pushes (§2.6.3)."""
    if not copy.whole:
        return b""
    items = "".join(map(_xml, copy.items))
    return f"<query xmlns='{NAMESPACE}' ver='{copy.version}'>{items}</query>".encode()


def _xml(item: Item) -> str:
    """One item as a client sees it (§2.1.2)."""
    out = [f"<item jid='{item.jid.attribute.decode()}' subscription='{item.subscription}'"]
    if item.name:
        out.append(f" name='{escape(item.name)}'")
    if item.ask:
        out.append(" ask='subscribe'")
    if item.approved:
        out.append(" approved='true'")
    if item.groups:
        groups = "".join(f"<group>{escape(group)}</group>" for group in item.groups)
        out.append(f">{groups}</item>")
    else:
        out.append("/>")
    return "".join(out)
