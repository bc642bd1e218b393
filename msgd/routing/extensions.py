"""The extensions that are loaded: what they declared (`extension.py`), ready for one look-up per stanza."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

from msgd.routing.extension import (
    EVENTS,
    HOST,
    At,
    BindHandler,
    ChildHandler,
    ElementHandler,
    Extension,
    Identity,
    Information,
    IqAnswer,
    ListedItem,
)
from msgd.routing.hooks import PHASES, acts
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.account import LiveAccount
    from msgd.routing.session import Session


class Extensions:
    """The registered extensions and what they declared, ready for one look-up per stanza."""

    def __init__(self) -> None:
        self.loaded: list[Extension] = []
        self._advertising: list[Extension] = []  # those that have a stream feature
        #: Everything that the extensions declare as `guarded`.
        self.guarded: frozenset[str] = frozenset()
        self._iqs: dict[tuple[At, str, str], Callable[..., Awaitable[IqAnswer]]] = {}
        #: Elements that are taken out of messages, by their expanded names.
        self.taken: frozenset[str] = frozenset()
        self._elements: dict[str, ElementHandler] = {}
        self._children: dict[str, ChildHandler] = {}
        self._followers: dict[str, Any] = {}
        self._binds: dict[tuple[str, str], BindHandler] = {}
        #: Who has something to tell a client that binds.
        self.tell_when_bound: list[Callable[[LiveAccount], Awaitable[bytes]]] = []
        self._events: dict[str, list[Callable[..., None]]] = {event: [] for event in EVENTS}

    def load(self, extension: Extension) -> None:
        """Register everything `extension` declares. Raises ValueError when two want one IQ."""
        for declared, handler in _declared(extension, "declared_iqs"):
            for at in declared.at:
                key = (at, declared.type, declared.payload)
                if key in self._iqs:
                    raise ValueError(f"{key} is answered twice")
                self._iqs[key] = handler
        for event, handler in _declared(extension, "declared_events"):
            self._events[event].append(handler)
        for name, handler in _declared(extension, "declared_elements"):
            if name in self._elements:
                raise ValueError(f"{name} is taken twice")
            self._elements[name] = handler
        for name, handler in _declared(extension, "declared_children"):
            self._children[name] = handler
        self.taken = frozenset(self._children)
        self._followers |= dict.fromkeys(extension.nodes, extension)
        for key, handler in _declared(extension, "declared_binds"):
            if key in self._binds:
                raise ValueError(f"{key} is enabled twice")
            self._binds[key] = handler
        if type(extension).tell_when_bound is not Extension.tell_when_bound:
            self.tell_when_bound.append(extension.tell_when_bound)
        extension.rank = self.loaded[-1].rank + 1 if self.loaded else 1
        if extension.uses is not None:
            extension.router.table.loaders.append((extension.uses, extension))
        self.loaded.append(extension)
        if type(extension).stream_feature is not Extension.stream_feature:
            self._advertising.append(extension)
        self.guarded |= extension.guarded

    def unload(self, extension: Extension) -> None:
        """Remove exactly what `extension` declared."""
        extension.stop()
        for declared, _ in _declared(extension, "declared_iqs"):
            for at in declared.at:
                del self._iqs[at, declared.type, declared.payload]
        for event, handler in _declared(extension, "declared_events"):
            self._events[event].remove(handler)
        for name, _ in _declared(extension, "declared_elements"):
            del self._elements[name]
        for name, _ in _declared(extension, "declared_children"):
            del self._children[name]
        self.taken = frozenset(self._children)
        for node in extension.nodes:
            del self._followers[node]
        for key, _ in _declared(extension, "declared_binds"):
            del self._binds[key]
        if extension.tell_when_bound in self.tell_when_bound:
            self.tell_when_bound.remove(extension.tell_when_bound)
        if extension.uses is not None:
            table, entry = extension.router.table, (extension.uses, extension)
            table.loaders.remove(entry)
            if entry in table.default_loaders:
                table.default_loaders.remove(entry)
        if any(acts(extension, phase) for phase in PHASES):
            for account in extension.router.table.accounts():
                account.unhook(extension)
        self.loaded.remove(extension)
        if extension in self._advertising:
            self._advertising.remove(extension)
        self.guarded = frozenset().union(*(other.guarded for other in self.loaded))

    def iq_handler(self, at: At, type: str, payload: str) -> Callable[..., Awaitable[Any]] | None:
        """Who answers; `payload` is the expanded name 'namespace name' of the IQ's child."""
        return self._iqs.get((at, type, payload))

    def element_handler(self, name: str) -> ElementHandler | None:
        """Who takes an element that is no stanza; `name` is its expanded name."""
        return self._elements.get(name)

    def taken_out(self, session: Session, stanza: Stanza) -> Stanza:
        """A message in which a session's client sent some of `taken`, without them."""
        for name in self.taken.intersection(stanza.children):
            stanza = self._children[name](session, stanza)
        return stanza

    def follower(self, node: str) -> Any:
        """The extension that follows the changes of a node, None for none."""
        return self._followers.get(node)

    def bind_handler(self, tag: str) -> BindHandler | None:
        """Who enables something while binding; `tag` as ElementTree writes it."""
        namespace, _, name = tag[1:].rpartition("}")
        return self._binds.get((namespace, name))

    def bind_features(self) -> tuple[str, ...]:
        """What can be enabled while binding, sorted."""
        return tuple(sorted({namespace for namespace, _ in self._binds}))

    def event_handlers(self, event: str) -> list[Callable[..., None]]:
        """Who wants to know of `event`."""
        return self._events[event]

    def stream_features(self, domain: str, authenticated: bool) -> bytes:
        """The stream features, serialised, that are offered before or after authentication."""
        return b"".join([each.stream_feature(domain, authenticated) for each in self._advertising])

    def features(self, at: At = HOST) -> list[str]:
        """The service discovery features of the domain or of an account, sorted."""
        found: set[str] = set()
        for extension in self.loaded:
            found |= extension.features if at is HOST else extension.account_features
        return sorted(found)

    def identities(self, at: At = HOST) -> list[Identity]:
        """The service discovery identities of the domain or of an account."""
        found: list[Identity] = []
        for extension in self.loaded:
            found += extension.identities if at is HOST else extension.account_identities
        return found

    def information(self, at: At = HOST, domain: str = "") -> Information:
        """What disco#info tells of the domain `domain` or of an account."""
        forms: list[Element] = []
        if at is HOST:
            for extension in self.loaded:
                forms += extension.forms(domain)
        return Information(tuple(self.identities(at)), tuple(self.features(at)), tuple(forms))

    def items(self, domain: str) -> list[ListedItem]:
        """What disco#items of the domain lists, by address."""
        found = [item for extension in self.loaded for item in extension.items(domain)]
        return sorted(found, key=lambda item: item.jid)

    def node_information(self, at: At, to: JID, node: str) -> Information | None:
        """What disco#info tells of the node `node` of `to`; None when nobody knows it."""
        for extension in self.loaded:
            found = extension.node_information(at, to, node)
            if found is not None:
                return found
        return None


def _declared(extension: Extension, attribute: str) -> list[tuple[Any, Callable[..., Any]]]:
    """What the methods of `extension` declared, each with its bound method."""
    found = []
    for name in dir(type(extension)):
        function = getattr(type(extension), name)
        for declared in getattr(function, attribute, ()):
            found.append((declared, getattr(extension, name)))
    return found
