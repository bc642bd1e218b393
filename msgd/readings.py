"""What the server can be asked about itself: the length of every queue with its bound, and every counter.

Read where they are, when the console, a scrape of the metrics or the alarm asks; only what would mean a
look at every session comes from a survey that is some seconds old.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from msgd.accounts.accounts import MOST_WAITING, Accounts
from msgd.clients import Clients
from msgd.config import Config
from msgd.observe.loop import Loop
from msgd.observe.reading import Reading
from msgd.routing.answering import MOST as ANSWERING
from msgd.routing.router import Router
from msgd.routing.session import STUCK
from msgd.routing.survey import Survey
from msgd.spool.spool import UNWRITTEN, WAITING, Spool
from msgd.storage.database import Database


class Server(Protocol):
    """What is read; the app has it."""

    config: Config
    reactor: Any
    database: Database
    accounts: Accounts
    router: Router
    spool: Spool
    clients: Clients
    stopping: bool


def _gauge(name: str, title: str, read: Callable[[], float]) -> Reading:
    return Reading(name, title, read)


def _queue(name: str, title: str, read: Callable[[], float], bound: Callable[[], float]) -> Reading:
    return Reading(name, title, read, bound=bound, waits=True)


def _wait(name: str, title: str, read: Callable[[], float]) -> Reading:
    return Reading(name, title, read, waits=True)


def _count(name: str, title: str, read: Callable[[], float]) -> Reading:
    return Reading(name, title, read, counter=True)


def readings(server: Server, loop: Loop, survey: Survey) -> list[Reading]:
    """All of them, for `server`; what `survey` holds is brought up to date by its owner."""
    return [*_queues(server, survey), *_gauges(server, loop, survey), *_counters(server)]


def _queues(server: Server, survey: Survey) -> list[Reading]:
    """What can grow while others are slow, with the most that it can be."""
    spool, database, router = server.spool, server.database, server.router
    return [
        _queue("spool_unwritten_bytes", "bytes of messages not safe yet",
               lambda: spool.unwritten, lambda: UNWRITTEN),
        _queue("strangers", "streams not logged in",
               lambda: len(router.streams), lambda: server.config.limits.strangers),
        _queue("passwords_waiting", "passwords to be computed",
               lambda: server.accounts.waiting, lambda: MOST_WAITING),
        _queue("unacknowledged_longest", "sent to one session and not acknowledged",
               lambda: survey.longest_unacknowledged,
               lambda: 2 * server.config.stream_management.most_queued),
        _queue("socket_bytes_longest", "bytes waiting for one socket",
               lambda: survey.longest_socket_bytes, lambda: STUCK),
        _queue("mailbox_waiting_longest", "messages in memory for one who is absent",
               lambda: survey.longest_waiting, lambda: 2 * WAITING),
        _queue("handshakes_waiting", "handshakes and logins that wait for their turn",
               lambda: server.clients.turnstile.waiting, lambda: server.config.limits.strangers),
        _queue("requests_waiting_longest", "requests of one session that are being answered",
               lambda: router.answering.longest, lambda: ANSWERING),
        _wait("requests_waiting", "requests that are being answered", lambda: len(router.answering)),
        _wait("accounts_loading", "accounts that are being looked up", lambda: router.table.loading),
        _wait("spool_pending", "messages not safe yet", lambda: spool.pending),
        _wait("database_jobs", "jobs for the database", lambda: database.waiting),
        _wait("unacknowledged", "sent and not acknowledged", lambda: survey.unacknowledged),
        _wait("socket_bytes", "bytes waiting for sockets", lambda: survey.socket_bytes),
        _wait("mailbox_waiting", "messages in memory for the absent", lambda: survey.waiting),
        _wait("mailbox_held", "messages that sessions have and did not acknowledge", lambda: survey.held),
        _wait("drains", "accounts being drained", lambda: survey.draining),
    ]  # fmt: skip


def _gauges(server: Server, loop: Loop, survey: Survey) -> list[Reading]:
    return [
        _gauge("sessions", "sessions", lambda: survey.sessions),
        _gauge("sessions_away", "sessions that wait to be resumed", lambda: survey.away),
        _gauge("accounts_loaded", "accounts in memory", lambda: survey.accounts),
        _gauge("storage_faulty", "storage fails", lambda: server.database.fault is not None),
        _gauge("loop_busy_ratio", "share of the time for which the loop is busy", lambda: loop.busy),
        _gauge("loop_late_seconds", "seconds by which the loop was late", lambda: loop.late),
    ]


def _counters(server: Server) -> list[Reading]:
    spool, router, clients = server.spool, server.router, server.clients
    return [
        _count("stanzas_routed", "stanzas that were routed", lambda: router.routed),
        _count("handler_failures", "faults in handlers", lambda: router.failures),
        _count("messages_accepted", "messages accepted by the spool", lambda: spool.accepted),
        _count("messages_written", "messages written to the disk", lambda: spool.written),
        _count("messages_spared", "messages delivered before they were written", lambda: spool.spared),
        _count("commits", "transactions of the database", lambda: server.database.commits),
        _count("sessions_bound", "sessions that were bound", lambda: clients.bound),
        _count("sessions_resumed", "sessions that were resumed", lambda: clients.come_back),
    ]
