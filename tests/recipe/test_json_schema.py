"""The JSON Schema that editors use: it is current, takes the recipes, and refuses what the loader refuses."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel

from tests.support.checkouts import ROOT
from utils.recipe import card, datasets, json_schema, schema, tables, tensors

FILES = sorted((ROOT / "recipes").glob("*/recipe.toml"))
CHECK = jsonschema.Draft7Validator(json_schema.file_schema())


def models() -> Iterator[type[BaseModel]]:
    for module in (card, datasets, schema, tables, tensors):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, BaseModel) and value.__module__ == module.__name__:
                yield value


def findings(text: str) -> list[str]:
    return [error.message for error in CHECK.iter_errors(tomllib.loads(text))]


def test_the_schema_in_git_is_current() -> None:
    written = json_schema.SCHEMA.read_text()
    assert written == json_schema.as_json(), "docker/run python -m utils.recipe.json_schema writes it anew"
    jsonschema.Draft7Validator.check_schema(json_schema.file_schema())


def test_a_command_writes_it(tmp_path: Path) -> None:
    code = "import pathlib, sys; from utils import paths; paths.RECIPES = pathlib.Path(sys.argv[1])\n"
    code += "import runpy; runpy.run_module('utils.recipe.json_schema', run_name='__main__')"
    subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, check=True)
    assert (tmp_path / "recipe.schema.json").read_text() == json_schema.SCHEMA.read_text()


@pytest.mark.parametrize("model", list(models()), ids=lambda model: model.__name__)
def test_every_key_and_table_has_a_description(model: type[BaseModel]) -> None:
    assert model.__doc__
    for key, field in model.model_fields.items():
        said = field.description
        assert said, f"{model.__name__}.{key} has no description"
        assert said.endswith(".")
        assert "\n" not in said


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_every_recipe_names_the_schema_and_fits_it(file: Path) -> None:
    first = file.read_text().split("\n", 1)[0]
    assert first == json_schema.DIRECTIVE
    assert (file.parent / first.removeprefix("#:schema ")).resolve() == json_schema.SCHEMA
    assert findings(file.read_text()) == []


def changed(name: str, old: str, new: str) -> str:
    text = (ROOT / "recipes" / name / "recipe.toml").read_text()
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("demo", "epochs = 4", "epoch = 4", "'epoch' was unexpected"),
        ("demo", "epochs = 4", 'epochs = "4"', "'4' is not of type 'integer'"),
        ("demo", "epochs = 4", "epochs = 0", "0 is less than or equal to the minimum of 0"),
        ("demo", "[model.demo_nearest]", "[model.Demo]\n[model.demo_nearest]", "'Demo' does not match"),
        ("demo", "board =", "borad =", "'borad' was unexpected"),
        ("demo", "board =", "borad =", "'board' is a required property"),
        ("demo", "float32 = 90", "float = 90", "'float' was unexpected"),
        ("mnist", 'kind = "idx"', 'kind = "ixd"', "is not valid under any of the given schemas"),
        ("mnasnet", 'resize = "bicubic"', 'resize = "cubic"', "'cubic' is not one of ['nearest', 'bilinear'"),
        ("mnasnet", "format = 1", 'format = 1\nname = "x"', "'name' was unexpected"),
        ("mnasnet", 'licence = "Apache-2.0"\nlabels', "labels", "'licence' is a required property"),
        ("mnasnet", "loss = 2.0\n", "", "'loss' is a required property"),
        ("mnasnet", 'signature = "classify"\n', "", "is not valid under any of the given schemas"),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(name: str, old: str, new: str, said: str) -> None:
    assert any(said in message for message in findings(changed(name, old, new)))


def test_a_file_of_several_models_may_leave_keys_to_them() -> None:
    """Required keys stand in the file once: above the models, or in each."""
    text = (ROOT / "recipes/demo/recipe.toml").read_text()
    assert "summary" not in text.split("[model.")[0]
    assert findings(text.split("[model.")[0]) != []  # as a file of one model, it lacks them


def test_every_definition_is_used_and_nothing_is_null() -> None:
    text = json_schema.as_json()
    made: dict[str, Any] = json_schema.file_schema()
    for name in made["definitions"]:
        assert f'"#/definitions/{name}"' in text
    assert '"null"' not in text
    assert '"title": "recipe.toml"' in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('kind = "logits"', 'kind = "logit"', "is not valid under any of the given schemas"),
        ("[output]\n", "[[output]]\n", ""),
        ("[output]\n", '[[output]]\nname = "x"\n[[output]]\n', "is not valid under any of the given schemas"),
        ("[input]\n", '[input]\nkind = "image"\n', ""),
        ("[input]\n", '[input]\nkind = "audio"\n', "'colour', 'fit', 'mean', 'resize', 'std' were unexpected"),
        ("[input]\n", '[input]\nkind = "smell"\n', "'image' was expected"),
        ("mean = [127.5, 127.5, 127.5]\n", "", "'mean' is a required property"),
    ],
)
def test_inputs_have_kinds_and_outputs_may_be_several(old: str, new: str, said: str) -> None:
    """An input of a kind that the file does not name is an image: errors are about that one."""
    found = findings(changed("deeplabv3", old, new))
    assert any(said in message for message in found) if said else found == [], found
