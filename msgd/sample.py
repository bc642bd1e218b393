"""Writes conf/msgd.toml: every option that is declared, with its text and its default.

`make conf` runs this; a test keeps the file equal to what it writes.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, Final

from msgd.config import DEFAULT_DATA, sections
from msgd.options import Declared, declared_options
from msgd.sections import Component, Host

_WIDTH: Final = 100
_HEAD: Final = f"""\
# The configuration of msgd (TOML). One line is required, the first; every other option is shown with its
# default and what it does: take the # away to change it. `msgd check` finds what is wrong with it, and
# SIGHUP makes a running server read it again.

# The domain that addresses end in (juliet@example.org), or a list: ["example.org", "example.net"].
domain = "example.org"

# The directory with everything the server keeps: the database, certificates it made, the console's
# socket. Paths are relative to this file. (read at the start)
#data = "{DEFAULT_DATA}"
"""
_HOSTS: Final = """\
# What is different for one domain; a section for each that needs it.
#[host."example.net"]
"""
_COMPONENTS: Final = """\
# A program that speaks for a domain of its own, a gateway for instance (XEP-0114); a section for each.
#[component."gateway.example.org"]
"""


def sample() -> str:
    """The text of the file."""
    parts = [_HEAD]
    for name, section in sections().items():
        parts.append(f"{_comment(section.__doc__ or '')}[{name}]\n{_options(section)}")
    parts.append(_HOSTS + _options(Host))
    parts.append(_COMPONENTS + _options(Component))
    return "\n".join(parts)


def _options(section: type[Any]) -> str:
    return "\n".join(_option(each) for each in declared_options(section))


def _option(declared: Declared) -> str:
    option = declared.option
    notes = [option.unit] if option.unit else []
    if option.maximum is not None or option.minimum is not None:
        least, most = option.minimum or 0, option.maximum
        notes.append(f"at least {least}" if most is None else f"{least} to {most}")
    if option.restart:
        notes.append("read at the start")
    doc = option.doc + (f" ({', '.join(notes)})" if notes else "")
    tables = _tables(declared.table) if declared.table is not None else ""
    return f"{_comment(doc)}{tables}#{declared.name} = {_value(declared)}\n"


def _tables(table: type[Any]) -> str:
    """What stands in each table of a list."""
    lines: list[str] = []
    for each in declared_options(table):
        bounds = f" ({each.option.unit})" if each.option.unit else ""
        default = "" if each.option.required else f" [{_value(each)}]"
        text = f"{each.name}{default}: {each.option.doc}{bounds}"
        lines += textwrap.wrap(text, _WIDTH - 6, subsequent_indent="  ")
    return "".join(f"#   {line}\n" for line in lines)


def _comment(text: str) -> str:
    lines = textwrap.wrap(" ".join(text.split()), _WIDTH - 2, break_long_words=False)
    return "".join(f"# {line}\n" for line in lines)


def _value(declared: Declared) -> str:
    value = declared.default
    if value is None:
        return '""' if declared.base is Path else "false"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{each}"' for each in value) + "]"
    return str(value) if isinstance(value, int) else f'"{value}"'


if __name__ == "__main__":
    print(sample(), end="")
