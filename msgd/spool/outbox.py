"""What goes from one domain of ours to one of another server: the order, the link, the attempts to make one.

Messages that are worth it are kept until the other server has them: in the database, and the next ones in
memory. All else waits in memory, and not long. Both go out in the order in which they came.

    accepted ─▶ unsent ─▶ on its way (a link has it) ─▶ acknowledged: done
                  ▲                    │
                  └── the link broke ◀─┘
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.negotiation.link_outcome import LinkFault
from msgd.routing.destination import is_told
from msgd.spool.backlog import Backlog
from msgd.spool.delay import with_delay
from msgd.spool.entry import accepted_at, id_at
from msgd.spool.fleeting import Fleeting
from msgd.spool.link_entry import LinkEntry
from msgd.spool.notices import Notices
from msgd.spool.suspicion import Suspicion
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.link import Link
    from msgd.spool.link_queue import LinkQueue

_log = Logger("msgd.link")
#: Seconds until the first attempt is repeated; each pause is twice the one before, up to the longest.
_FIRST_PAUSE: Final = 4.0
#: The first one after the other server ended a stream over something that it was sent: it is there.
_REFUSED_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 3600.0
#: Seconds after a failed attempt in which nothing new is a reason for another.
_REST: Final = 10.0
#: Seconds that a link has to last, or something has to be acknowledged on it.
_SOON: Final = 30.0
#: Messages that waited longer say since when (XEP-0203), in seconds.
_NOTICED: Final = 3.0


class Outbox:
    """One pair of domains."""

    def __init__(self, queue: LinkQueue, ours: JID, theirs: JID) -> None:
        self.ours, self.theirs = ours, theirs
        self.link: Link | None = None
        #: Messages that are kept.
        self.backlog = Backlog(queue, ours, theirs)
        self.notices = Notices(queue, self.backlog, ours, theirs, lambda: self.link is not None)
        #: Failed attempts since the last link, and why the last one failed.
        self.failures = 0
        self.fault: LinkFault | None = None
        self._suspicion = Suspicion()
        self._queue = queue
        self._clock: Any = queue.clock
        self._reading = False
        self._clear = False  # there is a link, and nothing waits that would have to be sent before what comes
        self._fleeting = Fleeting(queue.clock, lambda: queue.options.patience, self._late)
        self._connecting = False
        self._failed_at = -_REST
        self._retry: Any = None

    @property
    def state(self) -> str:
        """For an operator."""
        if self.link is not None:
            return "linked"
        if self._connecting:
            return "connecting"
        return "waits" if self._retry is not None else "idle"

    @property
    def suspicious(self) -> bool:
        """Streams may have ended over what it sent: others must not suffer from that, nor it from them."""
        return bool(self._suspicion.upto)

    @property
    def next_attempt(self) -> float | None:
        """Seconds until it is tried again by itself."""
        return max(0.0, self._retry.getTime() - self._clock.seconds()) if self._retry is not None else None

    @property
    def idle(self) -> bool:
        """Nothing hangs on it."""
        return not (
            self.link or not self.backlog.idle or self._fleeting.waiting or self._connecting or self._retry
        )

    # -- what comes ----------------------------------------------------------------------------

    def send(self, entry: LinkEntry) -> bool:
        """Send a message that is kept, where nothing is in its way. Else False: see `keep`."""
        link = self.link
        if link is None or not (self._clear and link.sends):
            return False
        if link.congested() or not link.takes(entry.raw):
            return False
        self.backlog.add(entry, sent=True)
        link.send_kept(entry)
        return True

    def keep(self, entry: LinkEntry) -> None:
        """A message that is kept, and has to wait."""
        self.backlog.add(entry)
        self._clear = False
        if self.link is None:
            self.notices.waits(entry.raw)
        self._go_on()

    def pass_on(self, id: int, stanza: Stanza) -> None:
        """A stanza that nobody keeps."""
        link = self.link
        if link is not None and self._clear and link.sends:
            self._send_fleeting(link, stanza)
            return
        if link is None and not self._connecting and not self._may_try():
            self._give_back(stanza, self._error())
            return
        if not self._fleeting.add(id, stanza):
            self._give_back(stanza, StanzaError("resource-constraint", "too much waits for that server"))
            return
        self._clear = False
        self._go_on()

    def _go_on(self) -> None:
        if self.link is not None:
            self.pump()
        elif self._may_try():
            self.attempt()
        elif self._retry is None and not self._connecting:
            self._try_later()

    def _late(self, stanza: Stanza) -> None:
        """It waited too long for a link."""
        self._give_back(stanza, self._error())
        self._queue.cool(self)

    def _give_back(self, stanza: Stanza, error: StanzaError) -> None:
        if is_told(stanza):
            self._queue.fail(stanza, error)

    def _error(self) -> StanzaError:
        """What the sender is told when no link can be made."""
        condition = self.fault.condition if self.fault is not None else "remote-server-timeout"
        return StanzaError(condition)

    # -- a link --------------------------------------------------------------------------------

    def _may_try(self) -> bool:
        return not self._connecting and self._clock.seconds() - self._failed_at >= _REST

    def attempt(self) -> None:
        """Try to make a link now."""
        if self._connecting or self.link is not None:
            return
        self._connecting = True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        Deferred.fromCoroutine(self._queue.connect(self)).addCallbacks(self._connected, self._not_connected)

    def _connected(self, _: object) -> None:
        self._connecting = False
        if self.link is None and (self.backlog.count or self._fleeting.waiting):
            self._try_later()  # it broke at once

    def _not_connected(self, failure: Any) -> None:
        self._connecting = False
        if not failure.check(LinkFault):
            _log.failure("a link failed", failure)
            self.fault = LinkFault("stream", "a defect of ours, see the log")
        else:
            self.fault = failure.value
        if self.link is not None:
            return  # the other side made one meanwhile
        self.failures += 1
        self._failed_at = self._clock.seconds()
        while self._fleeting.waiting:
            self._give_back(self._fleeting.take(), self._error())
        if self.backlog.count:
            if (
                self.fault is not None
                and self.fault.stage in ("dns", "policy")
                and (self.fault.condition == "remote-server-not-found")
            ):
                self.give_up(self._queue.ids.next())  # nobody is there, and nobody will be
            else:
                lifetime = self._queue.options.lifetime * 3600
                self.give_up(id_at(self._clock.seconds() - lifetime))
            self._try_later()
        # Remembered for some time, so that not each stanza is a reason for an attempt.
        self._clock.callLater(_REST, self._queue.cool, self)

    def _try_later(self) -> None:
        if self._retry is None and not self._connecting and self.link is None:
            first = _REFUSED_PAUSE if self._suspicion.upto else _FIRST_PAUSE
            pause = min(_LONGEST_PAUSE, first * 2 ** min(20, self.failures - 1))
            self._retry = self._clock.callLater(pause * random.uniform(0.7, 1.3), self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        if self.backlog.count:
            self.attempt()
        else:
            self._queue.cool(self)

    def linked(self, link: Link, resumed: bool) -> None:
        """There is a link for this pair. `resumed`: what was on its way still is."""
        self.link = link
        self.fault = None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._clear = False
        if not resumed:
            self.backlog.send_again()
        self.pump()

    def unlinked(self) -> None:
        """The link is over. One that broke soon, and brought nothing there, is a failure like others."""
        link, self.link = self.link, None
        if link is not None and link.refusal:
            self._refused(link)
        if link is not None and self._clock.seconds() - link.since < _SOON:
            self.failures += 1
        else:
            self.failures = 0
        if self.backlog.count or self._fleeting.waiting:
            if self.backlog.count:
                self.notices.waits()
            self._failed_at = self._clock.seconds() - _REST
            self._try_later()
        else:
            self._queue.cool(self)

    def _refused(self, link: Link) -> None:
        """The other server ended it with an error."""
        self.fault = LinkFault("stream", link.refused)
        back = self._suspicion.ended(link.refusal, self.backlog.under_way())
        if back is not None:
            _log.info("a message over which another server ends its streams came back")
            text = f"the other server ends its streams over this message: {link.refusal}"
            self._return(back, StanzaError("not-acceptable", text))
            self._queue.acknowledged((back,))

    def pump(self) -> None:
        """Send what can be sent."""
        link, backlog = self.link, self.backlog
        while link is not None and link.sends and not self._reading:
            if backlog.unread:
                self._read()
                return
            entry = backlog.first
            if self._suspicion.upto and not self._suspicion.allows(entry, bool(backlog.under_way())):
                return
            if self._fleeting.waiting and (entry is None or self._fleeting.first < entry.id):
                self._send_fleeting(link, self._fleeting.take())
                continue
            self._clear = entry is None
            if self._clear or link.congested():
                return
            self._send(link, backlog.take())

    def _send(self, link: Link, entry: LinkEntry) -> None:
        late = self._clock.seconds() - accepted_at(entry.id) >= _NOTICED
        if late and entry.raw.endswith(b"</message>"):
            entry.raw = with_delay(entry.raw, entry.id, self.ours)
        if not link.takes(entry.raw):
            self._return(entry, too_large(link))
            self._queue.acknowledged((entry,))
            return
        link.send_kept(entry)

    def _send_fleeting(self, link: Link, stanza: Stanza) -> None:
        if link.takes(stanza.raw):
            link.send(stanza.raw)
        elif stanza.kind == "iq" and stanza.type == "result":
            # Who asked is not left without an answer.
            content = too_large(link).xml()
            link.send(
                Stanza.build(
                    "iq", to=stanza.to, from_=stanza.from_, type="error", id=stanza.id, content=content
                ).raw
            )
        else:
            self._give_back(stanza, too_large(link))

    def _read(self) -> None:
        self._reading = True
        Deferred.fromCoroutine(self.backlog.read()).addErrback(
            lambda failure: _log.failure("the queue of a link cannot be read", failure)
        ).addBoth(self._read_done)

    def _read_done(self, _: object) -> None:
        self._reading = False
        self.pump()

    def acknowledged(self) -> None:
        """The other server has something, or its sender got it back."""
        if self.notices.late and not self.backlog.count:
            self.notices.nothing_waits()
        if self.link is not None:
            self.failures = 0

    def give_up(self, before: int) -> None:
        """Return the messages with ids below `before` to their senders."""
        Deferred.fromCoroutine(self._give_up(before)).addErrback(
            lambda failure: _log.failure("messages cannot be returned", failure)
        )

    async def _give_up(self, before: int) -> None:
        error, backlog = self._error(), self.backlog
        count = 0
        # On their way when the last link broke: it could have been resumed, so they are not among the unsent.
        for sent in backlog.under_way() if self.link is None else ():
            if sent.id < before:
                count += 1
                self._return(sent, error)
                self._queue.acknowledged((sent,))
        while self.link is None:
            entry = backlog.first
            if entry is not None and entry.id < before and not backlog.unread:
                count += 1
                self._return(backlog.take(), error)
                self._queue.acknowledged((entry,))
                continue
            if not backlog.unread or self._reading or backlog.ends_before(before):
                break
            self._reading = True
            await backlog.read()
            self._reading = False
        if count:
            _log.info("{count} messages to another server came back", count=count)
        self._queue.cool(self)

    def _return(self, entry: LinkEntry, error: StanzaError) -> None:
        self._give_back(Stanza.from_bytes(entry.raw), error)


def too_large(link: Link) -> StanzaError:
    """What the sender of a stanza that the other server does not take is told (XEP-0478 §4)."""
    return StanzaError("policy-violation", f"the other server takes no more than {link.largest} bytes")
