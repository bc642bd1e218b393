"""The command line: one module for each command, gathered here.

A command imports what it needs when it runs, so that `msgd --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from msgd import __version__
from msgd.cli.check import check
from msgd.cli.console import console
from msgd.cli.demo import demo
from msgd.cli.phases import phases
from msgd.cli.serve import serve
from msgd.cli.user import user
from msgd.options import ConfigError

_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_HELP)
@click.version_option(__version__, prog_name="msgd")
def commands() -> None:
    """msgd: a messaging server on XMPP that never loses what it acknowledged."""


for _command in (serve, check, user, console, demo, phases):
    commands.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code: 0, 1 for a fault, 2 for a wrong call."""
    from msgd.storage.database import DatabaseError

    try:
        commands.main(arguments, prog_name="msgd", standalone_mode=False)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.Abort:
        click.echo("aborted", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ConfigError as error:
        for fault in error.faults:
            click.echo(f"msgd: {fault}", err=True)
        sys.exit(1)
    except (DatabaseError, OSError) as error:
        click.echo(f"msgd: {error}", err=True)
        sys.exit(1)
