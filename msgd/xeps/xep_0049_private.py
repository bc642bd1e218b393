"""XEP-0049 Private XML Storage: small pieces of XML that a client keeps for its account.

One piece for each expanded element name. How many and how large together is limited, so that an
account cannot fill the disk. Bookmarks are the same list as everywhere (`msgd/xeps/bookmarks.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element

from sqlalchemy import bindparam, delete, func, insert, select

from msgd.routing.extension import ACCOUNT, OWN, Extension, Xep, on_iq
from msgd.storage.database import Connection
from msgd.storage.schema import private_xml
from msgd.wire.errors import StanzaError
from msgd.wire.stanza import Stanza
from msgd.wire.xml import parse, serialise
from msgd.xeps import bookmarks
from msgd.xeps.permission import require_account
from msgd.xeps.pubsub.change import Change
from msgd.xeps.pubsub.service import Service

if TYPE_CHECKING:
    from msgd.routing.router import Router

NAMESPACE: Final = "jabber:iq:private"

_KEY: Final = (
    private_xml.c.account_id == bindparam("account_id"),
    private_xml.c.namespace == bindparam("namespace"),
    private_xml.c.name == bindparam("name"),
)
_FIND: Final = select(private_xml.c.xml).where(*_KEY)
_REMOVE: Final = delete(private_xml).where(*_KEY)
_KEEP: Final = insert(private_xml)
_USED: Final = select(
    func.count(), func.coalesce(func.sum(func.length(private_xml.c.xml)), 0)
).where(private_xml.c.account_id == bindparam("account_id"))  # fmt: skip

_BOOKMARKS: Final = (bookmarks.OLD, "storage")
#: A piece: namespace, name, and the element as bytes.
Piece = tuple[str, str, bytes]


class PrivateStorage(Extension):
    """XEP-0049 Private XML Storage."""

    xep = Xep(49, "1.2")
    features = frozenset({NAMESPACE})
    account_features = frozenset({NAMESPACE})
    proves = "xep_0049/*"

    def __init__(self, router: Router) -> None:
        super().__init__(router)
        self._service = Service(router)

    @on_iq("get", NAMESPACE, "query", at=(OWN,))
    async def fetch(self, stanza: Stanza) -> bytes:
        """§3: what is kept under the name that is asked for, or the question as it came."""
        pieces = _pieces(stanza)
        if len({namespace for namespace, _, _ in pieces}) > 1:
            raise StanzaError("bad-request", "one namespace at a time")
        account = await require_account(self, stanza)

        def look(connection: Connection) -> list[bytes]:
            found = []
            for namespace, name, asked in pieces:
                if (namespace, name) == _BOOKMARKS:
                    found.append(serialise(bookmarks.view(connection, account.id), NAMESPACE))
                    continue
                key = {"account_id": account.id, "namespace": namespace, "name": name}
                row = connection.one(_FIND, key)
                found.append(row[0] if row is not None else asked)
            return found

        return _query(await self.database.read(look))

    @on_iq("set", NAMESPACE, "query", at=(OWN,))
    async def keep(self, stanza: Stanza) -> None:
        """§3: every child replaces what was kept under its name."""
        pieces = _pieces(stanza)
        account = await require_account(self, stanza)
        limits = self.config.private_storage

        def store(change: Change) -> None:
            connection = change.connection
            for namespace, name, xml in pieces:
                if (namespace, name) == _BOOKMARKS:
                    bookmarks.write(change, parse(xml))
                    continue
                key: dict[str, object] = {
                    "account_id": account.id, "namespace": namespace, "name": name,
                }  # fmt: skip
                connection.run(_REMOVE, key)
                connection.run(_KEEP, {**key, "xml": xml})
            used = connection.one(_USED, {"account_id": account.id})
            if used is not None and (used[0] > limits.pieces or used[1] > limits.size):
                raise StanzaError("policy-violation", "too much private storage is used")

        await self._service.change(account, store)

    @on_iq("get", NAMESPACE, "query", at=(ACCOUNT,))
    @on_iq("set", NAMESPACE, "query", at=(ACCOUNT,))
    async def refuse(self, stanza: Stanza) -> None:
        """§3: nobody reaches what is kept for another."""
        raise StanzaError("forbidden")


def _pieces(stanza: Stanza) -> list[Piece]:
    """The children of the query. Raises StanzaError where §3 wants it."""
    query = stanza.payload
    pieces = [_piece(child) for child in query] if query is not None else []
    if not pieces or any(namespace in ("", NAMESPACE) for namespace, _, _ in pieces):
        raise StanzaError("not-acceptable", "an element in a namespace of its own is wanted")
    return pieces


def _piece(child: Element) -> Piece:
    namespace, _, name = child.tag.removeprefix("{").rpartition("}")
    return namespace, name, serialise(child, NAMESPACE)


def _query(pieces: list[bytes]) -> bytes:
    return f"<query xmlns='{NAMESPACE}'>".encode() + b"".join(pieces) + b"</query>"
