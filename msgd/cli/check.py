"""`msgd check`: every fault of configuration, certificates, permissions and ports, one line each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from msgd.cli.settings import configured, find_config, is_running
from msgd.options import ConfigError, Fault


@click.command()
@configured
@click.option("--domain", "domains", multiple=True, help="A domain to serve, without a file.")
def check(file: Path | None, data: Path | None, settings: Sequence[str], domains: Sequence[str]) -> None:
    """Name every fault that keeps the server from working well; change nothing.

    Each line has file, option, fault and remedy. Leaves with 1 when there is one.
    """
    from msgd.cli.faults import all_faults

    try:
        config = find_config(file, data, settings, domains)
        running = is_running(config)
        faults: Sequence[Fault] = all_faults(config, running)
    except ConfigError as error:
        faults = error.faults
    for fault in faults:
        click.echo(str(fault))
    if faults:
        sys.exit(1)
    state = "the server runs" if running else "the server does not run"
    where = config.file or f"data in {config.data}"
    click.echo(f"no faults: {where}, {', '.join(config.domains)}; {state}")
