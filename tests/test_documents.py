"""What the documents name is there, so that no reader is sent to nothing."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TRUST = ROOT / "protocol_spec" / "trust"
NAMED = re.compile(r"`((?:msgd|tests|protocol_spec|conf|bench|tools)/[\w./-]+|[\w.-]+\.md)`")
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "protocol_spec").glob("*.md")]


def _named(document: Path) -> set[Path]:
    """The files and folders that a document names in backquotes, as paths."""
    return {_place(document, name) for name in NAMED.findall(document.read_text("utf-8"))}


def _place(document: Path, name: str) -> Path:
    """A name without a folder is a neighbour of the document, or in the folder of the same name."""
    if "/" in name:
        return ROOT / name
    beside = document.parent / name
    return beside if beside.exists() else document.with_suffix("") / name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_names_exists(document: Path) -> None:
    assert sorted(str(path) for path in _named(document) if not path.exists()) == []


def test_every_transcript_of_hostile_input_is_in_the_table() -> None:
    named = _named(TRUST.with_suffix(".md"))
    assert sorted(path.name for path in set(TRUST.glob("*.md")) - named) == []
