"""PRECIS: one form for each user name, resource and password that people may type (RFC 8264, RFC 8265).

Used by addresses (`jid.py`) and passwords (`msgd.accounts.passwords`). The rules and the Unicode tables
are those of the precis-i18n library; only the last step, the check of each character, is done here,
because the library's takes time with the square of the length for some characters (Arabic digits,
Katakana dots), which a stranger could use to keep the server busy.
"""

import re
from functools import lru_cache

from precis_i18n.context import context_rule_error
from precis_i18n.derived import CONTEXTJ, CONTEXTO, FREE_PVAL, PVALID, derived_property
from precis_i18n.profile import OpaqueString, Profile, Username
from precis_i18n.unicode import UnicodeData

#: The longest text in characters that is looked at. Preparation can shorten a text to a quarter (a Greek
#: letter with three marks becomes one character of three bytes), and 1023 bytes may remain.
LONGEST_INPUT = 1365

_unicode = UnicodeData()
_username = Username(_unicode, "UsernameCaseMapped", "lower")
_opaque = OpaqueString(_unicode, "OpaqueString")
_IDENTIFIER = frozenset({PVALID})
_FREE_FORM = frozenset({PVALID, FREE_PVAL})

# The rules for these look at the whole text, so that one of them stands for all (RFC 5892 A.7 - A.9).
_WHOLE_TEXT = frozenset(map(chr, (0x30FB, *range(0x660, 0x66A), *range(0x6F0, 0x6FA))))


# All of ASCII but capitals, spaces and controls is its own prepared form (RFC 8264 §8.1, §9.11).
_PLAIN = re.compile(r"[!-@\[-~]+")


class PrecisError(ValueError):
    """A text has no prepared form. `str()` is a short reason without the text."""


def username(text: str) -> str:
    """Return `text` prepared with UsernameCaseMapped (RFC 8265 §3.3). Raises PrecisError."""
    if len(text) <= LONGEST_INPUT and _PLAIN.fullmatch(text):
        return text
    return _prepare(text, _username, _IDENTIFIER)


def opaque(text: str) -> str:
    """Return `text` prepared with OpaqueString (RFC 8265 §4.2). Raises PrecisError."""
    return _prepare(text, _opaque, _FREE_FORM)


def _prepare(text: str, profile: Profile, allowed: frozenset[str]) -> str:
    if not text:
        raise PrecisError("empty")
    if len(text) > LONGEST_INPUT:
        raise PrecisError("too long")
    try:
        prepared = profile.apply_five_rules(text)
        profile.idempotence_check(prepared)
    except UnicodeError as error:
        reason = error.reason if isinstance(error, UnicodeEncodeError) else "not Unicode text"
        raise PrecisError(reason.removeprefix("DISALLOWED/")) from None
    for character in set(prepared):
        kind, reason = _property(character)
        if kind in allowed:
            continue
        if kind in (CONTEXTJ, CONTEXTO):
            reason = _context_error(prepared, character)
            if not reason:
                continue
        raise PrecisError(f"U+{ord(character):04X} is not allowed ({reason})")
    return prepared


@lru_cache(maxsize=4096)
def _property(character: str) -> tuple[str, str]:
    return derived_property(ord(character), _unicode)


def _context_error(text: str, character: str) -> str:
    """Return the name of the contextual rule that some place of `character` breaks, '' if none."""
    place = text.find(character)
    while place >= 0:
        error = context_rule_error(text, place, _unicode)
        if error or character in _WHOLE_TEXT:
            return error
        place = text.find(character, place + 1)
    return ""
