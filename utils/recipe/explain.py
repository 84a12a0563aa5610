"""Turn the errors that pydantic finds in a recipe into messages: the key as in the file, and one sentence."""

from __future__ import annotations

import json
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from utils.errors import did_you_mean
from utils.recipe.fields import LIST, ONE
from utils.recipe.schema import Recipe

__all__ = ["explain"]

#: Tags that pydantic adds to the location of keys that take one value or a list.
_TAGS = (LIST.tag, ONE.tag)


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """The keys that the schema has in the table of ``location``'s last part."""
    model: Any = Recipe
    for part in location[:-1]:
        if part in _TAGS:
            continue
        if isinstance(model, type) and issubclass(model, BaseModel):
            if part not in model.model_fields:
                return []
            model = model.model_fields[str(part)].annotation
        elif isinstance(model, type):
            return []
        else:  # dict[str, X], list[X] or a union told apart by kind: the value type, or the tagged member
            members = _tables_in(model)
            tagged = [
                m for m in members if get_args(getattr(m.model_fields.get("kind"), "annotation", None)) == (part,)
            ]
            model = tagged[0] if tagged else (members[0] if len(members) == 1 else model)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        members = _tables_in(model)
        if len(members) != 1:
            return []
        model = members[0]
    return list(model.model_fields)


def _tables_in(annotation: Any) -> list[type[BaseModel]]:
    """The tables that an annotation names, each once: a key may take one, or a list of them."""
    found = [leaf for leaf in _flatten(annotation) if isinstance(leaf, type) and issubclass(leaf, BaseModel)]
    return list(dict.fromkeys(found))


def _flatten(annotation: Any) -> list[Any]:
    arguments = get_args(annotation)
    return [annotation] if not arguments else [leaf for a in arguments for leaf in _flatten(a)]


def _place(location: tuple[int | str, ...]) -> str:
    """The key as in the file, without the tags that pydantic adds for members of a union."""
    location = tuple(part for part in location if part not in _TAGS)
    if location[:1] == ("datasets",):
        location = location[:2] + location[3:]
    if location[:1] in (("load",), ("input",)):
        location = location[:1] + location[2:]
    if location[:1] == ("parameters",):
        location = location[:2]
    return ".".join(str(part) for part in location)


def explain(error: ValidationError) -> list[str]:
    """List every finding of pydantic once, as ``key: sentence``; unknown keys come first: they explain missing ones."""
    lines = []
    for item in sorted(error.errors(include_url=False), key=lambda item: item["type"] != "extra_forbidden"):
        where = _place(item["loc"])
        if item["type"] == "value_error":  # raised by fields.refuse
            lines += [".".join(filter(None, (where, line))) for line in str(item["ctx"]["error"]).split("\n")]
            continue
        message = item["msg"]
        if item["type"] == "extra_forbidden":
            message = f"unknown key{did_you_mean(str(item['loc'][-1]), _keys_at(item['loc']))}"
        elif item["type"] == "missing":
            message = "is missing"
        elif item["type"] == "string_pattern_mismatch":
            message = f"{str(item['input'])[:80]!r} does not fit {item['ctx']['pattern']}"
        elif item["type"] == "union_tag_not_found":
            message = "kind is missing"
        elif where.startswith("parameters."):
            message = "should be a string or a number"
        else:
            message = message[:1].lower() + message[1:]
            if not isinstance(item["input"], dict | list):
                message += f" (this is {json.dumps(item['input'], default=str)[:60]})"
        lines.append(f"{where}: {message}")
    return list(dict.fromkeys(lines))
