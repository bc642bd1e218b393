"""Other servers to play transcripts against: which of them say what the RFCs say, and which what msgd does.

Not part of the test-suite: `python -m tests.specification --server prosody FILE…`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.harness import NewAccount, free_ports

_CONFIGURATION = """
run_as_root = true
daemonize = false
pidfile = "{data}/prosody.pid"
data_path = "{data}/data"
certificates = "{data}"
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {plain} }}
c2s_direct_tls_ports = {{ {direct} }}
s2s_ports = {{ }}
http_ports = {{ }}
https_ports = {{ }}
modules_enabled = {{ "roster"; "saslauth"; "tls"; "disco"; "private"; "smacks"; "vcard_legacy"; "pep";
  "vcard4"; "ping"; "register"; "time"; "uptime"; "version"; "lastactivity"; "offline" }}
modules_disabled = {{ "s2s" }}
c2s_require_encryption = true
authentication = "internal_hashed"
log = {{ debug = "{data}/prosody.log" }}
ssl = {{ key = "{data}/key.pem"; certificate = "{data}/cert.pem"; }}
c2s_direct_tls_ssl = {{ key = "{data}/key.pem"; certificate = "{data}/cert.pem"; }}
VirtualHost "localhost"
"""


class Prosody:
    """Prosody 0.12 of the distribution, under a directory of its own."""

    domain = "localhost"
    authority = None

    def __init__(self, data: Path, accounts: list[NewAccount]) -> None:
        self.data = data
        self.plain, self.direct = free_ports(2)
        directory = data / "data" / "localhost" / "accounts"
        directory.mkdir(parents=True)
        for account in accounts:
            name = account.local.replace("-", "%2d")
            (directory / f"{name}.dat").write_text(f'return {{ ["password"] = "{account.password}"; }};\n')
        (data / "prosody.cfg.lua").write_text(
            _CONFIGURATION.format(data=data, plain=self.plain, direct=self.direct)
        )
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-subj", "/CN=localhost", "-days", "2", "-keyout", str(data / "key.pem"),
             "-out", str(data / "cert.pem")],
            check=True, capture_output=True,
        )  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def address(self, direct: bool = False, servers: bool = False) -> tuple[str, int]:
        """STARTTLS or direct TLS port; there is none for servers."""
        return "127.0.0.1", self.direct if direct else self.plain

    def component_address(self) -> tuple[str, int]:
        """Components are not configured there."""
        raise OSError("no components with this server")

    def start(self) -> None:
        """Start, and wait until the port is open."""
        with (self.data / "stdout").open("ab") as out:
            self.process = subprocess.Popen(
                ["/usr/bin/lua5.4", "/usr/bin/prosody", "-F", "--config",
                 str(self.data / "prosody.cfg.lua")],
                stdout=out, stderr=out, env={**os.environ},
            )  # fmt: skip
        for _ in range(200):
            try:
                for port in (self.plain, self.direct):
                    socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise OSError((self.data / "stdout").read_text())

    def stop(self, how: int = signal.SIGTERM) -> None:
        """Stop and wait."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(20)
            self.process = None

    def kill(self) -> None:
        """SIGKILL."""
        self.stop(signal.SIGKILL)

    def advance(self, seconds: float) -> None:
        """Not possible here."""
        raise OSError("this server has no clock of its own")

    def command(self, line: str) -> str:
        """Not possible here."""
        raise OSError("this server has no such console")
