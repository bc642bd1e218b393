"""Messages to another server that flow while servers are killed, and whether all of them arrived in order.

A server is killed when so and so many messages are there, and who writes does not run far ahead of what is
there: so every kill falls among messages, however slow the machine is.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Final

from tests.harness import Msgd, ServerFailed
from tests.links.waiting import taken, until_none_waits, wait_until
from tests.links.world import Hosted, Someone

#: Messages after which the writer waits until they are safe, and those that may be on their way to the peer.
_GROUP: Final = 10
_AHEAD: Final = 60
#: Seconds until another attempt is made to reach a server that was down for a moment.
_PAUSE: Final = 30.0
#: Seconds that starts, pauses between attempts and everything that waits may take on a busy machine.
_PATIENCE: Final = 120.0


class Traffic:
    """`total` messages, numbered, from romeo of `server` to `to`, a person of `peer` who is not there.

    The clock of `server` can be moved.
    """

    def __init__(self, server: Msgd, peer: Hosted, to: str, total: int) -> None:
        self._server = server
        self._peer = peer
        self._to = to
        self.texts = [str(number) for number in range(total)]
        self._safe = 0

    def flows(self, kills: int, ours_too: bool) -> None:
        """All are sent, and there. Meanwhile the peer is killed and started again `kills` times, and once
        our server when `ours_too`."""
        faults: list[BaseException] = []

        def kill() -> None:
            try:
                for number in range(kills):
                    self._until_there((number + 1) * len(self.texts) // (kills + 1))
                    self._peer.kill()
                    self._peer.start()
                    with suppress(ServerFailed):  # we are down as well just now
                        self._server.advance(_PAUSE)
            except BaseException as fault:  # told by the thread that waits for this one
                faults.append(fault)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            self._write(ours_too)
        finally:
            killer.join()
        assert not faults, faults
        until_none_waits(self._server, self._peer.domain, _PATIENCE)

    def _write(self, ours_too: bool) -> None:
        romeo = Someone(self._server, "romeo", managed=True).arrives()
        for number, text in enumerate(self.texts):
            if number % _GROUP == 0:
                self._until_safe(romeo, number)
                self._until_there(number - _AHEAD)
            if ours_too and number == len(self.texts) // 2:
                self._until_safe(romeo, number)
                self._server.kill()
                self._server.start()
                romeo = Someone(self._server, "romeo", managed=True).arrives()
            romeo.says(self._to, text)
        self._until_safe(romeo, len(self.texts))

    def _until_safe(self, romeo: Someone, sent: int) -> None:
        romeo.until_safe()
        self._safe = sent

    def _until_there(self, count: int) -> None:
        """Until the peer has so many."""
        wait_until(
            lambda: taken(self._server, self._peer.domain, self._safe) >= count,
            lambda: f"{self._peer.domain} has {count} messages; {self._safe} are safe",
            _PATIENCE,
        )


def hears_all(juliet: Someone, texts: list[str]) -> None:
    """She gets all of them, in order; some perhaps twice."""
    heard: list[str] = []
    while len(set(heard)) < len(texts):
        heard.append(juliet.hears(60))
    assert list(dict.fromkeys(heard)) == texts
