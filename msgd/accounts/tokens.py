"""Tokens with which a device logs in again (XEP-0484), and what is kept of them.

A token is random, and goes to the client once. The mechanisms that it is for (HT, `msgd.negotiation.fast`)
key a hash with it, so a hash of it would not do: it is kept masked, by a key that only the client has, its
own id (`<user-agent id='…'/>`). Whoever steals the database can log in with none of them
(`protocol_spec/decisions/0006-fast-login.md`).
"""

from __future__ import annotations

import base64
import hmac
import secrets
from dataclasses import dataclass

#: Random bytes of a token, and of the salt of its mask.
_TOKEN_BYTES = 32
_SALT_BYTES = 16

#: The slots of XEP-0484 §6.1: the token that was used last, and the one that replaces it when it is used.
CURRENT, NEW = "current", "new"


@dataclass(frozen=True, slots=True)
class Token:
    """A token as the client gets it. `issued` and `expires` are in seconds since 1970."""

    text: str
    mechanism: str
    issued: int
    expires: int


@dataclass(frozen=True, slots=True)
class StoredToken:
    """One of a device's tokens, unmasked, with what tells it from others in the database."""

    token: Token
    slot: str
    salt: bytes


def new_token(mechanism: str, now: int, lifetime: int) -> Token:
    """A token for one mechanism, valid for `lifetime` seconds."""
    text = _text(secrets.token_bytes(_TOKEN_BYTES))
    return Token(text, mechanism, now, now + lifetime)


def mask(token: Token, agent_id: str) -> tuple[bytes, bytes]:
    """Salt and masked token, to be kept. `agent_id` is the client's own id."""
    salt = secrets.token_bytes(_SALT_BYTES)
    padded = token.text + "=" * (-len(token.text) % 4)
    return salt, _mixed(base64.urlsafe_b64decode(padded), agent_id, salt)


def unmask(masked: bytes, agent_id: str, salt: bytes) -> str:
    """The text of a token; of no use when `agent_id` is another client's."""
    return _text(_mixed(masked, agent_id, salt))


def _mixed(data: bytes, agent_id: str, salt: bytes) -> bytes:
    # A salt is used once, so this is a one-time pad made by HMAC as a pseudo-random function.
    pad = hmac.digest(agent_id.encode(), b"msgd token" + salt, "sha256")
    mixed = int.from_bytes(data, "big") ^ int.from_bytes(pad, "big")
    return mixed.to_bytes(_TOKEN_BYTES, "big")


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
