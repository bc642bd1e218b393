"""Sets the scene with the protocol itself: subscriptions, made by sessions of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from xml.etree.ElementTree import Element

from tests.specification.actor import Actor, Unexpected
from tests.specification.connection import End, Event
from tests.specification.match import CLIENT

_ROSTER = "{jabber:iq:roster}"


def subscribe(who: Actor, whom: Actor) -> None:
    """`who` asks, `whom` approves; both sessions are gone afterwards (RFC 6121 §3.1)."""
    asking, asked = _temporary(who), _temporary(whom)
    asking.send(f"<presence type='subscribe' to='{asked.recipient.bare}'/>")
    _until(asked, lambda event: _is_presence(event, "subscribe"))
    asked.send(f"<presence type='subscribed' to='{asking.recipient.bare}'/>")
    _until(asked, lambda event: _is_push(event, asking, ("from", "both")))
    _until(asking, lambda event: _is_push(event, asked, ("to", "both")))
    for actor in (asking, asked):
        actor.disconnect()


def _temporary(actor: Actor) -> Actor:
    role = replace(actor.role, resource="scene", managed=False, by_hand=False, mechanism="SCRAM-SHA-1")
    other = Actor(role, actor.local, actor.server, actor.check)
    other.connect()
    other.send("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>")
    other.until_result("roster")
    other.send("<presence/>")
    _until(other, lambda event: _is_presence(event, None))
    return other


def _until(actor: Actor, wanted: Callable[[Element], bool]) -> None:
    """Wait for it; answer the roster pushes on the way, drop the rest."""
    while True:
        event: Event = actor.take()
        if isinstance(event, End):
            raise Unexpected(f"the stream of {actor.role.name} ended while the scene was set")
        if event.tag == f"{{{CLIENT}}}iq" and event.get("type") == "set":
            actor.send(f"<iq type='result' id='{event.get('id')}'/>")
        if wanted(event):
            return


def _is_presence(event: Element, type: str | None) -> bool:
    return event.tag == f"{{{CLIENT}}}presence" and event.get("type") == type


def _is_push(event: Element, contact: Actor, states: tuple[str, ...]) -> bool:
    item = event.find(f"{_ROSTER}query/{_ROSTER}item")
    return (
        item is not None and item.get("jid") == contact.recipient.bare and item.get("subscription") in states
    )
