"""The JSON Schema of recipe.toml, for editors: made from the pydantic classes, kept in git beside the recipes.

``python -m utils.recipe.json_schema`` writes it. Editors with Taplo (Even Better TOML) find it by the recipes' first
line, ``#:schema ../recipe.schema.json``: they complete keys, show what each means, and mark what is wrong.
"""

from __future__ import annotations

import json
from typing import Any

from utils import files, paths
from utils.recipe.schema import Recipe

__all__ = ["DIRECTIVE", "NOT_KEYS", "SCHEMA", "as_json", "file_schema"]

#: The file, and the line by which a recipe names it.
SCHEMA = paths.RECIPES / "recipe.schema.json"
DIRECTIVE = f"#:schema ../{SCHEMA.name}"

#: Fields of a Recipe that the loader sets.
NOT_KEYS = ("name", "folder")
_MODEL = "The keys of one model, laid over those that the file's models share; each [model.NAME] is a model."


def file_schema() -> dict[str, Any]:
    """The schema of a file: shared keys and ``[model.NAME]`` tables, or all keys of one model.

    Only a file without ``[model.NAME]`` must have every required key: in the others, shared keys and those of a model
    make a whole together.
    """
    whole = _without_noise(Recipe.model_json_schema(ref_template="#/definitions/{model}"))
    tables = whole.pop("$defs")
    keys = {key: _by_kind(part, tables) for key, part in whole["properties"].items() if key not in NOT_KEYS}
    name = whole["properties"]["name"]
    complete = {
        "required": [key for key in whole["required"] if key in keys],
        "properties": {key: needs for key, part in keys.items() if (needs := _needs(part, tables))},
    }
    parts = (*keys.values(), *tables.values())
    entries = {table for part in parts for table in _tables_in_lists(part)} - set(map(_table_or_list, parts))
    model = {
        "type": "object",
        "description": _MODEL,
        "propertyNames": {"pattern": name["pattern"], "maxLength": name["maxLength"]},
        "additionalProperties": {"$ref": "#/definitions/Model"},
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "recipe.toml",
        "description": "Every fact about one model, or about models that share keys.",
        "type": "object",
        "properties": keys | {"model": model},
        "additionalProperties": False,
        "if": {"not": {"required": ["model"]}},
        "then": complete,
        "definitions": {
            "Model": {
                "type": "object",
                "description": "One model of the file.",
                "properties": {key: {"$ref": f"#/properties/{key}"} for key in keys},
                "additionalProperties": False,
            },
            **{key: part if key in entries else _without(part, "required") for key, part in tables.items()},
        },
    }


def as_json() -> str:
    """The text of the file."""
    return json.dumps(file_schema(), indent=2, ensure_ascii=False) + "\n"


def _without(part: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name != key}


def _without_noise(part: Any) -> Any:
    """Leave out what TOML cannot say (null), and what says nothing (titles made of keys, OpenAPI's discriminator)."""
    if isinstance(part, list):
        return [_without_noise(item) for item in part]
    if not isinstance(part, dict):
        return part
    kept = {key: value for key, value in part.items() if key != "discriminator" and (key, value) != ("default", None)}
    if isinstance(kept.get("title"), str):
        del kept["title"]
    choices = [choice for choice in kept.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        kept = _without(kept, "anyOf") | choices[0]
    return {key: _without_noise(value) for key, value in kept.items()}


def _by_kind(part: dict[str, Any], tables: dict[str, Any]) -> dict[str, Any]:
    """Say a choice of tables with a default kind as conditions: an error is then about the table that was meant."""
    members = {choice["$ref"]: _table(choice, tables) for choice in part.get("oneOf", ()) if "$ref" in choice}
    kinds = {reference: table["properties"].get("kind", {}) for reference, table in members.items()}
    found = next(({"$ref": reference} for reference, kind in kinds.items() if "default" in kind), None)
    if found is None:
        return part
    for reference, kind in kinds.items():
        if "default" not in kind:
            meant = {"required": ["kind"], "properties": {"kind": {"const": kind["const"]}}}
            found = {"if": meant, "then": {"$ref": reference}, "else": found}
    return _without(part, "oneOf") | found


def _table(reference: dict[str, Any], tables: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = tables[reference["$ref"].rpartition("/")[2]]
    return found


def _needs(part: dict[str, Any], tables: dict[str, Any]) -> dict[str, Any]:
    """What a whole table, and each table in it, must have; empty if nothing. Entries of lists say it themselves."""
    if "$ref" in part:
        return _needs(_table(part, tables), tables)
    if "if" in part:
        return {"if": part["if"], "then": _needs(part["then"], tables), "else": _needs(part["else"], tables)}
    if kinds := part.get("oneOf") or part.get("anyOf"):
        members = [_table(kind, tables) for kind in kinds if "$ref" in kind]
        if members and len(members) < len(kinds):  # a table, or a list of such tables
            needs = _needs(members[0], tables)
            return {"anyOf": [{"type": "object"} | needs, {"type": "array", "items": needs}]}
        choices = [
            _needs(member, tables) | {"properties": {"kind": {"const": member["properties"]["kind"]["const"]}}}
            for member in members
        ]
        return {"oneOf": choices} if choices else {}
    needs = {}
    if "required" in part:
        needs["required"] = part["required"]
    if inner := {key: found for key, value in part.get("properties", {}).items() if (found := _needs(value, tables))}:
        needs["properties"] = inner
    values = part.get("additionalProperties")
    if isinstance(values, dict) and (found := _needs(values, tables)):
        needs["additionalProperties"] = found
    return needs


def _table_or_list(part: dict[str, Any]) -> str:
    """The table that a key takes as it is, or in a list; empty for another key."""
    choices = part.get("oneOf") or part.get("anyOf") or ()
    singles = [choice["$ref"].rpartition("/")[2] for choice in choices if "$ref" in choice]
    return singles[0] if singles and len(singles) < len(choices) else ""


def _tables_in_lists(part: Any) -> set[str]:
    """The tables that are entries of lists, which a model never completes."""
    if isinstance(part, list):
        return set().union(*map(_tables_in_lists, part))
    if not isinstance(part, dict):
        return set()
    found = {part["items"]["$ref"].rpartition("/")[2]} if "$ref" in part.get("items", {}) else set()
    return found.union(*map(_tables_in_lists, part.values()))


if __name__ == "__main__":
    files.write_whole(SCHEMA, as_json())
