"""Reads the metrics of a server (`listen.metrics`), and does sums with them."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from tests.harness import Msgd

_PATIENCE: Final = 60.0


@dataclass(frozen=True)
class Scrape:
    """What one scrape said: values by their names, and histograms as (bound, count) in order."""

    values: dict[str, float]
    histograms: dict[str, list[tuple[float, float]]]

    def __getitem__(self, name: str) -> float:
        return self.values[name]

    def between(self, earlier: Scrape, name: str) -> list[tuple[float, float]]:
        """The histogram of what came between an earlier scrape and this one."""
        return [
            (bound, now - before)
            for (bound, now), (_, before) in zip(self.histograms[name], earlier.histograms[name], strict=True)
        ]


def scrape(server: Msgd) -> Scrape:
    """Ask the server now. Raises OSError."""
    with urllib.request.urlopen(f"http://{server.ready['metrics']}/metrics", timeout=_PATIENCE) as answer:
        text = answer.read().decode()
    values: dict[str, float] = {}
    histograms: dict[str, list[tuple[float, float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                buckets = histograms.setdefault(family.name, [])
                buckets.append((float(sample.labels["le"]), sample.value))
            elif not sample.labels:
                values[sample.name] = sample.value
    return Scrape(values, histograms)


def quantile(histogram: list[tuple[float, float]], share: float) -> float:
    """The bound below which `share` of the values are; 0 when there are none."""
    total = histogram[-1][1]
    return next((bound for bound, count in histogram if total and count >= share * total), 0.0)


def kib(server_pid: int) -> int:
    """Memory of a process that is its own or its share of what is shared (PSS), in KiB."""
    with open(f"/proc/{server_pid}/smaps_rollup") as rollup:
        for line in rollup:
            if line.startswith("Pss:"):
                return int(line.split()[1])
    raise OSError("there is no figure for memory")


def cpu(server_pid: int) -> float:
    """Seconds of processor time that a process used, all of its threads together."""
    return _schedstat(server_pid)[0]


def starved(server_pid: int) -> float:
    """Seconds for which its threads could run and had no processor, as others on the machine had it."""
    return _schedstat(server_pid)[1]


def _schedstat(pid: int) -> tuple[float, float]:
    used = waited = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            words = (thread / "schedstat").read_text().split()
        except OSError:
            continue  # it ended just now
        used += int(words[0])
        waited += int(words[1])
    return used / 1e9, waited / 1e9
