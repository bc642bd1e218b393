"""Finds what would keep a server from working here: ports, permissions, certificates, limits.

Each finding is one `Fault`: where, which option, what is wrong, what to do. Nothing is changed.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from msgd.cli.settings import DATABASE
from msgd.config import Config, Fault
from msgd.wire.certificates import examine

#: The longest path of a unix socket (sun_path on Linux, with its end).
_SOCKET_PATH: Final = 107
#: Fewer open files than this are used up by a small office.
_LEAST_FILES: Final = 1024


def all_faults(config: Config, running: bool) -> list[Fault]:
    """Everything that is wrong; `running` says that a server holds the ports already."""
    faults = data_faults(config)
    faults += examine(config)
    if not running:
        faults += port_faults(config)
    faults += console_faults(config)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < _LEAST_FILES:
        what = f"only {hard} files may be open at once, one for each connection"
        faults.append(Fault("this machine", "", what, "raise it (ulimit -Hn, LimitNOFILE=)"))
    return faults


def has_ipv6() -> bool:
    """Whether this machine can listen on IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def port_faults(config: Config) -> list[Fault]:
    """The ports that a server could not listen on."""
    faults = []
    listen = config.listen
    doors: list[tuple[str, str, tuple[str, ...]]] = [
        ("client", "addresses", listen.addresses),
        ("client_tls", "addresses", listen.addresses),
    ]
    if config.federation.enabled:
        doors += [(key, "addresses", listen.addresses) for key in ("server", "server_tls")]
    if config.components:
        doors.append(("component", "component_addresses", listen.component_addresses))
    for key, place, addresses in doors:
        port = getattr(listen, key)
        for address in addresses if port is not None else ():
            found = _port_fault(address, port)
            if found:
                what, remedy, wrong = found
                key = place if wrong else key
                fault = Fault(_file(config), f"listen.{key}", what, remedy)
                faults += [fault] if fault not in faults else []
    if config.listen.metrics:
        found = _port_fault(config.listen.metrics_address, config.listen.metrics)
        if found:
            wrong = "listen.metrics_address" if found[2] else "listen.metrics"
            faults.append(Fault(_file(config), wrong, found[0], found[1]))
    if config.console.tcp:
        found = _port_fault("127.0.0.1", config.console.tcp)
        if found:
            faults.append(Fault(_file(config), "console.tcp", found[0], found[1]))
    return faults


def _port_fault(address: str, port: int) -> tuple[str, str, str] | None:
    """What is wrong, what to do, and the option when it is not the port's."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
            probe.listen(1)
    except OSError as error:
        return _explain(error, address, port)
    return None


def _explain(error: OSError, address: str, port: int) -> tuple[str, str, str]:
    if error.errno == errno.EADDRINUSE:
        what = f"port {port} of {address} is in use"
        return what, f"stop what uses it (ss -ltnp 'sport = :{port}') or take another port", ""
    if error.errno == errno.EACCES:
        what = f"port {port} needs rights that msgd does not have"
        return what, "take one above 1023, or give it CAP_NET_BIND_SERVICE", ""
    what = f'"{address}" is no address of this machine ({error.strerror or error})'
    return what, "name addresses, not names; see `ip address`", "addresses"


def data_faults(config: Config) -> list[Fault]:
    """What is wrong with the data directory."""
    data = config.data
    if data.exists():
        return list(_directory_faults(config, data))
    parent = next(parent for parent in data.parents if parent.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        return []
    what = f"{data} is missing and {parent} cannot be written"
    return [Fault(_file(config), "data", what, f"make {data} and give it to msgd's user")]


def _directory_faults(config: Config, data: Path) -> Iterator[Fault]:
    where = _file(config)
    if not data.is_dir():
        yield Fault(where, "data", f"{data} is not a directory", "name another")
        return
    if not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        yield Fault(where, "data", f"{data} cannot be written", "give it to msgd's user (chown)")
    if data.stat().st_mode & 0o007:
        what = f"others on this machine can look into {data}"
        yield Fault(where, "data", what, f"chmod 700 {data}")
    for file in sorted(data.glob("msgd.sqlite*")):
        if file.stat().st_mode & 0o007:
            yield Fault(str(file), "data", "others on this machine can read it", f"chmod 600 {file}")
        elif not os.access(file, os.R_OK | os.W_OK):
            remedy = f"give it to msgd's user (chown), who is {os.geteuid()} now"
            yield Fault(str(file), "data", "cannot be read and written", remedy)
        elif file.name == DATABASE:
            yield from _database_faults(file)


def _database_faults(file: Path) -> Iterator[Fault]:
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        remedy = "restore it from a backup, or move it away to begin with an empty one"
        yield Fault(str(file), "data", f"cannot be opened: {error}", remedy)


def console_faults(config: Config) -> list[Fault]:
    """What is wrong with the console's socket."""
    path = config.console_socket
    if path is not None and len(os.fsencode(path)) > _SOCKET_PATH:
        what = f"the path {path} is longer than a socket's may be"
        return [Fault(_file(config), "console.socket", what, "name a shorter one")]
    return []


def _file(config: Config) -> str:
    return str(config.file or "command line")
