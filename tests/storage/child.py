"""A process with a database and a real reactor, driven by lines, for tests that kill it or its disk.

put A B C     write rows of these names as jobs of their own, queued together; answers when all are
              settled: "put A=ok B=DatabaseFault …"
health        answers "health True" or "health False"
close         closes in order and ends
"""

import sys
from typing import Any, cast

from sqlalchemy import insert
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThread

from msgd.storage import writer
from msgd.storage.database import Connection
from msgd.storage.schema import secret
from msgd.storage.sqlite import SqliteDatabase, open_database

reactor: Any = installed

# Nothing but what the test asks for is to meet the fault.
writer._PROBE_INTERVAL = 3600.0

_ADD = insert(secret)
_SIZE = 6000  # more than a page


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _put(database: SqliteDatabase, names: list[str]) -> "Deferred[None]":
    outcomes: list[str] = []
    settled: Deferred[None] = Deferred()

    def write(name: str) -> None:
        def work(connection: Connection) -> None:
            if name != "nothing":
                connection.run(_ADD, {"name": name, "value": bytes(_SIZE)})

        def done(error: Exception | None) -> None:
            outcomes.append(f"{name}={'ok' if error is None else type(error).__name__}")
            if len(outcomes) == len(names):
                _say("put " + " ".join(outcomes))
                settled.callback(None)

        database.write_soon(work, done)

    for name in names:
        write(name)
    return settled


async def _main(database: SqliteDatabase) -> None:
    _say("ready")
    while words := (await deferToThread(sys.stdin.readline)).split():
        if words[0] == "put":
            await _put(database, words[1:])
        elif words[0] == "health":
            _say(f"health {database.healthy}")
        else:
            break
    await database.close()
    _say("closed")
    reactor.stop()


if __name__ == "__main__":
    opened = open_database(sys.argv[1], cast(IReactorFromThreads, reactor), claim=True)
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(_main(opened)))
    reactor.run()
