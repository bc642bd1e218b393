"""The promise under `kill -9`: some runs of the crash harness, and proof that it finds what is broken.

MSGD_CRASH_RUNS says how many runs (12), MSGD_CRASH_SEED which (1).
"""

from __future__ import annotations

import asyncio
import os
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


def _broken(variant: str, directory: Path, *options: str) -> Summary:
    return asyncio.run(runs(2, _SEED, directory, variant=variant, options=options, at_once=2))


def test_a_server_that_acknowledges_before_it_commits_is_found(tmp_path: Path) -> None:
    # A long window: what is acknowledged too early waits long enough to be lost.
    assert _broken("acknowledge-early", tmp_path, "spool.window = 500", "spool.batch = 500").total.lost


def test_a_server_that_forgets_what_it_wrote_to_a_socket_is_found(tmp_path: Path) -> None:
    assert _broken("forget-on-write", tmp_path).total.lost


def test_a_server_that_delivers_in_the_wrong_order_is_found(tmp_path: Path) -> None:
    assert _broken("reverse", tmp_path).total.out_of_order


def test_a_server_that_acknowledges_before_the_archive_has_it_is_found(tmp_path: Path) -> None:
    options = ('archive.default = "always"', "spool.window = 500", "spool.batch = 500")
    summary = _broken("unarchived", tmp_path, *options)
    assert [fault for fault in summary.faults if "not in the archive of its recipient" in fault]


def test_a_server_that_changes_the_ids_is_found(tmp_path: Path) -> None:
    assert _broken("new-ids", tmp_path).total.duplicates


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
