"""Sessions that outlive their socket: enabling, hibernating and resuming (XEP-0198 §3, §5).

A session whose client enabled stream management with `resume` waits here when its socket is lost.
Everything sent to it meanwhile queues up in its stream management; messages are in the spool as
well. Over a graceful restart the sessions are written down and found again; after a crash they are
gone, and what they had not acknowledged is delivered from the spool.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred

from msgd.routing.session import Session
from msgd.routing.stream_management import (
    NAMESPACE,
    REQUEST,
    Held,
    Sent,
    StreamManagement,
    counter,
    too_high,
)
from msgd.wire.errors import STANZAS_NAMESPACE, StreamError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.router import Router

FEATURE: Final = f"<sm xmlns='{NAMESPACE}'/>".encode()


def failed(condition: str, handled: int | None = None) -> bytes:
    """The `<failed/>` element (XEP-0198 §3, §5)."""
    h = f" h='{handled}'" if handled is not None else ""
    return (f"<failed xmlns='{NAMESPACE}'{h}><{condition} xmlns='{STANZAS_NAMESPACE}'/>"
            f"</failed>").encode()  # fmt: skip


@dataclass(frozen=True)
class Resumed:
    """What a client asked to resume, found."""

    session: Session
    handled: int


class ResumeFailed(Exception):
    """The stream cannot be resumed; `handled` is what is known of the old one."""

    def __init__(self, condition: str, handled: int | None = None) -> None:
        super().__init__(condition)
        self.condition = condition
        self.handled = handled


class Resumption:
    """All sessions that can be resumed, by their id."""

    def __init__(self, router: Router, longest: int, location: str = "") -> None:
        """`longest` is how many seconds a session waits; 0 means that none can be resumed."""
        self._router = router
        self.longest = longest
        self.location = location
        self._sessions: dict[str, Session] = {}
        # After the end of a session: what it had handled, for <failed h='…'/>. Bounded.
        self._handled: dict[str, int] = {}
        # Those that wait to be resumed until what their client sent is safe: true when it is.
        self._settling: dict[Session, Deferred[bool]] = {}

    # -- enabling ------------------------------------------------------------------------------

    def from_session(self, session: Session, enable: bool, attributes: dict[str, str]) -> None:
        """A bound client sent `<enable/>` or `<resume/>`."""
        if session.transport is None:
            return
        if not enable:
            # XEP-0198 §5: resumption is for streams that have not bound a resource.
            session.transport.write(failed("unexpected-request"))
        elif session.stream_management is not None:
            session.transport.write(failed("unexpected-request"))
        else:
            session.transport.write(self.enable(session, attributes))

    def enable(self, session: Session, attributes: dict[str, str]) -> bytes:
        """Switch stream management on; the `<enabled/>` element to send."""
        resume = attributes.get("resume") in ("true", "1") and self.longest > 0
        id = secrets.token_urlsafe(18) if resume else ""
        sm = StreamManagement(id, resume, _Answer(session))
        session.stream_management = sm
        if session.unproven:
            # Sent before stream management counted: what has not arrived by now is watched on.
            session.prove()
        if not resume:
            return f"<enabled xmlns='{NAMESPACE}'/>".encode()
        self._sessions[id] = session
        asked = counter(attributes.get("max", ""))
        longest = min(self.longest, asked) if asked is not None else self.longest
        sm.longest = longest or self.longest
        location = f" location='{self.location}'" if self.location else ""
        return (f"<enabled xmlns='{NAMESPACE}' id='{id}' resume='true' max='{sm.longest}'"
                f"{location}/>").encode()  # fmt: skip

    # -- hibernating ---------------------------------------------------------------------------

    def hibernate(self, session: Session) -> None:
        """The socket is lost: wait for the client to come back."""
        sm = session.stream_management
        assert sm is not None  # only sessions with stream management hibernate
        sm.hibernating_since = self._router.clock.seconds()
        sm.requested = False
        session.expiry = self._router.clock.callLater(sm.longest, self._expired, session)
        self._router.note("session-hibernated", session)

    def extend(self, session: Session, seconds: int) -> None:
        """A session that hibernates waits for at least `seconds` since it lost its connection."""
        sm = session.stream_management
        if sm is None or sm.hibernating_since is None or session.expiry is None or sm.longest >= seconds:
            return
        sm.longest = seconds
        left = sm.hibernating_since + seconds - self._router.clock.seconds()
        session.expiry.cancel()
        session.expiry = self._router.clock.callLater(max(0.0, left), self._expired, session)

    def _expired(self, session: Session) -> None:
        session.expiry = None
        session.end()

    def forget(self, session: Session) -> None:
        """The session is over."""
        sm = session.stream_management
        if sm is None or not sm.id:
            return
        if self._sessions.get(sm.id) is session:
            del self._sessions[sm.id]
            self._handled[sm.id] = sm.safe
            while len(self._handled) > 10_000:
                del self._handled[next(iter(self._handled))]

    # -- resuming ------------------------------------------------------------------------------

    def find(self, account: JID, attributes: dict[str, str]) -> Resumed:
        """The session that `<resume/>` names. Raises `ResumeFailed`, or StreamError for a lie.

        Only the account itself may resume it; to others the id is unknown.
        """
        previous = attributes.get("previd", "")
        handled = counter(attributes.get("h", ""))
        if handled is None:
            raise ResumeFailed("bad-request")
        session = self._sessions.get(previous)
        if session is None or session.jid.bare != account:
            known = self._handled.get(previous) if session is None else None
            raise ResumeFailed("item-not-found", known)
        return Resumed(session, handled)

    async def take_over(self, resumed: Resumed) -> tuple[bytes, bytes]:
        """Prepare the session for its new connection; `<resumed/>`, and what was not acknowledged.

        Waits until everything the client sent before is safe, so that it need not send it again.
        Raises `StreamError` when the client claims to have more than it was sent, `ResumeFailed`
        when the session ends meanwhile, or is asked for on yet another connection.
        """
        session = resumed.session
        sm = session.stream_management
        assert sm is not None  # only sessions with stream management are found
        done = sm.acknowledge(resumed.handled)
        if done is None:
            raise too_high(resumed.handled, sm.sent)
        session.forget(done)
        _drop_connection(session)
        if not await self._settled(session, sm) or session.ended:
            raise ResumeFailed("item-not-found", sm.safe)
        if session.expiry is not None:
            session.expiry.cancel()
            session.expiry = None
        sm.hibernating_since = None
        # Only where storage fails is something not safe now: the client then sends it again.
        sm.rewind()
        head = f"<resumed xmlns='{NAMESPACE}' previd='{sm.id}' h='{sm.received}'/>".encode()
        # A request on the old connection is answered by nobody: ask anew for what is sent again.
        sm.requested = sm.queue is not None
        sm.awaiting_since = self._router.clock.seconds()
        again = b"".join(_bytes(sent) for sent in sm.queue or ())
        return head, again + (REQUEST if sm.requested else b"")

    async def _settled(self, session: Session, sm: StreamManagement) -> bool:
        """Wait until what the client sent is safe. False when a later connection asks meanwhile."""
        sm.when_safe(None)
        before = self._settling.pop(session, None)
        if before is not None:
            before.callback(False)
        if sm.safe == sm.received:
            return True
        settled = self._settling[session] = Deferred()
        sm.when_safe(lambda: self._settling.pop(session).callback(True))
        return await settled

    # -- over a restart ------------------------------------------------------------------------

    def write_down(self) -> list[dict[str, Any]]:
        """Every session that can be resumed, as rows for the table `stream_session`."""
        now = self._router.clock.seconds()
        rows = []
        for id, session in self._sessions.items():
            sm = session.stream_management
            if sm is None or not sm.resumable:
                continue
            waited = now - sm.hibernating_since if sm.hibernating_since is not None else 0.0
            rows.append({
                "id": id,
                "account_id": session.account.id,
                "resource": session.jid.resource,
                "state": json.dumps(_state(session, sm)).encode(),
                "expires": int(now + max(1.0, sm.longest - waited)),
            })  # fmt: skip
        return rows

    def restore(self, session: Session, id: str, state: dict[str, Any], seconds: float) -> None:
        """Bring a written-down session back; it waits for its client for `seconds`."""
        sm = StreamManagement(id, True, _Answer(session))
        sm.received = state["received"]
        sm.longest = state["longest"]
        session.stream_management = sm
        session.address = state["address"]
        session.connected = state["connected"]
        session.interested = state["interested"]
        session.available = state["available"]
        session.priority = state["priority"]
        if state["presence"]:
            session.presence = Stanza.from_bytes(base64.b64decode(state["presence"]))
        session.extras = state["extras"]
        session.directed = {JID.parse(jid) for jid in state["directed"]} or None
        self._sessions[id] = session
        self._router.table.add(session)
        for id_held, text, archived, copy, size in state["queue"]:
            raw = base64.b64decode(text)
            if id_held:
                self._router.spool.hold_again(session, Held(id_held, raw, archived, copy, size))
            else:
                sm.push(raw)
        sm.acknowledged = state["acknowledged"]
        sm.sent = (sm.acknowledged + sm.queue_length) % 2**32
        sm.hibernating_since = self._router.clock.seconds()
        session.expiry = self._router.clock.callLater(seconds, self._expired, session)
        self._router.note("session-restored", session)


def _drop_connection(session: Session) -> None:
    """The client knows before us that its old connection is dead."""
    old, session.transport = session.transport, None
    if session.stream is not None:
        session.stream.close()
        session.stream = None
    if old is not None:
        old.receiver = None
        old.write(StreamError("conflict", "the stream was resumed elsewhere").xml())
        old.write(b"</stream:stream>")
        old.close()


class _Answer:
    """Sends `<a/>` to a session's client."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, handled: int) -> None:
        transport = self._session.transport
        if transport is not None:
            transport.write(b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % handled)


def _bytes(sent: Sent) -> bytes:
    return sent if isinstance(sent, bytes) else sent.raw


def _state(session: Session, sm: StreamManagement) -> dict[str, Any]:
    """What has to be known of a session to resume it in another process."""
    return {
        "received": sm.safe,
        "acknowledged": sm.acknowledged,
        "longest": sm.longest,
        "address": session.address,
        "mechanism": session.mechanism,
        "connected": session.connected,
        "interested": session.interested,
        "available": session.available,
        "priority": session.priority,
        "presence": _text(session.presence.raw) if session.presence is not None else "",
        "extras": session.extras,
        "directed": [str(jid) for jid in session.directed or ()],
        "queue": [
            (
                _kept_id(sent),
                _text(_bytes(sent)),
                bool(getattr(sent, "archived", False)),
                hasattr(sent, "entry"),
                getattr(sent, "size", 0),
            )
            for sent in sm.queue or ()
        ],
    }


def _kept_id(sent: Sent) -> int:
    """The id under which the spool still keeps it; 0 when another resource has acknowledged it."""
    if isinstance(sent, bytes) or getattr(sent, "done", False):
        return 0
    return int(getattr(sent, "id", 0))


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
