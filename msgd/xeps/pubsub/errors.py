"""Errors of publish-subscribe: a condition of RFC 6120 and one of XEP-0060 beside it (§14.3)."""

from __future__ import annotations

from typing import Final

from msgd.wire.errors import StanzaError

NAMESPACE: Final = "http://jabber.org/protocol/pubsub#errors"


def pubsub_error(
    condition: str, specific: str, text: str = "", *, feature: str = "", type: str | None = None
) -> StanzaError:
    """`specific` is the element of XEP-0060; `feature` says what is not supported."""
    attribute = f" feature='{feature}'" if feature else ""
    app = f"<{specific} xmlns='{NAMESPACE}'{attribute}/>".encode()
    return StanzaError(condition, text, type, app)


def no_node(text: str = "no such node") -> StanzaError:
    """There is no such node, item or account: the asker does not learn which.

    With the code of XEP-0086: some clients that are about look for it before they make their first list of
    keys.
    """
    return StanzaError("item-not-found", text, code=404)


def unsupported(feature: str) -> StanzaError:
    """What is asked for is not done here."""
    return pubsub_error("feature-not-implemented", "unsupported", feature=feature)
