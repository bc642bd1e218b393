"""Finds what can grow: every attribute or global name of the server that holds a container."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: What makes a container that is empty, or not of a fixed size.
_MAKERS: Final = frozenset(
    {"dict", "list", "set", "deque", "Counter", "defaultdict", "OrderedDict", "SimpleQueue", "Queue",
     "bytearray", "WeakSet", "WeakValueDictionary"}
)  # fmt: skip
#: Annotations that say the same of an attribute that begins as None.
_KINDS: Final = ("dict[", "list[", "set[", "deque[", "Counter[")


def containers(path: Path) -> set[str]:
    """The names of attributes (`Class.name`) and globals of a module that hold something that can grow."""
    return set(_in(ast.parse(path.read_text("utf-8")), ""))


def _in(node: ast.AST, owner: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _in(child, child.name)
            continue
        if isinstance(child, ast.Assign):
            for target in child.targets:
                yield from _assigned(target, child.value, "", owner, node)
        elif isinstance(child, ast.AnnAssign) and child.value is not None:
            yield from _assigned(child.target, child.value, ast.unparse(child.annotation), owner, node)
        if not isinstance(child, ast.ClassDef):
            yield from _in(child, owner)


def _assigned(
    target: ast.expr, value: ast.expr, annotation: str, owner: str, where: ast.AST
) -> Iterator[str]:
    if not (_grows(value) or any(kind in annotation for kind in _KINDS)):
        return
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
        yield f"{owner}.{target.attr}"
    elif isinstance(target, ast.Name) and isinstance(where, ast.Module) and not _is_constant(target.id):
        yield target.id


def _is_constant(name: str) -> bool:
    """Whether a global's name says that it stays what it is."""
    return name.lstrip("_").isupper()


def _grows(value: ast.expr) -> bool:
    if isinstance(value, ast.Dict):
        return not value.keys
    if isinstance(value, ast.List | ast.Set):
        return not value.elts
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name | ast.Attribute):
        name = value.func.id if isinstance(value.func, ast.Name) else value.func.attr
        return name in _MAKERS
    return isinstance(value, ast.Constant) and value.value == b""
