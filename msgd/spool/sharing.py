"""What only sleeping sessions hold is shown to the account's other devices.

A phone whose connection is lost keeps its session for a while (XEP-0198 §5), and with it the messages that
it did not acknowledge. Who opens the laptop meanwhile expects to see them there. The first acknowledgement
counts, as everywhere; the phone still gets them when it resumes, and with the same id.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgd.routing.account import LiveAccount
from msgd.routing.session import Session
from msgd.spool.drain import with_delay
from msgd.spool.entry import Copy, Entry

if TYPE_CHECKING:
    from msgd.spool.spool import Spool


def share(spool: Spool, account: LiveAccount) -> None:
    """Give those who are awake what only sleeping sessions hold, oldest first, as far as they can take it.

    What was addressed to one resource is for that resource (RFC 6121 §8.5.3.1).
    """
    held = account.mailbox.held
    if not held:
        return
    sleeping = _held_by_sleepers(account)
    awake = [session for session in account.reachable() if session.transport is not None]
    if not awake or not sleeping:
        return
    for id in sorted(sleeping):
        entry = held.get(id)
        if entry is None or entry.done or entry.resource or entry.holders != sleeping[id]:
            continue  # somebody who is awake holds it
        copy = Copy(entry, with_delay(entry.raw, id, account.jid.domain))
        for session in awake:
            if not session.congested:
                spool.hand_over(entry, session, copy)


def _held_by_sleepers(account: LiveAccount) -> Counter[int]:
    """By how many sessions without a connection each entry is held."""
    count: Counter[int] = Counter()
    for session in account.sessions.values():
        if session.transport is None:
            count.update(_held_by(session))
    return count


def _held_by(session: Session) -> set[int]:
    sm = session.stream_management
    queue = sm.queue if sm is not None else None
    return {sent.id for sent in queue or () if isinstance(sent, Entry | Copy)}
