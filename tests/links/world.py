"""Servers that can reach each other, and people on them."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol
from xml.etree.ElementTree import Element

from tests.forks import ForkServer
from tests.harness import Msgd, NewAccount, free_ports
from tests.links.net import Authority, NameServer
from tests.specification.actor import Actor
from tests.specification.connection import End
from tests.specification.schema import check_nothing
from tests.specification.transcript import Role

CLIENT = "{jabber:client}"


class Closed(Protocol):
    """What has to be closed in the end."""

    def close(self) -> None: ...


#: Connections to be closed.
connections: list[Closed] = []


class Hosted(Protocol):
    """A server that people log in to."""

    domain: str

    def address(self, direct: bool = False) -> tuple[str, int]:
        """Where clients connect."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


class World:
    """A name server, authorities, and servers, each with its domain; those of ours are from `forks`."""

    def __init__(self, directory: Path, forks: ForkServer | None = None) -> None:
        self.directory = directory
        self._forks = forks
        self.dns = NameServer()
        self.dns.host("localhost", "127.0.0.1")
        self.authority = Authority(directory / "authority")
        self.servers: list[Hosted] = []
        self._numbers = itertools.count(1)

    def msgd(
        self,
        domain: str,
        people: Iterable[str] = (),
        options: Iterable[str] = (),
        pair: tuple[Path, Path] | None = None,
        published: bool = True,
        start: bool = True,
        movable: bool = False,
        forked: bool = True,
        others: Iterable[str] = (),
    ) -> Msgd:
        """An msgd for `domain` and `others`, in DNS and started; its certificate is good for all of them.

        Of `people`, "name@domain" are those of another domain. It is not `forked` when its
        memory is measured.
        """
        domains = [domain, *others]
        certificate, key = pair or self.authority.issue(domain, *domains)
        port = free_ports(1)[0]  # after a restart it is where it was
        lines = [
            f"domain = {json.dumps(domains)}",
            "federation.enabled = true",
            f'federation.resolvers = ["127.0.0.1:{self.dns.port}"]',
            f'federation.authorities = "{self.authority.file}"',
            "federation.private_addresses = true",
            f"listen.server = {port}",
            "listen.server_tls = 0",
            f'tls.certificate = "{certificate}"',
            f'tls.key = "{key}"',
            *options,
        ]
        accounts = [
            NewAccount(name, place or domain) for name, _, place in (each.partition("@") for each in people)
        ]
        forks = self._forks if forked else None
        server = Msgd(self.directory / domain, lines, accounts, domain, movable=movable, forks=forks)
        self.servers.append(server)
        if start:
            server.start()
        if published:
            # ejabberd asks the system for addresses of hosts, and that knows this one.
            for each in domains:
                self.dns.service(each, "localhost", port)
        return server

    def close(self) -> None:
        """Stop everything."""
        for connection in connections:
            connection.close()
        connections.clear()
        for server in self.servers:
            server.kill()
        self.dns.close()


def link_port(server: Msgd, direct: bool = False) -> int:
    """Where other servers connect to."""
    return int(server.ready["server-tls" if direct else "server"].rpartition(":")[2])


class Someone:
    """A client of one server, on the actor that transcripts use."""

    def __init__(self, server: Hosted, name: str, managed: bool = False, domain: str = "") -> None:
        """`domain` is that of the server, unless it has others."""
        domain = domain or server.domain
        role = Role(name, name, domain, f"{name}s", managed=managed, password="secret")
        self.actor = Actor(role, name, server, check_nothing)  # type: ignore[arg-type]  # needs no more
        self.server = server
        self.bare = f"{name}@{domain}"
        self.full = f"{self.bare}/{name}s"
        self._ids = itertools.count(1)

    def arrives(self) -> Someone:
        """Logs in, and is available."""
        self.actor.connect()
        assert self.actor.connection is not None
        connections.append(self.actor.connection)
        self.actor.send("<presence/>")
        self.until(lambda e: e.tag == CLIENT + "presence" and e.get("from") == self.full, keep=True)
        return self

    def says(self, to: Someone | str, text: str, extra: str = "") -> None:
        """A chat message."""
        to = to if isinstance(to, str) else to.bare
        self.actor.send(
            f"<message to='{to}' type='chat' id='m{next(self._ids)}'><body>{text}</body>{extra}</message>"
        )

    def asks(self, to: str, payload: str, type: str = "get") -> Element:
        """An IQ; its answer."""
        id = f"q{next(self._ids)}"
        self.actor.send(f"<iq to='{to}' type='{type}' id='{id}'>{payload}</iq>")
        return self.actor.until_result(id)

    def until(self, wanted: object, seconds: float = 20.0, keep: bool = False) -> Element:
        """The next element that is `wanted`; those before it are dropped, but for messages, or kept."""
        assert callable(wanted)
        kept: list[Element] = []
        while True:
            event = self.actor.take(seconds)
            assert not isinstance(event, End), "the stream ended"
            if wanted(event):
                self.actor.unclaimed.extendleft(reversed(kept))
                return event
            if keep or (event.tag == CLIENT + "message" and event.find(CLIENT + "body") is not None):
                kept.append(event)

    def hears(self, seconds: float = 20.0) -> str:
        """The text of the next message with one."""
        message = self.until(
            lambda e: e.tag == CLIENT + "message" and e.find(CLIENT + "body") is not None, seconds
        )
        if message.get("type") == "error":
            error = message.find(CLIENT + "error")
            assert error is not None
            return "error " + error[0].tag.rpartition("}")[2]
        return message.findtext(CLIENT + "body") or ""

    def sees(self, who: str, type: str | None = None, seconds: float = 20.0) -> Element:
        """Presence from an address that begins so."""
        return self.until(
            lambda e: (
                e.tag == CLIENT + "presence"
                and (e.get("from") or "").startswith(who)
                and e.get("type") == type
            ),
            seconds,
        )

    def until_safe(self) -> None:
        """Until the server has acknowledged everything that was sent."""
        actor = self.actor
        while actor.sent:
            actor.write(b"<r xmlns='urn:xmpp:sm:3'/>")
            left = len(actor.sent)
            assert actor.connection is not None
            deadline = time.monotonic() + 30
            while len(actor.sent) == left:
                event = actor.connection.next(max(0.1, deadline - time.monotonic()))
                assert not isinstance(event, End), "the stream ended"
                if not actor._managed(event):
                    actor.unclaimed.append(event)

    def leaves(self) -> None:
        """Logs out."""
        self.actor.disconnect()
