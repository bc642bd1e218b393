"""Servers for transcripts: shared between those with the same options, own for those that command it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.forks import ForkServer
from tests.harness import Msgd, NewAccount
from tests.links.net import Authority, NameServer
from tests.specification.actor import Server
from tests.specification.peers import Prosody
from tests.specification.play import Failed, Play, is_step
from tests.specification.schema import check, check_nothing
from tests.specification.transcript import FEDERATED, Transcript, find, read

#: More bytes than this are not worth a TLS record each.
MOST_SPLIT = 6000


class Startable(Server, Protocol):
    """A server that is ours to start."""


@dataclass(frozen=True)
class Performance:
    """One transcript to be played, with the token of its fresh accounts."""

    transcript: Transcript
    token: str
    split: bool

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return self.transcript.name + ("-split" if self.split else "")

    @property
    def accounts(self) -> list[NewAccount]:
        """The fresh accounts it needs."""
        roles = [role for role in self.transcript.cast.values() if role.exists]
        found = {
            (role.local, role.domain): NewAccount(
                f"{role.local}-{self.token}", role.domain, disabled=role.disabled
            )
            for role in roles
        }
        return list(found.values())


def performances(paths: list[Path], modes: tuple[bool, ...]) -> list[Performance]:
    """Everything that is to be played. Raises TranscriptError."""
    numbers = itertools.count(1)
    transcripts = [each for path in paths for each in read(path, is_step)]
    return [
        Performance(transcript, str(next(numbers)), split)
        for transcript in transcripts
        for split in modes
        if not split or _worth_splitting(transcript)
    ]


def _worth_splitting(transcript: Transcript) -> bool:
    blocks = "".join(step.block or "" for step in transcript.steps if step.sentence.endswith(" sends:"))
    return bool(blocks) and not (transcript.whole or " times: " in blocks or len(blocks) > MOST_SPLIT)


def transcripts_below(roots: list[Path]) -> list[Path]:
    """Files, and all transcripts below folders."""
    return [path for root in roots for path in (find(root) if root.is_dir() else [root])]


class Stage:
    """Where performances take place, on servers from `forks`. `prosody` plays against that instead."""

    def __init__(
        self, data: Path, everything: list[Performance], forks: ForkServer | None, prosody: bool = False
    ) -> None:
        self._data = data
        self._forks = forks
        self.everything = everything
        self._prosody = prosody
        self._shared: dict[tuple[str, ...], Startable] = {}
        self._numbers = itertools.count(1)
        self._authority: Authority | None = None
        self._names: NameServer | None = None

    def play(self, performance: Performance) -> Play:
        """Play it. Raises Failed. Returns it with the traffic."""
        transcript = performance.transcript
        alone = transcript.commands_server
        try:
            server = self._server([performance]) if alone else self._share(transcript.options)
        except OSError as error:
            raise Failed(f"{transcript.path}: no server: {error}") from None
        play = Play(transcript, server, performance.token, self.check, performance.split)
        try:
            play.run()
        finally:
            if alone:
                server.kill()
        return play

    @property
    def check(self) -> Callable[..., None]:
        """What looks at each element the server sends."""
        return check_nothing if self._prosody else check

    def _share(self, options: tuple[str, ...]) -> Startable:
        if options not in self._shared:
            self._shared[options] = self._server(
                [
                    each
                    for each in self.everything
                    if each.transcript.options == options and not each.transcript.commands_server
                ]
            )
        return self._shared[options]

    def _server(self, audience: list[Performance]) -> Startable:
        accounts = [account for each in audience for account in each.accounts]
        directory = self._data / f"server-{next(self._numbers)}"
        options = audience[0].transcript.options
        federated = FEDERATED in options
        if federated:
            options += self._federation()
        server: Startable
        if self._prosody:
            server = Prosody(directory, accounts)
        else:
            movable = any(
                step.sentence.startswith("The clock") for each in audience for step in each.transcript.steps
            )
            server = Msgd(directory, options, accounts, movable=movable, forks=self._forks)
            server.authority = self._authority
        server.start()
        return server

    def _federation(self) -> tuple[str, ...]:
        """Options for a server that has others beside it: a name server that knows nobody, an authority."""
        if self._authority is None:
            self._authority = Authority(self._data / "authority")
            self._names = NameServer()
        certificate, key = self._authority.issue("localhost", "localhost")
        assert self._names is not None  # made with the authority
        return (
            f'federation.resolvers = ["127.0.0.1:{self._names.port}"]',
            f'federation.authorities = "{self._authority.file}"',
            "listen.server = 0",
            "listen.server_tls = 0",
            f'tls.certificate = "{certificate}"',
            f'tls.key = "{key}"',
        )

    def close(self) -> None:
        """Stop all servers; raises when one does not stop as it should."""
        for server in self._shared.values():
            server.stop()
        if self._names is not None:
            self._names.close()
