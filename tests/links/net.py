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

#: What the DNS server says of a name and type: records, or how it fails.
Zone = dict[tuple[str, int], list[dns.RRHeader]]


class NameServer:
    """Answers questions over UDP, from a thread. What is not in its zone does not exist."""

    def __init__(self) -> None:
        self.zone: Zone = {}
        #: Names for which it answers with this code, or (None) not at all.
        self.faults: dict[str, int | None] = {}
        self.asked: list[tuple[str, int]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        #: An address where it listens on port 53, for programs that know no other; None without the right.
        self.standard: str | None = None
        self._sockets = [self._socket]
        self._listen_on_53()
        for each in self._sockets:
            threading.Thread(target=self._serve, args=(each,), daemon=True).start()

    def _listen_on_53(self) -> None:
        for _ in range(20):
            address = f"127.{random.randint(1, 250)}.{random.randint(0, 250)}.53"
            extra = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                extra.bind((address, 53))
            except OSError:
                extra.close()
                continue
            self.standard = address
            self._sockets.append(extra)
            return

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
            question = dns.Message()
            question.fromStr(data)
            answer = self._answer(question)
            if answer is not None:
                own.sendto(answer.toStr(), peer)

    def _answer(self, question: dns.Message) -> dns.Message | None:
        name = question.queries[0].name.name.decode().lower()
        type = question.queries[0].type
        self.asked.append((name, type))
        answer = dns.Message(question.id, answer=1, recDes=1, recAv=1)
        answer.queries = question.queries
        if name in self.faults:
            code = self.faults[name]
            if code is None:
                return None
            answer.rCode = code
            return answer
        found = self.zone.get((name, type)) or self.zone.get((name, dns.CNAME), [])
        answer.answers = list(found)
        if not found and not any(name == known or known.endswith("." + name) for known, _ in self.zone):
            answer.rCode = dns.ENAME
        return answer


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
