"""What clients can do, asked once for each kind of client: a cache by the verified hash (XEP-0115 §5.4).

Presence names the hash; who is the first to show it is asked what it stands for, and the answer, if it has
that hash, is good for everybody, also after a restart. One with another hash counts for that client only.
Kept is what the server needs to know: the nodes of whose news the client wants to be told.

Clients of this server are asked first; of another domain not many at a time, and no second one for the same
hash when one has not answered: a domain that makes hashes up keeps nobody else from being known.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from sqlalchemy import bindparam, delete, func, select, update
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.storage.database import Connection, DatabaseError
from msgd.storage.schema import client_capabilities as table
from msgd.storage.statements import upsert
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from msgd.wire.xml import element, parse, serialise
from msgd.xeps.verification import HASHES, IllFormed, described, wanted_nodes

if TYPE_CHECKING:
    from msgd.routing.router import Router

_log = Logger("msgd.capabilities")
NAMESPACE: Final = "http://jabber.org/protocol/caps"
_INFO: Final = "http://jabber.org/protocol/disco#info"
#: Kinds of clients that are remembered in memory and in the database. There are some hundred in the world;
#: the rest are versions, and whoever makes hashes up.
_IN_MEMORY: Final = 500
_KEPT: Final = 5000
#: Nodes that a client may want, and characters of all their names.
_MOST_WANTED: Final = 100
_LONGEST_WANTED: Final = 10_000
#: Characters of a hash, and of the software's name.
_LONGEST: Final = 256
#: Clients that are asked, or wait for the answer of another, at a time.
_MOST_ASKED: Final = 1000
#: Hashes of which clients elsewhere are asked at a time: in all, so that there is room for those of this
#: server, and in one domain.
_MOST_ELSEWHERE: Final = 500
_MOST_IN_DOMAIN: Final = 20
#: Seconds for an answer.
_PATIENCE: Final = 60.0
#: Seconds after which the use of an entry is noted again.
_STALE: Final = 86400

_FIND: Final = select(table.c.wanted, table.c.used).where(
    table.c.hash == bindparam("hash"), table.c.version == bindparam("version")
)
_KEEP: Final = upsert(table, "wanted", "used")
_USED: Final = (
    update(table)
    .where(table.c.hash == bindparam("its_hash"), table.c.version == bindparam("its_version"))
    .values(used=bindparam("now"))
)
_COUNT: Final = select(func.count()).select_from(table)
_MIDDLE: Final = select(table.c.used).order_by(table.c.used.desc()).limit(1).offset(bindparam("place"))
_FORGET: Final = delete(table).where(table.c.used <= bindparam("used"))

Wanted = tuple[str, ...]


class Caps(NamedTuple):
    """What `<c/>` says: the hash function, the hash, and the software's name."""

    hash: str
    version: str
    software: str


class Asked(Protocol):
    """A client that showed a hash. `domain` is its domain, empty for those of this server."""

    domain: str
    #: Its full JID, and in whose name it is asked.
    jid: JID
    asker: JID

    @property
    def is_there(self) -> bool:
        """Whether it is still to be known."""

    @property
    def can_answer(self) -> bool:
        """Whether it makes sense to ask it."""

    def known(self, version: str, wanted: Wanted) -> None:
        """What it wants, where it shows this hash."""

    def unknown(self, version: str) -> None:
        """Nobody has answered."""


def caps_of(presence: Stanza) -> Caps | None:
    """The `<c/>` of a presence stanza; None without one, for the legacy format and for what is too long."""
    # Parsed aside, so that the tree does not stay in memory with the stanza.
    found = parse(presence.raw).find(f"{{{NAMESPACE}}}c")
    if found is None:
        return None
    caps = Caps(found.get("hash", ""), found.get("ver", ""), found.get("node", ""))
    return caps if all(caps) and max(map(len, caps)) <= _LONGEST else None


class ClientCapabilities:
    """The cache, and the questions under way."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._cache: OrderedDict[tuple[str, str], Wanted] = OrderedDict()
        self._asked: dict[tuple[str, str], list[tuple[Asked, Caps]]] = {}
        # Of those the ones that clients elsewhere began, by their domains.
        self._elsewhere: dict[str, int] = {}

    def learn(self, who: Asked, caps: Caps) -> None:
        """Find out what a client wants; it is told `known` then, or `unknown`, perhaps at once."""
        key = caps.hash, caps.version
        wanted = self._cache.get(key)
        if wanted is not None:
            self._cache.move_to_end(key)
            who.known(caps.version, wanted)
        elif key in self._asked and len(self._asked[key]) < _MOST_ASKED:
            self._asked[key].append((who, caps))
        elif key not in self._asked and self._has_room(who.domain):
            self._asked[key] = [(who, caps)]
            if who.domain:
                self._elsewhere[who.domain] = self._elsewhere.get(who.domain, 0) + 1
            Deferred.fromCoroutine(self._find(key, who.domain)).addErrback(
                lambda failure: _log.failure("capabilities could not be learnt", failure)
            )
        else:
            who.unknown(caps.version)

    def _has_room(self, domain: str) -> bool:
        if not domain:
            return len(self._asked) < _MOST_ASKED
        in_domain = self._elsewhere.get(domain, 0)
        return in_domain < _MOST_IN_DOMAIN and sum(self._elsewhere.values()) < _MOST_ELSEWHERE

    async def _find(self, key: tuple[str, str], domain: str) -> None:
        """Look it up, or ask one after the other of those who show it until one tells the truth."""
        wanted: Wanted | None = None
        try:
            wanted = await self._look_up(key)
            if wanted is None:
                wanted = await self._ask_all(self._asked[key])
                if wanted is not None:
                    await self._keep(key, wanted)
        finally:
            waiting = self._asked.pop(key)
            self._one_less(domain)
            if wanted is not None:
                self._remember(key, wanted)
            for who, caps in waiting:
                if who.is_there and wanted is not None:
                    who.known(caps.version, wanted)
                else:
                    who.unknown(caps.version)

    async def _ask_all(self, waiting: list[tuple[Asked, Caps]]) -> Wanted | None:
        """Ask those who wait, and who come meanwhile, until one proves what it says."""
        silent: set[str] = set()
        while waiting:
            # Those of this server first.
            place = next((i for i, (who, _) in enumerate(waiting) if not who.domain), 0)
            who, caps = waiting.pop(place)
            answer = None
            if who.can_answer and who.domain not in silent:
                answer = await self._ask(who, caps)
                if answer is None and who.domain:
                    silent.add(who.domain)
            if answer is None:
                who.unknown(caps.version)
                continue
            who.known(caps.version, answer[0])
            if answer[1]:
                return answer[0]
        return None

    def _one_less(self, domain: str) -> None:
        if domain:
            self._elsewhere[domain] -= 1
            if not self._elsewhere[domain]:
                del self._elsewhere[domain]

    async def _ask(self, who: Asked, caps: Caps) -> tuple[Wanted, bool] | None:
        """Ask one client (§6.2): what it wants, and whether its hash is true. None for no good answer."""
        node = f"{caps.software}#{caps.version}"
        query = serialise(element(_INFO, "query", {"node": node}))
        question = Stanza.build("iq", to=who.jid, from_=who.asker, type="get", content=query)
        try:
            answer = await self._router.ask(question, _PATIENCE)
            payload = answer.payload
            if payload is None or payload.tag != f"{{{_INFO}}}query":
                return None
            found = described(payload)
            wanted = wanted_nodes(found)
        except (StanzaError, IllFormed):
            return None
        if len(wanted) > _MOST_WANTED or sum(map(len, wanted)) > _LONGEST_WANTED:
            return None
        return wanted, caps.hash in HASHES and found.hashed(caps.hash) == caps.version

    def _remember(self, key: tuple[str, str], wanted: Wanted) -> None:
        self._cache[key] = wanted
        while len(self._cache) > _IN_MEMORY:
            self._cache.popitem(last=False)

    # -- the table -----------------------------------------------------------------------------

    async def _look_up(self, key: tuple[str, str]) -> Wanted | None:
        hash, version = key
        try:
            found = await self._router.database.look_up(
                lambda connection: connection.one(_FIND, {"hash": hash, "version": version})
            )
            if found is None:
                return None
            now = int(time.time())
            if now - found[1] > _STALE:
                note = {"its_hash": hash, "its_version": version, "now": now}
                await self._router.database.write(lambda connection: connection.run(_USED, note))
        except DatabaseError as error:
            _log.error("capabilities could not be read: {error}", error=str(error))
            return None
        return tuple(json.loads(found[0]))

    async def _keep(self, key: tuple[str, str], wanted: Wanted) -> None:
        row = {"hash": key[0], "version": key[1], "wanted": json.dumps(wanted), "used": int(time.time())}

        def work(connection: Connection) -> None:
            connection.run(_KEEP, row)
            count = connection.one(_COUNT)
            if count is not None and count[0] > _KEPT:
                middle = connection.one(_MIDDLE, {"place": _KEPT // 2})
                if middle is not None:
                    connection.run(_FORGET, {"used": middle[0]})

        try:
            await self._router.database.write(work)
        except DatabaseError as error:
            _log.error("capabilities could not be kept: {error}", error=str(error))
