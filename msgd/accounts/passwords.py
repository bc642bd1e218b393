"""Passwords as bytes: prepared so that one password typed on two keyboards is the same (RFC 8265 §4).

The only form in which the rest of the accounts sees a password. RFC 5802 §5.1 names SASLprep, which RFC
8265 replaces; the two agree on ASCII, spaces and composed letters. They differ where SASLprep changes the
look of a character (a ligature, a fullwidth letter): there a client of the old rule sends another proof.
"""

from msgd.accounts.errors import AccountError
from msgd.wire.precis import PrecisError, opaque


def prepare_password(password: str) -> bytes:
    """Return `password` as the bytes from which keys are made.

    Raises AccountError "not-acceptable" when it is empty, longer than 1365 characters, or has control
    characters or unassigned code points.
    """
    try:
        return opaque(password).encode()
    except PrecisError as error:
        raise AccountError("not-acceptable", f"this cannot be a password: {error}") from None
