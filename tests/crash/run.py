"""Runs the crash harness: `python -m tests.crash.run --runs 200 --seed 1`.

Prints a table by kind of recipient, and what went wrong; exits with 1 when the promise was not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

from tests.crash.broken import VARIANTS
from tests.crash.journal import Tally
from tests.crash.scene import Outcome, accounts, play
from tests.crash.server import Server, fork_server

#: Faults that are shown; more are only counted.
_SHOWN: Final = 20


@dataclass
class Summary:
    """All runs together."""

    runs: int = 0
    kills: int = 0
    seconds: float = 0.0
    tallies: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    faults: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Add a run."""
        self.runs += 1
        self.kills += outcome.kills
        for kind, tally in outcome.tallies.items():
            self.tallies[kind].add(tally)
        self.faults += [f"run {outcome.seed}: {fault}" for fault in outcome.faults]

    @property
    def total(self) -> Tally:
        """Over all kinds."""
        total = Tally()
        for tally in self.tallies.values():
            total.add(tally)
        return total

    def table(self) -> str:
        """For people."""
        names = [each.name.replace("_", " ") for each in fields(Tally)]
        rows = [["recipient", *names]]
        for kind, tally in [*self.tallies.items(), ("all", self.total)]:
            rows.append([kind, *(str(getattr(tally, each.name)) for each in fields(Tally))])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in rows
        ]
        shown = [fault if len(fault) < 500 else fault[:500] + " …" for fault in self.faults[:_SHOWN]]
        return "\n".join(
            [
                f"{self.runs} runs, {self.kills} times killed, {self.seconds:.0f} seconds",
                *lines,
                *shown,
                *([f"and {len(self.faults) - _SHOWN} more"] if len(self.faults) > _SHOWN else []),
            ]
        )


async def runs(
    count: int,
    seed: int | str,
    directory: Path,
    *,
    variant: str = "",
    options: Sequence[str] = (),
    at_once: int = 1,
    told: Callable[[Outcome], None] = lambda outcome: None,
) -> Summary:
    """Play `count` runs in `directory`, `at_once` at a time. Run N has the seed `SEED:N`."""
    summary = Summary()
    begun = time.monotonic()
    with fork_server(variant) as forks:
        template = directory / "template"
        await Server.template(forks, template, accounts())
        limit = asyncio.Semaphore(at_once)

        async def one(number: int) -> None:
            async with limit:
                data = directory / f"run-{number}"
                outcome = await play(f"{seed}:{number}", forks, template, data, options)
                summary.add(outcome)
                told(outcome)

        await asyncio.gather(*(one(number) for number in range(1, count + 1)))
    summary.seconds = time.monotonic() - begun
    return summary


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.run", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=2, help="runs that are played at the same time")
    parser.add_argument("--data", type=Path, help="where the servers keep their data (a new directory)")
    parser.add_argument("--option", action="append", default=[], help="a line of the configuration")
    parser.add_argument("--broken", default="", choices=["", *VARIANTS], help="with this deliberate defect")
    options = parser.parse_args()
    directory = options.data or Path(tempfile.mkdtemp(prefix="msgd-crash-"))
    directory.mkdir(parents=True, exist_ok=True)

    def told(outcome: Outcome) -> None:
        sys.stderr.write("F" if outcome.faults else ".")
        sys.stderr.flush()

    summary = asyncio.run(
        runs(
            options.runs,
            options.seed,
            directory,
            variant=options.broken,
            options=options.option,
            at_once=options.at_once,
            told=told,
        )
    )
    print(f"\n{summary.table()}")
    if summary.faults:
        print(f"what is left of the runs that failed: {directory}")
    sys.exit(bool(summary.faults))


if __name__ == "__main__":
    main()
