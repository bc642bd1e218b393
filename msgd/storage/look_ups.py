"""Look-ups: a few rows by their keys, read in the reactor's thread as long as that is quick.

Rows that the system has in memory are read in less time than it takes to wake a thread and be woken by it.
Where the disk has to be waited for, nobody else should wait with it: after a look-up that was slow for that
reason the threads do the following ones. One that was slow because other programs had the processor is no
reason: threads would only need more of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from resource import RUSAGE_THREAD, getrusage
from typing import Final, TypeVar

from msgd.storage.database import Connection
from msgd.storage.readers import read
from msgd.storage.sqlite_connection import SqliteConnection
from msgd.storage.sqlite_file import SqliteFile

T = TypeVar("T")
#: Seconds from which on a look-up is slow: some reads of a disk, or one of a slow one.
_SLOW: Final = 0.002
#: Seconds for which the threads read then.
_PAUSE: Final = 1.0


def _blocks_read() -> int:
    """How much this thread has read of a disk, and not found in memory."""
    return getrusage(RUSAGE_THREAD).ru_inblock


#: Where the system does not count, every slow look-up is taken for one that waited for the disk.
_READS: Final = _blocks_read if Path("/proc/self/io").exists() else count().__next__


class LookUps:
    """One connection, used and closed in the reactor's thread."""

    def __init__(
        self,
        file: SqliteFile,
        seconds: Callable[[], float] = time.monotonic,
        reads: Callable[[], int] = _READS,
    ) -> None:
        """`reads` tells another number when this thread has read from the disk."""
        self._file = file
        self._seconds = seconds
        self._reads = reads
        self._known_reads = reads()
        self._connection: SqliteConnection | None = None
        self._not_before = 0.0

    @property
    def quick(self) -> bool:
        """Whether to look things up here now."""
        return self._seconds() >= self._not_before

    def do(self, work: Callable[[Connection], T], alone: bool = False) -> T:
        """Return the result of `work`, done on one snapshot; raises what it raises.

        One statement `alone` has one without a transaction around it.
        """
        connection = self._connection
        if connection is None:
            connection = self._connection = self._file.reading()
        began = self._seconds()
        try:
            result: T = work(connection) if alone else read(connection, work)
            return result
        finally:
            ended = self._seconds()
            if ended - began > _SLOW and self._has_read():
                self._not_before = ended + _PAUSE
            if connection.fault is not None:
                self.close()

    def _has_read(self) -> bool:
        """Whether the disk was read since this was asked last; other work of the thread reads nothing."""
        before, self._known_reads = self._known_reads, self._reads()
        return self._known_reads != before

    def close(self) -> None:
        """Close the connection; the next look-up opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
