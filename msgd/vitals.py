"""How the server is: looked at twice a second, for the console, the metrics and the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.observe.collector import Collector
from msgd.observe.distribution import Distribution
from msgd.observe.loop import Loop
from msgd.observe.reading import Alarms, Reading
from msgd.observe.stress import Stress
from msgd.readings import Server as Observed
from msgd.readings import readings
from msgd.routing.survey import Survey, survey
from msgd.signals import Server as Signalling
from msgd.signals import signals

_log = Logger("msgd.vitals")
#: Looks at the loop between two surveys of all sessions: ten seconds.
_LOOKS: Final = 20


class Server(Observed, Signalling, Protocol):
    """What is observed."""


class Vitals:
    """All that is observed of a server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._looks = 0
        self._under_way: Deferred[None] | None = None
        self.loop = Loop(server.reactor, self._looked)
        self.collector = Collector()
        self._found = Survey()
        self.readings: list[Reading] = []
        self.alarms = Alarms(())
        self.stress = Stress()

    def start(self) -> None:
        """Observe from now on; everything that is observed exists."""
        self.readings = readings(self._server, self.loop, self._found)
        self.alarms = Alarms(self.readings)
        self.stress = Stress(signals(self._server, self.loop))
        self.collector.start()
        self.loop.start()

    def stop(self) -> None:
        """Observe no more."""
        self.loop.stop()
        self.collector.stop()

    def _looked(self) -> None:
        self._looks += 1
        self.collector.look(self.loop.busy)
        before = self.stress.on
        self.stress.look()
        if before or self.stress.on:
            self._server.clients.under_stress(self.stress.on)
        if self._looks % _LOOKS == 0:
            Deferred.fromCoroutine(self._survey_and_look()).addErrback(
                lambda failure: _log.failure("a survey failed", failure)
            )

    async def _survey_and_look(self) -> None:
        await self.survey()
        self.alarms.look()

    async def survey(self) -> None:
        """Bring what is read of all sessions up to date; one survey serves all who ask meanwhile."""
        if self._under_way is not None:
            waiting: Deferred[None] = Deferred()
            self._under_way.addBoth(_pass_on(waiting))
            await waiting
            return
        under_way = self._under_way = Deferred()
        try:
            self._found.replace(await survey(self._server.router.table, self._server.reactor))
        finally:
            self._under_way = None
            under_way.callback(None)

    def queues(self) -> list[Reading]:
        """The length of every queue."""
        return [reading for reading in self.readings if reading.waits]

    @property
    def distributions(self) -> Mapping[str, tuple[str, Distribution]]:
        """How times are distributed: by the names of their metrics, with what they are."""
        return {
            "loop_lateness_seconds": (
                "seconds by which the loop was late, twice a second",
                self.loop.lateness,
            ),
            "gc_pause_seconds": ("seconds for which the collector stopped everything", self.collector.pauses),
        }

    def states(self) -> Mapping[str, bool]:
        """By what the server is overloaded."""
        return {name: name in self.stress.by for name in self.stress.names}

    @property
    def wrong(self) -> str:
        """Why the server should get no new clients; empty when it should."""
        if self._server.stopping:
            return "stopping"
        if self._server.database.fault is not None or self._server.spool.failing:
            return "storage fails"
        return ""


def _pass_on(waiting: Deferred[None]) -> Callable[[object], object]:
    def passed(result: object) -> object:
        waiting.callback(None)
        return result

    return passed
