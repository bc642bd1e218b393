"""XEP-0077 In-Band Registration: a new account by option, a new password and removal always.

Strangers may make an account only where `registration.open` says so, inside TLS, and so many for
each address. Passwords never come back in an error (§3.3). A new password ends all sessions but the
one that set it. Who removes an account is told so, its sessions end, and its contacts learn that
the subscriptions are over (§3.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from xml.etree.ElementTree import Element

from twisted.logger import Logger

from msgd.accounts.errors import AccountError
from msgd.accounts.throttle import LoginThrottle
from msgd.routing.account import LiveAccount
from msgd.routing.extension import (
    ANSWERED,
    HOST,
    OWN,
    STRANGER,
    Extension,
    IqAnswer,
    Stranger,
    Xep,
    on_event,
    on_iq,
)
from msgd.storage.database import DatabaseError
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID, JIDError
from msgd.wire.stanza import Stanza
from msgd.wire.xml import element
from msgd.xeps.permission import sender_of

NAMESPACE: Final = "jabber:iq:register"
FEATURE: Final = b"<register xmlns='http://jabber.org/features/iq-register'/>"
_log = Logger("msgd.xeps")
_INSTRUCTIONS: Final = "Choose a user name and a password."
_REGISTERED: Final = "This account exists. Send a new password to change it."


class Registration(Extension):
    """XEP-0077 In-Band Registration."""

    xep = Xep(77, "2.4")
    features = frozenset({NAMESPACE})
    proves = "xep_0077/*"

    def start(self) -> None:
        """Be told first of what happens to accounts, so that answers precede the end of streams."""
        self._answers: dict[JID, Stanza] = {}
        self._set_limit([])
        self.accounts.changed.insert(0, self._account_changed)

    def stop(self) -> None:
        """Listen no more."""
        self.accounts.changed.remove(self._account_changed)

    def stream_feature(self, domain: str, authenticated: bool) -> bytes:
        """§8: offered only while strangers may register."""
        return FEATURE if self.config.registration.open and not authenticated else b""

    @on_event("configuration-changed")
    def _set_limit(self, changed: list[str]) -> None:
        per_hour = self.config.registration.per_hour
        self._limit = LoginThrottle(
            self.router.clock,
            address_burst=per_hour,
            address_seconds=3600 / max(per_hour, 1),
            account_burst=0,
        )

    # -- strangers (§3.1) ----------------------------------------------------------------------

    @on_iq("get", NAMESPACE, "query", at=(STRANGER,))
    async def tell_fields(self, stanza: Stanza, stream: Stranger) -> Element:
        """Which fields to fill in."""
        self._require_open()
        return _query(
            element(NAMESPACE, "instructions", None, _INSTRUCTIONS),
            element(NAMESPACE, "username"),
            element(NAMESPACE, "password"),
        )

    @on_iq("set", NAMESPACE, "query", at=(STRANGER,))
    async def register(self, stanza: Stanza, stream: Stranger) -> None:
        """Make the account."""
        self._require_open()
        if _field(stanza, "remove") is not None:
            raise _error("unexpected-request", "log in to remove an account")
        name, password = _field(stanza, "username"), _field(stanza, "password")
        if not name or not password:
            raise _error("not-acceptable", "a user name and a password are wanted")
        assert stream.domain is not None  # its header was accepted
        jid = _address(name, stream.domain)
        if self._limit.wait(stream.address, jid):
            raise _error("resource-constraint", "too many registrations from this address")
        self._limit.failed(stream.address, jid)  # counted whether or not the name is free
        try:
            await self.accounts.create(jid, password)
        except (AccountError, DatabaseError) as error:
            raise _refused(error) from None

    def _require_open(self) -> None:
        if not self.config.registration.open:
            raise StanzaError("service-unavailable", "registration is closed", quote=False)

    # -- who has an account --------------------------------------------------------------------

    @on_iq("get", NAMESPACE, "query", at=(HOST, OWN))
    async def tell_registration(self, stanza: Stanza) -> Element:
        """§3.1.1: the account exists; its password is known to nobody."""
        account = await self._own_account(stanza)
        return _query(
            element(NAMESPACE, "registered"),
            element(NAMESPACE, "instructions", None, _REGISTERED),
            element(NAMESPACE, "username", None, account.jid.local),
            element(NAMESPACE, "password"),
        )

    @on_iq("set", NAMESPACE, "query", at=(HOST, OWN))
    async def change(self, stanza: Stanza) -> IqAnswer:
        """§3.2 and §3.3: removal, or another password."""
        account = await self._own_account(stanza)
        query = stanza.payload
        if _field(stanza, "remove") is not None:
            if query is None or len(query) != 1:
                raise _error("bad-request", "<remove/> stands alone")
            return await self._remove(account, stanza)
        name, password = _field(stanza, "username"), _field(stanza, "password")
        if not name or not password:
            raise _error("bad-request", "the user name and the new password are wanted")
        if _address(name, account.jid.domain) != account.jid:
            raise _error("not-allowed", "this is another's name")
        return await self._change_password(account, stanza, password)

    async def _own_account(self, stanza: Stanza) -> LiveAccount:
        """The sender's account, when it is one of the domain that was addressed."""
        sender = sender_of(stanza)
        account = await self.router.table.load(sender.bare)
        if account is None or (stanza.to is not None and stanza.to.domain != sender.domain):
            raise _error("registration-required", "you have no account at this domain")
        return account

    async def _change_password(self, account: LiveAccount, stanza: Stanza, password: str) -> IqAnswer:
        with self._answer_when_changed(account.jid, stanza):
            await self.accounts.set_password(account.jid, password)
        return ANSWERED

    async def _remove(self, account: LiveAccount, stanza: Stanza) -> IqAnswer:
        with self._answer_when_changed(account.jid, stanza):
            await self.accounts.delete(account.jid)
        return ANSWERED

    # -- answers before the end of the stream --------------------------------------------------

    @contextmanager
    def _answer_when_changed(self, jid: JID, stanza: Stanza) -> Iterator[None]:
        """Send the result of `stanza` as soon as the change of the account `jid` is committed.

        Whoever ends the sessions of a changed account hears of it later. Raises StanzaError for
        what `accounts` refuses, and while another change of this account is under way.
        """
        if jid in self._answers:
            raise _error("resource-constraint", "another change of the account is under way")
        self._answers[jid] = stanza
        try:
            yield
        except (AccountError, DatabaseError) as error:
            raise _refused(error) from None
        finally:
            self._answers.pop(jid, None)
            self.router.spared = None

    def _account_changed(self, jid: JID, what: str) -> None:
        stanza = self._answers.pop(jid, None)
        if stanza is None or stanza.from_ is None:
            return
        session = self.router.table.session(stanza.from_)
        if session is not None:
            session.send(stanza.reply())
            self.router.spared = session if what == "password" else None


def _error(condition: str, text: str, type: str | None = None) -> StanzaError:
    return StanzaError(condition, text, type, quote=False)


def _refused(error: AccountError | DatabaseError) -> StanzaError:
    """What `accounts` says of a name or a password, in the terms of §3.1 and §3.3."""
    if isinstance(error, DatabaseError):
        _log.error("an account was not changed: {kind}", kind=type(error).__name__)
        return _error("internal-server-error", "", "wait")
    condition = "not-acceptable" if error.condition == "jid-malformed" else error.condition
    return _error(condition, error.text)


def _field(stanza: Stanza, name: str) -> str | None:
    """The text of a child of the query, None when there is none."""
    query = stanza.payload
    return None if query is None else query.findtext(f"{{{NAMESPACE}}}{name}")


def _address(name: str, domain: str) -> JID:
    """The account's address for a user name that somebody typed. Raises StanzaError."""
    try:
        jid = JID.parse(f"{name}@{domain}")
    except JIDError as error:
        raise _error("not-acceptable", f"this cannot be a user name: {error}") from None
    if not jid.local or jid.domain != domain or jid.resource:
        raise _error("not-acceptable", "this cannot be a user name")
    return jid


def _query(*children: Element) -> Element:
    return element(NAMESPACE, "query", None, *children)
