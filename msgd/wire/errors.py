"""Stream errors and stanza errors: the conditions of RFC 6120, and how they are written.

Raised anywhere in the flow; a `StreamError` ends the stream on which it is raised (RFC 6120 §4.9),
a `StanzaError` answers one stanza and nobody else notices (RFC 6120 §8.3).
"""

from __future__ import annotations

from msgd.wire.xml import escape

STREAMS_NAMESPACE = "urn:ietf:params:xml:ns:xmpp-streams"
STANZAS_NAMESPACE = "urn:ietf:params:xml:ns:xmpp-stanzas"

#: Every condition of RFC 6120 §4.9.3.
STREAM_CONDITIONS = frozenset({
    "bad-format", "bad-namespace-prefix", "conflict", "connection-timeout", "host-gone",
    "host-unknown", "improper-addressing", "internal-server-error", "invalid-from",
    "invalid-namespace", "invalid-xml", "not-authorized", "not-well-formed", "policy-violation",
    "remote-connection-failed", "reset", "resource-constraint", "restricted-xml",
    "see-other-host", "system-shutdown", "undefined-condition", "unsupported-encoding",
    "unsupported-feature", "unsupported-stanza-type", "unsupported-version",
})  # fmt: skip

#: Every condition of RFC 6120 §8.3.3 with the error type that the section recommends for it.
STANZA_CONDITIONS = {
    "bad-request": "modify",
    "conflict": "cancel",
    "feature-not-implemented": "cancel",
    "forbidden": "auth",
    "gone": "cancel",
    "internal-server-error": "cancel",
    "item-not-found": "cancel",
    "jid-malformed": "modify",
    "not-acceptable": "modify",
    "not-allowed": "cancel",
    "not-authorized": "auth",
    "policy-violation": "modify",
    "recipient-unavailable": "wait",
    "redirect": "modify",
    "registration-required": "auth",
    "remote-server-not-found": "cancel",
    "remote-server-timeout": "wait",
    "resource-constraint": "wait",
    "service-unavailable": "cancel",
    "subscription-required": "auth",
    "undefined-condition": "modify",
    "unexpected-request": "wait",
}

#: RFC 6120 §8.3.2.
ERROR_TYPES = frozenset({"auth", "cancel", "continue", "modify", "wait"})


def _text(namespace: str, text: str) -> str:
    return f"<text xmlns='{namespace}' xml:lang='en'>{escape(text)}</text>" if text else ""


class StreamError(Exception):
    """The stream cannot go on (RFC 6120 §4.9).

    `condition` is one of `STREAM_CONDITIONS`, `text` is for a developer who reads it, `app` is an
    application-specific element, already serialised.
    """

    def __init__(self, condition: str, text: str = "", app: bytes = b"") -> None:
        if condition not in STREAM_CONDITIONS:
            raise ValueError(f"no stream error condition: {condition}")
        super().__init__(condition, text)
        self.condition = condition
        self.text = text
        self.app = app

    def xml(self) -> bytes:
        """The `<stream:error/>` element as bytes (the prefix `stream` is bound by the header)."""
        text = _text(STREAMS_NAMESPACE, self.text)
        head = f"<stream:error><{self.condition} xmlns='{STREAMS_NAMESPACE}'/>{text}"
        return head.encode() + self.app + b"</stream:error>"


class StanzaError(Exception):
    """One stanza cannot be handled (RFC 6120 §8.3).

    `condition` is one of `STANZA_CONDITIONS`; `type` defaults to what the RFC recommends for it;
    `app` is an application-specific element, already serialised; `by` is the JID of the entity
    that returns the error, where that helps; `content` is text for `<gone/>` and `<redirect/>`.
    `quote` False keeps what the stanza held out of the error reply: it may have been a password.
    `code` is the number of old that XEP-0086 maps to the condition, for clients that look for it.
    """

    def __init__(
        self,
        condition: str,
        text: str = "",
        type: str | None = None,
        app: bytes = b"",
        by: str = "",
        content: str = "",
        quote: bool = True,
        code: int = 0,
    ) -> None:
        if condition not in STANZA_CONDITIONS:
            raise ValueError(f"no stanza error condition: {condition}")
        if type is not None and type not in ERROR_TYPES:
            raise ValueError(f"no stanza error type: {type}")
        super().__init__(condition, text)
        self.condition = condition
        self.text = text
        self.type = type or STANZA_CONDITIONS[condition]
        self.app = app
        self.by = by
        self.content = content
        self.quote = quote
        self.code = code

    def xml(self) -> bytes:
        """The `<error/>` child as bytes, in the stanza's own namespace."""
        by = f" by='{escape(self.by)}'" if self.by else ""
        name = self.condition
        body = f">{escape(self.content)}</{name}>" if self.content else "/>"
        code = f" code='{self.code}'" if self.code else ""
        head = f"<error type='{self.type}'{code}{by}><{name} xmlns='{STANZAS_NAMESPACE}'{body}"
        return (head + _text(STANZAS_NAMESPACE, self.text)).encode() + self.app + b"</error>"
