"""One run: a server lives and is killed a few times under traffic, and then everything is collected."""

from __future__ import annotations

import asyncio
import errno
import random
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.crash.actors import KINDS, Recipient, Sender, World
from tests.crash.client import Lost, Refused
from tests.crash.journal import Delivery, Message, Tally
from tests.crash.server import Server
from tests.faults.shim import Call
from tests.forks import ForkServer
from tests.harness import NewAccount, ServerFailed

_SENDERS: Final = ("ann", "bob", "cid")
#: How long the clients of a run may take to get everything in the end, seconds.
_PATIENCE: Final = 30.0
_ARCHIVE: Final = "archive.default"
_OPTIONS: Final = (
    "login.plain = true",
    "login.failures_per_address = 0",
    "login.failures_per_account = 0",
    "limits.strangers_per_address = 0",
)


@dataclass
class Outcome:
    """What came out of one run."""

    seed: str
    kills: int = 0
    tallies: dict[str, Tally] = field(default_factory=dict)
    #: Everything that was wrong, in words.
    faults: list[str] = field(default_factory=list)


def accounts() -> list[NewAccount]:
    """Everybody who takes part."""
    return [NewAccount(name) for name in (*_SENDERS, *_names())]


def _names() -> dict[str, type[Recipient]]:
    """The recipients: two of each kind."""
    return {f"{kind.__name__.lower()}{number}": kind for kind in KINDS for number in (1, 2)}


class Run:
    """One run; `seed` decides about everything but the machine's own timing."""

    def __init__(self, seed: str, server: Server, options: Sequence[str] = ()) -> None:
        """`options` are lines of the configuration that go before those that the dice choose."""
        self._options = options
        self._dice = random.Random(seed)
        self._server = server
        self._world = World(self._dice)
        self._outcome = Outcome(seed)
        self._collected = False
        chosen = [option for option in options if option.startswith(_ARCHIVE)]
        #: Whether everybody has an archive.
        self._archives = "always" in chosen[0] if chosen else random.Random(f"{seed} archive").random() < 0.4
        self._troubled = self._dice.random() < 0.25 and server.disk is not None
        # Who resumes while nothing can be stored is told of less than was taken, and sends the rest again.
        self._world.cuts = not self._troubled
        self.recipients = [kind(self._world, name) for name, kind in _names().items()]
        names = [recipient.name for recipient in self.recipients]
        taking_over = frozenset(recipient.name for recipient in self.recipients if recipient.taking_over)
        self._world.journal.taking_over = taking_over
        self._senders = [Sender(self._world, name, names) for name in _SENDERS]

    async def run(self) -> Outcome:
        """Live, be killed, live again, collect."""
        self._server.files.configure([*_OPTIONS, *self._random_options(), *self._options])
        try:
            for _ in range(self._dice.choice((2, 3))):
                await self._life()
            await self._collect()
        except (Refused, ServerFailed) as error:
            self._outcome.faults.append(f"{type(error).__name__}: {error}")
        return self._judged()

    @property
    def deliveries(self) -> list[Delivery]:
        """What came, in order."""
        return self._world.journal.deliveries

    def _random_options(self) -> list[str]:
        dice = self._dice
        quota = dice.choice((10_000,) * 9 + (100,))
        archive = [f'{_ARCHIVE} = "always"'] if self._archives and not self._options else []
        return [
            *archive,
            f"spool.window = {dice.choice((1, 5, 20, 20, 100))}",
            f"spool.batch = {dice.choice((3, 50, 500))}",
            f"spool.most_messages = {quota}",
            f"stream_management.most_queued = {dice.choice((10, 100, 1000))}",
        ]

    # -- a life of the server ------------------------------------------------------------------

    async def _life(self) -> None:
        world, dice = self._world, self._dice
        await self._server.start()
        world.address, world.dead = self._server.address, False
        people = [asyncio.ensure_future(recipient.live()) for recipient in self.recipients]
        try:
            if not self._outcome.kills or dice.random() < 0.5:
                ready = asyncio.gather(*(recipient.ready.wait() for recipient in self.recipients))
                await asyncio.wait_for(ready, _PATIENCE)
            people += [asyncio.ensure_future(sender.live()) for sender in self._senders]
            await self._until_killed()
            for recipient in self.recipients:
                recipient.server_died()
            await asyncio.wait_for(asyncio.gather(*people), _PATIENCE)
        except TimeoutError:
            waiting = [repr(each) for each in people if not each.done()]
            self._outcome.faults.append(f"somebody waits for ever: {waiting}")
        finally:
            for each in people:
                each.cancel()
            while world.left_behind:
                world.left_behind.pop().abort()
            self._die()
        await self._server.dead()

    async def _until_killed(self) -> None:
        """Kill by the clock, in the instant in which an acknowledgement arrives, or within a write."""
        world, dice, disk = self._world, self._dice, self._server.disk
        killed = asyncio.Event()
        left = dice.randint(1, 400)

        def die() -> None:
            self._die()
            killed.set()

        def count(_: Message) -> None:
            nonlocal left
            left -= 1
            if not left:
                die()

        way = dice.random()
        if way < 0.5:
            world.on_safe = count
        elif way < 0.7 and disk is not None and not self._troubled:
            call: Call = dice.choice(("write", "sync"))
            dice.choice((disk.kill, disk.kill_after))(call, skip=dice.randrange(300))
        trouble = asyncio.ensure_future(self._trouble())
        longest = 2.5 if self._troubled else 0.6
        timer = asyncio.get_running_loop().call_later(dice.uniform(0.02, longest), die)
        assert self._server.gone is not None  # it was started
        self._server.gone.add_done_callback(lambda _: die())
        await killed.wait()
        timer.cancel()
        trouble.cancel()
        if disk is not None:
            disk.clear()
        world.on_safe = lambda message: None

    async def _trouble(self) -> None:
        """In some runs the disk fails now and then."""
        disk = self._server.disk
        while disk is not None and self._troubled:
            await self._world.pause(0.4)
            call: Call = self._dice.choice(("write", "sync"))
            disk.fail(call, self._dice.choice((errno.EIO, errno.ENOSPC)), skip=self._dice.randrange(5))
            await self._world.pause(0.2)
            disk.clear()

    def _die(self) -> None:
        if not self._world.dead:
            self._world.dead = True
            self._server.kill()
            self._outcome.kills += 1

    # -- the end -------------------------------------------------------------------------------

    async def _collect(self) -> None:
        """Log everybody in and send each a last message: what comes before it is all there is."""
        world = self._world
        await self._server.start()
        world.address, world.dead = self._server.address, False
        self._collected = True
        try:
            for recipient in self.recipients:
                client = recipient.clients[0]
                client.answers, client.receive_buffer, client.previous = True, 0, None
                await client.log_in(world.address, manage=True, presence=True)
            sender = self._senders[0]
            await sender.client.log_in(world.address, manage=True, presence=False)
            await asyncio.wait_for(
                asyncio.gather(*(self._last(sender, each) for each in self.recipients)), _PATIENCE
            )
            await asyncio.wait_for(self._all_acknowledged(sender), _PATIENCE)
            for client in (sender.client, *(recipient.clients[0] for recipient in self.recipients)):
                await asyncio.wait_for(client.close(), _PATIENCE)
        except (TimeoutError, Lost) as error:
            self._outcome.faults.append(f"the end was not reached: {type(error).__name__} {error}")
        await self._server.stop()
        self._look_at_what_is_left()

    async def _last(self, sender: Sender, recipient: Recipient) -> None:
        """Send `recipient` a message until one does not come back because the mailbox is full."""
        journal = self._world.journal
        while True:
            message = sender.send(recipient.name)
            while not any(each.message == message for each in journal.deliveries[-500:]):
                if message in journal.refused:
                    break
                await asyncio.sleep(0.005)
            else:
                return

    @staticmethod
    async def _all_acknowledged(sender: Sender) -> None:
        while sender.client.outstanding:
            sender.client.acknowledged.clear()
            sender.client.request()
            await sender.client.acknowledged.wait()

    def _look_at_what_is_left(self) -> None:
        """Whatever was delivered and acknowledged has left the store, or is in archives alone."""
        database = sqlite3.connect(self._server.data / "msgd.sqlite")
        for table in ("spool WHERE waiting OR NOT archived", "spool_corrupt"):
            (count,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()
            if count:
                self._outcome.faults.append(f"{count} rows are left in {table}")
        if self._archives:
            rows = database.execute(
                "SELECT name, sent, message, spool.id FROM spool JOIN account ON account.id = account_id"
            )
            archive = [(name, bool(sent), message, f"{id:x}") for name, sent, message, id in rows]
            self._outcome.faults += self._world.journal.missing_in(archive)
        database.close()

    def _judged(self) -> Outcome:
        outcome, journal = self._outcome, self._world.journal
        kinds = {recipient.name: recipient.kind for recipient in self.recipients}
        if self._collected:
            outcome.tallies = journal.tallies(lambda name: kinds[name])
        outcome.faults += journal.faults + journal.breaches
        for line in self._server.files.log.read_text("utf-8", "replace").splitlines():
            if "#critical" in line or ("#error" in line and not self._troubled):
                outcome.faults.append(f"in the log: {line}")
        return outcome


async def play(
    seed: str, forks: ForkServer, template: Path, data: Path, options: Sequence[str] = ()
) -> Outcome:
    """One run in the directory `data`, which is removed when all was well."""
    server = Server(forks, data, template)
    run = Run(seed, server, options)
    outcome = await run.run()
    if outcome.faults:
        (data / "deliveries").write_text("\n".join(map(str, run.deliveries)) + "\n")
    else:
        shutil.rmtree(data)
    return outcome
