"""The signals of overload: each a share of what is too much (see `observe/stress.py`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from msgd.clients import MEMORY, STRANGERS, Clients
from msgd.config import Config
from msgd.observe.loop import Loop
from msgd.observe.stress import Signal
from msgd.routing.router import Router
from msgd.spool.spool import UNWRITTEN, Spool
from msgd.wire.listening import ListeningPort

_MIB: Final = 1024 * 1024
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
#: The share of the machine's memory that is too much, where no figure is configured.
_MOST_OF_THE_MACHINE: Final = 0.75
#: Shares of the bounds that are too much: of the store's, of the places for strangers, of the system's queue.
_SPOOL, _STRANGERS, _CONNECTIONS = 0.5, 0.75, 0.5
#: Memory is well again a little below what is too much: it hardly ever falls to the half.
_MEMORY_CALM: Final = 0.95
_CONNECTIONS_CALM: Final = 0.1


class Server(Protocol):
    """What is looked at; the app has it."""

    config: Config
    router: Router
    spool: Spool
    clients: Clients
    doors: list[ListeningPort]


def signals(server: Server, loop: Loop) -> Sequence[Signal]:
    """All of them."""
    machine = machine_memory()

    def memory() -> float:
        return resident() / (server.config.overload.memory * _MIB or machine * _MOST_OF_THE_MACHINE)

    def strangers() -> float:
        return len(server.router.streams) / (server.config.limits.strangers * _STRANGERS)

    def connections() -> float:
        return max((door.waiting() for door in server.doors), default=0.0) / _CONNECTIONS

    return (
        Signal("lateness", lambda: loop.late * 1000 / server.config.overload.lateness),
        Signal("spool", lambda: server.spool.unwritten / (UNWRITTEN * _SPOOL)),
        Signal(MEMORY, memory, _MEMORY_CALM),
        Signal(STRANGERS, strangers),
        Signal("connections", connections, _CONNECTIONS_CALM),
    )


def resident() -> int:
    """Bytes of memory that the process has."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * _PAGE


def machine_memory() -> int:
    """Bytes of memory that there are for us: the machine's, or what our control group may have."""
    most = os.sysconf("SC_PHYS_PAGES") * _PAGE
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return most
    return min(most, int(limit)) if limit.isdigit() else most
