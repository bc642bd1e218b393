"""Builds the server, top to bottom, in the order in which a stanza flows, and takes it down again."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.accounts.accounts import Accounts, open_accounts
from msgd.accounts.throttle import LoginThrottle
from msgd.clients import Clients
from msgd.components import Components
from msgd.config import Config
from msgd.console.listeners import Console
from msgd.observe import log
from msgd.routing import restart
from msgd.routing.legacy_session import LegacySession
from msgd.routing.liveness import Liveness
from msgd.routing.presence import Presence
from msgd.routing.resumption import Resumption
from msgd.routing.roster import Roster
from msgd.routing.router import Router
from msgd.routing.table import Table
from msgd.spool.archive import Archive
from msgd.spool.expiry import Expiry
from msgd.spool.spool import Spool
from msgd.storage.database import Database, DatabaseError
from msgd.storage.secret import secret
from msgd.storage.sqlite import open_database
from msgd.vitals import Vitals
from msgd.wire.certificates import certificate_for, domain_naming
from msgd.wire.errors import StreamError
from msgd.wire.jid import JID
from msgd.wire.link_tls import make_link_context
from msgd.wire.listening import ListeningPort
from msgd.wire.tls import ServerContexts, make_context
from msgd.xeps import ALL

if TYPE_CHECKING:
    from msgd.links import Links

_log = Logger("msgd")
#: Seconds that a graceful stop waits for storage that fails.
_GRACE: Final = 5.0
#: Seconds that what came last has to be stored, however long the first part took.
_LEAST_GRACE: Final = 0.5


class Port(Protocol):
    """Where the server listens."""

    address: str
    port: int

    def stop(self) -> None:
        """Listen no more."""


class Server:
    """One msgd. `start` opens the doors, `shutdown` closes them and keeps what has to be kept.

    `stop` and `reload` are what the console calls; `run` provides them.
    """

    stop: Callable[[float], None]
    reload: Callable[[], list[str]]

    def __init__(self, config: Config, reactor: Any) -> None:
        self.config = config
        self.reactor = reactor
        self.started = reactor.seconds()
        self.stopping = False

        # who may log in, and what is kept
        self.database: Database = open_database(config.data / "msgd.sqlite", reactor, claim=True)
        self.accounts: Accounts = open_accounts(self.database, reactor, config.login.iterations)
        throttle = LoginThrottle(
            reactor,
            address_burst=config.login.failures_per_address,
            account_burst=config.login.failures_per_account,
        )

        # where stanzas go
        domains = [JID.parse(domain) for domain in config.domains]
        table = Table(self.database, domains, config.limits.remembered_accounts)
        self.router = Router(config, reactor, self.database, self.accounts, table)
        roster = Roster(self.router)
        self.router.presence = Presence(self.router, roster)
        self.router.resumption = Resumption(
            self.router, config.stream_management.resume, config.stream_management.location
        )
        self.spool = self.router.spool = Spool(
            self.router,
            config.spool.window / 1000,
            config.spool.batch,
            config.spool.most_messages,
            config.spool.most_bytes,
        )
        self.archive = self.router.archive = Archive(self.router, self.spool)
        self.expiry = Expiry(self.router)
        self.liveness = Liveness(self.router)
        self.router.extensions.load(roster)
        self.router.extensions.load(LegacySession(self.router))
        for extension in ALL:
            self.router.extensions.load(extension(self.router))

        # how clients come in
        self.contexts = ServerContexts()
        self.contexts.replace(load_contexts(config))
        self.clients = Clients(config, reactor, self.router, throttle, self.contexts)
        self.components = Components(config, reactor, self.router, self.clients.output)
        self.ports: dict[str, list[Port]] = {"client": [], "client-tls": [], "component": []}
        self.doors: list[ListeningPort] = []
        self.vitals = Vitals(self)

        # other servers
        self.link_contexts = ServerContexts()
        self.links: Links | None = None
        if config.federation.enabled:
            from msgd.links import Links  # costs a MiB: only where there are links

            self.link_contexts.replace(load_contexts(config, make_link_context))
            key = self.database.write_now(lambda c: secret(c, "dialback"))
            self.links = Links(config, reactor, self.router, self.link_contexts, key)
            table.elsewhere = self.links

        self.console = Console(self)
        log.name_users(self.database.write_now(lambda c: secret(c, log.SECRET)), config.log.jids)
        self.database.on_fault.append(_storage_fails)
        self.database.on_recovered.append(lambda: _log.warn("storage works again"))
        self.accounts.changed.append(self._account_changed)
        # The contacts of an account that is deleted are told so: its roster has to be in memory.
        self.accounts.leaving.append(self.router.load)

    def start(self) -> None:
        """Take up what was left behind, then listen. Raises OSError for a port that is taken."""
        self.spool.start()
        for extension in self.router.extensions.loaded:
            extension.start()
        restart.restore(self.router)
        self.expiry.start()
        self.archive.start()
        self.liveness.start()
        if self.links is not None:
            self.links.start()
        listen = self.config.listen
        for address in listen.addresses:
            self._listen("client", address, listen.client, self.clients.accepted)
            self._listen("client-tls", address, listen.client_tls, self.clients.accepted_direct)
            if self.links is not None:
                self._listen("server", address, listen.server, self.links.accepted_plain)
                self._listen("server-tls", address, listen.server_tls, self.links.accepted_direct)
        self._listen_for_components()
        self.console.start()
        self.vitals.start()
        self.clients.stress = self.vitals.stress
        if listen.metrics is not None:
            self._listen_for_metrics(listen.metrics_address, listen.metrics)

    def _listen_for_metrics(self, address: str, port: int) -> None:
        from msgd.observe.metrics import Door, DoorPort, Metrics  # costs a MiB: only where it is wanted

        vitals = self.vitals
        metrics = Metrics(vitals.readings, vitals.distributions, vitals.states)
        door = Door(metrics, vitals.survey, lambda: vitals.wrong)
        self.ports["metrics"] = [DoorPort(self.reactor, address, port, door)]

    def _listen(self, name: str, address: str, port: int | None, accepted: Callable[..., None]) -> None:
        if port is None:
            return
        listening = ListeningPort(self.reactor, address, port, accepted, admits=self.clients.admits)
        self.ports.setdefault(name, []).append(listening)
        self.doors.append(listening)
        listening.start()

    def _listen_for_components(self) -> None:
        """Where components are configured, and not before."""
        listen = self.config.listen
        if self.config.components and not self.ports["component"]:
            for address in listen.component_addresses:
                self._listen("component", address, listen.component, self.components.accepted)

    # -- while it runs -------------------------------------------------------------------------

    def _account_changed(self, jid: JID, change: str) -> None:
        """A password was changed, or the account disabled or deleted: its sessions end."""
        _log.info("{who}: {change}", who=log.who(jid), change=change)
        if change in ("password", "deleted"):
            self.clients.throttle.forget_account(jid)
        account = self.router.table.account(jid)
        if account is not None and change in ("password", "disabled", "deleted"):
            for session in list(account.sessions.values()):
                if session is not self.router.spared:
                    session.kick(StreamError("not-authorized", "the account has changed"))
        if change == "deleted":
            if account is not None:
                self.router.presence.handshake.farewell(account)
            self.router.table.forget(jid)
            self.router.note("account-deleted", jid)

    def reconfigure(self, config: Config, changed: list[str]) -> None:
        """Use a new configuration without dropping anyone. Raises when a certificate is no good."""
        contexts = load_contexts(config)
        if self.links is not None:
            link_contexts = load_contexts(config, make_link_context)
            self.links.configure(config)
            self.link_contexts.replace(link_contexts)
        self.contexts.replace(contexts)
        self.config = self.router.config = config
        log.set_level(config.log.level)
        log.name_users(self.database.read_now(lambda c: secret(c, log.SECRET)), config.log.jids)
        self.clients.configure(config)
        self.components.configure(config)
        self._listen_for_components()
        self.spool.window = config.spool.window / 1000
        for extension in self.router.extensions.loaded:
            extension.config = config
        self.router.note("configuration-changed", changed)

    # -- the end -------------------------------------------------------------------------------

    def shutdown(self, grace: float = 5.0) -> Deferred[None]:
        """Stop: no new clients, everything accepted is stored, sessions that can be are kept.

        Fires when the database is closed. Storage that fails is waited for `grace` seconds.
        """
        self.stopping = True
        return Deferred.fromCoroutine(self._shutdown(self.reactor.seconds() + grace))

    async def _shutdown(self, deadline: float) -> None:
        _log.info("stopping")
        self.console.stop()
        self.vitals.stop()
        for ports in self.ports.values():
            for port in ports:
                port.stop()
        for stream in list(self.clients.streams):
            stream.stream_failed(StreamError("system-shutdown"))
        self.components.pause()
        sessions = list(self.router.table.sessions())
        for session in sessions:
            if session.transport is not None:
                session.transport.pause_reading()
            if session.filter is not None:
                session.filter(session, None)  # what it holds back is written down with the rest
        await self._flushed(deadline)
        rows = self.router.resumption.write_down()
        kept = {row["id"] for row in rows}
        for session in sessions:
            sm = session.stream_management
            if sm is not None and sm.id in kept:
                session.part(StreamError("system-shutdown"))
            else:
                session.kick(StreamError("system-shutdown"))
        self.components.stop()
        await self._flushed(deadline)
        if self.links is not None:
            await self.links.stop()
            await self._flushed(deadline)
        self.expiry.stop()
        self.archive.stop()
        self.liveness.stop()
        for extension in self.router.extensions.loaded:
            extension.stop()
        try:
            await self.database.write(lambda connection: restart.keep(connection, rows))
        except DatabaseError as error:
            _log.error("no session can be kept over the restart: {error}", error=str(error))
            rows = []
        await self.database.close()
        _log.info("stopped; {count} sessions can be resumed", count=len(rows))

    async def _flushed(self, deadline: float) -> None:
        """Everything accepted is stored, or time is over: then it was not acknowledged."""
        flushed = Deferred.fromCoroutine(self._all_stored())
        left = max(_LEAST_GRACE, deadline - self.reactor.seconds())
        flushed.addTimeout(left, self.reactor, lambda result, timeout: None)
        await flushed

    async def _all_stored(self) -> None:
        # A message may still wait for its recipient to be looked up, and is then to be stored.
        await self.router.table.settled()
        await self.spool.flushed()
        if self.links is not None:
            await self.links.queue.flushed()


def _storage_fails(fault: Exception) -> None:
    _log.error("storage fails: {fault}; senders get no acknowledgements until it works", fault=fault)


def load_contexts(
    config: Config, make: Callable[[str, str, str], SSL.Context] = make_context
) -> dict[str, SSL.Context]:
    """The TLS contexts of all domains; a certificate that is the server's to make is made.

    Those of components are there where the certificate of a domain is good for them too.
    Raises `CertificateError`, one line that names the file and the remedy.
    """
    contexts = {}
    for domain in config.domains:
        certificate, key = certificate_for(config, domain)
        contexts[domain] = make(str(certificate), str(key), config.tls.minimum)
    for component in config.components:
        named = domain_naming(config, component)
        if named is not None:
            contexts[component] = contexts[named]
    return contexts


def run(config: Config, ready: Callable[[Server], None], reload: Callable[[Server], list[str]]) -> None:
    """Run a server until it is told to stop.

    SIGTERM and SIGINT stop it gracefully; SIGHUP and the console's command call `reload`, which says
    what came of it. `ready` is called once clients can connect. What keeps it from starting is raised:
    OSError for a port, `DatabaseError` for the storage, `ConfigError` for a certificate or the console.
    """
    from twisted.internet import reactor as installed

    reactor: Any = installed
    server = Server(config, reactor)
    failures: list[BaseException] = []

    def start() -> None:
        try:
            server.start()
            ready(server)
        except BaseException as error:  # raised again below: the reactor would swallow it
            failures.append(error)
            reactor.stop()

    def stop(grace: float = _GRACE) -> None:
        if not server.stopping:
            server.shutdown(grace).addErrback(
                lambda failure: _log.failure("stopping failed", failure)
            ).addBoth(lambda _: reactor.stop())

    def on_signal(action: Callable[[], None]) -> Callable[[int, object], None]:
        return lambda number, frame: reactor.callFromThread(action)

    def reload_and_log() -> None:
        for line in server.reload():
            _log.warn("{line}", line=line)

    server.stop = stop
    server.reload = lambda: reload(server)
    signal.signal(signal.SIGTERM, on_signal(stop))
    signal.signal(signal.SIGINT, on_signal(stop))
    signal.signal(signal.SIGHUP, on_signal(reload_and_log))
    reactor.callWhenRunning(start)
    # What exists now lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    reactor.run(installSignalHandlers=False)
    if failures:
        raise failures[0]
