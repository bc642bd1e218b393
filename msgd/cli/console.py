"""`msgd console`: the console of the server that runs here, with history and completion."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from msgd.cli.settings import configured, find_config
from msgd.console.client import ConsoleClient, NoConsole
from msgd.console.text import Rows, lines_of

#: Lines of history that are kept.
_HISTORY: Final = 1000
_PROMPT: Final = "msgd> "


@click.command()
@click.argument("command", nargs=-1, metavar="[COMMAND...]")
@click.option("--json", "as_json", is_flag=True, help="Print each answer as a line of JSON.")
@click.option(
    "--hash-password",
    is_flag=True,
    help="Ask for a password and print what belongs into console.password.",
)
@configured
def console(
    command: tuple[str, ...],
    as_json: bool,
    hash_password: bool,
    file: Path | None,
    data: Path | None,
    settings: Sequence[str],
) -> None:
    """Talk to the running server: sessions, queues, accounts. Try `help` there.

    With a COMMAND it is run and that is all; `--` in front of it where it has options of its own.
    """
    if hash_password:
        _hash_password()
        return
    path = find_config(file, data, settings).console_socket
    if path is None:
        raise click.ClickException("the console has no socket (console.socket is empty)")
    try:
        client = ConsoleClient(path)
    except NoConsole as error:
        raise click.ClickException(str(error)) from None
    try:
        if command:
            sys.exit(0 if _run(client, " ".join(command), as_json) else 1)
        _Interactive(client, as_json).run()
    except NoConsole as error:
        raise click.ClickException(str(error)) from None
    finally:
        client.close()


def _hash_password() -> None:
    from msgd.console.password import hash_password

    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt="Once more")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise click.ClickException("there is no password on standard input")
    click.echo(f'password = "{hash_password(password)}"')


def _run(client: ConsoleClient, line: str, as_json: bool) -> bool:
    """Run one command and print what it says; whether it went well."""
    client.send(line)
    for answer in client.answers():
        if as_json:
            click.echo(json.dumps(answer))
        elif "line" in answer:
            click.echo(lines_of(str(answer["line"]))[0])
        else:
            _print(answer)
        if "ok" in answer:
            return bool(answer["ok"])
    raise NoConsole("the server hung up")


def _print(answer: dict[str, Any]) -> None:
    if not answer["ok"]:
        click.echo(lines_of(str(answer["error"]))[0], err=True)
    elif "rows" in answer:
        rows: list[dict[str, object]] = answer["rows"]
        columns = tuple(rows[0]) if rows else ()
        for line in Rows(columns, [list(row.values()) for row in rows]).lines():
            click.echo(line)
    else:
        for line in lines_of([str(text) for text in answer.get("text", ())]):
            click.echo(line)


class _Interactive:
    """Line after line, until the end of input."""

    def __init__(self, client: ConsoleClient, as_json: bool) -> None:
        self._client = client
        self._json = as_json
        self._words: list[str] = []

    def run(self) -> None:
        """Read and run commands; Ctrl-C drops a line, Ctrl-D ends."""
        terminal = sys.stdin.isatty()
        if terminal:
            self._prepare_line_editing()
        while True:
            try:
                line = input(_PROMPT if terminal else "").strip()
            except EOFError:
                if terminal:
                    click.echo()
                return
            except KeyboardInterrupt:
                click.echo()
                continue
            if line in ("quit", "exit"):
                return
            if line:
                self._one(line)

    def _one(self, line: str) -> None:
        try:
            _run(self._client, line, self._json)
        except KeyboardInterrupt:
            # A command that goes on, such as `watch`, stops at any line.
            self._client.send("")
            for answer in self._client.answers():
                if "ok" in answer:
                    break
            click.echo()

    def _prepare_line_editing(self) -> None:
        import atexit
        import readline

        history = _history_file()
        try:
            readline.read_history_file(history)
        except OSError:
            pass  # the first time
        readline.set_history_length(_HISTORY)
        atexit.register(_save_history, history)
        commands = self._client.ask("help").get("rows", [])
        names = [" ".join(_name(row["command"])) for row in commands]
        accounts = [row["account"] for row in self._client.ask("user list").get("rows", [])]
        self._words = sorted(names) + sorted(accounts)
        readline.set_completer_delims("")
        readline.set_completer(self._complete)
        readline.parse_and_bind("tab: complete")

    def _complete(self, text: str, state: int) -> str | None:
        """What may follow: a command from its beginning, or an address as the last word."""
        before, _, last = text.rpartition(" ")
        whole = [word for word in self._words if word.startswith(text)]
        addresses = [word for word in self._words if "@" in word and word.startswith(last)]
        found = [*whole, *(f"{before} {word}" for word in addresses if before)]
        return found[state] if state < len(found) else None


def _name(usage: str) -> list[str]:
    return [word for word in usage.split() if word[0].islower()]


def _history_file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "msgd" / "console_history"


def _save_history(history: Path) -> None:
    import readline

    try:
        history.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        history.touch(mode=0o600)
        # Passwords are typed into some commands; they are not for a file.
        for at in range(readline.get_current_history_length(), 0, -1):
            words = (readline.get_history_item(at) or "").split()
            if words[:2] in (["user", "add"], ["user", "passwd"]):
                readline.remove_history_item(at - 1)
        readline.write_history_file(history)
    except OSError:
        pass  # a history that cannot be kept is no reason to complain at the end
