"""What the console writes: tables and lines, safe for every terminal.

Names, resources and statuses come from strangers. Nothing in them may move the operator's cursor,
colour the screen, or turn the direction of writing: whatever is not plainly printable is shown as an
escape.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

#: Columns are not made wider than this; what is longer is cut in the table (never in JSON).
_WIDEST: Final = 60
#: Categories that are shown as they are, besides the space: letters, marks, numbers, punctuation, symbols.
_SHOWN: Final = frozenset("LMNPS")


def safe(text: str) -> str:
    """`text` on one line, with everything that is not plainly printable as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        letter
        if letter == " " or unicodedata.category(letter)[0] in _SHOWN
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


@dataclass(frozen=True)
class Rows:
    """A table: the names of its columns, and what is in them."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]

    def lines(self) -> list[str]:
        """The table for a terminal."""
        if not self.rows:
            return ["none"]
        texts = [[safe(_text(value)) for value in row] for row in self.rows]
        texts = [[_cut(text) for text in row] for row in texts]
        widths = [max(map(len, column)) for column in zip(self.columns, *texts, strict=True)]
        number = [all(isinstance(row[at], int | float) for row in self.rows) for at in range(len(widths))]
        return [
            "  ".join(
                text.rjust(width) if right else text.ljust(width)
                for text, width, right in zip(row, widths, number, strict=True)
            ).rstrip()
            for row in [list(self.columns), *texts]
        ]


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


#: What a command answers with.
Answer = Rows | list[str] | str


def lines_of(answer: Answer) -> list[str]:
    """The lines of an answer for a terminal."""
    if isinstance(answer, Rows):
        return answer.lines()
    return [safe(line) for line in ([answer] if isinstance(answer, str) else answer)]


def data_of(answer: Answer) -> dict[str, object]:
    """The answer for a program."""
    if isinstance(answer, Rows):
        rows = [dict(zip(answer.columns, map(_plain, row), strict=True)) for row in answer.rows]
        return {"ok": True, "rows": rows}
    return {"ok": True, "text": [answer] if isinstance(answer, str) else list(answer)}


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _plain(value: object) -> object:
    return value if isinstance(value, bool | int | float | type(None)) else str(value)


def duration(seconds: float) -> str:
    """A time span in its two largest units: '3d4h', '5m10s'."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return "".join(parts[:2])
