"""A small internet on 127.0.0.0/8: a DNS server whose zone tests write, and authorities for certificates."""

from __future__ import annotations

import random
import socket
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from twisted.names import dns

#: Bytes of an answer that a question without extensions (EDNS) may get over UDP (RFC 1035 §4.2.1).
_MOST_BY_UDP = 512
#: Characters of a name (RFC 1035 §2.3.4).
_LONGEST_NAME = 253
#: What the DNS server says of a name and type: records, or how it fails.
Zone = dict[tuple[str, int], list[dns.RRHeader]]


class NameServer:
    """Answers questions over UDP and TCP, from threads. What is not in its zone does not exist.

    An answer that is too large for UDP says so there, and is given over TCP (RFC 7766).
    """

    def __init__(self) -> None:
        self.zone: Zone = {}
        #: Names for which it answers with this code, or (None) not at all, or with these bytes behind the id.
        self.faults: dict[str, int | bytes | None] = {}
        self.asked: list[tuple[str, int]] = []
        #: Names that were asked for over TCP.
        self.asked_by_tcp: list[str] = []
        #: What becomes of connections: they are served, closed, or never answered, or told to come by TCP.
        self.tcp = "served"
        self._sockets: list[socket.socket] = []
        self.port = self._bind("127.0.0.1", 0)
        #: An address where it listens on port 53, for programs that know no other; None without the right.
        self.standard: str | None = None
        self._listen_on_53()

    def _listen_on_53(self) -> None:
        for _ in range(20):
            address = f"127.{random.randint(1, 250)}.{random.randint(0, 250)}.53"
            try:
                self._bind(address, 53)
            except OSError:
                continue
            self.standard = address
            return

    def _bind(self, address: str, port: int) -> int:
        """Serve at this address; the port, one that is free for both where it is 0."""
        for _ in range(20):
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                udp.bind((address, port))
                tcp = socket.create_server(udp.getsockname())
            except OSError:
                udp.close()
                if port:
                    raise
                continue
            self._sockets += [udp, tcp]
            threading.Thread(target=self._serve, args=(udp,), daemon=True).start()
            threading.Thread(target=self._accept, args=(tcp,), daemon=True).start()
            return int(udp.getsockname()[1])
        raise OSError("no port is free for UDP and TCP")

    def close(self) -> None:
        """Answer no more."""
        for each in self._sockets:
            each.close()

    def add(self, name: str, *payloads: Any) -> None:
        """Records of one name."""
        for payload in payloads:
            header = dns.RRHeader(name.encode(), payload.TYPE, ttl=1, payload=payload)
            self.zone.setdefault((name.lower(), payload.TYPE), []).append(header)

    def host(self, name: str, address: str) -> None:
        """An address of a host."""
        if ":" in address:
            self.add(name, record(dns.Record_AAAA, address))
        else:
            self.add(name, record(dns.Record_A, address))

    def service(self, domain: str, target: str, port: int, direct: bool = False, priority: int = 5) -> None:
        """An SRV record for servers."""
        name = f"_xmpp{'s' if direct else ''}-server._tcp.{domain}"
        self.add(name, record(dns.Record_SRV, priority, 1, port, target.encode()))

    def forget(self, domain: str) -> None:
        """Everything of a domain."""
        for name, type in list(self.zone):
            if name == domain or name.endswith("." + domain):
                del self.zone[name, type]

    def _serve(self, own: socket.socket) -> None:
        while True:
            try:
                data, peer = own.recvfrom(4096)
            except OSError:
                return
            answer = self._answer(data)
            if answer is not None and len(answer) > _MOST_BY_UDP:
                answer = _truncated(data)
            if answer is not None:
                own.sendto(answer, peer)

    def _accept(self, own: socket.socket) -> None:
        while True:
            try:
                connection, _ = own.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_connection, args=(connection,), daemon=True).start()

    def _serve_connection(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as questions:
            while len(head := questions.read(2)) == 2:
                data = questions.read(int.from_bytes(head, "big"))
                self.asked_by_tcp.append(_parsed(data).queries[0].name.name.decode().lower())
                if self.tcp == "closed":
                    return
                if self.tcp == "silent":
                    continue
                answer = _truncated(data) if self.tcp == "truncated" else self._answer(data)
                if answer is not None:
                    connection.sendall(len(answer).to_bytes(2, "big") + answer)

    def _answer(self, data: bytes) -> bytes | None:
        question = _parsed(data)
        name = question.queries[0].name.name.decode().lower()
        type = question.queries[0].type
        self.asked.append((name, type))
        answer = dns.Message(question.id, answer=1, recDes=1, recAv=1, maxSize=65535)
        answer.queries = question.queries
        if name in self.faults:
            fault = self.faults[name]
            if fault is None:
                return None
            if isinstance(fault, bytes):
                return data[:2] + fault
            answer.rCode = fault
            return answer.toStr()
        if len(name) > _LONGEST_NAME:
            answer.rCode = dns.EFORMAT
            return answer.toStr()
        found = self.zone.get((name, type)) or self.zone.get((name, dns.CNAME), [])
        answer.answers = list(found)
        if not found and not any(name == known or known.endswith("." + name) for known, _ in self.zone):
            answer.rCode = dns.ENAME
        return answer.toStr()


def _parsed(data: bytes) -> dns.Message:
    message = dns.Message()
    message.fromStr(data)
    return message


def _truncated(data: bytes) -> bytes:
    """The answer that says: too much for this way (RFC 1035 §4.1.1, TC)."""
    question = _parsed(data)
    answer = dns.Message(question.id, answer=1, recDes=1, recAv=1, trunc=1)
    answer.queries = question.queries
    return answer.toStr()


def record(kind: Any, *values: object) -> Any:
    """A record; Twisted's have no types."""
    return kind(*values, ttl=1)


class Authority:
    """Issues certificates, good and bad ones; `file` is what has to be trusted."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._authority = trustme.CA()
        self.file = directory / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.file))

    def issue(self, name: str, *domains: str, **extra: object) -> tuple[Path, Path]:
        """A certificate (with its chain) and its key, for `domains`."""
        # ejabberd does not start with a certificate that is good for a thousand years.
        extra = {"not_after": datetime.now(UTC) + timedelta(days=60), **extra}
        made = self._authority.issue_cert(*domains, **extra)  # type: ignore[arg-type]  # not_after and so on
        certificate, key = self._directory / f"{name}.crt", self._directory / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(str(key))
        key.chmod(0o600)
        return certificate, key
