"""The promise under `kill -9`: some runs of the crash harness, and proof that it finds what is broken.

MSGD_CRASH_RUNS says how many runs (12), MSGD_CRASH_SEED which (1).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.run import Summary, runs
from tests.crash.stream import Splitter

_RUNS = int(os.environ.get("MSGD_CRASH_RUNS", "12"))
_SEED = int(os.environ.get("MSGD_CRASH_SEED", "1"))


@pytest.mark.timeout(60 + 5 * _RUNS)
def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    summary = asyncio.run(runs(_RUNS, _SEED, tmp_path, at_once=2))
    print(summary.table())
    assert not summary.faults, summary.table()
    assert summary.runs == _RUNS
    for kind, tally in summary.tallies.items():
        assert tally.acknowledged > _RUNS, f"nothing was tried with: {kind}"


#: Pairs of runs until a defect has to be found: when a server dies is also up to the machine.
_TRIES = 6


def _is_found(
    variant: str, directory: Path, shows: Callable[[Summary], object], options: tuple[str, ...] = ()
) -> bool:
    """Whether a server with this defect is found out in some runs, by what `shows` it."""
    for number in range(_TRIES):
        seed = f"{_SEED}.{number}" if number else str(_SEED)
        found = runs(2, seed, directory / str(number), variant=variant, options=options, at_once=2)
        if shows(asyncio.run(found)):
            return True
    return False


def test_a_server_that_acknowledges_before_it_commits_is_found(tmp_path: Path) -> None:
    # A long window: what is acknowledged too early waits long enough to be lost.
    options = ("spool.window = 500", "spool.batch = 500")
    assert _is_found("acknowledge-early", tmp_path, lambda summary: summary.total.lost, options)


def test_a_server_that_forgets_what_it_wrote_to_a_socket_is_found(tmp_path: Path) -> None:
    assert _is_found("forget-on-write", tmp_path, lambda summary: summary.total.lost)


def test_a_server_that_delivers_in_the_wrong_order_is_found(tmp_path: Path) -> None:
    assert _is_found("reverse", tmp_path, lambda summary: summary.total.out_of_order)


def test_a_server_that_acknowledges_before_the_archive_has_it_is_found(tmp_path: Path) -> None:
    options = ('archive.default = "always"', "spool.window = 500", "spool.batch = 500")

    def shows(summary: Summary) -> bool:
        return any("not in the archive of its recipient" in fault for fault in summary.faults)

    assert _is_found("unarchived", tmp_path, shows, options)


def test_a_server_that_changes_the_ids_is_found(tmp_path: Path) -> None:
    assert _is_found("new-ids", tmp_path, lambda summary: summary.total.duplicates)


def test_the_clients_cut_a_stream_wherever_it_is_split() -> None:
    stream = (
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/"
        b"streams' id='a>b'><message id=\"it's\"><body>1 &lt; 2 &gt; 1</body><x/></message>"
        b"<r xmlns='urn:xmpp:sm:3'/><stream:error><conflict/></stream:error></stream:stream>"
    )
    for size in range(1, len(stream)):
        splitter = Splitter()
        found = [
            None if element is None else element.tag.rpartition("}")[2]
            for begin in range(0, len(stream), size)
            for element in splitter.feed(stream[begin : begin + size])
        ]
        assert found == ["message", "r", "error", None]
