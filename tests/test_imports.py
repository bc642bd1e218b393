"""The house has one direction: a package imports only from those on its left, and from what all may use.

And what one process is, another need not be: nothing of it is decided while modules are imported.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "msgd"
#: Everybody may import these; they import only each other, from left to right.
COMMON = ("coroutines", "options", "limits", "sections", "config", "observe", "storage")
#: The way of a stanza, and what stands around it.
WAY = ("wire", "accounts", "negotiation", "routing", "spool", "xeps", "console")
#: What puts it all together.
TOP = (
    "clients", "components", "link_door", "link_resumption", "link_review", "link_sharing", "link_attempts",
    "links", "readings", "signals", "vitals", "app", "sample", "cli",
    "__main__",
)  # fmt: skip
ORDER = (*COMMON, *WAY, *TOP)
#: What modules below xeps/ may use of routing/: the public interface of extensions, and for the
#: names of types whatever it needs.
FOR_EXTENSIONS = (
    "msgd.routing.extension",
    "msgd.routing.account",
    "msgd.routing.archiving",
    "msgd.routing.hooks",
    "msgd.routing.kinds",
)


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[int, str, bool]]:
    """Line, module, and whether it is imported for types only."""
    tree = ast.parse(path.read_text("utf-8"))
    yield from _imports(tree, name_of(path), path.name == "__init__.py", False)


def _imports(node: ast.AST, module: str, package: bool, typing_only: bool) -> Iterator[tuple[int, str, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield child.lineno, alias.name, typing_only
        elif isinstance(child, ast.ImportFrom):
            yield from _from(child, module, package, typing_only)
        else:
            inner = typing_only or _is_type_checking(child)
            yield from _imports(child, module, package, inner)


def _from(
    node: ast.ImportFrom, module: str, package: bool, typing_only: bool
) -> Iterator[tuple[int, str, bool]]:
    base = node.module or ""
    if node.level:
        up = module.split(".")
        up = up[: len(up) - node.level + (1 if package else 0)]
        base = ".".join([*up, base]).strip(".")
    for alias in node.names:
        # `from msgd import app` imports the module msgd.app.
        yield node.lineno, f"{base}.{alias.name}" if base == "msgd" else base, typing_only


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def room_of(module: str) -> str:
    """The package or top module that a module belongs to; '' for msgd itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def wrong_way(path: Path) -> list[str]:
    """The imports of a module that go to the right."""
    own = room_of(name_of(path))
    found = []
    for line, module, _ in imports(path):
        room = room_of(module)
        if module.split(".")[0] != "msgd" or room in ("", "__version__", own):
            continue
        if room not in ORDER:
            found.append(f"{path}:{line}: {module} has no place in the order")
        elif own and ORDER.index(room) > ORDER.index(own):
            found.append(f"{path}:{line}: {own} imports {module}, which is to its right")
    return found


def test_every_package_and_module_has_its_place() -> None:
    rooms = {room_of(name_of(path)) for path in modules()} - {""}
    assert rooms <= set(ORDER), f"without a place: {sorted(rooms - set(ORDER))}"


def test_imports_go_one_way() -> None:
    assert [fault for path in modules() for fault in wrong_way(path)] == []


def test_the_test_finds_an_import_to_the_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = tmp_path / "msgd"
    (house / "wire").mkdir(parents=True)
    module = house / "wire" / "wrong.py"
    monkeypatch.setattr("tests.test_imports.ROOT", house)
    for text, count in (
        ("from msgd.routing.router import Router\n", 1),
        ("def f() -> None:\n    import msgd.app\n", 1),
        ("from msgd import app\n", 1),
        ("from ..spool import spool\n", 1),
        ("from msgd.nowhere import x\n", 1),
        ("from msgd.storage.database import Database\nfrom .jid import JID\nimport json\n", 0),
    ):
        module.write_text(text)
        assert len(wrong_way(module)) == count, text


def test_extensions_use_the_public_interface() -> None:
    inside = [
        f"{path}:{line}: {module}"
        for path in sorted((ROOT / "xeps").glob("*.py"))
        for line, module, typing_only in imports(path)
        if module.startswith("msgd.routing.") and not typing_only
        if module not in FOR_EXTENSIONS
    ]
    assert inside == []


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_what_a_module_has_for_itself_it_uses(path: Path) -> None:
    text = path.read_text("utf-8")
    own = [
        target.id
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id.startswith("_") and not target.id.startswith("__")
    ]
    assert [name for name in own if len(re.findall(rf"\b{name}\b", text)) < 2] == []


#: What is another in each process, or at each start.
PROCESS = re.compile(
    r"\bos\.environ\b|\b(os\.(getenv|getpid|getcwd|urandom)|(secrets|random)\.\w+|time\.\w+|Path\.cwd)\("
)


def at_import(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions that are worked out when a module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr) and not isinstance(child, ast.Lambda):
            yield child
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = child.args
            yield from [*child.decorator_list, *arguments.defaults, *filter(None, arguments.kw_defaults)]
        elif not isinstance(child, ast.expr):
            yield from at_import(child)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_nothing_of_a_process_is_decided_at_import(path: Path) -> None:
    found = [
        f"{path}:{expression.lineno}: {ast.unparse(expression)}"
        for expression in at_import(ast.parse(path.read_text("utf-8")))
        if PROCESS.search(ast.unparse(expression))
    ]
    assert found == []
