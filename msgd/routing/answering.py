"""Requests that are being answered: how many of one sender at a time, and how many wait.

An answer may wait for the database, and may be a hundred times as long as its request. So of one sender only
some are answered at a time, and none while its socket does not take the answers that it has. What else it
sent waits in a line, and it is not read until the line is gone: its own TCP makes it wait. Neither this nor
the database's queue gets longer than what fits into one record of TLS.

What asks waits until what changes something before it is done, so that everybody reads what he has written
(RFC 6120 §10.1). Changes need not wait for each other: they are written in the order in which they began.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from msgd.coroutines import begin
from msgd.routing.session import Session
from msgd.wire.jid import JID

#: Requests of one sender that are answered at a time.
_AT_A_TIME: Final = 8
#: After so many answers that needed no waiting it is looked at whether the sender takes them.
_LOOK: Final = 16
#: Requests of one sender that wait: what comes in one record of TLS (16 KiB) is taken, more is refused.
MOST: Final = 600

#: One answer: it is begun when it is called, and never fails.
Work = Callable[[], Coroutine[Any, Any, None]]
#: Whose line it is: a session's, or that of a domain which is not of this server.
_Key = Session | str


class _Line:
    """The requests of one sender; `session` is None for one that is not of this server.

    Of those `under_way` so many are `changing` something; of those `waiting` it is known whether they do.
    """

    __slots__ = ("changing", "session", "under_way", "waiting")

    def __init__(self, session: Session | None) -> None:
        self.session = session
        self.under_way = 0
        self.changing = 0
        self.waiting: deque[tuple[Work, bool]] = deque()


class _Answer:
    """One that is begun: `over` at once, or else told to its line later."""

    __slots__ = ("later", "over")

    def __init__(self) -> None:
        self.over = False
        self.later: Callable[[], None] | None = None

    def __call__(self, _: object) -> None:
        self.over = True
        if self.later is not None:
            self.later()


class Answering:
    """Who waits for how many answers."""

    def __init__(self) -> None:
        self._lines: dict[_Key, _Line] = {}

    def __len__(self) -> int:
        return sum(line.under_way + len(line.waiting) for line in self._lines.values())

    @property
    def longest(self) -> int:
        """The most that one sender waits for."""
        return max((line.under_way + len(line.waiting) for line in self._lines.values()), default=0)

    def submit(self, sender: JID | None, session: Session | None, work: Work, changes: bool) -> bool:
        """Answer a request now, or when it is its turn. False when too many wait.

        `session` is that of the sender, where it has one here; else all of its domain are one sender.
        `changes` tells whether the request may change something.
        """
        key: _Key = session if session is not None else sender.domain if sender is not None else ""
        line = self._lines.get(key)
        if line is None:
            self._first(key, session, work, changes)
            return True
        if len(line.waiting) >= MOST:
            return False
        line.waiting.append((work, changes))
        if session is not None:
            session.hold(True)
        self._go_on(key, line)
        return True

    def _first(self, key: _Key, session: Session | None, work: Work, changes: bool) -> None:
        """Nothing waits: most answers are there at once, and leave nothing behind."""
        answer = _Answer()
        begin(work(), answer)
        if not answer.over:
            line = self._lines[key] = _Line(session)
            line.under_way = 1
            line.changing = int(changes)
            answer.later = lambda: self._answered(key, line, changes)
        elif session is not None:
            session.answers += 1
            if not session.answers % _LOOK and session.full():
                self._lines[key] = _Line(session)  # goes on when the socket has taken them

    def has_room(self, session: Session) -> None:
        """The session's socket took everything, or is gone."""
        line = self._lines.get(session)
        if line is not None:
            self._go_on(session, line)

    def _answered(self, key: _Key, line: _Line, changes: bool) -> None:
        line.under_way -= 1
        line.changing -= changes
        self._go_on(key, line)

    def _go_on(self, key: _Key, line: _Line) -> None:
        """Begin what may be begun; the line is gone with its last request."""
        session = line.session
        while line.waiting and line.under_way < _AT_A_TIME:
            if session is not None and session.full():
                return
            work, changes = line.waiting[0]
            if line.changing and not changes:
                return
            line.waiting.popleft()
            answer = _Answer()
            begin(work(), answer)
            if not answer.over:
                line.under_way += 1
                line.changing += changes
                answer.later = partial(self._answered, key, line, changes)
        if line.waiting or line.under_way or self._lines.get(key) is not line:
            return
        if session is not None:
            if session.full():
                return
            session.hold(False)
        del self._lines[key]
