"""What the documents name is there, so that no reader is sent to nothing."""

import re
import textwrap
from pathlib import Path

import pytest

from msgd.config import load
from msgd.console.listeners import COMMANDS
from msgd.console.registry import REGISTRY
from msgd.storage import schema

ROOT = Path(__file__).parent.parent
TRUST = ROOT / "protocol_spec" / "trust"
NAMED = re.compile(r"`((?:msgd|tests|protocol_spec|conf|bench|tools)/[\w./-]+|[\w.-]+\.md)`")
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *ROOT.glob("bench/*.md"),
    *(ROOT / "protocol_spec").glob("*.md"),
    *(ROOT / "protocol_spec" / "decisions").glob("*.md"),
]


def _named(document: Path) -> set[Path]:
    """The files and folders that a document names in backquotes, as paths."""
    return {_place(document, name) for name in NAMED.findall(document.read_text("utf-8"))}


def _place(document: Path, name: str) -> Path:
    """A name without a folder is beside the document, in the folder of its name, or in the specification."""
    if "/" in name:
        return ROOT / name
    places = [document.parent, document.with_suffix(""), ROOT / "protocol_spec"]
    return next((place / name for place in places if (place / name).exists()), document.parent / name)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_names_exists(document: Path) -> None:
    assert sorted(str(path) for path in _named(document) if not path.exists()) == []


def test_every_transcript_of_hostile_input_is_in_the_table() -> None:
    named = _named(TRUST.with_suffix(".md"))
    assert sorted(path.name for path in set(TRUST.glob("*.md")) - named) == []


def test_decisions_are_numbered_without_gaps() -> None:
    names = sorted(path.name for path in (ROOT / "protocol_spec" / "decisions").glob("*.md"))
    assert [name[:5] for name in names] == [f"{number:04}-" for number in range(1, len(names) + 1)]


def test_it_is_said_how_long_each_table_is_kept() -> None:
    rows = re.findall(
        r"^\|[^|]*\|([^|]*)\|", (ROOT / "protocol_spec" / "privacy.md").read_text("utf-8"), re.M
    )
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(schema.metadata.tables)


def test_every_command_of_the_console_is_explained() -> None:
    assert COMMANDS  # they register themselves
    text = (ROOT / "protocol_spec" / "console.md").read_text("utf-8")
    told = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert sorted(told) == sorted(
        command.usage.replace("|", "\\|")
        for command in REGISTRY.commands.values()
        if not command.name.startswith("clock")
    )


def test_what_the_reader_is_told_to_configure_can_be_configured(tmp_path: Path) -> None:
    blocks = re.findall(r"(?:^    .*\n)+", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    told = [textwrap.dedent(block) for block in blocks if re.match(r"    (?:domain = |\[)", block)]
    assert len(told) == 3
    file = tmp_path / "msgd.toml"
    file.write_text("".join(told).replace("…", "0123456789abcdef0123456789abcdef"), "utf-8")
    config = load(file)
    assert config.domains == ("example.org",)
    assert list(config.components) == ["gateway.example.org"]
    assert [service.type for service in config.external_services.service] == ["turn"]
