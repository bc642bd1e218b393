"""What the extensions that hang on an account see of its messages in the spool, as the account gets them.

Each message is shown once as `incoming`, when it first goes to somebody: at once, or by the drain behind
which it came. What waits long enough to be read from the database again is not shown. As `accepted` each is
shown in any case, once, when it comes.
"""

from __future__ import annotations

from msgd.routing.session import Session
from msgd.spool.entry import Entry
from msgd.wire.stanza import Stanza


def show_accepted(entry: Entry, stanza: Stanza, takers: list[Session]) -> None:
    """A message was accepted; `stanza` is as it came, `takers` to whom it went."""
    hooks = entry.account.hooks
    assert hooks is not None  # the caller looked
    children = (*stanza.children, "urn:xmpp:sid:0 stanza-id")
    seen = Stanza(stanza.kind, entry.raw, stanza.attributes, children, stanza.to, stanza.from_)
    if takers:
        entry.shown = True
        for handle in hooks.incoming:
            handle(entry.account, seen, takers, entry)
    for handle_accepted in hooks.accepted:
        handle_accepted(entry.account, seen, takers)


def show_delivered(entry: Entry, takers: list[Session]) -> None:
    """A message that waited in memory goes to `takers`."""
    hooks = entry.account.hooks
    if hooks is None or entry.shown or not hooks.incoming:
        return
    entry.shown = True
    seen = Stanza.from_bytes(entry.raw)
    for handle in hooks.incoming:
        handle(entry.account, seen, takers, entry)
