"""XEP-0199 XMPP Ping, both ways: pings are answered, and silent clients are pinged.

A client that was not heard for `ping.interval` gets a ping; when nothing at all comes from it
within `ping.timeout` its connection is dead and is ended, so that its messages go elsewhere (a
session with stream management waits to be resumed). One timer walks over all sessions in slices; a
session that is not silent costs one comparison in each round.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from msgd.routing.extension import ACCOUNT, HOST, OWN, Extension, Xep, on_event, on_iq
from msgd.wire.errors import StreamError
from msgd.wire.stanza import Stanza
from msgd.xeps.permission import require_account

if TYPE_CHECKING:
    from msgd.routing.session import Session

NAMESPACE: Final = "urn:xmpp:ping"
_PING: Final = f"<ping xmlns='{NAMESPACE}'/>".encode()
#: Seconds between two slices: fine enough for limits that are whole seconds.
TICK: Final = 1.0
#: A round through all sessions takes this part of the interval at least: nobody needs it more exactly.
ROUNDS: Final = 60
#: Sessions looked at in one slice: some 200 µs, which no stanza notices.
SLICE: Final = 1000


class Ping(Extension):
    """XEP-0199 XMPP Ping."""

    xep = Xep(199, "2.0.1")
    features = frozenset({NAMESPACE})
    account_features = frozenset({NAMESPACE})
    proves = "xep_0199/*"

    def start(self) -> None:
        """Begin to look for silent clients."""
        #: Sessions that were pinged and not heard since: when that was, and when they were last
        #: heard before.
        self.pinged: dict[Session, tuple[float, float]] = {}
        self._round: Iterator[Session] = iter(())
        self._rest = 0.0  # seconds until the next round
        self._count = 0
        self._timer: Any = self.router.clock.callLater(TICK, self._tick)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    @on_iq("get", NAMESPACE, "ping", at=(HOST, OWN))
    async def answer(self, stanza: Stanza) -> None:
        """§4.2: the server answers for itself and for the client's own account."""

    @on_iq("get", NAMESPACE, "ping", at=(ACCOUNT,))
    async def answer_for_account(self, stanza: Stanza) -> None:
        """§4.4: for another account only to who may know that there is one."""
        await require_account(self, stanza)

    # -- silent clients (§4.1) -----------------------------------------------------------------

    def _tick(self) -> None:
        self._timer = self.router.clock.callLater(TICK, self._tick)
        self._end_dead_connections()
        self._rest -= TICK
        if self._rest <= 0:
            self._look_at(list(islice(self._round, SLICE)))

    def _look_at(self, sessions: list[Session]) -> None:
        if len(sessions) < SLICE:  # the round is over: the next slice begins a new one
            self._round = self.router.table.sessions()
            self._rest = self.config.ping.interval / ROUNDS if sessions else 0.0
        interval = self.config.ping.interval
        if not interval:
            return
        now = self.router.clock.seconds()
        for session in sessions:
            # Heard in the future is also long ago: the machine's clock was set back.
            if abs(now - session.last_received) >= interval and session.stream is not None:
                self._ping(session)

    def _ping(self, session: Session) -> None:
        if session in self.pinged:
            return
        self.pinged[session] = self.router.clock.seconds(), session.last_received
        self._count += 1
        session.send(
            Stanza.build(
                "iq",
                to=session.jid,
                from_=session.jid.domain_jid,
                type="get",
                id=f"ping-{self._count}",
                content=_PING,
            )
        )

    def _end_dead_connections(self) -> None:
        now = self.router.clock.seconds()
        timeout = self.config.ping.timeout
        for session, (since, heard) in list(self.pinged.items()):
            if session.last_received != heard or session.stream is None or now < since:
                # Any byte proves the client alive, whatever it thinks of pings.
                del self.pinged[session]
            elif now - since >= timeout:
                del self.pinged[session]
                session.cut(StreamError("connection-timeout", "no answer to a ping"))
            else:
                break  # they are in the order of their pings

    @on_event("session-ended")
    def _forget(self, session: Session) -> None:
        self.pinged.pop(session, None)
