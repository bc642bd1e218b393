"""Metrics for a monitoring system: OpenMetrics text over HTTP, and `/health`.

A scrape reads the counters and queue lengths that exist anyway (`reading.py`); nothing is counted for it. No
address of anybody is in it. `listen.metrics` opens the door; without it none of this is loaded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from msgd.observe.distribution import Distribution
from msgd.observe.reading import Reading

_log = Logger("msgd.metrics")
#: Seconds for which an HTTP connection may be silent.
_SILENT: Final = 15
#: Connections at once: a monitoring system has one or two.
_CONNECTIONS: Final = 16


class Metrics(Collector):
    """The families of one scrape, from readings, distributions and states (name → is it so)."""

    def __init__(
        self,
        readings: Iterable[Reading],
        distributions: Mapping[str, tuple[str, Distribution]],
        states: Callable[[], Mapping[str, bool]],
    ) -> None:
        self._readings = list(readings)
        self._distributions = dict(distributions)
        self._states = states

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        for reading in self._readings:
            name, text = f"msgd_{reading.name}", reading.title
            family = CounterMetricFamily if reading.counter else GaugeMetricFamily
            yield family(name, text, value=float(reading.read()))
            if reading.bound is not None:
                yield GaugeMetricFamily(f"{name}_bound", f"the most: {text}", value=float(reading.bound()))
        for name, (text, distribution) in self._distributions.items():
            yield HistogramMetricFamily(
                f"msgd_{name}", text, buckets=distribution.buckets(), sum_value=distribution.sum
            )
        stress = GaugeMetricFamily("msgd_stress", "overloaded, and by what", labels=["by"])
        for state, holds in self._states().items():
            stress.add_metric([state], float(holds))
        yield stress


class _NoBody(Request):
    """A request; one that brings a body is refused before anything of it is kept."""

    def gotLength(self, length: int | None) -> None:
        """See twisted.web."""
        this: Any = super()
        if length:
            this.channel.forceAbortClient()
        else:
            this.gotLength(length)


class _Answer(Resource):
    """What a path answers: status, type of the content, content."""

    isLeaf = True

    def __init__(self, answer: Callable[[Any], Awaitable[tuple[int, str, bytes]]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's are untyped
        self._answer = answer

    def render_GET(self, request: Any) -> int:
        """See twisted.web."""
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        Deferred.fromCoroutine(self._send(request, gone))
        return NOT_DONE_YET

    async def _send(self, request: Any, gone: list[object]) -> None:
        try:
            status, kind, content = await self._answer(request)
        except Exception:
            _log.failure("a scrape failed")
            status, kind, content = 500, "text/plain", b"failed; the log says more\n"
        if not gone:
            request.setResponseCode(status)
            request.setHeader(b"content-type", kind.encode())
            request.write(content)
            request.finish()


class Door(Site):
    """The HTTP door: `/metrics` and `/health`. `refresh` is awaited before a scrape; `wrong` says what is."""

    requestFactory = _NoBody
    noisy = False

    def __init__(
        self, metrics: Metrics, refresh: Callable[[], Awaitable[None]], wrong: Callable[[], str]
    ) -> None:
        root: Any = Resource()  # type: ignore[no-untyped-call]  # Twisted's are untyped
        super().__init__(root, timeout=_SILENT)  # type: ignore[no-untyped-call]  # the same
        self.displayTracebacks = False
        self._open = 0
        registry = CollectorRegistry()
        registry.register(metrics)
        ProcessCollector(registry=registry)

        async def scrape(request: Any) -> tuple[int, str, bytes]:
            await refresh()
            encode, kind = choose_encoder(request.getHeader("accept") or "")
            return 200, kind, encode(registry)

        async def health(request: Any) -> tuple[int, str, bytes]:
            what = wrong()
            return (503 if what else 200), "text/plain; charset=utf-8", f"{what or 'well'}\n".encode()

        root.putChild(b"metrics", _Answer(scrape))
        root.putChild(b"health", _Answer(health))

    def buildProtocol(self, addr: Any) -> Any:
        """See twisted.web: None closes at once."""
        if self._open >= _CONNECTIONS:
            return None
        channel: Any = super().buildProtocol(addr)  # type: ignore[no-untyped-call]  # the same
        self._open += 1
        channel_lost = channel.connectionLost

        def lost(reason: Any) -> None:
            self._open -= 1
            channel_lost(reason)

        channel.connectionLost = lost
        return channel

    def log(self, request: Any) -> None:
        """Nothing: scrapes are of no interest."""


class DoorPort:
    """The listening port of the door."""

    def __init__(self, reactor: Any, address: str, port: int, door: Door) -> None:
        """Listen. Raises `twisted.internet.error.CannotListenError`, an OSError's cousin."""
        self._port = reactor.listenTCP(port, door, interface=address)
        self.address = address
        self.port = int(self._port.getHost().port)

    def stop(self) -> None:
        """Listen no more."""
        self._port.stopListening()
