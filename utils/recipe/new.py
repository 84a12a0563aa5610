"""``doit new name=NAME like=MODEL``: writes ``recipes/NAME/``, a recipe like another one, with a comment on each key.

The new recipe keeps what makes the model: network, sources, data sets, training, preprocessing. Facts about the other
model's files (claims, latencies, verdicts of boards) are written as comments: they are examples of the form.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from utils import files, limits, paths, program
from utils.errors import RecipeError, storage_error
from utils.recipe import beside
from utils.recipe.datasets import FileSet
from utils.recipe.fields import Closed
from utils.recipe.json_schema import DIRECTIVE, NOT_KEYS
from utils.recipe.load import check_name, find_recipe, forget_recipes, read_recipes
from utils.recipe.schema import Recipe
from utils.untrusted import as_text

__all__ = ["as_toml", "write_recipe"]

_WIDTH = 120
_COMMAND = "doit new name=NAME like=MODEL"

#: Lists of facts about the other model's files.
_FACTS = ("claims", "targets", "measured")

#: Notes above tables whose values must be measured or written for the new model.
_NOTES = {
    "evaluation.gate": "These are the numbers of {like}. Set them from what `doit {name}` measures.",
    "expected": "These are the numbers of {like}. A build that differs fails and prints the new number.",
    "tolerance": "These are the numbers of {like}. Compare the runtimes that you support before you change them.",
    "card": "These are the texts of {like}. Write your own.",
}


def write_recipe(name: str, like: str) -> list[Path]:
    """Write the recipe of a new model, and the code of its network; the files.

    Args:
        name: of the new model, and of its folder.
        like: the model whose recipe it begins with.

    Raises:
        RecipeError: no name, a name that is taken or malformed, or ``like`` is not a model whose recipe loads.
        StorageError: the files cannot be written.
    """
    if not name or not like:
        hint = f"{_COMMAND}; MODEL is one of {', '.join(read_recipes()[0])}"
        what, where = ("no model to begin with", "like=") if name else ("no name for the model", "name=")
        raise RecipeError(what, where=where, hint=hint)
    check_name(name, "name=")
    other, known = find_recipe(like), [set(models) for models in read_recipes()]
    folder = paths.RECIPES / name
    if name in set.union(*known) or os.path.lexists(folder):
        owner = find_recipe(name).where if name in known[0] else paths.relative(folder)
        raise RecipeError(f"the name {name!r} is in use", where=owner, hint="choose another name, or edit that recipe")
    recipe = _like(other, name)
    try:
        folder.mkdir()
        try:
            written = [folder / "recipe.toml"]
            if recipe.code and other.code_file:
                code = beside.read_file(other.code_file, limits.RECIPE_BYTES, what=repr(other.code), where=other.where)
                written.append(folder / recipe.code)
                files.write_whole(written[-1], code)
            files.write_whole(written[0], as_toml(recipe, other))
            forget_recipes()
            find_recipe(name)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except OSError as error:
        raise storage_error(error, str(folder)) from error
    return written


def _like(other: Recipe, name: str) -> Recipe:
    """The recipe of a new model: ``other`` without what is known of its files alone."""
    datasets = {
        key: found.model_copy(update={"file": _from(name, other.list_file(key))})
        if isinstance(found, FileSet)
        else found
        for key, found in other.datasets.items()
    }
    changes: dict[str, Any] = {
        "name": name,
        "folder": name,
        "title": name.replace("_", " ").capitalize(),
        "summary": f"like {other.name}: describe it here",
        "group": "zoo",
        "datasets": datasets,
        "tolerance": other.tolerance.model_copy(update={"source": f"as for {other.name}; not measured on this model."}),
    }
    if other.code_file:
        changes["code"] = other.code_file.name
    found = other.model_copy(update=changes)
    found.model_fields_set.difference_update({"aliases"})
    return found


def _from(name: str, file: Path | None) -> str:
    return Path(os.path.relpath(file or paths.RECIPES, paths.RECIPES.resolve() / name)).as_posix()


def as_toml(recipe: Recipe, other: Recipe) -> str:
    """The text of the recipe: each key below its description, optional keys as comments.

    Args:
        recipe: what to write.
        other: the recipe that it is like; the facts about its files become comments.
    """
    writer = _Writer({"name": recipe.name, "like": other.name})
    writer.table(recipe, "")
    for key in _FACTS:
        writer.example(key, Recipe.model_fields[key], getattr(other, key))
    head = [
        DIRECTIVE,
        f"# Made by `doit new name={recipe.name} like={other.name}`; docs/how-to/add-a-model.md says what to change.",
        "# The comment above a key describes it. A key that is a comment has its default.",
        "",
    ]
    return "\n".join([*head, *writer.lines]).rstrip() + "\n"


class _Writer:
    """Lines of TOML. Keys are described where their table is met for the first time."""

    def __init__(self, words: dict[str, str]) -> None:
        self.lines: list[str] = []
        self._words = words
        self._described: set[type[Closed]] = set()

    def table(self, table: Closed, place: str) -> None:
        """Write the keys of a table, then the tables in it."""
        is_new = type(table) not in self._described
        self._described.add(type(table))
        inner: list[tuple[str, FieldInfo, Any]] = []
        for key, field in type(table).model_fields.items():
            value = getattr(table, key)
            if not place and key in (*NOT_KEYS, *_FACTS):
                continue
            if key in table.model_fields_set and _is_table(value):
                inner.append((key, field, value))
            elif key in table.model_fields_set:
                self._comment(field.description if is_new else None)
                self.lines.append(f"{key} = {_value(value)}")
            elif is_new and _is_plain(field.default):
                self._comment(field.description)
                self.lines.append(f"# {key} = {_value(field.default)}")
            elif is_new:
                self._comment(f"{key}: {field.description}")
        for key, field, value in inner:
            self._inner(f"{place}.{key}" if place else key, field, value)

    def example(self, key: str, field: FieldInfo, entries: list[Closed]) -> None:
        """Write an entry of a list as comments: the other recipe's first one, or one to fill in."""
        self.lines.append("")
        self._comment(field.description)
        self._comment("An example, from {like}:".format(**self._words) if entries else "The form of an entry:")
        self.lines.append(f"# [[{key}]]")
        for name, inner in get_args(field.annotation)[0].model_fields.items():
            if entries:
                entry = f"{name} = {_value(getattr(entries[0], name))}"
                self.lines += [f"# {line}" for line in entry.split("\n")]
            else:
                self.lines.append(f"# {name} = {_blank(inner.annotation)}  # {inner.description}")

    def _inner(self, place: str, field: FieldInfo, value: Any) -> None:
        if isinstance(value, Closed):
            self._heading(f"[{place}]", field.description, _NOTES.get(place))
            self.table(value, place)
        elif isinstance(value, list):
            for entry in value:
                self._heading(f"[[{place}]]", field.description if entry is value[0] else None)
                self.table(entry, place)
        elif all(isinstance(entry, Closed) for entry in value.values()):
            for number, (key, entry) in enumerate(value.items()):
                self._heading(f"[{place}.{key}]", None if number else field.description)
                self.table(entry, f"{place}.{key}")
        else:
            self._heading(f"[{place}]", field.description)
            self.lines += [f"{_key(key)} = {_value(entry)}" for key, entry in value.items()]

    def _heading(self, heading: str, *comments: str | None) -> None:
        self.lines.append("")
        for comment in comments:
            self._comment(comment and comment.format(**self._words))
        self.lines.append(heading)

    def _comment(self, text: str | None) -> None:
        if text:
            self.lines += textwrap.wrap(
                text,
                _WIDTH,
                initial_indent="# ",
                subsequent_indent="# ",
                break_long_words=False,
                break_on_hyphens=False,
            )


def _is_table(value: Any) -> bool:
    if isinstance(value, dict):
        return any(isinstance(entry, Closed) for entry in value.values()) or len(_value(value)) > _WIDTH // 2
    return isinstance(value, Closed) or (isinstance(value, list) and any(isinstance(entry, Closed) for entry in value))


def _blank(annotation: Any) -> str:
    """A value of a type, to be replaced."""
    if get_origin(annotation) is Literal:
        return _value(get_args(annotation)[0])
    return "..." if annotation is float else '"..."'


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _value(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list):
        items = [_value(entry) for entry in value]
        line = f"[{', '.join(items)}]"
        if len(line) <= _WIDTH - 20:
            return line
        wide = any(len(item) > _WIDTH // 4 for item in items)
        rows = [items[start : start + (1 if wide else 7)] for start in range(0, len(items), 1 if wide else 7)]
        return "[\n" + "".join(f"    {', '.join(row)},\n" for row in rows) + "]"
    if isinstance(value, str) and "\n" in value:
        return '"""\n' + "\n".join(_quoted(line)[1:-1] for line in value.split("\n")) + '"""'
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _quoted(key)


def main() -> None:
    """Run the command, and exit."""
    program.prepare()
    given = dict(word.partition("=")[::2] for word in sys.argv[1:])
    if not given.keys() <= {"name", "like"}:
        sys.exit("usage: python -m utils.recipe.new name=NAME like=MODEL (doit does this for you)")
    try:
        written = write_recipe(given.get("name", ""), given.get("like", ""))
    except BaseException as error:
        program.end(error, "new")
    for file in written:
        sys.stdout.write(f"{as_text(paths.relative(file))}: written\n")
    sys.stdout.write(
        f"  -> edit them, then `doit {given['name']}` builds the model; docs/how-to/add-a-model.md says how\n"
    )


if __name__ == "__main__":
    main()
