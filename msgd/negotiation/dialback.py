"""Server dialback (XEP-0220), with keys that need no memory (XEP-0185): the two sides of one stream.

`Receiving` is asked by the peer, which wants to send from its domains; `Asking` asks for ours. Every stream
speaks TLS already. For which domains of others DNS is proof enough is the operator's decision; how others
come to believe us is theirs.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from msgd.negotiation.link_outcome import LinkFault
from msgd.wire.border import LINK_HEADER
from msgd.wire.errors import StreamError
from msgd.wire.jid import JID, JIDError
from msgd.wire.xml import escape, parse, text_of

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
    """The requests of the peer of one stream. `authorized` is told of each pair that is proved."""

    __slots__ = ("_id", "_pending", "_proves", "_refusals", "_server", "_write", "authorized", "disowned",
                 "shared")  # fmt: skip

    def __init__(
        self,
        server: LinkServer,
        id: str,
        write: Callable[[bytes], None],
        proves: Callable[[JID], bool],
        authorized: Callable[[JID, JID], None] = lambda theirs, ours: None,
        disowned: Callable[[], None] = lambda: None,
    ) -> None:
        """`id` is that of the stream; `proves` tells whether the stream's certificate is good for a domain.

        `authorized(theirs, ours)` is called once for each; `disowned` ends a stream without a pair.
        """
        self._server = server
        self._id = id
        self._write = write
        self._proves = proves
        self.authorized = authorized
        self.disowned = disowned
        #: There is a pair on the stream: a request that comes to nothing must not end it.
        self.shared = False
        self._pending: dict[tuple[JID, JID], bool] = {}
        self._refusals = 0

    def take(self, name: str, attributes: dict[str, str], raw: bytes) -> None:
        """A request, `name` is its local name. Raises StreamError."""
        theirs, to = addresses(attributes)
        ours = self._server.domain(to)
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
        pair = theirs, ours
        if ours is None:
            self._write(_error("result", to, theirs, "item-not-found"))
        elif self._pending.get((theirs, ours)):
            self._write(element("result", ours, theirs, "valid"))
        elif pair in self._pending or max(len(self._pending), self._refusals) >= _MOST_PAIRS:
            self._write(_error("result", ours, theirs, "resource-constraint"))
        elif not self._server.policy.permits(theirs):
            self._refuse(theirs, ours, "policy-violation", "there are no links with it")
        elif not (self._server.policy.dialback(theirs) or self._proves(theirs)):
            why = "dialback is not allowed for it (federation.dialback)"
            self._refuse(theirs, ours, "not-authorized", why)
        else:
            self._pending[theirs, ours] = False
            Deferred.fromCoroutine(self._prove(theirs, ours, key)).addErrback(
                lambda failure: _log.failure("dialback failed", failure)
            )

    async def _prove(self, theirs: JID, ours: JID, key: str) -> None:
        """Whoever is at `theirs`, with a certificate or by DNS where that is enough, has to know the key."""
        try:
            good = await self._server.verify(ours, theirs, self._id, key)
        except LinkFault as fault:
            del self._pending[theirs, ours]
            self._refuse(theirs, ours, fault.condition, f"its dialback key cannot be verified: {fault}")
            return
        if good:
            self.shared = self._pending[theirs, ours] = True
            self._write(element("result", ours, theirs, "valid"))
            self.authorized(theirs, ours)
            return
        del self._pending[theirs, ours]
        # §2.2.1: 'invalid' is the end of the stream.
        self._refuse(theirs, ours, "forbidden" if self.shared else "", "its dialback key is not valid")
        if not self.shared:
            self.disowned()

    def _refuse(self, theirs: JID, ours: JID, condition: str, why: str) -> None:
        self._refusals += 1
        self._server.refused(theirs, "", why)
        self._write(
            _error("result", ours, theirs, condition)
            if condition
            else element("result", ours, theirs, "invalid")
        )


class Asking:
    """Our requests on one stream, each remembered until it is answered, however late (§2.1.1).

    `answered` is told of each answer: the pair of domains (ours, theirs), and its type.
    """

    __slots__ = ("_asked", "_id", "_keys", "_write", "allowed", "answered", "errors", "open")

    def __init__(
        self, keys: Keys, id: str, write: Callable[[bytes], None], errors: bool, allowed: bool = True
    ) -> None:
        """`id` is that of the stream; `errors`: a request that comes to nothing does not end it (§2.4.2)."""
        self._keys = keys
        self._id = id
        self._write = write
        self._asked: dict[tuple[JID, JID], Deferred[None]] = {}
        self.errors = errors
        #: Whether the peer takes requests, and whether it has room for one more.
        self.allowed = allowed
        self.open = True
        self.answered: Callable[[JID, JID, str], None] = lambda ours, theirs, type: None

    @property
    def room(self) -> bool:
        """Whether one more request can be made now."""
        return self.allowed and self.open and len(self._asked) < _MOST_PAIRS

    def ask(self, ours: JID, theirs: JID) -> Deferred[None]:
        """Ask to send from `ours` to `theirs`. Fires when that is allowed, or with a LinkFault."""
        answer: Deferred[None] = Deferred()
        self._asked[ours, theirs] = answer
        self._write(element("result", ours, theirs, content=self._keys.key(theirs, ours, self._id)))
        return answer

    def take(self, name: str, attributes: dict[str, str], raw: bytes) -> None:
        """An answer. Raises StreamError for one that nobody asked for on this stream (§5.1)."""
        theirs, ours = addresses(attributes)
        answer = self._asked.pop((ours, theirs), None) if name == "result" else None
        if answer is None:
            raise StreamError("not-authorized", "nobody asked")
        if attributes["type"] == "valid":
            self.answered(ours, theirs, "valid")
            if not answer.called:
                answer.callback(None)
            return
        type = "invalid" if attributes["type"] == "invalid" else "error"
        conditions = [each.tag.rpartition("}")[2] for each in parse(raw, LINK_HEADER).iterfind("*/*")][:2]
        if "resource-constraint" in conditions:
            self.open = False
        self.answered(ours, theirs, type)
        if not answer.called:
            answer.errback(LinkFault("authentication", " ".join(("dialback:", type, *conditions))))

    def over(self, fault: LinkFault) -> None:
        """The stream is over: nothing will be answered any more."""
        self.open = False
        asked, self._asked = self._asked, {}
        for answer in asked.values():
            if not answer.called:
                answer.errback(fault)


class Dialback:
    """Both sides of one stream; None where the peer has no business to ask, or to be asked."""

    __slots__ = ("asking", "receiving")

    def __init__(self, asking: Asking | None, receiving: Receiving | None) -> None:
        self.asking = asking
        self.receiving = receiving

    def take(self, name: str, attributes: dict[str, str], raw: bytes) -> None:
        """A dialback element, `name` is its local name. Raises StreamError."""
        answers = attributes.get("type") is not None
        side = self.asking if answers else self.receiving
        if side is None:
            raise StreamError("not-authorized", "nobody asked" if answers else "here nobody is asked")
        side.take(name, attributes, raw)


def _error(name: str, ours: JID, theirs: JID, condition: str, id: str = "") -> bytes:
    """§2.4: an answer of the type 'error'."""
    content = f"<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    return element(name, ours, theirs, "error", id, content)
