"""Server dialback: DNS is the proof (XEP-0220), with keys that need no memory (XEP-0185).

Here are the keys, and the receiving side of a stream on which the peer asks for domains. Every stream speaks
TLS already; which domains may be proved so is the operator's decision.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.negotiation.link_outcome import LinkFault
from msgd.wire.errors import StreamError
from msgd.wire.jid import JID, JIDError
from msgd.wire.xml import escape, text_of

if TYPE_CHECKING:
    from msgd.negotiation.link_server import LinkServer

_log = Logger("msgd.dialback")
FEATURE: Final = "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>"
#: Pairs of domains that one stream may ask for; a service with more has several streams.
_MOST_PAIRS: Final = 50
#: Characters of a stream's id in a request to verify a key.
_LONGEST_ID: Final = 1023


class Keys:
    """Makes keys, and knows its own again (XEP-0185 §2)."""

    def __init__(self, secret: bytes) -> None:
        self._key = hashlib.sha256(secret).hexdigest().encode()

    def key(self, receiving: str, originating: str, id: str) -> str:
        """The key with which `originating`, one of ours, asks `receiving` on its stream `id`.

        Domains have no spaces, so the parts cannot be taken for others.
        """
        text = f"{receiving} {originating} {id}".encode()
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()

    def are(self, key: str, receiving: str, originating: str, id: str) -> bool:
        """Whether `key` is that one."""
        return hmac.compare_digest(key.strip().encode(), self.key(receiving, originating, id).encode())


def element(name: str, ours: str, theirs: str, type: str = "", id: str = "", content: str = "") -> bytes:
    """A dialback element, from `ours` to `theirs`; the prefix `db` is bound by our stream headers."""
    extra = (f" id='{escape(id)}'" if id else "") + (f" type='{type}'" if type else "")
    head = f"<db:{name} from='{escape(ours)}' to='{escape(theirs)}'{extra}"
    return (f"{head}>{content}</db:{name}>" if content else f"{head}/>").encode()


def addresses(attributes: dict[str, str]) -> tuple[JID, JID]:
    """`from` and `to` of a dialback element: two domains. Raises StreamError."""
    try:
        found = JID.parse(attributes.get("from", "")), JID.parse(attributes.get("to", ""))
    except JIDError:
        raise StreamError("improper-addressing", "dialback is between two domains") from None
    if any(jid.local or jid.resource for jid in found):
        raise StreamError("improper-addressing", "dialback is between two domains")
    return found


class Receiving:
    """The requests of one stream that came to us. `authorized` is told of each pair that is proved."""

    __slots__ = ("_id", "_pending", "_server", "_write", "authorized")

    def __init__(
        self,
        server: LinkServer,
        id: str,
        write: Callable[[bytes], None],
        authorized: Callable[[JID, JID], None],
    ) -> None:
        """`id` is that of the stream. `authorized(theirs, ours)` is called once for each."""
        self._server = server
        self._id = id
        self._write = write
        self.authorized = authorized
        self._pending: dict[tuple[JID, JID], bool] = {}

    def take(self, name: str, attributes: dict[str, str], raw: bytes) -> None:
        """A dialback element, `name` is its local name. Raises StreamError."""
        theirs, to = addresses(attributes)
        ours = self._server.domain(to)
        if attributes.get("type") is not None:
            # An answer belongs to the stream on which we asked, where it is awaited.
            raise StreamError("not-authorized", "nobody asked")
        if name == "verify":
            self._verify(theirs, ours, to, attributes.get("id", ""), text_of(raw))
        elif name == "result":
            self._result(theirs, ours, to, text_of(raw))
        else:
            raise StreamError("unsupported-stanza-type", "dialback has no such element")

    def _verify(self, theirs: JID, ours: JID | None, to: JID, id: str, key: str) -> None:
        """§2.2.2: did we give out this key?"""
        if ours is None:
            self._write(_error("verify", to, theirs, "item-not-found", id))
            return
        good = len(id) <= _LONGEST_ID and self._server.keys.are(key, theirs, ours, id)
        self._write(element("verify", ours, theirs, "valid" if good else "invalid", id))

    def _result(self, theirs: JID, ours: JID | None, to: JID, key: str) -> None:
        """§2.1: the peer wants to send from `theirs` to `ours`."""
        if ours is None:
            self._write(_error("result", to, theirs, "item-not-found"))
        elif not (self._server.policy.permits(theirs) and self._server.policy.dialback(theirs)):
            self._write(_error("result", ours, theirs, "policy-violation"))
            self._server.refused(theirs, "", "dialback is not allowed for it (federation.dialback)")
        elif self._pending.get((theirs, ours)):
            self._write(element("result", ours, theirs, "valid"))
        elif (theirs, ours) in self._pending or len(self._pending) >= _MOST_PAIRS:
            self._write(_error("result", ours, theirs, "resource-constraint"))
        else:
            self._pending[theirs, ours] = False
            Deferred.fromCoroutine(self._prove(theirs, ours, key)).addErrback(
                lambda failure: _log.failure("dialback failed", failure)
            )

    async def _prove(self, theirs: JID, ours: JID, key: str) -> None:
        try:
            good = await self._server.verify(ours, theirs, self._id, key)
        except LinkFault as fault:
            del self._pending[theirs, ours]
            self._server.refused(theirs, "", f"its dialback key cannot be verified: {fault}")
            self._write(_error("result", ours, theirs, fault.condition))
            return
        if not good:
            del self._pending[theirs, ours]
            self._server.refused(theirs, "", "its dialback key is not valid")
            self._write(element("result", ours, theirs, "invalid"))
            return
        self._pending[theirs, ours] = True
        self._write(element("result", ours, theirs, "valid"))
        self.authorized(theirs, ours)


def _error(name: str, ours: JID, theirs: JID, condition: str, id: str = "") -> bytes:
    """§2.4: an answer of the type 'error'."""
    content = f"<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    return element(name, ours, theirs, "error", id, content)
