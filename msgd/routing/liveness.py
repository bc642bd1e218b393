"""Clients that do not answer: noticed, and given up after a while, so that nothing waits for a dead socket.

A phone that lost its network says nothing. With stream management the server asks for an acknowledgement
behind every stanza it sends (XEP-0198 §4); a client that owes one for longer than `answer_time` is told of as
unresponsive, and after three times that long its connection is taken for dead: the session hibernates, as if
the socket had been lost. What is idle has nothing to lose; TCP looks after it (`wire/listening.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgd.routing.session import Session
from msgd.wire.errors import StreamError

if TYPE_CHECKING:
    from msgd.routing.router import Router

#: How often during `answer_time` all sessions are looked at.
_LOOKS: Final = 3
#: A connection is given up after so many times `answer_time`.
_GIVEN_UP: Final = 3


class Liveness:
    """Looks at all sessions now and then."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._timer: Any = None
        self._unresponsive: set[Session] = set()

    def start(self) -> None:
        """Look again and again."""
        seconds = self._router.config.stream_management.answer_time
        self._timer = self._router.clock.callLater(seconds / _LOOKS, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self.start()
        self.look()

    def look(self) -> None:
        """Look at all sessions now."""
        answer_time = self._router.config.stream_management.answer_time
        now = self._router.clock.seconds()
        before, self._unresponsive = self._unresponsive, set()
        for session in self._router.table.sessions():
            sm = session.stream_management
            if sm is None or not sm.requested or session.transport is None:
                continue
            owed = now - max(sm.awaiting_since, session.last_received)
            if owed >= _GIVEN_UP * answer_time:
                session.cut(StreamError("connection-timeout", "a request was not answered"))
            elif owed >= answer_time:
                self._unresponsive.add(session)
                if session not in before:
                    self._router.note("session-unresponsive", session)
