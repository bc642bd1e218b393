"""Whatever can grow is in `protocol_spec/bounds.md`, with what ends that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.containers import containers

ROOT: Final = Path(__file__).parent.parent
MSGD: Final = ROOT / "msgd"
TABLE: Final = ROOT / "protocol_spec" / "bounds.md"
#: Commands end, and take what they hold with them; migrations too.
_LEFT_OUT: Final = ("cli", "migrations")
_FILE: Final = re.compile(r"`([\w/]+\.py)`((?: `[\w.]+`)+)")


def _found() -> set[tuple[str, str]]:
    return {
        (str(path.relative_to(MSGD)), name)
        for path in MSGD.rglob("*.py")
        if not set(path.parts) & set(_LEFT_OUT)
        for name in containers(path)
    }


def _listed(text: str) -> list[tuple[str, str]]:
    return [(file, name.strip("`")) for file, names in _FILE.findall(text) for name in names.split()]


def test_everything_that_can_grow_is_in_the_table() -> None:
    assert sorted(_found() - set(_listed(TABLE.read_text("utf-8")))) == []


def test_everything_in_the_table_is_in_the_code() -> None:
    listed = _listed(TABLE.read_text("utf-8"))
    missing = [
        (file, name)
        for file, name in listed
        if not re.search(rf"\b{name.rpartition('.')[2]}\b", (MSGD / file).read_text("utf-8"))
    ]
    assert missing == []
    assert len(listed) == len(set(listed))


def test_every_row_says_a_bound() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in TABLE.read_text("utf-8").splitlines()
        if line.startswith("| `")
    ]
    assert len(rows) > 50
    assert [row[0] for row in rows if len(row) < 3 or not row[2]] == []


def test_a_container_is_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "from collections import deque\n"
        "seen = {}\n"
        "FIXED = {}\n"
        "_FIXED: Final = {}\n"
        "class A:\n"
        "    def __init__(self):\n"
        "        self.one: dict[str, int] | None = None\n"
        "        self.two = deque()\n"
        "        self.three = b''\n"
        "        self.four = 4\n"
        "        local = []\n"
        "    def later(self):\n"
        "        if self.four:\n"
        "            self.five = []\n"
    )
    assert containers(module) == {"seen", "A.one", "A.two", "A.three", "A.five"}
