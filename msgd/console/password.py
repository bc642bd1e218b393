"""The hashed password of the TCP console, as it stands in the configuration.

One operator's password, checked a few times a day: scrypt (RFC 7914) with its usual parameters.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

#: CPU and memory cost (16 MiB), block size, parallelism.
_N, _R, _P = 16384, 8, 1
_NAME: Final = "scrypt"


def hash_password(password: str, salt: bytes | None = None) -> str:
    """The text for `console.password`: `scrypt:SALT:KEY`, in hexadecimal."""
    salt = salt or secrets.token_bytes(16)
    return f"{_NAME}:{salt.hex()}:{_key(password, salt).hex()}"


def is_password(hashed: str, password: str) -> bool:
    """Whether `password` is the one that `hashed` was made of; False for a text that is no hash."""
    name, _, rest = hashed.partition(":")
    salt, _, key = rest.partition(":")
    try:
        wanted, used = bytes.fromhex(key), bytes.fromhex(salt)
    except ValueError:
        return False
    if name != _NAME or not used or not wanted:
        return False
    return hmac.compare_digest(_key(password, used), wanted)


def _key(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_N, r=_R, p=_P, dklen=32)
