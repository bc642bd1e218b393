"""The table of what is stored for an absent recipient."""

import pytest

from msgd.routing.storability import worth_keeping
from msgd.wire.stanza import Stanza

BODY = "jabber:client body"
COMPOSING = "http://jabber.org/protocol/chatstates composing"
THREAD = "jabber:client thread"
RECEIPT = "urn:xmpp:receipts received"
OMEMO = "eu.siacs.conversations.axolotl encrypted"
NO_STORE = "urn:xmpp:hints no-store"
NO_PERMANENT_STORE = "urn:xmpp:hints no-permanent-store"
STORE = "urn:xmpp:hints store"
NO_COPY = "urn:xmpp:hints no-copy"


@pytest.mark.parametrize(
    ("type", "children", "kept"),
    [
        # RFC 6121 §8.5.2.2.1 and XEP-0160 §3: by type
        (None, (BODY,), True),
        ("normal", (BODY,), True),
        ("chat", (BODY,), True),
        ("something-unknown", (BODY,), True),
        ("headline", (BODY,), False),
        ("groupchat", (BODY,), False),
        ("error", (BODY,), False),
        # XEP-0160 §3: chat states alone
        ("chat", (COMPOSING,), False),
        ("chat", (COMPOSING, THREAD), False),
        ("chat", (COMPOSING, NO_PERMANENT_STORE, NO_COPY), False),
        ("normal", (COMPOSING,), False),
        ("chat", (BODY, COMPOSING), True),
        ("chat", (COMPOSING, RECEIPT), True),
        ("chat", (COMPOSING, STORE), True),
        # without a body, but not without meaning
        ("chat", (RECEIPT,), True),
        ("chat", (OMEMO,), True),
        (None, (), True),
        # XEP-0334 §4
        ("chat", (BODY, NO_STORE), False),
        (None, (BODY, NO_STORE), False),
        ("chat", (BODY, NO_PERMANENT_STORE), True),
        ("chat", (BODY, NO_COPY), True),
        ("chat", (BODY, STORE, NO_STORE), False),
        ("headline", (BODY, STORE), True),
        ("groupchat", (BODY, STORE), False),
        ("error", (BODY, STORE), False),
    ],
)
def test_messages(type: str | None, children: tuple[str, ...], kept: bool) -> None:
    attributes = {} if type is None else {"type": type}
    assert worth_keeping(Stanza("message", b"<message/>", attributes, children)) is kept


@pytest.mark.parametrize("kind", ["presence", "iq"])
def test_only_messages(kind: str) -> None:
    assert not worth_keeping(Stanza(kind, b"", {}, (BODY,)))
