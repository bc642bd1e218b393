"""A stanza that came over a link: who may send it from where to whom, and how it looks to clients.

Source: RFC 6120 §8.1.1.2, §8.1.2.2, §4.7.4; proved by rfc6120/08.1.2.2-addresses-between-servers.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from msgd.wire.errors import StreamError
from msgd.wire.jid import JID, JIDError
from msgd.wire.stanza import STARTS, XML_LANG, Stanza


def accepted(
    kind: str,
    attributes: dict[str, str],
    children: tuple[str, ...],
    raw: bytes,
    domains: Container[str],
    is_ours: Callable[[str], bool],
    lang: bytes,
) -> Stanza:
    """The stanza, from one of the `domains` that are proved, to one of ours. Raises StreamError.

    `lang` is the attribute that a stanza without a language of its own has from its stream, or empty.
    """
    sender, to = attributes.get("from"), attributes.get("to")
    if sender is None or to is None:
        raise StreamError("improper-addressing", "between servers a stanza has 'from' and 'to'")
    try:
        from_ = JID.parse(sender)
    except JIDError:
        raise StreamError("invalid-from", "'from' is no address") from None
    if from_.domain not in domains:
        raise StreamError("invalid-from", "the stream was not authenticated for this domain")
    try:
        recipient = JID.parse(to)
    except JIDError:
        raise StreamError("improper-addressing", "'to' is no address") from None
    if not is_ours(recipient.domain):
        raise StreamError("host-unknown", "this server is not responsible for that domain")
    stanza = Stanza(kind, raw, attributes, children, recipient, from_)
    inherited = b"" if XML_LANG in attributes else lang
    if from_ != sender:
        stanza.stamp(b" from='" + from_.attribute + b"'" + inherited, from_)
    elif inherited:
        start = STARTS[kind]  # a link's stream has no prefixes left
        stanza.raw = start + inherited + raw[len(start) :]
    return stanza
