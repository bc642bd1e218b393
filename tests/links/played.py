"""Servers that are played by hand: one to which ours connects, and one that connects to ours.

All with TLS from the start, a certificate for the domains that they are to have, and SASL EXTERNAL.
"""

from __future__ import annotations

import base64
import queue
import re
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.harness import Msgd
from tests.links.world import World, connections, link_port

DIALBACK: Final = b"<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>"
BIDI: Final = b"<bidi xmlns='urn:xmpp:features:bidi'/>"
SM: Final = b"<sm xmlns='urn:xmpp:sm:3'/>"
BODY: Final = re.compile(rb"<body>([^<]*)</body>")
_MECHANISMS: Final = (
    b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms>"
)
_SUCCESS: Final = b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"


def header(domain: str, to: str, id: str = "") -> bytes:
    """A stream's start tag."""
    extra = f" id='{id}'" if id else ""
    return (
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback'"
        f" xmlns:stream='http://etherx.jabber.org/streams' from='{domain}' to='{to}'{extra} version='1.0'>"
    ).encode()


def message(sender: str, to: str, text: str) -> bytes:
    """A chat message between two servers."""
    return f"<message from='{sender}' to='{to}' type='chat'><body>{text}</body></message>".encode()


class Stream:
    """One stream; what comes is read when a test asks for it. `domain` is of ours, the one it began with."""

    def __init__(self, tls: ssl.SSLSocket, domain: str = "") -> None:
        tls.settimeout(30)
        self._tls = tls
        self.domain = domain
        self._read = b""

    def until(self, wanted: re.Pattern[bytes] | bytes) -> bytes:
        """What comes next of that kind (its group, if any); it is taken, with all before it."""
        pattern = re.compile(re.escape(wanted)) if isinstance(wanted, bytes) else wanted
        while (found := pattern.search(self._read)) is None:
            data = self._tls.recv(4096)
            assert data, f"the stream ended: {self._read!r}"
            self._read += data
        self._read = self._read[found.end() :]
        return found.group(1) if pattern.groups else found.group()

    def before(self, wanted: bytes) -> bytes:
        """All that comes up to that."""
        while wanted not in self._read:
            data = self._tls.recv(4096)
            assert data, f"the stream ended: {self._read!r}"
            self._read += data
        came, _, self._read = self._read.partition(wanted)
        return came

    def came(self, wanted: bytes) -> bool:
        """Whether that has come by now; nothing is waited for."""
        self._tls.settimeout(0)
        with suppress(ssl.SSLWantReadError):
            while data := self._tls.recv(4096):
                self._read += data
        self._tls.settimeout(30)
        return wanted in self._read

    def rest(self) -> bytes:
        """All that comes until our server ends the connection."""
        with suppress(ssl.SSLError, ConnectionError):
            while data := self._tls.recv(4096):
                self._read += data
        return self._read

    def send(self, data: bytes) -> None:
        """Send it."""
        self._tls.sendall(data)

    def request(self, ours: str, theirs: str = "b.example") -> str:
        """Until our server asks for this pair; the key."""
        pattern = rf"<db:result from='{re.escape(ours)}' to='{re.escape(theirs)}'>([0-9a-f]+)</db:result>"
        return self.until(re.compile(pattern.encode())).decode()

    def answer(self, ours: str, theirs: str = "b.example", type: str = "valid", condition: str = "") -> None:
        """Answer a request, or one that was not made."""
        error = f"<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        content = error if condition else ""
        self.send(f"<db:result from='{theirs}' to='{ours}' type='{type}'>{content}</db:result>".encode())

    def ping(self) -> dict[str, str]:
        """The attributes of the next ping."""
        found = self.until(re.compile(rb"<iq (type='get' id='[^']+' from='[^']+' to='[^']+')><ping "))
        return dict(re.findall(r"(\w+)='([^']*)'", found.decode()))

    def pong(self, ping: dict[str, str] | None = None) -> None:
        """Answer a ping, the next one: so our server knows that what was before it has arrived."""
        ping = ping or self.ping()
        self.send(f"<iq type='result' id='{ping['id']}' from='{ping['to']}' to='{ping['from']}'/>".encode())

    def close(self) -> None:
        """Without a word."""
        self._tls.close()


class Listening:
    """A server for `domains`, in DNS, that takes all who come; its streams are taken with `accepts`.

    Asked for a dialback key, it says that it has given out 'mine'.
    """

    def __init__(
        self,
        world: World,
        *domains: str,
        before: bytes = BIDI,
        behind: bytes = b"",
        certified: tuple[str, ...] | None = None,
    ) -> None:
        """`before` and `behind` are its features beside EXTERNAL and behind it; its certificate is for
        `domains`, or those that are `certified`."""
        self._before, self._behind = before, behind
        self._domain = domains[0]
        self.show(
            world.authority.issue(f"played {domains[0]}", *(domains if certified is None else certified))
        )
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        for domain in domains:
            world.dns.service(domain, "localhost", self.port, direct=True)
        #: How many connections came.
        self.accepted = 0
        self._streams: queue.Queue[Stream] = queue.Queue()
        self._sockets: list[socket.socket] = []
        self.both_ways = BIDI in before
        threading.Thread(target=self._accept, daemon=True).start()

    def show(self, pair: tuple[Path, Path]) -> None:
        """Show this certificate from now on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        self._context = context

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._negotiate, args=(connection,), daemon=True).start()

    def _negotiate(self, connection: socket.socket) -> None:
        with suppress(OSError, AssertionError):
            tls = self._context.wrap_socket(connection, server_side=True)
            self._sockets.append(tls)
            stream = Stream(tls)
            stream.until(b"xml:lang='en'>")
            features = _MECHANISMS + self._before
            stream.send(
                header(self._domain, "", "x1") + b"<stream:features>" + features + b"</stream:features>"
            )
            wanted = re.compile(rb"(<db:verify [^>]*>[^<]*|mechanism='EXTERNAL'>[^<]*)</")
            said = stream.until(wanted)
            if said.startswith(b"<db:verify"):
                _verify(stream, said.decode())
                return
            stream.domain = base64.b64decode(said.rpartition(b">")[2]).decode()
            stream.send(_SUCCESS)
            stream.until(b"xml:lang='en'>")
            features = self._behind
            stream.send(
                header(self._domain, "", "x2") + b"<stream:features>" + features + b"</stream:features>"
            )
            self._streams.put(stream)

    def accepts(self, ours: str | None = "a.example") -> Stream:
        """The next stream that our server has made, as `ours`, or any."""
        stream = self._streams.get(timeout=60)
        assert ours in (stream.domain, None), f"the stream is of {stream.domain}"
        return stream

    def close(self) -> None:
        """Go away."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # so that nobody is accepted any more
        self._listening.close()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def _verify(stream: Stream, asked: str) -> None:
    fields = dict(re.findall(r"(\w+)='([^']*)'", asked))
    type = "valid" if asked.endswith(">mine") else "invalid"
    stream.send(
        f"<db:verify from='{fields['to']}' to='{fields['from']}' id='{fields['id']}' type='{type}'/>".encode()
    )


def call(
    server: Msgd,
    pair: tuple[Path, Path] | None,
    domain: str = "b.example",
    to: str = "a.example",
    both_ways: bool = True,
    external: bool = True,
) -> Stream:
    """A stream to our server from `domain`, which shows this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if pair is not None:
        context.load_cert_chain(*pair)
    plain = socket.create_connection(("127.0.0.1", link_port(server, direct=True)), timeout=30)
    stream = Stream(context.wrap_socket(plain), to)
    connections.append(stream)
    stream.send(header(domain, to))
    stream.until(b"</stream:features>")
    if both_ways:
        stream.send(b"<bidi xmlns='urn:xmpp:bidi'/>")
    if external:
        stream.send(b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>")
        stream.until(_SUCCESS)
        stream.send(header(domain, to))
        stream.until(b"</stream:features>")
    return stream
