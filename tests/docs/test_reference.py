"""docs/reference/recipe.md: it is what the schema says, and it leaves no key out."""

from __future__ import annotations

import tomllib

from tests.support.checkouts import ROOT
from utils.recipe import reference


def test_the_page_in_git_is_current() -> None:
    command = "docker/run python -m utils.recipe.reference"
    assert reference.PAGE.read_text() == reference.as_markdown(), f"{command} writes it anew"


def test_every_key_of_every_recipe_is_on_the_page() -> None:
    text = reference.as_markdown()
    named = (".sources", ".datasets", ".parameters", ".aliases", ".model", ".operators", ".files")

    def check(table: object, where: str) -> None:
        for entry in table if isinstance(table, list) else [table]:
            if isinstance(entry, dict):
                for key, value in entry.items():
                    if key.isupper() or where.endswith(named):
                        check(value, f"{where}.{key}")  # a name of the recipe's own
                    else:
                        assert key == "model" or f"\n| `{key}` | " in text, f"{where}.{key}"
                        check(value, f"{where}.{key}")

    recipes = sorted((ROOT / "recipes").glob("*/recipe.toml"))
    assert recipes
    for file in recipes:
        check(tomllib.loads(file.read_text()), file.parent.name)


def test_tables_of_several_kinds_have_a_section_each() -> None:
    headings = [line for line in reference.as_markdown().splitlines() if line.startswith("## ")]
    assert '## `[load]` with `kind = "tflite"`' in headings
    assert '## `[datasets.KEY]` with `kind = "drawn"`' in headings
    assert "## `[[measured]]`" in headings
    assert "## `[evaluation.gate]`" in headings
    assert len(headings) == len(set(headings))


def test_values_are_told_in_words() -> None:
    text = reference.as_markdown()
    assert "| `shape` | list of 4 integers > 0 | required | " in text
    assert '| `group` | `"zoo"`, `"demo"` | `"zoo"` | ' in text
    assert "| `label_smoothing` | number >= 0, < 1 | required | " in text
