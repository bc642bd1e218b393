"""Plays given transcripts and prints the traffic: `python -m tests.specification [--split] FILE…`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from tests.forks import ForkServer
from tests.specification.play import Failed
from tests.specification.stage import Stage, performances, transcripts_below
from tests.specification.transcript import SPECIFICATION, TranscriptError


def main() -> int:
    """Play; the number of failures is the exit status."""
    parser = argparse.ArgumentParser(prog="tests.specification", description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, default=[SPECIFICATION])
    parser.add_argument("--server", choices=["msgd", "prosody"], default="msgd")
    parser.add_argument("--split", action="store_true", help="each byte in a TLS record")
    parser.add_argument("--verbose", action="store_true", help="print all traffic")
    parser.add_argument("--brief", action="store_true", help="report failures in few lines")
    parser.add_argument("--check", action="store_true", help="only read the files")
    arguments = parser.parse_args()
    paths = transcripts_below(arguments.paths)
    good, faults = [], 0
    for path in paths:
        try:
            performances([path], (False,))
            good.append(path)
        except TranscriptError as error:
            faults += 1
            print(error)
    everything = performances(good, (arguments.split,))
    failed = faults
    if not arguments.check:
        prosody = arguments.server == "prosody"
        with tempfile.TemporaryDirectory() as data, nullcontext() if prosody else ForkServer() as forks:
            stage = Stage(Path(data), everything, forks, prosody)
            for performance in everything:
                try:
                    play = stage.play(performance)
                    print(f"ok   {performance.name}", flush=True)
                    if arguments.verbose:
                        for actor in play.cast.values():
                            print(f"{actor.role.name}:", *actor.log, sep="\n")
                except Failed as failure:
                    failed += 1
                    report = str(failure)
                    if arguments.brief:
                        report = "\n".join(line[:300] for line in report.split("\n\n")[0].split("\n"))
                    print(f"FAIL {performance.name}\n{report}\n", flush=True)
            stage.close()
    print(f"{len(everything)} to play, {failed} failed")
    return min(failed, 100)


if __name__ == "__main__":
    sys.exit(main())
