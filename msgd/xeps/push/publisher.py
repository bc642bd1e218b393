"""Sends pushes to app servers, which may be slow, fail, or mean harm.

Of each registration at most one push is on its way, and one more is to follow it, however many messages
come. An app server gets so many at a time; registrations that wait for it stand in a queue, each once. What
it does not want is ended (XEP-0357 §7.1); what may pass is tried again, later and later, as long as the
device has not come back, and ended after many failures in a row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.storage.database import DatabaseError
from msgd.wire.errors import StanzaError
from msgd.wire.stanza import Stanza
from msgd.xeps.push import store
from msgd.xeps.push.notification import PUBSUB, notification
from msgd.xeps.push.registration import Key, Registration

if TYPE_CHECKING:
    from msgd.routing.router import Router

_log = Logger("msgd.push")
#: Seconds that an app server has for its answer.
_PATIENCE: Final = 60.0
#: Pushes on their way to one app server, some KiB each, and registrations that wait for it.
MOST_OUTSTANDING: Final = 500
MOST_QUEUED: Final = 10_000
#: Seconds until a failed push is tried again, doubled each time up to the longest.
_RETRY, _LONGEST_RETRY = 60.0, 3600.0
#: Failures in a row, over some hours, after which a registration ends.
_MOST_FAILURES: Final = 10
#: Errors that may pass (RFC 6120 §8.3.3), whatever their type. An app server that restarts is unavailable.
_MAY_PASS: Final = frozenset({
    "internal-server-error", "recipient-unavailable", "remote-server-not-found", "remote-server-timeout",
    "resource-constraint", "service-unavailable",
})  # fmt: skip


class _AppServer:
    """How many pushes are on their way to one app server, and who waits for it."""

    __slots__ = ("outstanding", "queue")

    def __init__(self) -> None:
        self.outstanding = 0
        self.queue: deque[Registration] = deque()


class Publisher:
    """All pushes that are on their way; `wanted` tells whether a registration's device still needs one."""

    def __init__(self, router: Router, wanted: Callable[[Registration], bool]) -> None:
        self._router = router
        self._wanted = wanted
        self._servers: dict[str, _AppServer] = {}
        #: Registrations with a push on its way or to be tried again: an account that is looked up anew
        #: goes on with these.
        self.busy: dict[Key, Registration] = {}

    def push(self, registration: Registration) -> None:
        """Tell the app server that something waits."""
        registration.reason = ""
        if registration.ended:
            return
        if registration.outstanding or registration.queued:
            registration.again = True
        elif registration.retry is not None:
            registration.reason = "the app server failed; it is tried again"
        else:
            self._send_or_queue(registration)

    def stop(self) -> None:
        """Try nothing again."""
        for registration in self.busy.values():
            registration.cancel_retry()
        self.busy.clear()

    def _send_or_queue(self, registration: Registration) -> None:
        server = self._servers.setdefault(registration.jid, _AppServer())
        if server.outstanding < MOST_OUTSTANDING:
            self._send(registration, server)
        elif len(server.queue) < MOST_QUEUED:
            self.busy[registration.key] = registration
            registration.queued = True
            server.queue.append(registration)
        else:
            registration.reason = "too many pushes wait for the app server"

    def _send(self, registration: Registration, server: _AppServer) -> None:
        self.busy[registration.key] = registration
        registration.outstanding, registration.again = True, False
        registration.pushed_at = self._router.clock.seconds()
        server.outstanding += 1
        Deferred.fromCoroutine(self._publish(registration, server)).addErrback(
            lambda failure: _log.failure("a push failed", failure)
        )

    async def _publish(self, registration: Registration, server: _AppServer) -> None:
        iq = Stanza.build(
            "iq",
            to=registration.jid,
            from_=registration.account.jid.domain_jid,
            type="set",
            content=notification(registration, self._router.config.push.text),
            children=(f"{PUBSUB} pubsub",),
        )
        refused: StanzaError | None = None
        try:
            await self._router.ask(iq, _PATIENCE)
        except StanzaError as error:
            refused = error
        finally:
            registration.outstanding = False
            self.busy.pop(registration.key, None)
            server.outstanding -= 1
            self._next(registration.jid, server)
        await self._answered(registration, refused)

    def _next(self, jid: str, server: _AppServer) -> None:
        """One place is free at the app server."""
        while server.queue and server.outstanding < MOST_OUTSTANDING:
            waiting = server.queue.popleft()
            waiting.queued = False
            self.busy.pop(waiting.key, None)
            if self._wanted(waiting) and not waiting.ended:
                self._send(waiting, server)
        if not server.outstanding and self._servers.get(jid) is server:
            del self._servers[jid]

    async def _answered(self, registration: Registration, refused: StanzaError | None) -> None:
        registration.answered_at = self._router.clock.seconds()
        registration.answer = refused.condition if refused is not None else "accepted"
        if registration.ended:
            return
        if refused is None:
            registration.failures = 0
            if registration.again and self._wanted(registration):
                self._send_or_queue(registration)
            return
        registration.failures += 1
        may_pass = refused.type == "wait" or refused.condition in _MAY_PASS
        if may_pass and registration.failures < _MOST_FAILURES:
            delay = min(_RETRY * 2.0 ** (registration.failures - 1), _LONGEST_RETRY)
            self.busy[registration.key] = registration
            registration.retry = self._router.clock.callLater(delay, self._retry, registration)
        else:
            await self._end(registration)

    def _retry(self, registration: Registration) -> None:
        registration.retry = None
        self.busy.pop(registration.key, None)
        if self._wanted(registration) and not registration.ended:
            self._send_or_queue(registration)

    async def _end(self, registration: Registration) -> None:
        """§7.1: the app server does not want it."""
        account, when = registration.account, int(self._router.clock.seconds())
        registration.disabled = when
        _log.info("a push registration was ended by its app server: {answer}", answer=registration.answer)
        try:
            await self._router.database.write(
                lambda connection: store.end(
                    connection, account.id, registration.jid, registration.node, when, registration.answer
                )
            )
        except DatabaseError as error:
            _log.error("the end of a push registration was not stored: {error}", error=str(error))
