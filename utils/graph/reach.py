"""What code a module reaches: the definitions that it names, those that they name, and so on.

What counts:

- of the module and each module of ours that it reaches: the statements that are no definitions, and the definitions
  that reached code names;
- of a class, all of it: frameworks call members that no text of ours names;
- the ``__init__.py`` of every package on the way, and each data file that a string names beside its module.

Where names cannot tell (a ``getattr`` with a computed name, ``vars``, ``exec``, a star import, a module used as a
value), the whole module counts.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from utils import paths
from utils.errors import BuildError
from utils.graph.syntax import is_text, tree_as_text

__all__ = ["OURS", "Reached", "reach"]

#: Code that decides when a step runs, where its files are and how a failure is told. What it computes for a step is
#: part of the step's key as values (recipe facts, names and contents of files, pins), and what a fetch returns is held
#: against its hash: an edit here changes no result behind the key's back.
HARNESS = frozenset(
    {
        "utils.errors",
        "utils.events",
        "utils.graph.code",
        "utils.graph.folder",
        "utils.graph.npu_plan",
        "utils.graph.plan",
        "utils.graph.reach",
        "utils.graph.record",
        "utils.graph.step",
        "utils.graph.syntax",
        "utils.sources.cache",
        "utils.sources.fetch",
        "utils.sources.http",
        "utils.sources.part",
        "utils.sources.progress",
        "utils.sources.source",
        "utils.steps",
        "utils.terminal",
    }
)

#: Where code of ours lives; everything else is pinned by the lock.
OURS = ("utils", "recipes")

#: Calls that read names which only a run can tell.
_DYNAMIC = frozenset({"asdict", "dir", "eval", "exec", "globals", "locals", "model_dump", "vars", "__import__"})
_BY_NAME = frozenset({"delattr", "getattr", "hasattr", "setattr"})

_WHOLE, _AS_PROGRAM = "*", "__main__"

#: A module and a definition in it; ``None``: what runs when it is imported; ``*``: all of it; ``__main__``: what runs
#: only when it is started.
_Place = tuple[str, str | None]


@dataclass(frozen=True)
class _Module:
    """One file of ours, taken apart.

    Attributes:
        name: as an import says it.
        file: where it is.
        loose: statements that are no definitions.
        defined: name -> the statements that bind it.
        imported: name -> where it comes from; ``(module, None)`` for a module of ours.
        runs: modules of ours that importing it runs.
        foreign: names that come from packages.
    """

    name: str
    file: Path
    loose: list[ast.stmt] = field(default_factory=list)
    defined: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imported: dict[str, _Place] = field(default_factory=dict)
    runs: list[_Place] = field(default_factory=list)
    foreign: set[str] = field(default_factory=set)


@dataclass
class Reached:
    """What is found on the way from a module.

    Attributes:
        modules: what was taken apart, by name: each file is read once.
        trees: module and syntax tree, as text, of each piece of code.
        files: the files that they are of, with the sha256 of what was taken apart.
        data: data files that strings name.
    """

    modules: dict[str, _Module] = field(default_factory=dict)
    trees: set[tuple[str, str]] = field(default_factory=set)
    files: dict[Path, str] = field(default_factory=dict)
    data: set[Path] = field(default_factory=set)


def reach(start: Path) -> Reached:
    """Follow the names from a file of ours.

    Raises:
        BuildError: a file is not Python, or is nested too deep to be read.
    """
    try:
        return _reach(start)
    except (RecursionError, MemoryError):  # of the parser, and of us
        what = "is nested deeper than Python can read"
        raise BuildError(what, where=paths.relative(start), hint="write it flatter") from None


def _reach(start: Path) -> Reached:
    name = ".".join(start.relative_to(paths.ROOT).with_suffix("").parts)
    if _file_of(name) != start:  # no import can name it: a dot in its path, or another suffix
        return Reached(data={start})
    reached = Reached()
    waiting: list[_Place] = [(name, _WHOLE), (name, _AS_PROGRAM)]
    done: set[_Place] = set()
    while waiting:
        place = waiting.pop()
        if place not in done:
            done.add(place)
            waiting += _enter(place, reached)
    return reached


def _enter(place: _Place, reached: Reached) -> Iterator[_Place]:
    """Count what stands at a place; gives the places that it names."""
    name, wanted = place
    file = _file_of(name)
    if file is None or name in HARNESS:
        return
    module = reached.modules.get(name)
    if module is None:
        text = file.read_bytes()
        module = reached.modules[name] = _parse(name, file, text)
        reached.files[file] = hashlib.sha256(text).hexdigest()
    if wanted is None:
        yield from module.runs
        nodes = module.loose
    elif wanted == _WHOLE:
        yield name, None
        yield from ((name, word) for word in module.defined if word != _AS_PROGRAM)
        return
    else:
        yield name, None
        nodes = module.defined.get(wanted, [])
        if wanted in module.imported:  # it hands on what it imports
            yield _resolved(module.imported[wanted])
        elif not nodes and _file_of(f"{name}.{wanted}"):
            yield f"{name}.{wanted}", _WHOLE
    for node in nodes:
        yield from _count(module, node, reached)


def _count(module: _Module, node: ast.AST, reached: Reached) -> Iterator[_Place]:
    """Add one syntax tree; gives the places that it names."""
    tree = (module.name, tree_as_text(node))
    if tree in reached.trees:
        return
    reached.trees.add(tree)
    through: set[int] = set()  # names that only lead to an attribute
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute):
            if isinstance(part.value, ast.Name) and part.value.id in module.imported:
                target, name = _resolved(module.imported[part.value.id])
                if name is None:
                    through.add(id(part.value))
                    yield target, part.attr
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            _note_data_file(module, part.value, reached)
        elif isinstance(part, ast.Call) and _has_computed_name(part, module):
            yield module.name, _WHOLE
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and id(part) not in through:
            if part.id in module.defined:
                yield module.name, part.id
            elif part.id in module.imported:
                target, name = _resolved(module.imported[part.id])
                yield target, name or _WHOLE  # a module used as a value


def _note_data_file(module: _Module, text: str, reached: Reached) -> None:
    """Count the data file beside its module that a string may name."""
    if "." in text and len(text) < 100 and text.isprintable() and "/" not in text:
        beside = module.file.parent / text
        if beside.is_file():
            reached.data.add(beside)


def _has_computed_name(call: ast.Call, module: _Module) -> bool:
    """Whether a call may read names of ours that the text does not tell."""
    called = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    if called in _BY_NAME and len(call.args) > 1:
        owners = {part.id for part in ast.walk(call.args[0]) if isinstance(part, ast.Name)} - _BY_NAME
        is_foreign = bool(owners) and owners <= module.foreign - set(module.imported)
        return not isinstance(call.args[1], ast.Constant) and not is_foreign
    return called in _DYNAMIC


def _resolved(place: _Place) -> _Place:
    """``from a import b``: b is a module of ours, or a name in a."""
    module, name = place
    whole = f"{module}.{name}"
    return (whole, None) if name and _file_of(whole) else place


def _bound(node: ast.stmt) -> list[str]:
    """The names that a definition binds; none for a statement that does anything else."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return []
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    parts = [part for target in targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])]
    names = [part.id for part in parts if isinstance(part, ast.Name)]
    return names if len(names) == len(parts) else []


def _file_of(name: str) -> Path | None:
    """The file of a module of ours; None for a package's, or for a name in a module."""
    if name.partition(".")[0] not in OURS:
        return None
    stem = paths.ROOT.joinpath(*name.split("."))
    for file in (stem.with_suffix(".py"), stem / "__init__.py"):
        if file.is_file():
            return file
    return None


@lru_cache(maxsize=256)
def _parse(name: str, file: Path, text: bytes) -> _Module:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise BuildError(
            f"is not Python: {getattr(error, 'msg', error)}",
            where=f"{paths.relative(file)}, line {line}" if line else paths.relative(file),
            hint="mend it",
        ) from None
    module = _Module(name, file)
    module.runs.extend((name.rsplit(".", count)[0], None) for count in range(1, name.count(".") + 1))
    for node in ast.walk(tree):  # late imports too
        if isinstance(node, ast.Import | ast.ImportFrom):
            _note_import(module, node)
    for node in tree.body:
        names = _bound(node)
        if isinstance(node, ast.Import | ast.ImportFrom) or is_text(node) or names == ["__all__"]:
            continue
        for word in names:
            module.defined.setdefault(word, []).append(node)
        if not names and _is_program(node):
            module.defined.setdefault(_AS_PROGRAM, []).append(node)
        elif not names:
            module.loose.append(node)
    return module


def _note_import(module: _Module, node: ast.Import | ast.ImportFrom) -> None:
    """Enter the names that an import binds, and the modules of ours that it runs."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.partition(".")[0] not in OURS:
                module.foreign.add(alias.asname or alias.name.partition(".")[0])
            elif alias.asname:
                module.imported[alias.asname] = (alias.name, None)
                module.runs.append((alias.name, None))
            else:  # utils.a.b is read through the name `utils`
                module.runs.append((alias.name, _WHOLE))
        return
    source = node.module or ""
    if node.level:
        package = module.name if module.file.name == "__init__.py" else module.name.rpartition(".")[0]
        parts = package.split(".")
        source = ".".join([*parts[: len(parts) + 1 - node.level], *filter(None, [node.module])])
    if source.partition(".")[0] not in OURS:
        module.foreign.update(alias.asname or alias.name for alias in node.names)
        return
    module.runs.append((source, None))
    for alias in node.names:
        if alias.name == "*":
            module.runs.append((source, _WHOLE))
        else:
            module.imported[alias.asname or alias.name] = (source, alias.name)
            if _file_of(f"{source}.{alias.name}"):
                module.runs.append((f"{source}.{alias.name}", None))


def _is_program(node: ast.stmt) -> bool:
    """Whether a statement is ``if __name__ == "__main__"``, without an ``else``."""
    return isinstance(node, ast.If) and not node.orelse and ast.unparse(node.test) == "__name__ == '__main__'"
