"""On what something was measured: machine, kernel, versions."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from OpenSSL import SSL

from tests.harness import ROOT

_PEERS = ("prosody", "ejabberd", "lua5.4")


def _said(*command: str) -> str:
    """The first line that a command says; '-' when it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, cwd=ROOT)
    except OSError:
        return "-"
    return (done.stdout or done.stderr).strip().partition("\n")[0] or "-"


def _field(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return "-"


def lines() -> list[str]:
    """One line for each thing that matters."""
    memory = int(_field("/proc/meminfo", "MemTotal").split()[0]) / 1024**2
    peers = {name: _said("dpkg-query", "-W", "-f", "${Version}", name) for name in _PEERS}
    commit, when = _said("git", "rev-parse", "--short", "HEAD"), time.strftime("%F %H:%M UTC", time.gmtime())
    return [
        f"measured {when}, commit {commit}",
        f"machine: {os.cpu_count()} processors, {_field('/proc/cpuinfo', 'model name')}, {memory:.0f} GiB, "
        f"Linux {platform.release()}",
        f"load of the machine at this moment (1, 5, 15 minutes): {_said('cat', '/proc/loadavg')}",
        f"Python {sys.version.split()[0]}, Twisted {version('twisted')}, pyOpenSSL {version('pyopenssl')}, "
        f"{SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()}, SQLite {sqlite3.sqlite_version}",
        "peers: " + ", ".join(f"{name} {found}" for name, found in peers.items()),
    ]  # fmt: skip
