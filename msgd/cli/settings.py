"""Which configuration a command works with, and what a server that runs tells about itself.

A server writes `server.json` below its data directory: what it was configured from, its domains and its
ports. Commands that are only told the data directory find the configuration by it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from msgd.config import DEFAULT_DATA, Config, ConfigError, Fault, load, parse_override
from msgd.wire.jid import JID, JIDError

_Function = TypeVar("_Function", bound=Callable[..., Any])
#: Where a configuration is looked for when none is named.
PLACES: Final = (Path("msgd.toml"), Path("/etc/msgd/msgd.toml"))
STATE: Final = "server.json"
DATABASE: Final = "msgd.sqlite"


def configured(command: _Function) -> _Function:
    """Give a command the options that say which configuration to use."""
    for decorate in reversed(
        (
            click.option(
                "-c",
                "--config",
                "file",
                type=click.Path(path_type=Path, dir_okay=False),
                help="The configuration. Else msgd.toml here, or /etc/msgd/msgd.toml.",
            ),
            click.option(
                "--data",
                type=click.Path(path_type=Path, file_okay=False),
                help="The data directory.",
            ),
            click.option(
                "--set",
                "settings",
                multiple=True,
                metavar="SECTION.OPTION=VALUE",
                help="An option instead of what the configuration says; may be repeated.",
            ),
        )
    ):
        command = decorate(command)
    return command


def find_config(
    file: Path | None,
    data: Path | None = None,
    settings: Sequence[str] = (),
    domains: Sequence[str] = (),
) -> Config:
    """The configuration that a command is to use. Raises ConfigError, click.UsageError.

    With domains and without a file everything else is default. With a data directory alone, or without
    anything, the configuration is that of the server that runs, or ran, on the directory.
    """
    overrides = _overrides(data, settings, domains)
    if file is None and not domains:
        file = None if data else next((place for place in PLACES if place.exists()), None)
        if file is None:
            kept = read_state(data or Path(DEFAULT_DATA))
            if kept is not None:
                told = Path(kept["config"]) if kept["config"] else None
                return checked(load(told, {**kept["overrides"], **overrides}))
            raise click.UsageError(_nothing_found(data))
    return checked(load(file, overrides))


def _overrides(data: Path | None, settings: Sequence[str], domains: Sequence[str]) -> dict[str, object]:
    overrides: dict[str, object] = {}
    for setting in settings:
        try:
            name, value = parse_override(setting)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        overrides[name] = value
    if data is not None:
        overrides["data"] = str(data.absolute())
    if domains:
        overrides["domain"] = list(domains)
        overrides.setdefault("data", str(Path(DEFAULT_DATA).absolute()))
    return overrides


def _nothing_found(data: Path | None) -> str:
    if data is not None:
        return f"no server ran on {data} yet: name the configuration with -c, or start a server"
    looked = ", ".join(map(str, PLACES))
    return (
        f"there is no configuration (looked for {looked} and a server's {DEFAULT_DATA}/): "
        'write domain = "example.org" into msgd.toml, or name another file with -c'
    )


def checked(config: Config) -> Config:
    """The configuration, with its domains as they are compared. Raises ConfigError."""
    domains = (*config.domains, *config.components)
    faults = [fault for domain in domains if (fault := _domain_fault(config, domain))]
    if faults:
        raise ConfigError(faults)
    return config


def _domain_fault(config: Config, domain: str) -> Fault | None:
    where, remedy = str(config.file or "command line"), "write a domain name, as in DNS"
    try:
        jid = JID.parse(domain)
    except JIDError as error:
        return Fault(where, "domain", f'"{domain}" cannot be a domain: {error}', remedy)
    if jid != domain:
        return Fault(where, "domain", f'"{domain}" is not its usual form', f'write "{jid}"')
    return None


def write_state(config: Config, pid: int, ports: Mapping[str, Sequence[tuple[str, int]]]) -> None:
    """Tell where the server listens and what it was configured from. Raises OSError."""
    state = {
        "pid": pid,
        "config": str(config.file) if config.file else None,
        "overrides": dict(config.overrides),
        "domains": list(config.domains),
        "ports": {name: [list(each) for each in listed] for name, listed in ports.items()},
    }
    file = config.data / STATE
    new = file.with_name(STATE + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as out:
        json.dump(state, out, indent=1)
        out.write("\n")
    new.rename(file)


def read_state(data: Path) -> dict[str, Any] | None:
    """What the last server on this directory told; None when there was none."""
    try:
        state = json.loads((data / STATE).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    wanted = {"pid", "config", "overrides", "domains", "ports"}
    return state if isinstance(state, dict) and wanted <= state.keys() else None


def is_running(config: Config) -> bool:
    """Whether a server works on the data directory: it holds a lock as long as it lives."""
    try:
        descriptor = os.open(config.data / (DATABASE + ".lock"), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
