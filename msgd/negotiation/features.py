"""What a stream offers before the login, and what after a login that has bound a resource already.

RFC 6120 §4.3.2, XEP-0388 §2.1, XEP-0386 §3.1, XEP-0484 §4.1, XEP-0440. Between a classic login and binding:
`client.py`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from msgd.negotiation.authentication import mechanisms_feature
from msgd.negotiation.fast import fast_feature
from msgd.negotiation.sasl import SaslOptions, offered_mechanisms
from msgd.negotiation.sasl2_request import BIND, NAMESPACE, SM
from msgd.negotiation.server import Server
from msgd.wire.jid import JID
from msgd.wire.transport import Connection


def login_features(server: Server, transport: Connection) -> bytes:
    """The stream features of both ways to log in, with everything that can be done together with SASL2."""
    bindings = transport.bindings()
    types = bindings.types() if bindings is not None else ()
    return _features(
        types, server.sasl_options, server.bind_features, server.can_resume, server.token_seconds > 0
    )


@lru_cache(maxsize=16)  # few versions of TLS, one set of options until a reload
def _features(
    types: tuple[str, ...], options: SaslOptions, enabled: tuple[str, ...], resume: bool, tokens: bool
) -> bytes:
    mechanisms = "".join(f"<mechanism>{name}</mechanism>" for name in offered_mechanisms(types, options))
    features = "".join(f"<feature var='{name}'/>" for name in enabled)
    inline = f"<bind xmlns='{BIND}'>" + (f"<inline>{features}</inline>" if features else "") + "</bind>"
    if resume:
        inline += f"<sm xmlns='{SM}'/>"
    if tokens:
        inline += fast_feature(types)
    feature = f"<authentication xmlns='{NAMESPACE}'>{mechanisms}<inline>{inline}</inline></authentication>"
    return feature.encode() + mechanisms_feature(types, options)


def bound_features(server: Server, domain: JID, session: Any) -> bytes:
    """The features of a stream that has a session already."""
    managed = b"" if session.stream_management is not None else f"<sm xmlns='{SM}'/>".encode()
    return managed + server.stream_features(domain, True)
