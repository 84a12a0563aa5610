"""What recipes name as the source of a number stays what it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.links import branch_links, dead_links, targets
from utils import paths

RECIPES = sorted(paths.RECIPES.glob("*/recipe.toml"))


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.parent.name)
def test_links_of_recipes_name_commits(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert "https://" in text
    assert branch_links(text) == []


def test_a_branch_is_no_commit() -> None:
    at = "https://github.com/NXP/eiq-model-zoo/tree/"
    raw = "https://raw.githubusercontent.com/fgnt/mnist/"
    commit = "58c2b002e9f64f39b8c43e896e00446298544a33"
    assert branch_links(f'"{at}main/tasks" {raw}master/x.gz') == [f"{at}main/tasks", f"{raw}master/x.gz"]
    assert branch_links(f"{at}{commit}/tasks {raw}{commit}/x.gz https://github.com/NXP/eiq-model-zoo/issues/1") == []


def test_dead_links_are_found(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    (tmp_path / "a b.png").write_bytes(b"")
    card.write_text(
        "# T\n![A](a%20b.png) [B](gone.md#part) [C](https://example.org/x) [D](#t) `[E](code.md)` <img src='F.png'>\n"
        "    [G](block.md)\n```\n[H](fence.md)\n```\n[I]: other.md\n"
    )
    assert targets(card.read_text()) == [
        "a%20b.png",
        "gone.md#part",
        "https://example.org/x",
        "#t",
        "other.md",
        "F.png",
    ]
    assert dead_links(card) == ["gone.md#part", "other.md", "F.png"]
