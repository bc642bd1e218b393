"""`msgd user`: the accounts, from the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from msgd.accounts.errors import AccountError
from msgd.cli.settings import configured, find_config, is_running, read_state
from msgd.config import Config, load
from msgd.wire.jid import JID, JIDError

if TYPE_CHECKING:
    from msgd.cli.administration import Administration

_ADDRESS: Final = click.argument("address", metavar="NAME@DOMAIN")
#: What is said when the accounts refuse something, instead of the protocol's condition.
_REMEDIES: Final = {
    "conflict": "choose another name, or `msgd user passwd` for another password",
    "item-not-found": "`msgd user list` shows who there is",
}


@click.group()
def user() -> None:
    """Make, change, list and delete accounts."""


@user.command()
@_ADDRESS
@configured
def add(address: str, file: Path | None, data: Path | None, settings: Sequence[str]) -> None:
    """Make an account. The password is asked for, or is the first line of standard input."""
    with _Work(address, file, data, settings) as work:
        work.accounts.must_be_new(work.jid)
        work.accounts.add(work.jid, _password())
        click.echo(f"{work.jid} can log in")


@user.command()
@_ADDRESS
@configured
def passwd(address: str, file: Path | None, data: Path | None, settings: Sequence[str]) -> None:
    """Set another password. It is asked for, or is the first line of standard input."""
    with _Work(address, file, data, settings) as work:
        work.accounts.must_exist(work.jid)
        work.accounts.set_password(work.jid, _password())
        click.echo(f"{work.jid} has a new password")
        work.note_open_sessions()


@user.command()
@_ADDRESS
@configured
def disable(address: str, file: Path | None, data: Path | None, settings: Sequence[str]) -> None:
    """Let an account log in no more; everything is kept."""
    with _Work(address, file, data, settings) as work:
        work.accounts.disable(work.jid)
        click.echo(f"{work.jid} can log in no more")
        work.note_open_sessions()


@user.command()
@_ADDRESS
@configured
def enable(address: str, file: Path | None, data: Path | None, settings: Sequence[str]) -> None:
    """Let a disabled account log in again."""
    with _Work(address, file, data, settings) as work:
        work.accounts.enable(work.jid)
        click.echo(f"{work.jid} can log in again")


@user.command()
@_ADDRESS
@click.option("--yes", is_flag=True, help="Do not ask.")
@configured
def delete(address: str, yes: bool, file: Path | None, data: Path | None, settings: Sequence[str]) -> None:
    """Delete an account with everything kept for it."""
    with _Work(address, file, data, settings) as work:
        work.accounts.must_exist(work.jid)
        if not yes:
            click.confirm(f"Delete {work.jid} with its roster and messages?", abort=True)
        work.accounts.delete(work.jid)
        click.echo(f"{work.jid} is deleted")
        work.note_open_sessions()


@user.command("list")
@click.argument("domain", required=False)
@configured
def list_accounts(domain: str | None, file: Path | None, data: Path | None, settings: Sequence[str]) -> None:
    """List the accounts of a domain, or of all."""
    from msgd.cli.administration import open_administration

    config = find_config(file, data, settings)
    _require_domain(domain or config.domains[0], config)
    domains = [domain] if domain else list(config.domains)
    with open_administration(config) as accounts:
        found = [each for one in domains for each in accounts.every(one)]
    if not sys.stdout.isatty():
        for each in found:
            click.echo(f"{each.jid}\tdisabled" if each.disabled else str(each.jid))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("account", "state", "made", "last seen", title=f"{len(found)} accounts")
    for each in found:
        state = "disabled" if each.disabled else ""
        table.add_row(str(each.jid), state, _day(each.created), _day(each.last_active))
    Console().print(table)


class _Work:
    """The accounts and the one that is meant; refusals become one line."""

    def __init__(self, address: str, file: Path | None, data: Path | None, settings: Sequence[str]) -> None:
        self.jid = _jid(address)
        self._config = _config_for(self.jid, file, data, settings)
        _require_domain(self.jid.domain, self._config)
        self.accounts: Administration

    def __enter__(self) -> _Work:
        from msgd.cli.administration import open_administration

        self.accounts = open_administration(self._config)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.accounts.close()
        if isinstance(error, AccountError):
            remedy = _REMEDIES.get(error.condition)
            text = f"{self.jid}: {error.text}" + (f"; {remedy}" if remedy else "")
            raise click.ClickException(text) from None

    def note_open_sessions(self) -> None:
        """Say what a change beside a running server does not do."""
        if not self.accounts.ends_sessions and is_running(self._config):
            click.echo("the server runs: sessions that are open now go on until they end", err=True)


def _config_for(jid: JID, file: Path | None, data: Path | None, settings: Sequence[str]) -> Config:
    """An account may be made before the first start: then its domain is all that is known."""
    if file is None and data is not None and read_state(data) is None:
        return load(None, {"domain": str(jid.domain), "data": str(data.absolute())})
    return find_config(file, data, settings)


def _jid(address: str) -> JID:
    try:
        jid = JID.parse(address)
    except JIDError as error:
        raise click.ClickException(f"{address!r} is no address: {error}") from None
    if not jid.local or jid.resource:
        raise click.ClickException(f"{address!r} is no account; write name@domain")
    return jid


def _require_domain(domain: str, config: Config) -> None:
    if domain not in config.domains:
        where = config.file or config.data
        text = f"{domain} is not a domain of this server ({', '.join(config.domains)}; {where})"
        raise click.ClickException(text)


def _password() -> str:
    """A password typed twice, or the first line of what is piped in."""
    if sys.stdin.isatty():
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt="Once more")
        return typed
    line = sys.stdin.readline()
    if not line.rstrip("\r\n"):
        raise click.ClickException("there is no password on standard input")
    return line.rstrip("\r\n")


def _day(seconds: int) -> str:
    from datetime import datetime

    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d}" if seconds else ""
