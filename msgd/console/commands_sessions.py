"""Console commands about who is connected: sessions, streams, routes, kick, watch."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from msgd.console.registry import CommandError, Context, account_address, address, command
from msgd.console.text import Answer, Rows, duration, safe
from msgd.wire.errors import StreamError
from msgd.wire.jid import JID

if TYPE_CHECKING:
    from msgd.routing.session import Session

_COLUMNS: Final = ("session", "from", "state", "priority", "idle", "unacked", "buffered")
#: Sessions listed at most; a name or a domain narrows it down.
_MOST: Final = 1000


def _sessions(context: Context, which: str | None) -> Iterator[Session]:
    """The sessions of an address: a resource, an account, a domain, or all."""
    wanted = address(which) if which is not None else None
    for session in context.server.router.table.sessions():
        if wanted is None or wanted in (session.jid, session.jid.bare, session.jid.domain_jid):
            yield session


def _state(session: Session, now: float) -> str:
    sm = session.stream_management
    if sm is not None and sm.hibernating_since is not None:
        return f"away {duration(now - sm.hibernating_since)}"
    presence = "available" if session.available else "connected"
    return f"{presence}, managed" if sm is not None else presence


@command("sessions [JID|DOMAIN]", "who is connected")
async def sessions(context: Context, which: str | None = None) -> Answer:
    """Lists the sessions of all accounts, of one account, or of a domain. 'managed' has stream
    management; 'away' lost its connection and may come back; 'unacked' are stanzas sent and not
    acknowledged; 'buffered' are bytes that the socket has not taken."""
    now = context.server.reactor.seconds()
    rows = []
    for session in _sessions(context, which):
        sm = session.stream_management
        rows.append(
            (session.jid, session.address, _state(session, now), session.priority,
             duration(now - session.last_received), sm.queue_length if sm else 0, session.buffered)
        )  # fmt: skip
        if len(rows) == _MOST:
            break
    return Rows(_COLUMNS, rows)


@command("session JID", "one session in detail")
async def session(context: Context, which: str) -> Answer:
    """Shows everything about one session; JID with its resource."""
    found = context.server.router.table.session(address(which))
    if found is None:
        raise CommandError("there is no such session; `sessions` lists them")
    now = context.server.reactor.seconds()
    sm = found.stream_management
    details: list[tuple[str, object]] = [
        ("session", found.jid),
        ("from", found.address),
        ("connected", f"{duration(now - found.connected)} ago"),
        ("idle", duration(now - found.last_received)),
        ("state", _state(found, now)),
        ("encryption", found.tls),
        ("mechanism", found.mechanism),
        ("priority", found.priority),
        ("asked for the roster", found.interested),
        ("directed presence to", len(found.directed or ())),
        ("buffered", found.buffered),
        ("messages not known to have arrived", len(found.unproven or ())),
    ]
    if sm is not None:
        details += [
            ("received", sm.received),
            ("of these safe", sm.safe),
            ("sent", sm.sent),
            ("acknowledged", sm.acknowledged),
            ("not acknowledged", sm.queue_length),
            ("may be resumed for", duration(sm.longest) if sm.resumable else "no"),
        ]
    return Rows(("what", "value"), details)


@command("streams", "connections that have not logged in")
async def streams(context: Context) -> Answer:
    """Lists connections that are still negotiating, oldest first."""
    now = context.server.reactor.seconds()
    waiting = sorted(context.server.router.streams, key=lambda stream: stream.since)[:_MOST]
    return Rows(
        ("from", "domain", "state", "age"),
        [(stream.address, stream.domain, stream.state, duration(now - stream.since)) for stream in waiting],
    )


@command("routes JID", "where a stanza to this address would go")
async def routes(context: Context, which: str) -> Answer:
    """Tells what would happen now to a message for this address, by RFC 6121 §8.5."""
    jid = address(which)
    router = context.server.router
    if jid.domain not in router.table.domains:
        return router.table.destination(jid.domain).explain(jid)
    if not jid.local:
        return f"{jid.domain} is this server"
    account = await router.load(jid.bare)
    if account is None:
        return "there is no such account: service-unavailable"
    if jid.resource:
        if jid.resource in account.sessions:
            return f"to the session {jid}"
        lines = ["no such resource; a chat message is handled as if sent to the account:"]
    else:
        lines = []
    reachable = account.reachable()
    if not reachable:
        stored = account.mailbox.count
        return [*lines, f"nobody is reachable: messages are kept ({stored} are)"]
    return [*lines, *(f"to the session {session.jid} (priority {session.priority})" for session in reachable)]


@command("kick JID [REASON...]", "end a session, or all sessions of an account")
async def kick(context: Context, which: str, *reason: str) -> Answer:
    """Ends the stream with the error policy-violation and the reason as text. The client may log in
    again; `user disable` keeps it out."""
    jid = address(which)
    found = [each for each in _sessions(context, which) if jid.local]
    if not found:
        raise CommandError("there is no such session; `sessions` lists them")
    for each in found:
        each.kick(StreamError("policy-violation", " ".join(reason)))
    return f"{len(found)} ended"


_TEXT: Final = re.compile(r">([^<>]+)<")


def without_bodies(raw: bytes) -> str:
    """A stanza with every text replaced by its length: who writes to whom, not what."""
    return _TEXT.sub(lambda found: f">({len(found[1])})<", raw.decode("utf-8", "replace"))


class _Watch:
    """Shows what passes through the sessions of an account while the operator looks."""

    def __init__(self, context: Context, account: JID) -> None:
        self._context = context
        self._account = account
        self._missed = 0
        self._recent: deque[Session] = deque(maxlen=1000)

    def begin(self, session: Session) -> None:
        """Watch this session too, if it is one of the account's."""
        if session.jid.bare == self._account:
            resource = session.jid.resource
            session.watched = lambda direction, raw: self._show(resource, direction, raw)
            self._recent.append(session)

    def _show(self, resource: str, direction: str, raw: bytes) -> None:
        if self._missed and self._context.terminal.write_line(f"({self._missed} not shown)"):
            self._missed = 0
        arrow = "->" if direction == "out" else "<-"
        if not self._context.terminal.write_line(safe(f"{resource} {arrow} {without_bodies(raw)}")):
            self._missed += 1

    def end(self) -> None:
        """Watch no more."""
        for session in self._recent:
            session.watched = None


@command("watch JID", "live stanzas of an account, without their texts; Enter stops")
async def watch(context: Context, which: str) -> Answer:
    """Shows every element that the account's clients send (<-) and get (->). Texts are replaced by their
    length. What the terminal does not keep up with is counted and left out. Enter stops."""
    account = account_address(which)
    watching = _Watch(context, account)
    handlers = context.server.router.extensions.event_handlers("session-bound")
    handlers.append(watching.begin)
    try:
        for session in _sessions(context, account):
            watching.begin(session)
        context.terminal.write_line(f"watching {account}; Enter stops")
        await context.terminal.next_line()
    finally:
        handlers.remove(watching.begin)
        watching.end()
    return "stopped"
