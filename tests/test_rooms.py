"""The rooms of ``utils/``: imports go down only, and no module is too long to read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT

#: Each room and the rooms that it may import; "" is the ground, the modules of ``utils/`` itself.
BELOW = {
    "": set(),
    "attest": {""},
    "sources": {""},
    "npu": {""},
    "recipe": {"", "sources", "npu"},
    "tasks": {"", "sources", "npu", "recipe"},
    "model": {"", "sources", "npu", "recipe", "tasks"},
    "graph": {"", "sources", "npu", "recipe", "tasks", "model"},
    "shared": {"", "sources", "graph", "recipe"},
    "front": {"", "sources", "npu", "recipe", "tasks", "model", "graph", "shared"},
    "bundle": {"", "attest", "sources", "npu", "recipe", "tasks", "model", "graph"},
    "steps": {"", "attest", "sources", "npu", "recipe", "tasks", "model", "graph", "shared", "bundle"},
    "board": {"", "sources", "npu", "recipe", "tasks", "model", "graph", "bundle"},
    "catalogue": {"", "attest", "sources", "npu", "recipe", "tasks", "model", "graph", "bundle"},
    "release": {
        *("", "attest", "sources", "npu", "recipe", "tasks", "model", "graph", "shared", "bundle", "catalogue"),
    },
}
MODULES = sorted((ROOT / "utils").rglob("*.py"))


def room_of(file: Path) -> str:
    return file.relative_to(ROOT / "utils").parts[0] if file.parent != ROOT / "utils" else ""


def imported(file: Path) -> set[str]:
    """The rooms that a module imports from, also inside its functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: a relative import hides the room"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names if name.split(".")[0] == "utils"]
    return {part[1] if (ROOT / "utils" / part[1]).is_dir() else "" for part in parts if len(part) > 1}


def test_every_folder_is_a_room() -> None:
    assert {room_of(file) for file in MODULES} == set(BELOW)


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_imports_go_down_only(file: Path) -> None:
    room = room_of(file)
    assert imported(file) <= BELOW[room] | {room}


@pytest.mark.parametrize("room", [room for room in BELOW if room])
def test_a_room_says_what_it_is_for_and_hands_nothing_on(room: str) -> None:
    tree = ast.parse((ROOT / "utils" / room / "__init__.py").read_bytes())
    said = ast.get_docstring(tree) or ""
    assert len(said) > 80
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and room in str(node.module).split(".")]
    assert not imports


def test_no_step_imports_a_step() -> None:
    for file in (ROOT / "utils/steps").glob("*.py"):
        modules = {node.module for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.ImportFrom)}
        assert not {name for name in modules if str(name).startswith("utils.steps.")}, file


@pytest.mark.parametrize("file", [file for file in MODULES if file.name != "example.py"], ids=lambda file: file.name)
def test_no_module_is_over_400_lines(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 400


def test_the_task_graph_is_at_most_200_lines() -> None:
    assert len((ROOT / "dodo.py").read_text().splitlines()) <= 200
