"""What the client of a session wants to be told: nodes, from its capabilities (XEP-0115, XEP-0163 §4.2).

Kept in the session's extras, so that it is known after a resumption and a restart. Of clients of contacts in
other domains it is in `contacts_elsewhere.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from msgd.routing.session import Session

_KEY: Final = "capabilities"


def interests(session: Session) -> Sequence[str]:
    """The nodes whose news the client wants."""
    extras = session.extras
    return extras[_KEY][1] if extras is not None and _KEY in extras else ()


def known_version(session: Session) -> str:
    """The verification string for which that is true; empty when nothing is known."""
    extras = session.extras
    return extras[_KEY][0] if extras is not None and _KEY in extras else ""


def remember(session: Session, version: str, wanted: Sequence[str]) -> None:
    """Note what the client of a session wants."""
    if session.extras is None:
        session.extras = {}
    session.extras[_KEY] = version, wanted
