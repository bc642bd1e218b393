"""Whether a device is asleep, and what waits for it in its session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from msgd.routing.kinds import pushed
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.account import LiveAccount
    from msgd.routing.session import Session

#: Stanzas that are looked at for the number of messages: enough to be told, and 1,000 can be there.
_MOST: Final = 100


def is_asleep(session: Session | None, now: float, answer_time: int) -> bool:
    """Whether nobody is there, or who is there owes an answer for `answer_time` seconds (XEP-0198 §4)."""
    if session is None or session.transport is None:
        return True
    sm = session.stream_management
    if sm is None or not sm.requested:
        return False
    return now - max(sm.awaiting_since, session.last_received) >= answer_time


def worth_a_push(account: LiveAccount, stanza: Stanza) -> bool:
    """Whether a person would want to see it, and somebody else sent it."""
    if not pushed(stanza):
        return False
    sender = stanza.from_
    return sender is None or sender.bare != account.jid or _is_copy(stanza)


def unacknowledged(session: Session) -> list[Stanza]:
    """Of what was sent to the client and may not have arrived, the last that are worth a push, last first."""
    found = []
    for raw, _ in zip(_sent(session), range(_MOST), strict=False):
        stanza = Stanza.from_bytes(raw)
        if worth_a_push(session.account, stanza):
            found.append(stanza)
    return found


def _sent(session: Session) -> Iterator[bytes]:
    """Messages, last first."""
    sm = session.stream_management
    for queue in (session.unproven or (), sm.queue if sm is not None and sm.queue is not None else ()):
        for sent in reversed(queue):
            raw = sent if isinstance(sent, bytes) else sent.raw
            if raw.startswith(b"<message"):
                yield raw


def _is_copy(stanza: Stanza) -> bool:
    return "urn:xmpp:carbons:2 received" in stanza.children
