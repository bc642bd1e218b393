"""Stream headers of clients: theirs is checked, ours is written (RFC 6120 §4.7)."""

from __future__ import annotations

import secrets

from msgd.negotiation.server import Server
from msgd.wire.errors import StreamError
from msgd.wire.jid import JID, JIDError
from msgd.wire.xml import CLIENT_NAMESPACE, STREAM_NAMESPACE, escape
from msgd.wire.xmlstream import Header


def checked(header: Header, server: Server) -> JID:
    """The domain of ours that a client's header is for. Raises StreamError for a wrong one."""
    if header.namespace != CLIENT_NAMESPACE:
        raise StreamError("invalid-namespace", "this port is for clients")
    if not version_is_1(header.version):
        raise StreamError("unsupported-version", "version 1.0 is spoken here")
    if not header.to:
        raise StreamError("improper-addressing", "the stream header needs a 'to'")
    domain = server.domain(header.to)
    if domain is None:
        raise StreamError("host-unknown", "this server is not responsible for that domain")
    return domain


def check_unchanged(header: Header, domain: JID, before: JID | None, account: JID) -> None:
    """Raise StreamError when a header behind the login is for another domain, or from another account."""
    if domain != before:
        raise StreamError("not-authorized", "authentication was for another domain")
    if header.from_ is None:
        return
    try:
        if JID.parse(header.from_).bare == account:
            return
    except JIDError:
        pass
    raise StreamError("invalid-from", "authentication was for another address")


def own_header(domain: str, to: str | None) -> bytes:
    """Our header, of a stream of `domain`; `to` is what the client says that it is."""
    addressed = f" to='{escape(to)}'" if to else ""
    return (
        f"<?xml version='1.0'?><stream:stream xmlns='{CLIENT_NAMESPACE}'"
        f" xmlns:stream='{STREAM_NAMESPACE}' id='{secrets.token_hex(12)}'"
        f" from='{escape(domain)}'{addressed} version='1.0' xml:lang='en'>"
    ).encode()


def version_is_1(version: str | None) -> bool:
    """RFC 6120 §4.7.5: at least 1.0; a greater one is answered with 1.0."""
    major, _, minor = (version or "0.9").partition(".")
    return major.isascii() and major.isdigit() and minor.isdigit() and int(major[:9]) >= 1
