"""Domain names and IP literals in the one form in which they are compared (RFC 7622 §3.2).

Part of address preparation (`jid.py`). A name is kept as U-labels (RFC 5890): lower case, NFC, without
the final dot; A-labels ("xn--…") are turned into the U-labels they stand for, so that one domain has one
address. Labels have to be valid by IDNA2008 (RFC 5891, 5892), right-to-left ones by RFC 5893.
"""

import ipaddress
import re
import unicodedata

import idna

#: What one label may look like when it is ASCII: letters, digits and hyphens, with "--" in the third and
#: fourth place reserved (RFC 5890 §2.3.1). As a pattern for `re`, lower case only.
LABEL_PATTERN = r"(?!..--)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"

_ASCII_LABEL = re.compile(LABEL_PATTERN)
_LONGEST_LABEL = 63  # octets, RFC 1035 §2.3.4
_LONGEST_INPUT = 1365
_WIDE_OR_NARROW = re.compile("[\uff01-\uffef]")
_IDEOGRAPHIC_DOT = "\u3002"
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})


class DomainError(ValueError):
    """A text is no domain name or IP literal. `str()` is a short reason without the text."""


def prepare_domain(text: str) -> str:
    """Return the prepared form of `text`, a domain name, IPv4 address or bracketed IPv6 address.

    The caller checks the limit of 1023 octets. Raises DomainError.
    """
    if len(text) > _LONGEST_INPUT:
        raise DomainError("too long")
    if text.startswith("["):
        return _ipv6_literal(text)
    if text.isascii():
        labels = text.lower().removesuffix(".").split(".")
    else:
        text = _WIDE_OR_NARROW.sub(_usual_width, text).replace(_IDEOGRAPHIC_DOT, ".")
        labels = [_lower(label) for label in text.removesuffix(".").split(".")]
    labels = [_prepare_label(label) for label in labels]
    if any(map(_is_right_to_left, labels)):
        _check_direction(labels)
    return ".".join(labels)


def ascii_domain(domain: str) -> str:
    """A prepared domain as DNS, TLS and certificates write it: A-labels."""
    if domain.isascii():
        return domain
    return ".".join(
        label if label.isascii() else idna.alabel(label).decode("ascii") for label in domain.split(".")
    )


def _lower(label: str) -> str:
    """Lower-case by label, since a Greek sigma depends on where the word ends (RFC 7622 §3.2.1)."""
    # Composed before it, so that equal texts are mapped equally; after it, since mapping can decompose.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", label).lower())


def _usual_width(match: re.Match[str]) -> str:
    """Map a fullwidth or halfwidth character to the usual one (RFC 7622 §3.2.1)."""
    usual = unicodedata.normalize("NFKC", match[0])
    return usual if len(usual) == 1 else match[0]


def _prepare_label(label: str) -> str:
    if not label:
        raise DomainError("empty label")
    if len(label) > _LONGEST_LABEL:
        raise DomainError("label too long")
    if _ASCII_LABEL.fullmatch(label):
        return label
    if label.isascii() and not label.startswith("xn--"):
        raise DomainError("label is not made of letters, digits and inner hyphens")
    try:
        unicode_label = idna.ulabel(label)
        if unicode_label.isascii():
            raise DomainError("an A-label that stands for ASCII")
        if len(idna.alabel(unicode_label)) > _LONGEST_LABEL:
            raise DomainError("label too long")
    except UnicodeError as error:
        code = error.code if isinstance(error, idna.IDNAError) else None
        raise DomainError(f"label is not valid by IDNA ({code or 'malformed'})") from None
    return unicode_label


def _is_right_to_left(label: str) -> bool:
    return not label.isascii() and any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in label)


def _check_direction(labels: list[str]) -> None:
    """Apply the Bidi Rule to all labels of a name that has a right-to-left one (RFC 5893 §2)."""
    try:
        for label in labels:
            idna.check_bidi(label, check_ltr=True)
    except idna.IDNAError:
        raise DomainError("mixes directions of writing") from None


def _ipv6_literal(text: str) -> str:
    """Return "[address]" in the text form of RFC 5952. Scopes ("%eth0") mean nothing to others."""
    try:
        if not text.endswith("]") or "%" in text or not text.isascii():
            raise ValueError
        return f"[{ipaddress.IPv6Address(text[1:-1]).compressed}]"
    except ValueError:
        raise DomainError("not an IPv6 address in brackets") from None
