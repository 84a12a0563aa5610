"""The reference of recipe.toml for people, docs/reference/recipe.md: made from the pydantic classes.

``python -m utils.recipe.reference`` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from utils import files, paths
from utils.recipe.json_schema import NOT_KEYS
from utils.recipe.schema import Recipe

__all__ = ["PAGE", "as_markdown"]

#: The page.
PAGE = paths.ROOT / "docs/reference/recipe.md"

_HEAD = """\
# Keys of a recipe

<!-- Made by `python -m utils.recipe.reference` from the classes in utils/recipe/: edit those. -->

`recipes/NAME/recipe.toml` holds every fact about one model. The zoo refuses an unknown key, a wrong type, NaN and
infinity, and names the place. [Add a model](../how-to/add-a-model.md) shows how to write one.

Two models that share a body share a file: each `[model.NAME]` is laid over what stands above it. Without
`[model.NAME]`, the folder's name is the model's name.

Editors with Taplo (in VS Code: Even Better TOML) complete these keys and mark errors. The recipe's first line names the
schema: `#:schema ../recipe.schema.json`.
"""
_COLUMNS = "| Key | Value | Default | Meaning |\n|---|---|---|---|\n"


def as_markdown() -> str:
    """The text of the page: a section a table, each with its keys."""
    whole = Recipe.model_json_schema()
    tables = whole.pop("$defs")
    sections = [_HEAD, "## Top of the file\n\n" + _rows(whole, tables)]
    for place, table in _tables(whole, tables):
        about = " ".join(table["description"].replace("``", "`").split())
        sections.append(f"## {place}\n\n{about}\n\n{_rows(table, tables)}")
    return "\n".join(sections)


def _tables(part: dict[str, Any], tables: dict[str, Any], above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each table below ``part``, and how its heading stands in the file."""
    for key, value in part["properties"].items():
        shapes: dict[str, list[str]] = {}  # a key that takes a table or a list of them has one section
        for shape, name in _references(value):
            shapes.setdefault(name, []).append(f"`{shape.format(f'{above}{key}')}`")
        for name, places in shapes.items():
            table = tables[name]
            kind = table["properties"].get("kind", {}).get("const")
            yield " or ".join(places) + (f' with `kind = "{kind}"`' if kind else ""), table
            yield from _tables(table, tables, f"{above}{key}.")


def _references(part: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The tables that a key takes: the form of their heading, and their name in the schema."""
    if "$ref" in part:
        yield "[{}]", part["$ref"].rpartition("/")[2]
    if isinstance(part.get("additionalProperties"), dict):
        yield from (("[{}.KEY]", name) for _, name in _references(part["additionalProperties"]))
    if "items" in part:
        yield from (("[[{}]]", name) for _, name in _references(part["items"]))
    for choice in (*part.get("anyOf", ()), *part.get("oneOf", ())):
        yield from _references(choice)


def _rows(table: dict[str, Any], tables: dict[str, Any]) -> str:
    lines = []
    for key, part in table["properties"].items():
        if key in NOT_KEYS and table["title"] == Recipe.__name__:
            continue
        given = part.get("default")
        empty = "required" if key in table.get("required", ()) else "none"
        default = empty if given in (None, [], {}) else f"`{json.dumps(given)}`"
        # pydantic leaves a description out that is also the table's.
        meaning = part.get("description") or tables[part["$ref"].rpartition("/")[2]]["description"]
        cells = (f"`{key}`", _words(part), default, " ".join(meaning.split()))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return _COLUMNS + "".join(lines)


def _words(part: dict[str, Any], many: str = "") -> str:
    """What a key takes, in words."""
    if choices := [choice for choice in (*part.get("anyOf", ()), *part.get("oneOf", ())) if choice != {"type": "null"}]:
        words = dict.fromkeys(_words(choice, many) for choice in choices)
        return " or ".join(word for word in words if word != f"integer{many}" or f"number{many}" not in words)
    if "$ref" in part:
        return f"table{many}"
    if "const" in part or "enum" in part:
        return ", ".join(f"`{json.dumps(value)}`" for value in part.get("enum", [part.get("const")]))
    kind = part["type"]
    if kind == "array":
        least, most = part.get("minItems"), part.get("maxItems")
        count = f"{least} " if least and least == most else f"{least} or more " if least else ""
        return f"list of {count}{_words(part['items'], 's')}"
    if kind == "object":
        values = part.get("additionalProperties")
        return f"table of {_words(values, 's')}" if isinstance(values, dict) else f"table{many}"
    return "`true` or `false`" if kind == "boolean" else kind + many + _bounds(part)


def _bounds(part: dict[str, Any]) -> str:
    """The range of a number; the pattern of a string stands in the key's meaning, in words."""
    bounds = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    found = [f"{sign} {part[key]}" for key, sign in bounds.items() if key in part]
    return f" {', '.join(found)}" if found else ""


if __name__ == "__main__":
    files.write_whole(PAGE, as_markdown())
