"""`msgd phases`: which extensions act in which phase of a stanza's way, in their order."""

from __future__ import annotations

import click


@click.command(short_help="Show which extensions act on stanzas, and when.")
def phases() -> None:
    """Show which extensions act on the stanzas of accounts, phase by phase, in their order.

    An extension acts only for the accounts that use it.
    """
    from msgd.routing.hooks import PHASES, Acting, acts
    from msgd.xeps import ALL

    for phase in PHASES:
        said = " ".join((getattr(Acting, phase).__doc__ or "").split())
        click.echo(f"{phase.replace('_', '-'):<12}{said}")
        for extension in ALL:
            if acts(extension, phase):
                click.echo(f"            - {extension.xep.name} {extension.__name__}")
