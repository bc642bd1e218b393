"""Who wrote to a server that cannot be reached learns that the message waits: once for each outage.

A message that nobody answers looks like one that nobody wants to answer. The notice is a headline, so it
reaches who is there and is not kept for later, when it may be wrong (RFC 6121 §5.2.2).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.routing.kinds import pushed
from msgd.spool import link_store
from msgd.spool.entry import accepted_at
from msgd.storage.database import DatabaseError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from msgd.wire.xml import escape

if TYPE_CHECKING:
    from msgd.spool.backlog import Backlog
    from msgd.spool.link_queue import LinkQueue

_log = Logger("msgd.link")
#: Senders who were told, for each pair of domains; more are not told.
_MOST: Final = 1000
#: Rows that are read at once.
_PAGE: Final = 100


class Notices:
    """Those of one pair of domains."""

    def __init__(
        self, queue: LinkQueue, backlog: Backlog, ours: JID, theirs: JID, linked: Callable[[], bool]
    ) -> None:
        """`linked`: whether there is a link: what waits is on its way then. `waits` is called at its end."""
        self._queue = queue
        self._linked = linked
        self._backlog = backlog
        self._ours, self._theirs = ours, theirs
        self._timer: Any = None
        #: Something has waited for so long that its sender should know.
        self.late = False
        self._told: set[JID] = set()

    @property
    def _patience(self) -> float:
        """Seconds."""
        return self._queue.options.notice * 60.0

    def waits(self, raw: bytes | None = None) -> None:
        """Something waits; `raw` is a message that has just come and cannot be sent now."""
        if self.late and raw is not None:
            self._tell(raw)
        elif self._timer is None and self._patience:
            due = accepted_at(self._backlog.oldest) + self._patience
            self._timer = self._queue.clock.callLater(max(1.0, due - self._queue.clock.seconds()), self._look)

    def nothing_waits(self) -> None:
        """There was an outage, and it is over."""
        self.late = False
        self._told.clear()

    def stop(self) -> None:
        """The outbox is forgotten."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if not self._patience or not self._backlog.count:
            return
        if accepted_at(self._backlog.oldest) + self._patience > self._queue.clock.seconds():
            self.waits()
            return
        if self._linked():
            return
        self.late = True
        Deferred.fromCoroutine(self._tell_all()).addErrback(
            lambda failure: _log.failure("senders cannot be told that messages wait", failure)
        )

    async def _tell_all(self) -> None:
        """Whoever has something in the queue: in memory, in the database, or in both."""
        for raw in self._backlog.in_memory():
            self._tell(raw)
        after = 0
        while self.late:
            try:
                rows, _, after = await self._queue.database.read(
                    partial(link_store.page, ours=self._ours, theirs=self._theirs, after=after, most=_PAGE)
                )
            except DatabaseError as error:
                _log.error("senders are not told that messages wait: {kind}", kind=type(error).__name__)
                return
            for _, raw in rows:
                self._tell(raw)
            if not after:
                return

    def _tell(self, raw: bytes) -> None:
        """Tell the sender, unless that was done, or nobody wrote it."""
        stanza = Stanza.from_bytes(raw)
        sender = stanza.from_
        if sender is None or not sender.local or not pushed(stanza):
            return
        if (
            sender.bare not in self._told
            and len(self._told) < _MOST
            and self._queue.tell(self._notice(sender))
        ):
            self._told.add(sender.bare)

    def _notice(self, sender: JID) -> Stanza:
        since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(accepted_at(self._backlog.oldest)))
        lifetime = self._queue.options.lifetime
        hours = f"{lifetime} hours" if lifetime > 1 else "an hour"
        text = (
            f"Your messages to {self._theirs} wait: its server could not be reached since {since}."
            f" They are sent as soon as it can, and come back if that is not within {hours}."
        )
        content = f"<body xml:lang='en'>{escape(text)}</body>".encode()
        return Stanza.build(
            "message", to=sender.bare, from_=self._ours, type="headline", content=content,
            children=("jabber:client body",),
        )  # fmt: skip
