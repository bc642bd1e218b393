"""The public interface of extensions: one declaration from which everything else follows.

An extension is a class that says which specification it implements, which features it offers,
which IQs it answers and which events it wants. `Extensions` (`extensions.py`) registers exactly what was
declared and removes exactly that again. Everything under `msgd/xeps/` uses this module and nothing of the
router's inside.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeVar
from xml.etree.ElementTree import Element

from msgd.routing.hooks import Acting
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.accounts.accounts import Accounts
    from msgd.accounts.uses import Uses
    from msgd.config import Config
    from msgd.routing.account import LiveAccount
    from msgd.routing.router import Router
    from msgd.routing.session import Session
    from msgd.storage.database import Connection, Database


class Answered(enum.Enum):
    """What a handler gives back that has sent its answer itself."""

    ANSWERED = "answered"


ANSWERED = Answered.ANSWERED

#: What an IQ handler gives back: the payload of the result, or nothing for an empty result.
IqAnswer = Element | bytes | Answered | None
ElementHandler = Callable[["Session", dict[str, str], bytes], None]
ChildHandler = Callable[["Session", Stanza], Stanza]
#: Enables for a new session what its client asks for while it binds; what is to be answered in `<bound/>`.
BindHandler = Callable[["Session", Element], bytes]
#: What a session's `filter` is: takes the session and what is to be sent to its client, a stanza that nobody
#: keeps; True when it took that over. None instead of a stanza: a message that is kept goes out now.
Filter = Callable[["Session", Stanza | None], bool]
Handler = TypeVar("Handler", bound=Callable[..., Any])


#: In a session's `extras`: the id of the device that it is of (`msgd.accounts.devices`).
DEVICE: Final = "device"


def device_of(session: Session) -> str:
    """The id of a session's device; empty when its client has not named itself."""
    return session.extras.get(DEVICE, "") if session.extras is not None else ""


class At(enum.Enum):
    """To whom an IQ is addressed."""

    HOST = "host"  #: to a domain of this server
    OWN = "own"  #: to nobody or to the sender's own bare JID
    ACCOUNT = "account"  #: to the bare JID of another account here; the server answers for it
    STRANGER = "stranger"  #: on a stream that has not authenticated yet


HOST, OWN, ACCOUNT, STRANGER = At.HOST, At.OWN, At.ACCOUNT, At.STRANGER


class Stranger(Protocol):
    """The stream of a client that has not authenticated; it speaks TLS."""

    @property
    def address(self) -> str:
        """The peer's IP address."""

    @property
    def domain(self) -> JID | None:
        """The domain of ours that its stream header named."""


#: The events, with what a handler is called with. Handlers are plain functions, called in order of
#: registration; an exception is counted, logged, and ends nobody else's work.
EVENTS = {
    "session-bound": "session: Session, a resource was bound",
    "session-available": "session: Session, its first available presence was broadcast",
    "session-capabilities": "session: Session, initial: bool, its presence names capabilities (XEP-0115)",
    "session-interested": "session: Session, nodes: tuple[str, ...], it wants to be told of these now too",
    "nodes-kept": "account: LiveAccount, on: bool, it has nodes now, or none any more",
    "contact-capabilities": "account: LiveAccount with nodes, presence: Stanza, of a contact in another"
    " domain, with capabilities",
    "contact-interested": "account: LiveAccount, contact: JID, a client in another domain, nodes:"
    " tuple[str, ...], of these nodes of the account it wants to be told now too",
    "message-returned": "account: LiveAccount, error: Stanza, what was sent in its name did not arrive",
    "avatar-changed": "account: LiveAccount, avatar: the avatar that its nodes show now, or None",
    "presence-shared": "account: LiveAccount, contact: JID, who sees its presence from now on",
    "session-unavailable": "session: Session, it sent unavailable presence or ended",
    "session-hibernated": "session: Session, its connection is lost and it waits to be resumed",
    "session-resumed": "session: Session, its client is back, and has been sent what it had not got",
    "session-restored": "session: Session, found after a restart; it waits to be resumed",
    "session-unresponsive": "session: Session, its client does not answer a request to acknowledge",
    "session-ended": "session: Session, it is gone for good (closed, not to be resumed)",
    "account-deleted": "jid: JID (bare), and everything of it is deleted",
    "roster-changed": "account: LiveAccount, item: Item, as its clients are told of it",
    "configuration-changed": "changed: list[str], names of the options that changed",
}


@dataclass(frozen=True)
class Xep:
    """A XEP and the version of it that is implemented."""

    number: int
    version: str

    @property
    def name(self) -> str:
        return f"XEP-{self.number:04d}"


@dataclass(frozen=True)
class Rfc:
    """A section of an RFC."""

    number: int
    section: str = ""

    @property
    def name(self) -> str:
        return f"RFC {self.number}" + (f" §{self.section}" if self.section else "")


@dataclass(frozen=True)
class Identity:
    """A service discovery identity (XEP-0030 §3.1)."""

    category: str
    type: str
    name: str = ""


@dataclass(frozen=True)
class Information:
    """What disco#info tells of an entity or of one of its nodes (XEP-0030 §3, XEP-0128)."""

    identities: tuple[Identity, ...]
    features: tuple[str, ...]
    forms: tuple[Element, ...] = ()


@dataclass(frozen=True)
class ListedItem:
    """What disco#items tells of something that belongs to an entity (XEP-0030 §4)."""

    jid: JID
    node: str = ""
    name: str = ""


@dataclass(frozen=True)
class _IqDeclaration:
    type: str
    payload: str
    at: tuple[At, ...]


def on_iq(type: str, namespace: str, name: str, at: tuple[At, ...] = (HOST,)) -> Callable[[Handler], Handler]:
    """Answer IQs of `type` ('get' or 'set') whose payload is `name` in `namespace`.

    The handler is `async def handler(self, stanza) -> IqAnswer`; it raises `StanzaError` for an
    error reply. At STRANGER it gets the stream (`Stranger`) as a second argument, and
    `stanza.from_` is None.
    """

    def declare(handler: Handler) -> Handler:
        declared = _IqDeclaration(type, f"{namespace} {name}", at)
        handler.__dict__.setdefault("declared_iqs", []).append(declared)
        return handler

    return declare


def on_event(event: str) -> Callable[[Handler], Handler]:
    """Call the method whenever `event` (one of `EVENTS`) happens."""
    if event not in EVENTS:
        raise ValueError(f"no event {event}")

    def declare(handler: Handler) -> Handler:
        handler.__dict__.setdefault("declared_events", []).append(event)
        return handler

    return declare


def on_element(namespace: str, name: str) -> Callable[[Handler], Handler]:
    """Take an element that is no stanza, sent on a stream with a bound resource.

    The handler is `def handler(self, session, attributes, raw)`; it may raise StreamError.
    """

    def declare(handler: Handler) -> Handler:
        handler.__dict__.setdefault("declared_elements", []).append(f"{namespace} {name}")
        return handler

    return declare


def on_child(namespace: str, name: str) -> Callable[[Handler], Handler]:
    """Take an element out of the messages in which clients of this server send it to us among others.

    The handler is `def handler(self, session, stanza) -> Stanza`: what goes on, before anybody else sees it.
    """

    def declare(handler: Handler) -> Handler:
        handler.__dict__.setdefault("declared_children", []).append(f"{namespace} {name}")
        return handler

    return declare


def on_bind(namespace: str, name: str) -> Callable[[Handler], Handler]:
    """Enable something while a session is bound, where its client asks for it (XEP-0386 §3.2).

    The handler is a `BindHandler`, called before the session has sent or got anything. The namespace is
    offered as a feature.
    """

    def declare(handler: Handler) -> Handler:
        handler.__dict__.setdefault("declared_binds", []).append((namespace, name))
        return handler

    return declare


class Extension(Acting):
    """Base of every extension; see the module's text.

    Class attributes declare, methods act. `start` runs once after all extensions are registered,
    `stop` when this one is removed. What it does with the stanzas of accounts on which it is hung
    (`account.hook(self)`) are the methods of `Acting`.
    """

    #: The specification.
    xep: ClassVar[Xep | Rfc]
    #: Service discovery features of the domain, and of every account.
    features: ClassVar[frozenset[str] | set[str]] = frozenset()
    account_features: ClassVar[frozenset[str] | set[str]] = frozenset()
    #: Service discovery identities of the domain, and of every account.
    identities: ClassVar[tuple[Identity, ...]] = ()
    account_identities: ClassVar[tuple[Identity, ...]] = ()
    #: Payloads ('namespace name') of IQ-gets to a resource that tell of its user's presence: the
    #: router lets them through only from who may see that, others get <forbidden/>.
    guarded: ClassVar[frozenset[str]] = frozenset()
    #: Of accounts with one of these bits `load` reads more. With `load_all()` of all others too.
    uses: ClassVar[Uses | None] = None
    #: Nodes of accounts (XEP-0163) that it keeps consistent with something else: its method `follow` is
    #: called within each change of one (`msgd/xeps/pubsub/change.py`).
    nodes: ClassVar[frozenset[str]] = frozenset()
    #: Transcripts below protocol_spec/ that prove it, as a glob; a test fails when there is none.
    proves: ClassVar[str] = ""
    #: What of it is left out, in a sentence; empty when nothing is that it demands.
    without: ClassVar[str] = ""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.config: Config = router.config
        self.database: Database = router.database
        self.accounts: Accounts = router.accounts

    def start(self) -> None:
        """Called when everything is wired together."""

    def load_all(self) -> None:
        """Have `load` called for accounts without a bit of `uses` too: something holds for them all."""
        if self.uses is not None:
            self.router.table.default_loaders.append((self.uses, self))

    def load(self, connection: Connection, account: LiveAccount) -> None:
        """An account that `uses` this is looked up: read what is to be known of it, hang on it.

        Called within the look-up, perhaps in another thread; nobody else knows the account yet.
        """

    def stop(self) -> None:
        """Called before the extension is removed: undo what `start` did."""

    def forms(self, domain: str) -> list[Element]:
        """Extended service discovery information of the domain (XEP-0128): data forms."""
        return []

    def items(self, domain: str) -> list[ListedItem]:
        """What disco#items of the domain lists: services that belong to it (XEP-0030 §4)."""
        return []

    def node_information(self, at: At, to: JID, node: str) -> Information | None:
        """What disco#info tells of the node `node` of `to`; None for a node of others."""
        return None

    async def account_node(self, account: LiveAccount, asker: JID, node: str) -> Information | None:
        """What disco#info tells `asker` of a node of an account; None for a node of others.

        Presence is not leaked by it: what is told of a node is for whom the node is.
        """
        return None

    async def account_items(
        self, account: LiveAccount, asker: JID, node: str | None
    ) -> list[ListedItem] | None:
        """What disco#items lists for `asker` of an account or of its node; None for a node of others."""
        return [] if node is None else None

    def stream_feature(self, domain: str, authenticated: bool) -> bytes:
        """A stream feature, serialised, or nothing; asked before and after authentication."""
        return b""

    async def tell_when_bound(self, account: LiveAccount) -> bytes:
        """What a client is told of its account when it binds (XEP-0386 §3.2). Raises StanzaError."""
        return b""
