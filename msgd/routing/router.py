"""The router: every stanza comes here and goes to a session, the spool, a service, or back.

The fixed phases of a stanza's way: checked (here: well-formed for its kind) → permitted (may this
sender do this) → recorded (the spool) → delivered (sessions) → noted (counters). The cells of RFC
6121 §8.5 are in `delivery.py`, presence in `presence.py`, XEP-0198 resumption in `resumption.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.logger import Logger

from msgd.accounts.accounts import Accounts
from msgd.config import Config
from msgd.negotiation.strangers import Strangers
from msgd.routing.account import LiveAccount
from msgd.routing.answering import Answering
from msgd.routing.delivery import deliver_iq, deliver_message
from msgd.routing.destination import Nowhere
from msgd.routing.extension import ACCOUNT, ANSWERED, HOST, OWN, At
from msgd.routing.extensions import Extensions
from msgd.routing.first_contacts import FirstContacts
from msgd.routing.hooks import Dropped
from msgd.routing.session import Session
from msgd.routing.stream_management import Receipt
from msgd.routing.table import Table
from msgd.storage.database import Database, DatabaseError
from msgd.wire.errors import StanzaError, StreamError
from msgd.wire.jid import JID
from msgd.wire.reactor import Clock
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.component import Component
    from msgd.routing.presence import Presence
    from msgd.routing.resumption import Resumption

_log = Logger("msgd.router")
_IQ_TYPES: Final = frozenset({"get", "set", "result", "error"})
#: Stanzas that wait for one account to be looked up; more are refused.
_WAITING: Final = 1000


class SpoolInterface(Protocol):
    """What the router and the sessions need of the spool."""

    def accept(
        self, account: LiveAccount, stanza: Stanza, receipt: Receipt | None, targets: list[Session]
    ) -> bool: ...
    def acknowledged(self, kept: object) -> None: ...
    def session_ended(self, session: Session) -> None: ...
    def has_room(self, session: Session) -> None: ...
    def share(self, newcomer: Session) -> None: ...
    def drain(self, account: LiveAccount) -> None: ...


class Router:
    """Decides where each stanza goes. `spool`, `archive`, `presence`, `resumption` are set by the app."""

    spool: Any  # SpoolInterface and, for the console, more
    archive: Any  # msgd.spool.archive.Archive, for the extensions that offer it
    presence: Presence
    resumption: Resumption

    def __init__(
        self,
        config: Config,
        clock: Clock,
        database: Database,
        accounts: Accounts,
        table: Table,
    ) -> None:
        self.config = config
        self.clock = clock
        self.database = database
        self.accounts = accounts
        self.table = table
        table.elsewhere = Nowhere(self.fail)
        self.extensions = Extensions()
        self.first_contacts = FirstContacts(self)
        #: Streams that have not bound a resource yet.
        self.streams = Strangers(clock)
        #: Who speaks for domains that are not ours, by domain; also in `table.destinations`.
        self.components: dict[str, Component] = {}
        #: Requests that are being answered.
        self.answering = Answering()
        #: The session that changes its own account's password just now; it alone goes on.
        self.spared: Session | None = None
        self.routed = 0
        self.failures = 0
        self._asked: dict[str, tuple[JID, Deferred[Stanza], Any]] = {}

    # -- from a client -------------------------------------------------------------------------

    def from_client(self, session: Session, stanza: Stanza, receipt: Receipt | None = None) -> None:
        """A stanza that a session's client sent, its sender stamped. Never raises but StreamError.

        `receipt` is settled when the stanza is safe.
        """
        taken = False
        try:
            if not self.extensions.taken.isdisjoint(stanza.children) and stanza.kind == "message":
                stanza = self.extensions.taken_out(session, stanza)
            if session.account.hooks is not None:
                stanza = self._sent(session, stanza, receipt)
            if stanza.kind == "message":
                if stanza.to is None:
                    stanza.to = session.jid.bare
                elif stanza.to not in session.account.peers:
                    self.first_contacts.meet(session.account, stanza)
                taken = self.route(stanza, receipt)
            elif stanza.kind == "iq":
                self._check_iq(stanza)
                self._iq(stanza)
            else:
                if stanza.type == "subscribe":
                    self.first_contacts.meet(session.account, stanza)
                self.presence.from_client(session, stanza)
        except StanzaError as error:
            self.fail(stanza, error)
        except Dropped:
            pass
        except StreamError:
            raise
        except Exception:
            self._failed(stanza)
        if receipt is not None and not taken:
            receipt.settle()

    @staticmethod
    def _sent(session: Session, stanza: Stanza, receipt: Receipt | None) -> Stanza:
        """What extensions do with what this account sends: the stanza as it goes on.

        Raises StanzaError, Dropped.
        """
        account = session.account
        hooks = account.hooks
        assert hooks is not None  # the caller looked
        for amend in hooks.amend:
            stanza = amend(account, session, stanza)
        for permit in hooks.permit_out:
            permit(account, stanza)
        if stanza.kind == "message":
            own_copy = stanza
            for handle in hooks.outgoing:
                own_copy = handle(account, session, own_copy, receipt)
        return stanza

    def _failed(self, stanza: Stanza) -> None:
        """A defect of ours: one stanza fails, nothing else does."""
        self.failures += 1
        _log.failure("a {kind} could not be handled", kind=stanza.kind)
        self.fail(stanza, StanzaError("internal-server-error"))

    @staticmethod
    def _check_iq(stanza: Stanza) -> None:
        """RFC 6120 §8.2.3: id and type, one child in a request, at most one in a result."""
        if stanza.type not in _IQ_TYPES:
            raise StanzaError("bad-request", "an IQ has one of the types get, set, result, error")
        if not stanza.id:
            raise StanzaError("bad-request", "an IQ has an id")
        count = len(stanza.children)
        if stanza.type in ("get", "set") and count != 1:
            raise StanzaError("bad-request", "an IQ of this type has exactly one child element")
        if stanza.type == "result" and count > 1:
            raise StanzaError("bad-request", "a result has at most one child element")

    # -- from a component or another server ----------------------------------------------------

    def from_remote(self, stanza: Stanza, receipt: Receipt | None = None) -> None:
        """A stanza from another domain, `to` and `from` set. Never raises.

        Who calls has seen to it that the sender may speak for that domain. `receipt` is settled when
        the stanza is safe.
        """
        taken = False
        try:
            to, sender, account = stanza.to, stanza.from_, None
            if stanza.kind == "iq":
                self._check_iq(stanza)
            elif to is not None and to.local and to.domain in self.table.domains:
                account = self.table.ready(to.bare)
            if account is None:
                # Where there may be one, it is met when it is looked up (`_loaded`).
                taken = self.route(stanza, receipt)
            else:
                if sender is None or sender.bare not in account.peers:
                    self._meets(account, stanza)
                self.routed += 1
                taken = self._to_account(account, stanza, receipt)
        except StanzaError as error:
            self.fail(stanza, error)
        except Exception:
            self._failed(stanza)
        if receipt is not None and not taken:
            receipt.settle()

    def _meets(self, account: LiveAccount | None, stanza: Stanza) -> None:
        """Something comes to an account from elsewhere, perhaps for the first time. Raises StanzaError."""
        if self.first_contacts.counts(stanza):
            self.first_contacts.come(account, stanza)

    # -- anywhere ------------------------------------------------------------------------------

    def route(self, stanza: Stanza, receipt: Receipt | None = None) -> bool:
        """Send a complete stanza on its way. True when `receipt` was taken over."""
        self.routed += 1
        to = stanza.to
        if to is None:
            raise ValueError("a stanza without an address cannot be routed")
        table = self.table
        if to.domain not in table.domains:
            return table.destination(to.domain).send(stanza, receipt)
        if stanza.kind == "iq":
            self._iq(stanza)
            return False
        if not to.local:
            self._to_host(stanza)
            return False
        account = self.table.ready(to.bare)
        if account is None:
            return self._when_loaded(stanza, receipt)
        return self._to_account(account, stanza, receipt)

    def _to_account(self, account: LiveAccount, stanza: Stanza, receipt: Receipt | None) -> bool:
        if account.hooks is not None and not self._permitted(account, stanza):
            return False
        if stanza.kind == "message":
            return deliver_message(self, account, stanza, receipt)
        if stanza.kind == "presence":
            self.presence.to_account(account, stanza)
        elif stanza.to is not None and stanza.to.resource:
            deliver_iq(self, account, stanza)
        else:
            self._serve(stanza, ACCOUNT)
        return False

    def _permitted(self, account: LiveAccount, stanza: Stanza) -> bool:
        """Whether the extensions let this come to the account; who sent it is told where it is to be."""
        assert account.hooks is not None  # the caller looked
        try:
            for permit in account.hooks.permit_in:
                permit(account, stanza)
        except StanzaError as error:
            if stanza.kind != "presence":
                self.fail(stanza, error)
            return False
        except Dropped:
            return False
        return True

    def _when_loaded(self, stanza: Stanza, receipt: Receipt | None) -> bool:
        """Look the account up first; what follows for it waits its turn."""
        assert stanza.to is not None  # `route` looked
        if self.table.waiting_for(stanza.to.bare) >= _WAITING:
            self.fail(stanza, StanzaError("resource-constraint", "too much waits for them", type="wait"))
            return False
        loading = self.table.load(stanza.to.bare)
        loading.addCallbacks(
            lambda account: self._loaded(account, stanza, receipt),
            lambda failure: self._not_loaded(failure.value, stanza, receipt),
        )
        loading.addErrback(lambda failure: _log.failure("a look-up failed", failure))
        return True

    def _loaded(self, account: LiveAccount | None, stanza: Stanza, receipt: Receipt | None) -> None:
        taken = False
        try:
            self._meets(account, stanza)
            if account is None:
                self._no_such_account(stanza)
            else:
                taken = self._to_account(account, stanza, receipt)
        except StanzaError as error:
            self.fail(stanza, error)
        except Exception:
            self._failed(stanza)
        if receipt is not None and not taken:
            receipt.settle()

    def _not_loaded(self, error: BaseException, stanza: Stanza, receipt: Receipt | None) -> None:
        _log.error("an account could not be looked up: {kind}", kind=type(error).__name__)
        self.fail(stanza, StanzaError("internal-server-error", type="wait"))
        if receipt is not None:
            receipt.settle()

    def _no_such_account(self, stanza: Stanza) -> None:
        """RFC 6121 §8.5.1: presence is for `presence.py`, most else is refused.

        An IQ to the account itself is answered as if it existed, so that nobody learns who does.
        """
        if stanza.kind == "presence":
            self.presence.to_missing(stanza)
        elif stanza.kind == "iq" and stanza.to is not None and not stanza.to.resource:
            self._serve(stanza, ACCOUNT)
        else:
            self.fail(stanza, StanzaError("service-unavailable"))

    def _to_host(self, stanza: Stanza) -> None:
        """Messages and presence to the domain itself (RFC 6121 §8.1 leaves it to us)."""
        if stanza.kind == "message" and stanza.type != "headline":
            self.fail(stanza, StanzaError("service-unavailable"))

    # -- IQs -----------------------------------------------------------------------------------

    def _iq(self, stanza: Stanza) -> None:
        """An IQ: to one of our services, to an account (the server answers), to a resource."""
        to, sender = stanza.to, stanza.from_
        assert sender is not None  # stamped
        if to is None:
            to = stanza.to = sender.bare
            self._serve(stanza, OWN, addressed=False)
        elif to.domain not in self.table.domains:
            self.table.destination(to.domain).send(stanza, None)
        elif not to.local:
            if to.resource:
                self.fail(stanza, StanzaError("service-unavailable"))
            else:
                self._serve(stanza, HOST)
        elif sender.bare == to:
            self._serve(stanza, OWN)
        elif not to.resource and stanza.type in ("result", "error"):
            self._answered(stanza)
        else:
            account = self.table.account(to.bare)
            if account is not None:
                self._to_account(account, stanza, None)
            else:
                self._when_loaded(stanza, None)

    def _serve(self, stanza: Stanza, at: At, addressed: bool = True) -> None:
        """Answer an IQ here."""
        if stanza.type in ("result", "error"):
            self._answered(stanza)
            return
        handler = self.extensions.iq_handler(at, stanza.type or "", stanza.children[0])
        if handler is None:
            self.fail(stanza, StanzaError("service-unavailable"))
            return
        asker = self.table.session(stanza.from_) if stanza.from_ is not None else None
        work = partial(self._answer, handler, stanza, addressed, asker)
        if not self.answering.submit(stanza.from_, asker, work, stanza.type == "set"):
            self.fail(stanza, StanzaError("resource-constraint", "too many requests at once", type="wait"))

    async def _answer(
        self, handler: Callable[..., Any], stanza: Stanza, addressed: bool, asker: Session | None
    ) -> None:
        """Run a handler and send what it gives, or the error it raises. Never fails.

        When the session that asked is over, its resource may be another's: that one gets no answer.
        """
        try:
            content = await handler(stanza)
            if content is ANSWERED:
                return
            # RFC 6120 §8.1.2.1: a reply for an IQ without an address comes from the account,
            # and may say so by having no `from`; many clients compare it with what they sent.
            sender = stanza.to if addressed else None
            reply = stanza.reply_from(sender, content if content is not None else b"")
        except StanzaError as error:
            reply = stanza.error(error)
        except DatabaseError as error:
            _log.error("an IQ failed: {kind}", kind=type(error).__name__)
            reply = stanza.error(StanzaError("internal-server-error", type="wait"))
        except Exception:
            self.failures += 1
            _log.failure("an {kind} could not be handled", kind=stanza.kind)
            reply = stanza.error(StanzaError("internal-server-error"))
        if asker is None:
            self.route(reply)
        elif not asker.ended:
            asker.send(reply)

    def fail(self, stanza: Stanza, error: StanzaError) -> None:
        """Return `stanza` to its sender with `error`, unless it must never be answered."""
        if stanza.wants_no_reply or stanza.from_ is None:
            return
        if stanza.kind == "presence" and stanza.type in ("unavailable", "error"):
            return
        reply = stanza.error(error)
        session = self.table.session(reply.to) if reply.to is not None else None
        if session is not None:
            if session.account.hooks is not None and stanza.kind == "message":
                for handle in session.account.hooks.incoming:
                    handle(session.account, reply, [session], None)
            session.send(reply)
        elif reply.from_ is not None:
            self.route(reply)

    async def ask(self, iq: Stanza, timeout: float) -> Stanza:
        """Send an IQ of the server's own and wait for its result.

        Raises StanzaError: the peer's error, or remote-server-timeout after `timeout` seconds.
        The id is chosen here; `iq.from_` has to be an address of this server, and `iq.children` name what it
        asks, as it may be a service here that is asked.
        """
        id = secrets.token_hex(8)
        assert iq.to is not None and iq.from_ is not None  # the caller's part
        request = Stanza.build(
            "iq", to=iq.to, from_=iq.from_, type=iq.type, id=id, content=iq.content, children=iq.children
        )
        answer: Deferred[Stanza] = Deferred()
        timer = self.clock.callLater(timeout, self._timed_out, id)
        self._asked[id] = (iq.to, answer, timer)
        session = self.table.session(iq.to)
        if session is not None:
            session.send(request)
        else:
            self.route(request)
        return await answer

    def _timed_out(self, id: str) -> None:
        asked = self._asked.pop(id, None)
        if asked is not None:
            asked[1].errback(StanzaError("remote-server-timeout"))

    def _answered(self, stanza: Stanza) -> None:
        """A result or an error for something that the server asked; others are nobody's."""
        asked = self._asked.get(stanza.id or "")
        if asked is None or stanza.from_ is None or asked[0] != stanza.from_:
            return
        del self._asked[stanza.id or ""]
        try:
            asked[2].cancel()
        except (AlreadyCalled, AlreadyCancelled):
            pass
        if stanza.type == "result":
            asked[1].callback(stanza)
        else:
            asked[1].errback(_error_of(stanza))

    # -- sessions ------------------------------------------------------------------------------

    def became_reachable(self, session: Session) -> None:
        """A session became available with a non-negative priority: what waits may come."""
        self.spool.share(session)
        self.spool.drain(session.account)

    def session_ended(self, session: Session) -> None:
        """A session is over: the contacts are told, the spool takes back what was not delivered."""
        try:
            self.presence.session_ended(session)
        except Exception:
            self.failures += 1
            _log.failure("presence of a session that ended")
        self.table.remove(session)
        if self.components:
            for component in self.components.values():
                component.appearances.session_ended(session)
        self.resumption.forget(session)
        self.spool.session_ended(session)
        self.note("session-ended", session)

    def undelivered(self, raw: bytes) -> None:
        """A stanza that nobody keeps never reached its session: a request of others gets its error."""
        if not raw.startswith(b"<iq"):
            return
        stanza = Stanza.from_bytes(raw)
        if stanza.type in ("get", "set") and stanza.from_ not in self.table.domains:
            self.fail(stanza, StanzaError("recipient-unavailable"))

    def note(self, event: str, *arguments: object) -> None:
        """Tell the extensions that want to know; one that fails disturbs nobody."""
        for handler in list(self.extensions.event_handlers(event)):
            try:
                handler(*arguments)
            except Exception:
                self.failures += 1
                _log.failure("a handler of {event} failed", event=event)

    def load(self, bare: JID) -> Deferred[LiveAccount | None]:
        """The account, read from the database where needed; None when there is none."""
        return self.table.load(bare)


def _error_of(stanza: Stanza) -> StanzaError:
    """The error that a stanza of type 'error' carries."""
    error = stanza.tree.find("{jabber:client}error")
    if error is not None:
        for child in error:
            namespace, _, name = child.tag[1:].partition("}")
            if namespace == "urn:ietf:params:xml:ns:xmpp-stanzas" and name != "text":
                try:
                    return StanzaError(name, type=error.get("type"))
                except ValueError:
                    break
    return StanzaError("undefined-condition")
