"""`msgd console`: a line to the console of the server that runs here."""

from __future__ import annotations

import selectors
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from msgd.cli.settings import configured, find_config


@click.command()
@click.option(
    "--hash-password",
    is_flag=True,
    help="Ask for a password and print what belongs into console.password.",
)
@configured
def console(hash_password: bool, file: Path | None, data: Path | None, settings: Sequence[str]) -> None:
    """Talk to the running server: sessions, queues, accounts. Try `help` there."""
    if hash_password:
        _hash_password()
        return
    path = find_config(file, data, settings).console_socket
    if path is None:
        raise click.ClickException("the console has no socket (console.socket is empty)")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with connection:
        try:
            connection.connect(str(path))
        except OSError as error:
            reason = error.strerror or error
            raise click.ClickException(f"{path}: {reason}; is the server running?") from None
        _join(connection)


def _hash_password() -> None:
    from msgd.console.password import hash_password

    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt="Once more")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise click.ClickException("there is no password on standard input")
    click.echo(f'password = "{hash_password(password)}"')


def _join(connection: socket.socket) -> None:
    """Carry lines both ways until one side ends."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(connection, selectors.EVENT_READ)
        waiting.register(sys.stdin, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is connection:
                    received = connection.recv(65536)
                    if not received:
                        return
                    sys.stdout.buffer.write(received)
                    sys.stdout.buffer.flush()
                else:
                    line = sys.stdin.readline()
                    if not line:
                        connection.shutdown(socket.SHUT_WR)
                        waiting.unregister(sys.stdin)
                    connection.sendall(line.encode())
