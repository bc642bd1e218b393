"""XEP-0357 Push Notifications: sleeping phones are woken up by their app servers.

A registration belongs to the device that asked for it: to the resource from which it was enabled last. While
that one is connected and answers, nothing is sent for it. When it is not, its app server is told of each
message that a person would want to see (`msgd.routing.kinds`), whatever other devices of the account there
are: the person may have left the laptop open. Why it is so: protocol_spec/decisions/0005-push.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.accounts.uses import Uses
from msgd.routing.account import LiveAccount
from msgd.routing.extension import OWN, Extension, Xep, on_event, on_iq
from msgd.routing.hooks import Dropped
from msgd.routing.kinds import copied
from msgd.storage.database import Connection
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID, JIDError
from msgd.wire.stanza import Stanza
from msgd.xeps.data_forms import FORM_TYPE, read_form
from msgd.xeps.data_forms import NAMESPACE as FORMS
from msgd.xeps.permission import sender_of
from msgd.xeps.push import registration, store
from msgd.xeps.push.devices import is_asleep, unacknowledged, worth_a_push
from msgd.xeps.push.notification import NAMESPACE, PUBLISH_OPTIONS, PUBSUB, note_last
from msgd.xeps.push.publisher import Publisher
from msgd.xeps.push.registration import Registration
from msgd.xeps.push.store import Options, Row

if TYPE_CHECKING:
    from msgd.routing.session import Session
    from msgd.routing.stream_management import Kept

_log = Logger("msgd.push")
#: Characters of a node's name (XEP-0060 has no limit; tokens have some hundred), and of the form.
_LONGEST_NODE: Final = 1023
_LONGEST_OPTIONS: Final = 4096
_NOTHING: Final = "nothing came that a person would want to see"
_CONNECTED: Final = "the device is connected"
_FOR_ANOTHER: Final = "the last message was for another device alone"


class Push(Extension):
    """XEP-0357 Push Notifications."""

    xep = Xep(357, "0.4.1")
    account_features = frozenset({NAMESPACE})
    uses = Uses.PUSH
    proves = "xep_0357/*"

    def start(self) -> None:
        """See Extension."""
        self.publisher = Publisher(self.router, self._wanted)

    def stop(self) -> None:
        """See Extension."""
        self.publisher.stop()

    def load(self, connection: Connection, account: LiveAccount) -> None:
        """See Extension."""
        for row in store.registrations(connection, account.id):
            self._have(account, row)

    def _have(self, account: LiveAccount, row: Row) -> Registration:
        """The account has this registration from now on."""
        if account.extras is None:
            account.extras = {}
        held = account.extras.setdefault(Registration, {})
        known = held.get((row.jid, row.node)) or self.publisher.busy.get((account.id, row.jid, row.node))
        if known is None:
            known = Registration(account, row)
        else:
            known.account = account
            if known.gone or known.enabled != row.enabled:
                known.enable(row)
        held[row.jid, row.node] = known
        if not known.ended:
            account.hook(self)
        return known

    # -- enabling and disabling ----------------------------------------------------------------

    @on_iq("set", NAMESPACE, "enable", at=(OWN,))
    async def enable(self, stanza: Stanza) -> None:
        """§5: for the device that asks."""
        sender, payload = sender_of(stanza), stanza.payload
        assert payload is not None  # it is what the IQ was given to us for
        session = self.router.table.session(sender)
        if session is None:
            raise StanzaError("recipient-unavailable", "the session is over")
        account, now = session.account, self.router.clock.seconds()
        node = payload.get("node", "")
        if len(node) > _LONGEST_NODE:
            raise StanzaError("not-acceptable", "the node's name is too long")
        row = Row(_address(payload), node, sender.resource, _options(payload), int(now))
        most = self.config.push.registrations
        gone = await self.database.write(partial(store.enable, account_id=account.id, row=row, most=most))
        self._forget(account, [(each.jid, each.node) for each in gone])
        before = registration.of(account).get((row.jid, row.node))
        former = before.device if before is not None else None
        account.uses |= Uses.PUSH
        self._have(account, row).enable(row)
        if former is not None and former is not session and former.transport is None:
            # The device is here anew, and will not resume its old session: what that holds comes here.
            former.end()

    @on_iq("set", NAMESPACE, "disable", at=(OWN,))
    async def disable(self, stanza: Stanza) -> None:
        """§6: what was not enabled is disabled as well."""
        sender, payload = sender_of(stanza), stanza.payload
        assert payload is not None  # it is what the IQ was given to us for
        session = self.router.table.session(sender)
        if session is None:
            raise StanzaError("recipient-unavailable", "the session is over")
        await self._remove(session.account, _address(payload), payload.get("node"))

    async def _remove(self, account: LiveAccount, jid: JID, node: str | None) -> None:
        await self.database.write(partial(store.remove, account_id=account.id, jid=jid, node=node))
        held = registration.of(account)
        self._forget(account, [key for key in held if key[0] == jid and node in (None, key[1])])

    def _forget(self, account: LiveAccount, keys: Iterable[tuple[str, str]]) -> None:
        held = registration.of(account)
        for key in keys:
            found = held.pop(key, None)
            if found is not None:
                found.gone = True
                found.cancel_retry()
        self._look(account)

    def _look(self, account: LiveAccount) -> None:
        """Act on the account's messages no more, when there is nothing to do."""
        if all(each.ended for each in registration.of(account).values()):
            account.uses &= ~Uses.PUSH
            account.unhook(self)

    @on_event("account-deleted")
    def _deleted(self, jid: JID) -> None:
        for each in list(self.publisher.busy.values()):
            if each.account.jid == jid:
                each.gone = True
                each.cancel_retry()

    def permit_in(self, account: LiveAccount, stanza: Stanza) -> None:
        """§8: the app server says that it takes no more; that is for the server, not for people."""
        if stanza.kind != "message" or f"{PUBSUB} pubsub" not in stanza.children or stanza.type == "error":
            return
        sender = stanza.from_
        nodes = {node for jid, node in registration.of(account) if jid == sender}
        for node in nodes.intersection(_refused_nodes(stanza)):
            assert sender is not None  # it is the address of a registration
            self._forget(account, [(sender, node)])
            Deferred.fromCoroutine(self._remove(account, sender, node)).addErrback(
                lambda failure: _log.failure("a push registration was not removed", failure)
            )
        if nodes:
            raise Dropped

    # -- when something comes ------------------------------------------------------------------

    def accepted(self, account: LiveAccount, stanza: Stanza, takers: list[Session]) -> None:
        """A message is kept: for each device that is not there it is worth a push, or not."""
        self._look(account)
        worth = worth_a_push(account, stanza)
        for each in registration.of(account).values():
            session = each.device
            if not worth:
                each.reason = _NOTHING
            elif not self._wanted(each):
                each.unseen, each.reason = 0, _CONNECTED
            elif takers and session not in takers and _for_one(stanza):
                each.reason = _FOR_ANOTHER
            else:
                self._one_more(each, stanza)

    def incoming(
        self, account: LiveAccount, stanza: Stanza, targets: list[Session], kept: Kept | None
    ) -> None:
        """What nobody keeps, above all group chat, waits only in the sessions that it is for."""
        if kept is not None or not worth_a_push(account, stanza):
            return
        for each in registration.of(account).values():
            if each.device in targets and self._wanted(each):
                self._one_more(each, stanza)

    def _one_more(self, each: Registration, stanza: Stanza) -> None:
        session = each.device
        if session is not None and session.last_received > each.pushed_at:
            each.unseen = 0  # it was there since the last push
        each.unseen += 1
        self._push(each, stanza)

    def _push(self, each: Registration, last: Stanza) -> None:
        note_last(each, last, self.config.push.tells)
        self.publisher.push(each)

    def _wanted(self, each: Registration) -> bool:
        """Whether the device is not there to take what comes."""
        answer_time = self.config.stream_management.answer_time
        return is_asleep(each.device, self.router.clock.seconds(), answer_time)

    # -- when a device goes --------------------------------------------------------------------

    @on_event("session-hibernated")
    def _hibernated(self, session: Session) -> None:
        """It may take its time to come back, and is woken where something was on its way to it."""
        mine = self._of(session)
        if mine and self.config.push.hibernation:
            self.router.resumption.extend(session, self.config.push.hibernation)
        self._wake(mine, session)

    @on_event("session-unresponsive")
    @on_event("session-restored")
    def _unresponsive(self, session: Session) -> None:
        self._wake(self._of(session), session)

    @on_event("session-unavailable")
    def _ended(self, session: Session) -> None:
        """A session that cannot be resumed ends: what it did not get waits from now on."""
        if session.ended:
            self._wake(self._of(session), session)

    @on_event("session-resumed")
    def _resumed(self, session: Session) -> None:
        for each in self._of(session):
            each.unseen = 0

    def _of(self, session: Session) -> list[Registration]:
        held = registration.of(session.account)
        return [each for each in held.values() if each.device is session and not each.ended] if held else []

    def _wake(self, mine: list[Registration], session: Session) -> None:
        # What came after a push had one of its own, and what came before is what it was for.
        due = [each for each in mine if each.pushed_at <= session.last_received]
        waiting = unacknowledged(session) if due else []
        for each in due:
            each.unseen = len(waiting)
            if waiting:
                self._push(each, waiting[0])
            else:
                each.reason = _NOTHING


def _address(payload: Element) -> JID:
    """The app server's address. Raises StanzaError."""
    jid = payload.get("jid")
    if not jid:
        raise StanzaError("bad-request", "the app server has an address")
    try:
        return JID.parse(jid)
    except JIDError as error:
        raise StanzaError("jid-malformed", str(error)) from None


def _options(payload: Element) -> Options:
    """The fields that go with each push (§5). Raises StanzaError."""
    form = payload.find(f"{{{FORMS}}}x")
    if form is None:
        return []
    fields = read_form(form)
    if fields.pop(FORM_TYPE, [PUBLISH_OPTIONS]) != [PUBLISH_OPTIONS]:
        raise StanzaError("bad-request", f"the form has the FORM_TYPE {PUBLISH_OPTIONS}")
    options = list(fields.items())
    if len(json.dumps(options)) > _LONGEST_OPTIONS:
        raise StanzaError("not-acceptable", "the form is too long")
    return options


def _for_one(stanza: Stanza) -> bool:
    """Whether a message is for one device, and the others get no copy of it."""
    return stanza.to is not None and bool(stanza.to.resource) and not copied(stanza, sent=False)


def _refused_nodes(stanza: Stanza) -> set[str]:
    """The nodes at which the account may publish no more."""
    found = set()
    for pubsub in stanza.tree.iterfind(f"{{{PUBSUB}}}pubsub"):
        for parent in (pubsub, *pubsub.iterfind(f"{{{PUBSUB}}}affiliations")):
            said = [each.get("affiliation") for each in parent.iterfind(f"{{{PUBSUB}}}affiliation")]
            if "none" in said or "outcast" in said:
                found.add(parent.get("node", ""))
    return found
