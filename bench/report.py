"""Measures everything and writes a page: `bench/run` calls this.

    bench/run                          # all of it, an hour; the result is in bench-results.md
    bench/run --only rows --reps 1     # a part, once
    bench/run --soak 60                # with an hour of mixed traffic

Parts: compare (side by side with the peers, in one call), growth, saturation (these three need the load
generator, MSGD_BENCH_TOOLS), rows. Figures are medians (least-most) of the repetitions.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from bench import machine
from bench.tools import folder, people, started
from tests.harness import ROOT

#: Scenarios of the load generator: what they are, the figure, its unit.
COMPARED: Final = (
    ("chat", "1:1 chat, 200 pairs, one at a time", "cpu_us_per_msg", "µs/message"),
    ("chat-sm", "the same with stream management", "cpu_us_per_msg", "µs/message"),
    ("chat-20", "1:1 chat, 10 pairs, one at a time", "cpu_us_per_msg", "µs/message"),
    ("chat-batch", "1:1 chat, 50 pairs, 20 outstanding", "cpu_us_per_msg", "µs/message"),
    ("chat-rate", "1:1 chat, 500 messages a second in all", "cpu_us_per_msg", "µs/message"),
    ("login", "login, SCRAM-SHA-1", "cpu_us_per_login", "µs/login"),
    ("idle", "idle session with stream management", "kib_per_session_pss", "KiB/session"),
    ("offline", "message for the absent", "store_cpu_us_per_msg", "µs/message"),
    ("offline", "its delivery at the next login", "drain_cpu_us_per_msg", "µs/message"),
    ("presence", "presence to 200 contacts", "cpu_us_per_delivery", "µs/delivery"),
)
_SESSIONS: Final = (100, 1000, 5000, 15_000)


def spread(values: Iterable[float | None]) -> str:
    """Median (least-most)."""
    found = [value for value in values if value is not None]
    if not found:
        return "-"
    middle = _short(statistics.median(found))
    if len(found) == 1 or min(found) == max(found):
        return middle
    return f"{middle} ({_short(min(found))}-{_short(max(found))})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    """A table in Markdown."""
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def compare(reps: int, peers: str) -> list[str]:
    """Side by side, in one call."""
    scenarios = list(dict.fromkeys(name for name, *_ in COMPARED))
    with tempfile.TemporaryDirectory(prefix="msgd-compare-") as work:
        raw = Path(work) / "raw.jsonl"
        command = [
            str(folder() / "compare"), "--reps", str(reps), "--work", f"{work}/data", "--out", str(raw),
            "--servers", peers, "--server", f"msgd={ROOT / 'bench' / 'start'}", *scenarios,
        ]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found = [json.loads(line) for line in raw.read_text().splitlines()]
    servers = [*peers.split(","), "msgd"]
    rows, trouble = [], []
    for scenario, what, figure, unit in COMPARED:
        figures = {
            server: [run.get(figure) for run in found if (run["server"], run["bench"]) == (server, scenario)]
            for server in servers
        }
        medians = {
            server: statistics.median(known)
            for server, values in figures.items()
            if (known := [value for value in values if value])
        }
        best = min((value for server, value in medians.items() if server != "msgd"), default=None)
        ratio = f"{medians['msgd'] / best:.2f}" if best and "msgd" in medians else "-"
        rows.append([what, unit, *(spread(figures[server]) for server in servers), ratio])
    for run in found:
        if run.get("error") or run.get("exit"):
            trouble.append(
                f"* {run['server']}, {run['bench']}: {run.get('error') or 'not once and in order'}"
            )
    return [*table(["what", "unit", *servers, "msgd / best peer"], rows), "", *trouble]


def growth(reps: int) -> list[str]:
    """µs for a message and KiB for a session, by the number of sessions."""
    rows = []
    for sessions in _SESSIONS:
        costs, theirs, rates, sizes = [], [], [], []
        for _ in range(reps):
            with tempfile.TemporaryDirectory() as directory:
                data = Path(directory)
                people(data, sessions)
                with started(data) as server:
                    chat = server.load("chat", "--n", str(sessions // 2), "--window", "1", "--duration", "6")
                costs.append(chat["cpu_us_per_msg"])
                theirs.append(1e6 * chat["client_cpu_s"] / max(1, chat["delivered"]))
                rates.append(chat["msg_per_s"])
                # Another process: what the registrations left in memory is no cost of a session.
                with started(data) as server:
                    idle = server.load("idle", "--n", str(sessions), "--sm", "--hold", "5", "--warm", "20")
                sizes.append(idle["kib_per_session_pss"])
        rows.append([f"{sessions:,}", spread(costs), spread(theirs), spread(rates), spread(sizes)])
    head = ["sessions", "µs/message", "the load generator's", "messages a second", "idle session, KiB"]
    return table(head, rows)


def _json_lines(module: str, *words: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", module, *words], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _repeated(runs: list[list[dict[str, Any]]]) -> list[str]:
    """Rows by their names, each with the spread of all of its figures."""
    names = list(dict.fromkeys(line["row"] for run in runs for line in run))
    lines = []
    for name in names:
        same = [line for run in runs for line in run if line["row"] == name]
        figures = [key for key in same[0] if key != "row"]
        shown = ", ".join(f"{key} {spread(line.get(key) for line in same)}" for key in figures)
        lines.append(f"* **{name}**: {shown}")
    return lines


def rows(reps: int) -> list[str]:
    """What the load generator does not measure."""
    return _repeated([_json_lines("bench.rows") for _ in range(reps)])


def saturation(reps: int) -> list[str]:
    """The greatest rate, and latency at shares of it."""
    return _repeated([_json_lines("bench.saturation") for _ in range(reps)])


def soak(minutes: float) -> list[str]:
    """Mixed traffic for a long time: the first, the middle and the last of its samples."""
    command = [sys.executable, "-m", "bench.soak", "--minutes", str(minutes)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    *lines, figures, verdict = done.stdout.strip().splitlines()
    samples = [json.loads(line) for line in lines]
    chosen = [samples[at] for at in sorted({0, len(samples) // 4, len(samples) // 2, len(samples) - 1})]
    shown = table(list(chosen[0]), [[f"{value:g}" for value in sample.values()] for sample in chosen])
    return [f"{minutes:g} minutes: {verdict}. {figures}", "", *shown]


def main() -> None:
    """The command."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parts: dict[str, Callable[[int], list[str]]] = {
        "compare": lambda reps: compare(reps, given.peers),
        "growth": growth,
        "saturation": saturation,
        "rows": rows,
    }
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--peers", default="prosody-tuned,ejabberd")
    parser.add_argument("--soak", type=float, default=0, help="minutes of mixed traffic")
    parser.add_argument("--out", type=Path, default=Path("bench-results.md"))
    given = parser.parse_args()
    out = given.out.absolute()
    text = ["# Measured", "", *(f"* {line}" for line in machine.lines()), f"* {given.reps} repetitions", ""]
    for name in given.only:
        print(f"{name} …", file=sys.stderr, flush=True)
        text += [f"## {name}", "", *parts[name](given.reps), ""]
        out.write_text("\n".join(text))
    if given.soak:
        text += ["## soak", "", *soak(given.soak), ""]
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    text.append(f"Load of the machine at the end: {load}.")
    out.write_text("\n".join(text) + "\n")
    print(out.read_text())


if __name__ == "__main__":
    main()
