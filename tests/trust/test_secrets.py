"""What nobody may guess comes from `secrets`: tokens, salts, ids that resume a session, keys."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2] / "msgd"
#: Who rolls dice, and for what nobody gains by guessing.
DICE = {
    "spool/entry.py",  # the low bits of stanza-ids, which are shown to everybody
    "spool/outbox.py",  # how long to wait before the next attempt
    "wire/discovery.py",  # which of several servers comes first (RFC 2782)
}


def _modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_only_what_may_be_guessed_is_random() -> None:
    users = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if "random" in _modules(path)}
    assert users == DICE
