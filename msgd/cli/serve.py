"""`msgd serve`: checks what can be checked, starts the server, and says where it listens.

On standard output the last line of the start begins with `ready` and is made for programs:
`ready client=127.0.0.1:5222 client-tls=127.0.0.1:5223`. The log goes to standard error.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from OpenSSL import SSL

from msgd.cli.faults import has_ipv6, port_faults
from msgd.cli.settings import checked, configured, find_config, write_state
from msgd.config import Config, ConfigError, load
from msgd.observe import log
from msgd.wire.certificates import examine

if TYPE_CHECKING:
    from msgd.app import Server

#: Open files that are asked of the system when it allows so many: one for each connection.
OPEN_FILES: Final = 1_048_576


@click.command()
@configured
@click.option("--domain", "domains", multiple=True, help="A domain to serve, without a file.")
def serve(file: Path | None, data: Path | None, settings: Sequence[str], domains: Sequence[str]) -> None:
    """Run the server until SIGTERM. SIGHUP reloads configuration and certificates."""
    from msgd.wire.reactor import install

    config = usable(find_config(file, data, settings, domains))
    os.umask(0o077)
    raise_open_files()
    movable = bool(os.environ.get("MSGD_TEST_CLOCK"))
    install(movable)
    log.begin(config.log.level)

    from msgd import app
    from msgd.console.commands_server import declare_clock

    if movable:
        declare_clock()
    app.run(config, announce, Reloader(config).reload)


def usable(config: Config) -> Config:
    """The configuration, when a server can start with it here. Raises ConfigError."""
    if "::" in config.listen.addresses and not has_ipv6():
        left = [address for address in config.listen.addresses if address != "::"]
        config = load(config.file, {**config.overrides, "listen.addresses": left})
    faults = port_faults(config)
    if faults:
        raise ConfigError(faults)
    return config


def raise_open_files() -> None:
    """Allow as many connections as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def announce(server: Server) -> None:
    """Say where the server listens: to people, to programs, and in the data directory."""
    config = server.config
    ports = {name: [(port.address, port.port) for port in listed] for name, listed in server.ports.items()}
    write_state(config, os.getpid(), ports)
    for line in _for_people(config, ports):
        click.echo(line)
    words = [
        f"{name}={','.join(_shown(*each) for each in listed)}" for name, listed in ports.items() if listed
    ]
    click.echo(" ".join(["ready", *words]))
    sys.stdout.flush()


def _shown(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _for_people(config: Config, ports: dict[str, list[tuple[str, int]]]) -> list[str]:
    names = {
        "client": "clients with STARTTLS",
        "client-tls": "clients with direct TLS",
        "component": "components",
        "metrics": "metrics over HTTP",
        "server": "servers with STARTTLS",
        "server-tls": "servers with direct TLS",
    }
    lines = [f"msgd serves {', '.join(config.domains)}, with its data in {config.data}"]
    for name, listed in ports.items():
        where = ", ".join(_shown(*each) for each in listed)
        lines += [f"  {names.get(name, name):<24} {where}"] if listed else []
    return lines + _next_steps(config)


def _next_steps(config: Config) -> list[str]:
    """The commands that come next, as they have to be typed here."""
    command = sys.argv[0] if os.path.basename(sys.argv[0]) == "msgd" else "python -m msgd"
    command = os.path.relpath(command) if os.path.isabs(command) else command
    domain, which = config.domains[0], ""
    if config.file is not None:
        which = f" -c {config.file}"
    elif config.data != Path("data").absolute():
        which = f" --data {config.data}"
    certificate = config.certificate_files(domain)[0]
    steps = [
        "",
        "Next, in another terminal:",
        f"  {command} user add juliet@{domain}{which}",
        f"  {command} user add romeo@{domain}{which}",
        f"then log in with any XMPP client as juliet@{domain}"
        + (", server localhost." if domain != "localhost" else "."),
    ]
    if certificate is None:
        own = config.data / "certificates" / f"{domain}.crt"
        steps.append(f"Its certificate is self-signed: let the client trust {own}.")
    return [*steps, "Ctrl-C stops the server; nothing is lost.", ""]


class Reloader:
    """Reads configuration and certificates again; what is bad is refused, and the old stays."""

    def __init__(self, config: Config) -> None:
        # What the server could live with at its start is no reason to refuse; a worse certificate is.
        self._known = {str(fault) for fault in examine(config)}

    def reload(self, server: Server) -> list[str]:
        """Reload; returns what happened, line by line."""
        try:
            config, changed, restart = server.config.reload()
            checked(config)
            faults = examine(config)
            new = [fault for fault in faults if str(fault) not in self._known]
            if new:
                raise ConfigError(new)
            server.reconfigure(config, changed)
        except ConfigError as error:
            refused = [f"refused: {fault}" for fault in error.faults]
        except (SSL.Error, OSError) as error:
            refused = [f"refused: {error}"]
        else:
            self._known = {str(fault) for fault in faults}
            lines = ["reloaded; changed: " + (", ".join(changed) or "nothing")]
            return lines + (["after a restart: " + ", ".join(restart)] if restart else [])
        return [*refused, "the old configuration stays"]
