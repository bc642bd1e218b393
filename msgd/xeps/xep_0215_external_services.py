"""XEP-0215 External Service Discovery: clients find the relays that calls need, with passwords that expire.

The services are in the configuration. For a TURN relay with which the server shares a secret each user gets a
name and a password of his own, made as relays know it ("A REST API for access to TURN services", to which
§3.3 refers): the name begins with the time at which they expire, so that the relay need not ask anybody.
Clients that asked for the list are told when it changes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element

from msgd.routing.extension import Extension, Xep, on_event, on_iq
from msgd.sections import Service
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from msgd.wire.xml import element, serialise
from msgd.xeps.permission import sender_of

if TYPE_CHECKING:
    from msgd.routing.session import Session

NAMESPACE: Final = "urn:xmpp:extdisco:2"
#: In the extras of sessions: the types that were asked for, "" for all.
_EXTRA: Final = "external services"
#: Types that one client is told of separately; of more it is told of all.
_MOST_TYPES: Final = 10
#: Hexadecimal digits of what a relay sees of a user: the same for one user, and nobody's name.
_PSEUDONYM: Final = 16


class ExternalServices(Extension):
    """XEP-0215 External Service Discovery."""

    xep = Xep(215, "1.0.0")
    features = frozenset({NAMESPACE})
    proves = "xep_0215/*"

    def start(self) -> None:
        """See Extension."""
        self._told = self.config.external_services.service

    @on_iq("get", NAMESPACE, "services")
    async def list_services(self, stanza: Stanza) -> Element:
        """§3.1, §3.2: all, or those of one type."""
        session, payload = self._asking(stanza), stanza.payload
        type = payload.get("type", "") if payload is not None else ""
        if session.extras is None:
            session.extras = {}
        asked = session.extras.get(_EXTRA, [])
        if type not in asked:
            session.extras[_EXTRA] = [*asked, type] if len(asked) < _MOST_TYPES else [""]
        found = _of_type(self.config.external_services.service, type)
        return _services(type, [self._described(each, session.jid.bare) for each in found])

    @on_iq("get", NAMESPACE, "credentials")
    async def give_credentials(self, stanza: Stanza) -> Element:
        """§3.3: for one service."""
        session, payload = self._asking(stanza), stanza.payload
        wanted = payload.find(f"{{{NAMESPACE}}}service") if payload is not None else None
        host, type = (wanted.get("host"), wanted.get("type")) if wanted is not None else (None, None)
        if wanted is None or not host or not type:
            raise StanzaError("bad-request", "a service has a host and a type")
        found = [
            each
            for each in self.config.external_services.service
            if (each.host, each.type) == (host, type)
            and wanted.get("port", str(each.port)) == str(each.port)
            and wanted.get("transport", each.transport) == each.transport
            and (each.secret or each.username)
        ]
        if not found:
            raise StanzaError("item-not-found", "there are no credentials for such a service")
        answer = element(NAMESPACE, "credentials")
        answer.extend(self._described(each, session.jid.bare) for each in found)
        return answer

    def _asking(self, stanza: Stanza) -> Session:
        session = self.router.table.session(sender_of(stanza))
        if session is None:
            raise StanzaError("forbidden", "the services are for the users of this server")
        return session

    def _described(self, service: Service, user: JID, action: str = "") -> Element:
        """A service with the user's credentials (§2)."""
        attributes = {"type": service.type, "host": service.host, "transport": service.transport}
        if service.port is not None:
            attributes["port"] = str(service.port)
        if service.name:
            attributes["name"] = service.name
        if service.restricted or service.secret or service.username:
            attributes["restricted"] = "true"
        if action:
            attributes["action"] = action
        if action != "delete":
            attributes |= credentials(service, user, self.router.clock.seconds())
        return element(NAMESPACE, "service", attributes)

    # -- news ----------------------------------------------------------------------------------

    @on_event("configuration-changed")
    def _changed(self, changed: list[str]) -> None:
        """§3.2: who asked is told what is different."""
        before, self._told = self._told, self.config.external_services.service
        changes = _changes(before, self._told)
        for session in self.router.table.sessions() if changes else ():
            for type in (session.extras or {}).get(_EXTRA, ()):
                self._tell(session, type, changes)

    def _tell(self, session: Session, type: str, changes: list[tuple[str, Service]]) -> None:
        news = [
            self._described(service, session.jid.bare, action)
            for action, service in changes
            if type in ("", service.type)
        ]
        if news:
            content = serialise(_services(type, news))
            id = secrets.token_hex(4)
            session.send(
                Stanza.build(
                    "iq", to=session.jid, from_=session.jid.domain_jid, type="set", id=id, content=content
                )
            )


def credentials(service: Service, user: JID, now: float) -> dict[str, str]:
    """Username and password of `user` at a service, as attributes; `now` is unix time."""
    if not service.secret:
        return {"username": service.username, "password": service.password} if service.username else {}
    secret = service.secret.encode()
    expires = int(now) + service.lifetime
    pseudonym = hmac.new(secret, user.encode(), hashlib.sha256).hexdigest()[:_PSEUDONYM]
    username = f"{expires}:{pseudonym}"
    password = base64.b64encode(hmac.new(secret, username.encode(), hashlib.sha1).digest()).decode()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires))
    return {"username": username, "password": password, "expires": stamp}


def _of_type(services: Iterable[Service], type: str) -> list[Service]:
    return [each for each in services if type in ("", each.type)]


def _services(type: str, inside: Iterable[Element]) -> Element:
    made = element(NAMESPACE, "services", {"type": type} if type else {})
    made.extend(inside)
    return made


def _changes(before: Iterable[Service], after: Iterable[Service]) -> list[tuple[str, Service]]:
    """What was added, modified and deleted."""
    old = {each.identity: each for each in before}
    new = {each.identity: each for each in after}
    changes = [("add" if each.identity not in old else "modify", each) for each in new.values()
               if old.get(each.identity) != each]  # fmt: skip
    return changes + [("delete", each) for key, each in old.items() if key not in new]
