"""Reads a transcript: Markdown in, cast and steps out. The format is in protocol_spec/README.md.

Nothing is played here; `tests.specification.play` knows what the sentences mean. What a sentence may be is
given from there, so that this module can tell a step from prose.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SPECIFICATION = ROOT / "protocol_spec"

_FENCE = re.compile(r"^```(\w*)\s*$")
_CAST = re.compile(r"^[-*] ([A-Z]\w*) is (the server )?(\S+?)((?:, .+?)?)\.?$")
_COMPONENT = re.compile(r"^[-*] ([A-Z]\w*) is a component (\S+?)((?:, .+?)?)\.?$")
_HEAD = re.compile(r"^(Proves|Option|Played): (.+?)$")
_ROWS_OF = re.compile(r"Rows of `([\w./-]+)`(?: where (\w+) is ([\w ]+))?\.")
_SENTENCE = re.compile(r"(?<=[.:])\s+(?=[A-Z$])")
_OPTIONS: dict[str, tuple[str, Any]] = {
    "with stream management": ("managed", True),
    "with stream management by hand": ("by_hand", True),
    "with direct TLS": ("direct", True),
    "using SASL2": ("sasl2", True),
    "without an account": ("exists", False),
    "disabled": ("disabled", True),
    "without a certificate": ("certificate", "none"),
}


#: The option of transcripts in which there are other servers.
FEDERATED = "federation.enabled = true"


class TranscriptError(Exception):
    """The file is not a transcript; says where and why."""


@dataclass(frozen=True)
class Role:
    """A member of the cast: an account, a resource of it, and how its client behaves."""

    name: str
    local: str
    domain: str
    resource: str
    managed: bool = False
    by_hand: bool = False
    direct: bool = False
    sasl2: bool = False
    exists: bool = True
    disabled: bool = False
    mechanism: str = "SCRAM-SHA-1"
    password: str = "secret"
    #: Another server: `domain` is its own, and for whom its certificate is ("" itself, "none" there is none).
    server: bool = False
    certificate: str = ""
    #: A component shares a secret with the server, and has no account.
    secret: str = ""

    @property
    def is_component(self) -> bool:
        """Whether it speaks for a domain of its own (XEP-0114)."""
        return bool(self.secret)


@dataclass(frozen=True)
class Step:
    """A sentence, the block that belongs to it (or None), its kind ('xml', 'bytes', …) and its line."""

    sentence: str
    line: int
    block: str | None = None
    language: str = ""


@dataclass
class Transcript:
    """One transcript, or one row of it."""

    path: Path
    title: str = ""
    proves: str = ""
    options: tuple[str, ...] = ()
    alone: bool = False
    whole: bool = False
    cast: dict[str, Role] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    rows: list[dict[str, str]] = field(default_factory=list)
    row: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The path below protocol_spec, and the first cell of the row."""
        try:
            name = str(self.path.resolve().relative_to(SPECIFICATION).with_suffix(""))
        except ValueError:
            name = self.path.stem
        return name + (f"[{next(iter(self.row.values()))}]" if self.row else "")

    @property
    def commands_server(self) -> bool:
        """Whether it does something to the server that others would notice."""
        return self.alone or any(
            step.sentence.startswith(("The server ", "The clock ", "The operator ")) for step in self.steps
        )

    def each_row(self, is_step: Callable[[str], bool]) -> list[Transcript]:
        """The transcript itself, or one for each row of its table. Raises TranscriptError."""
        found = [self._with_row(row) for row in self.rows or [{}]]
        for transcript in found:
            for step in transcript.steps:
                if not is_step(step.sentence):
                    raise TranscriptError(f"{self.path}:{step.line}: not a step: '{step.sentence}'")
        return found

    def _with_row(self, row: dict[str, str]) -> Transcript:
        def fill(text: str) -> str:
            for name, value in row.items():
                text = text.replace("${" + name + "}", value)
            return text

        steps = [
            replace(step, sentence=sentence, block=step.block and fill(step.block))
            for step in self.steps
            for sentence in _SENTENCE.split(fill(step.sentence))
            if sentence
        ]
        options = tuple(fill(option) for option in self.options)
        return replace(self, steps=steps, options=options, rows=[], row=row)


def read(path: Path, is_step: Callable[[str], bool]) -> list[Transcript]:
    """What is in `path`: one transcript, or one for each row of its table.

    `is_step` knows the sentences of steps. Raises TranscriptError.
    """
    reader = _Reader(path)
    reader.run(path.read_text("utf-8").split("\n"))
    return reader.finished().each_row(is_step)


def find(root: Path = SPECIFICATION) -> list[Path]:
    """All transcripts, in order."""
    return [
        path
        for path in sorted(root.rglob("*.md"))
        if path.parent != SPECIFICATION and "decisions" not in path.parts
    ]


def table(lines: list[str]) -> list[dict[str, str]]:
    """The rows of a table in Markdown, by their headings. Raises ValueError."""
    head: list[str] = []
    rows = []
    for line in lines:
        cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
        values = [cell.strip().replace("\\|", "|") for cell in cells]
        if all(re.fullmatch(r":?-+:?", value) for value in values):
            continue
        if not head:
            head = values
            continue
        if len(head) != len(values):
            raise ValueError(f"{len(values)} cells under {len(head)} headings")
        plain = [re.sub(r"^(`+)(.*)\1$", r"\2", value) for value in values]
        rows.append(dict(zip(head, plain, strict=True)))
    return rows


def rows_of(name: str) -> list[dict[str, str]]:
    """The rows of the last table in a document in protocol_spec/. Raises OSError, ValueError."""
    lines = (SPECIFICATION / name).read_text("utf-8").split("\n")
    tables = [list(group) for is_row, group in groupby(lines, lambda line: line.startswith("|")) if is_row]
    return table(tables[-1]) if tables else []


class _Reader:
    """Goes through the lines once."""

    def __init__(self, path: Path) -> None:
        self.transcript = Transcript(path)
        self._paragraph: list[str] = []
        self._started = 0
        self._line = 0
        self._table: list[str] | None = None

    def run(self, lines: list[str]) -> None:
        rest = iter(enumerate(lines, 1))
        for self._line, line in rest:
            fence = _FENCE.match(line)
            if fence:
                self._end_paragraph()
                block = []
                for _, inner in rest:
                    if inner.rstrip() == "```":
                        break
                    block.append(inner)
                else:
                    raise self._error("the block has no end")
                self._block("\n".join(block), fence.group(1))
            elif line.startswith("#"):
                self._end_paragraph()
                if not self.transcript.title:
                    self.transcript.title = line.strip("# ")
            elif line.startswith("|"):
                self._end_paragraph()
                self._row(line)
            elif not line.strip():
                self._end_paragraph()
            elif _COMPONENT.match(line):
                self._end_paragraph()
                self._component(line)
            elif _CAST.match(line):
                self._end_paragraph()
                self._role(line)
            elif _HEAD.match(line):
                self._end_paragraph()
                self._head(line)
            else:
                if not self._paragraph:
                    self._started = self._line
                self._paragraph.append(line.strip())
        self._end_paragraph()

    def finished(self) -> Transcript:
        transcript = self.transcript
        for step in transcript.steps:
            if step.sentence.endswith(":") and step.block is None:
                raise self._error(f"no block for '{step.sentence}'", step.line)
        if not transcript.title or not transcript.proves:
            raise self._error("a title and a line 'Proves: …' are needed", 1)
        if not transcript.steps or not transcript.cast:
            raise self._error("no cast or no steps", 1)
        return transcript

    def _error(self, reason: str, line: int = 0) -> TranscriptError:
        return TranscriptError(f"{self.transcript.path}:{line or self._line}: {reason}")

    def _end_paragraph(self) -> None:
        text, self._paragraph = " ".join(self._paragraph), []
        if not text:
            return
        if text == "Rows:":
            self._table = []
            return
        elsewhere = _ROWS_OF.fullmatch(text)
        if elsewhere:
            self._rows_of(*elsewhere.groups(default=""))
            return
        names = (*self.transcript.cast, "The server is", "The clock", "The operator", "Nobody")
        if any(text.startswith((f"{name} ", f"{name}'s", "${")) for name in names):
            self.transcript.steps += [Step(sentence, self._started) for sentence in _SENTENCE.split(text)]

    def _block(self, text: str, language: str) -> None:
        steps = self.transcript.steps
        if not steps or not steps[-1].sentence.endswith(":") or steps[-1].block is not None:
            raise self._error("a block without a step that ends in ':'")
        steps[-1] = replace(steps[-1], block=text, language=language)

    def _row(self, line: str) -> None:
        if self._table is None:
            return  # a table for the reader alone
        self._table.append(line)
        try:
            self.transcript.rows = table(self._table)
        except ValueError as error:
            raise self._error(str(error)) from None

    def _rows_of(self, name: str, column: str, values: str) -> None:
        """The rows of a document in protocol_spec/, or those of them that have one of some values."""
        try:
            rows = rows_of(name)
            self.transcript.rows = [row for row in rows if not column or row[column] in values.split(" or ")]
        except (OSError, ValueError, KeyError) as error:
            raise self._error(f"{name}: {error}") from None
        if not self.transcript.rows:
            raise self._error(f"no such rows in {name}")

    def _head(self, line: str) -> None:
        match = _HEAD.match(line)
        assert match is not None
        kind, value = match.groups()
        if kind == "Proves":
            self.transcript.proves = value
        elif kind == "Option":
            self.transcript.options += (value.strip(". ").strip("`"),)
        elif value.strip(". ") in ("alone", "whole"):
            setattr(self.transcript, value.strip(". "), True)
        else:
            raise self._error(f"not known: {line}")

    def _component(self, line: str) -> None:
        match = _COMPONENT.match(line)
        assert match is not None
        name, domain, options = match.groups()
        secret = f"the secret of {domain}"
        configured = [f'component."{domain}".secret = "{secret}"']
        for option in filter(None, options.split(", ")):
            found = re.fullmatch(r"with (\w+) = (\".*\")", option)
            if not found:
                raise self._error(f"no such option of a component: {option}")
            configured.append(f'component."{domain}".{found[1]} = {found[2]}')
        for line in configured:
            if line not in self.transcript.options:
                self.transcript.options += (line,)
        role = Role(name, "", domain, "", exists=False, secret=secret)
        self.transcript.cast[name] = role

    def _role(self, line: str) -> None:
        match = _CAST.match(line)
        assert match is not None
        name, server, jid, options = match.groups()
        bare, _, resource = jid.partition("/")
        local, at, domain = bare.partition("@")
        if server:
            role = Role(name, "", jid, "", exists=False, server=True)
            if FEDERATED not in self.transcript.options:
                self.transcript.options += (FEDERATED,)
        elif at:
            role = Role(name, local, domain, resource)
        else:
            raise self._error(f"{name} is not local@domain/resource")
        for option in filter(None, options.split(", ")):
            mechanism = re.fullmatch(r"using (\S+)", option)
            password = re.fullmatch(r'with the password "(.*)"', option)
            certificate = re.fullmatch(r"with a certificate for (\S+)", option)
            if mechanism and option not in _OPTIONS:
                role = replace(role, mechanism=mechanism.group(1))
            elif password:
                role = replace(role, password=password.group(1))
            elif certificate and server:
                role = replace(role, certificate=certificate.group(1))
            elif option in _OPTIONS:
                role = replace(role, **dict([_OPTIONS[option]]))
            else:
                raise self._error(f"no such option of a role: {option}")
        self.transcript.cast[name] = role
