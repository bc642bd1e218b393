"""How options are declared, and how a TOML table becomes a typed section.

A section is a frozen dataclass. Each of its fields is an option: its annotation is the type, `option()`
gives the default, the text for the reader and the bounds. From this one declaration the configuration is
read and checked, `conf/msgd.toml` is written, and code gets typed attributes.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Final, Protocol, TypeVar, get_args, get_origin, get_type_hints, runtime_checkable

_T = TypeVar("_T")
_KEY: Final = "option"
#: How much of a line is looked at to find its key.
_LONGEST_KEY: Final = 200


@dataclass(frozen=True)
class Option:
    """What is declared of an option besides its name, type and default."""

    doc: str
    unit: str = ""
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()
    #: It is read at the start only; a reload says so and keeps the old value.
    restart: bool = False
    #: It has to be there.
    required: bool = False


def option(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    minimum: int | None = None,
    maximum: int | None = None,
    choices: tuple[str, ...] = (),
    restart: bool = False,
    required: bool = False,
) -> Any:
    """Declare an option as the value of a dataclass field.

    Integers have at least `minimum` (0 unless said) and at most `maximum`; texts are one of `choices`,
    if there are any. An option of type `X | None` is switched off by `false`, or by "" if it is a path. One
    of type `tuple[Table, ...]`, where `Table` is a dataclass of options, is a list of tables, written as
    `[[section.name]]`. What is wrong with several options of a table together its method `faults` tells (see
    `Checked`).
    """
    declared = Option(" ".join(doc.split()), unit, minimum, maximum, choices, restart, required)
    return dataclasses.field(default=default, metadata={_KEY: declared})


@runtime_checkable
class Checked(Protocol):
    """A section or table that looks at its options together."""

    def faults(self) -> Iterable[tuple[str, str, str]]:
        """Option, what is wrong, and the remedy, for each fault."""


@dataclass(frozen=True)
class Fault:
    """One fault, for an operator: where it is, what it is, what to do."""

    where: str
    key: str
    what: str
    remedy: str

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        return f"{self.where}: {key}{self.what}; {self.remedy}"


class ConfigError(Exception):
    """The configuration cannot be used; `faults` says why, one by one."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


class Source:
    """The text that options came from; knows in which line a key stands."""

    def __init__(self, name: str, text: str = "", directory: Path | None = None) -> None:
        self.name = name
        #: What relative paths are relative to.
        self.directory = directory or Path.cwd()
        self._lines = _lines_of_keys(text)
        self.faults: list[Fault] = []

    def where(self, section: str, key: str = "") -> str:
        """File and line of an option, as far as known."""
        inner = f"{section}.{key}".strip(".")
        # A list of tables may be written into one line.
        outer, _, last = re.sub(r"\[\d+\]$", "", section).rpartition(".")
        for place in ((section, key), (inner, ""), (section, ""), (outer, last)):
            if place in self._lines:
                return f"{self.name}:{self._lines[place]}"
        return self.name

    def fault(self, section: str, key: str, what: str, remedy: str) -> None:
        """Note a fault."""
        full = ".".join(part for part in (section, key) if part)
        self.faults.append(Fault(self.where(section, key), full, what, remedy))


def _lines_of_keys(text: str) -> dict[tuple[str, str], int]:
    """Where each section begins and each key stands. A guide for the eye: tomllib keeps no lines."""
    found: dict[tuple[str, str], int] = {}
    section = ""
    counts: Counter[str] = Counter()
    for number, whole in enumerate(text.splitlines(), 1):
        line = whole[:_LONGEST_KEY]
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line)
        if header:
            section = header[1].replace('"', "").replace("'", "")
            if line.lstrip().startswith("[["):
                counts[section] += 1
                section = numbered(section, counts[section])
            found.setdefault((section, ""), number)
            continue
        key = re.match(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*[\w-]+)*)\s*=""", line)
        if key:
            parts = [part.strip(" \t\"'") for part in key[1].split(".")]
            inner = ".".join([section, *parts[:-1]]).strip(".")
            found.setdefault((inner, parts[-1]), number)
            found.setdefault((inner, ""), number)
    return found


def numbered(name: str, number: int) -> str:
    """What the table of this number, from 1, in a list of tables is called in faults."""
    return f"{name}[{number}]"


@dataclass(frozen=True)
class Declared:
    """An option with its place in the section."""

    name: str
    type: Any
    default: Any
    option: Option

    @property
    def optional(self) -> bool:
        """Whether it can be switched off."""
        return NoneType in get_args(self.type)

    @property
    def base(self) -> Any:
        """The type when it is not switched off."""
        rest = [each for each in get_args(self.type) if each is not NoneType]
        return rest[0] if self.optional else self.type

    @property
    def is_list(self) -> bool:
        """Whether it is a list of texts, or of tables."""
        return get_origin(self.base) is tuple

    @property
    def table(self) -> type[Any] | None:
        """The declaration of one table, where it is a list of these."""
        inside = get_args(self.base)[0] if self.is_list else None
        return inside if isinstance(inside, type) and dataclasses.is_dataclass(inside) else None


def declared_options(section: type[Any]) -> tuple[Declared, ...]:
    """The options of a section, in order."""
    hints = get_type_hints(section)
    return tuple(
        Declared(field.name, hints[field.name], field.default, field.metadata[_KEY])
        for field in dataclasses.fields(section)
    )


def read_section(section: type[_T], name: str, table: object, source: Source) -> _T:
    """Make a section of a TOML table; options that are not there have their defaults.

    Faults go to `source.faults`, and the option has its default then.
    """
    if not isinstance(table, Mapping):
        source.fault("", name, "must be a section", f"write [{name}]")
        table = {}
    declared = {each.name: each for each in declared_options(section)}
    before = len(source.faults)
    values: dict[str, Any] = {}
    for key, value in table.items():
        found = declared.get(key)
        if found is None:
            source.fault(name, key, f"unknown option `{key}`", remedy_for(key, declared))
            continue
        try:
            if found.table is not None:
                values[key] = _read_tables(found.table, f"{name}.{key}", value, source)
            else:
                values[key] = _convert(value, found, source.directory)
        except _Refused as refused:
            source.fault(name, key, refused.what, refused.remedy)
    for each in declared.values():
        if each.option.required and each.name not in table:
            source.fault(name, each.name, "is missing", f"write {each.name} = …")
    made = section(**values)
    if isinstance(made, Checked) and len(source.faults) == before:
        for key, what, remedy in made.faults():
            source.fault(name, key, what, remedy)
    return made


def _read_tables(table: type[_T], name: str, value: object, source: Source) -> tuple[_T, ...]:
    if not isinstance(value, list):
        raise _Refused("must be a list of sections", f"write [[{name}]]")
    return tuple(
        read_section(table, numbered(name, number), each, source) for number, each in enumerate(value, 1)
    )


def remedy_for(key: str, known: Iterable[str], places: Mapping[str, str] | None = None) -> str:
    """What to do about a name that is not known: the nearest one, or where it belongs."""
    near = difflib.get_close_matches(key.lower(), list(known), 1, 0.55)
    if near:
        return f"did you mean `{near[0]}`?"
    if places and key in places:
        return f"it belongs into [{places[key]}]"
    return "remove it (conf/msgd.toml has every option)"


class _Refused(Exception):
    def __init__(self, what: str, remedy: str) -> None:
        self.what, self.remedy = what, remedy


def _convert(value: object, declared: Declared, directory: Path) -> Any:
    if declared.optional and (value is False or value == ""):
        return None
    if declared.is_list:
        return _convert_list(value)
    wanted, option = declared.base, declared.option
    if wanted is bool:
        if not isinstance(value, bool):
            raise _Refused(f"must be true or false, not {_show(value)}", "write one of these")
        return value
    if wanted is int:
        return _convert_integer(value, declared)
    if not isinstance(value, str):
        raise _Refused(f"must be a text, not {_show(value)}", "put it in quotes")
    if wanted is Path:
        return directory / Path(value).expanduser()
    if option.choices and value not in option.choices:
        choices = " or ".join(f'"{choice}"' for choice in option.choices)
        raise _Refused(f"must be {choices}, not {_show(value)}", "write one of these")
    return value


def _convert_integer(value: object, declared: Declared) -> int:
    option = declared.option
    least, most = option.minimum or 0, option.maximum
    unit = f" ({option.unit})" if option.unit else ""
    if isinstance(value, bool) or not isinstance(value, int):
        off = ", or false" if declared.optional else ""
        remedy = "write a number without quotes" if isinstance(value, str) else "write a number"
        raise _Refused(f"must be a whole number{unit}{off}, not {_show(value)}", remedy)
    if value < least or (most is not None and value > most):
        bounds = f"at least {least}" if most is None else f"from {least} to {most}"
        default = "false" if declared.default is None else declared.default
        raise _Refused(f"must be {bounds}{unit}, not {value}", f"the default is {default}")
    return value


def _convert_list(value: object) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise _Refused(f"must be a list of texts, not {_show(value)}", 'write ["one", "two"]')
    return tuple(items)


def _show(value: object) -> str:
    """A value in a message: short, without control characters."""
    text = f'"{value}"' if isinstance(value, str) else str(value)
    if isinstance(value, bool):
        text = text.lower()
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= 40 else text[:37] + "..."
