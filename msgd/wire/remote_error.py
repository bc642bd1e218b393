"""The stream error that another server sends: its condition, and what it says (RFC 6120 §4.9)."""

from __future__ import annotations

from typing import Final

from msgd.wire.border import LINK_HEADER
from msgd.wire.errors import STREAM_CONDITIONS, STREAMS_NAMESPACE
from msgd.wire.xml import parse

_PREFIX: Final = f"{{{STREAMS_NAMESPACE}}}"
#: Characters of their text that are shown.
_LONGEST: Final = 200


def remote_error(raw: bytes) -> tuple[str, str]:
    """The condition of a `<stream:error/>`, and one line for an operator that names it.

    A condition that the RFC does not know is 'undefined-condition'.
    """
    tree = parse(raw, LINK_HEADER)
    names = [child.tag.removeprefix(_PREFIX) for child in tree]
    condition = next((name for name in names if name in STREAM_CONDITIONS), "undefined-condition")
    # Theirs to choose, and ours to show: one line, and not long.
    text = " ".join((tree.findtext(f"{_PREFIX}text") or "").split())[:_LONGEST]
    return condition, f"it ends the stream: {condition}" + (f" ({text})" if text else "")
