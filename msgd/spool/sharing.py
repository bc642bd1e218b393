"""What nobody has acknowledged yet is shown to a device that comes.

A phone whose connection is lost keeps its session for a while (XEP-0198 §5), and with it the messages that
it did not acknowledge. Who opens the laptop meanwhile expects to see them there. The first acknowledgement
counts, as everywhere; the phone still gets them when it resumes, and with the same id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgd.routing.session import Session
from msgd.spool.delay import with_delay
from msgd.spool.entry import Copy, Entry
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.spool.spool import Spool


def share(spool: Spool, newcomer: Session) -> None:
    """Give `newcomer`, which has become available, what others hold, oldest first, as far as it can."""
    account = newcomer.account
    if not account.mailbox.held:
        return
    for other in account.sessions.values():
        other.prove()  # what has arrived by now is delivered
    held = account.mailbox.held or {}
    known = _held_by(newcomer)
    for id in sorted(held):
        entry = held[id]
        # After a restart perhaps only a copy of it is known.
        if id not in known and entry.raw and not newcomer.congested():
            _show(spool, entry, newcomer)


def _show(spool: Spool, entry: Entry, newcomer: Session) -> None:
    """What is for another resource that is there comes as a copy, if at all (XEP-0280 §7)."""
    account = entry.account
    copy = Copy(entry, with_delay(entry.raw, entry.id, account.jid.domain))
    if entry.resource in ("", newcomer.jid.resource) or entry.resource not in account.sessions:
        spool.hand_over(entry, newcomer, copy)
    elif account.hooks is not None:
        others = [session for session in account.sessions.values() if session is not newcomer]
        for handle in account.hooks.incoming:
            handle(account, Stanza.from_bytes(copy.raw), others, entry)


def _held_by(session: Session) -> set[int]:
    """The entries that it has got already, as what was for it alone."""
    sm = session.stream_management
    queued = sm.queue if sm is not None else None
    sent = (*(queued or ()), *(session.unproven or ()))
    return {each.id for each in sent if isinstance(each, Entry | Copy)}
