"""The one registry of operator commands.

A command is declared once, with its arguments and its help. The console runs it from a line; other
ways to the same command use the same declaration. Answers are data; who shows them decides how.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from msgd.accounts.accounts import Accounts
from msgd.config import Config
from msgd.console.text import Answer
from msgd.observe.reading import Reading
from msgd.observe.stress import Stress
from msgd.routing.router import Router
from msgd.spool.spool import Spool
from msgd.storage.database import Database
from msgd.wire.jid import JID, JIDError


class CommandError(Exception):
    """The command cannot be done; one line that says why and what to do."""


class Vitals(Protocol):
    """How the server is (`msgd/vitals.py`)."""

    stress: Stress

    async def survey(self) -> None:
        """Bring up to date what is read of all sessions."""

    def queues(self) -> list[Reading]:
        """The length of every queue."""


class Server(Protocol):
    """What commands work on; the app provides it."""

    config: Config
    reactor: Any
    database: Database
    accounts: Accounts
    router: Router
    spool: Spool
    links: Any  # msgd.links.Links; None where there are none
    started: float
    stopping: bool
    stop: Callable[[float], None]
    reload: Callable[[], list[str]]

    @property
    def vitals(self) -> Vitals:
        """How it is."""


class Terminal(Protocol):
    """Where a command that goes on for a while writes to."""

    def write_line(self, line: str) -> bool:
        """Write a line; False, and nothing written, while the terminal does not keep up."""

    async def next_line(self) -> str | None:
        """The operator's next line; None at the end of input."""


@dataclass(frozen=True)
class Context:
    """What a command works with."""

    server: Server
    terminal: Terminal


Run = Callable[..., Awaitable[Answer]]


@dataclass(frozen=True)
class Command:
    """One command: `words` of its name, arguments as shown in help, how few and many there may be."""

    name: str
    arguments: str
    summary: str
    text: str
    run: Run
    least: int
    most: int

    @property
    def usage(self) -> str:
        """How it is written."""
        return f"{self.name} {self.arguments}".rstrip()


class Registry:
    """Commands by name."""

    def __init__(self) -> None:
        self.commands: dict[str, Command] = {}

    def command(self, usage: str, summary: str) -> Callable[[Run], Run]:
        """Declare `async def run(context, *arguments)`; `usage` is 'name words ARGUMENT [OPTIONAL]'.

        An argument ending in '...' takes the rest of the line. The docstring is the longer help.
        """
        words = usage.split()
        name = " ".join(word for word in words if word[0].islower())
        arguments = [word for word in words if not word[0].islower()]
        least = sum(1 for word in arguments if not word.startswith("["))
        most = 1000 if arguments and arguments[-1].rstrip("]").endswith("...") else len(arguments)

        def declare(run: Run) -> Run:
            text = " ".join((run.__doc__ or "").split())
            made = Command(name, " ".join(arguments), summary, text, run, least, most)
            self.commands[name] = made
            return run

        return declare

    def find(self, line: str) -> tuple[Command, list[str]]:
        """The command of a line and its arguments. Raises CommandError."""
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise CommandError(f"the line cannot be read: {error}") from None
        for length in (2, 1):
            command = self.commands.get(" ".join(words[:length]))
            if command is not None and len(words) >= length:
                arguments = words[length:]
                if not command.least <= len(arguments) <= command.most:
                    raise CommandError(f"usage: {command.usage}")
                return command, arguments
        raise CommandError(self._unknown(words))

    def _unknown(self, words: list[str]) -> str:
        first = words[0]
        family = [command.usage for command in self.commands.values() if command.name.split()[0] == first]
        if family:
            return "usage: " + "; or ".join(family)
        near = difflib.get_close_matches(" ".join(words[:2]), list(self.commands), 1, 0.5)
        near = near or difflib.get_close_matches(first, list(self.commands), 1, 0.5)
        meant = f"did you mean `{near[0]}`?" if near else "`help` lists the commands"
        return f"unknown command `{first[:40]}`; {meant}"


REGISTRY = Registry()
command = REGISTRY.command


def address(text: str) -> JID:
    """An address that was typed. Raises CommandError."""
    try:
        return JID.parse(text)
    except JIDError as error:
        raise CommandError(f"`{text[:60]}` is no address: {error}") from None


def account_address(text: str) -> JID:
    """The bare address of an account. Raises CommandError."""
    jid = address(text)
    if not jid.local:
        raise CommandError(f"`{text[:60]}` is a domain; an account has the form name@domain")
    return jid.bare
