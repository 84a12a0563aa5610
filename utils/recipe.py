"""The closed, typed schema of ``recipes/<name>/recipe.toml``, and its loader.

A recipe holds every fact about one model. Where two models share a body, one file serves both: what stands
above ``[model.NAME]`` is shared, and each ``[model.NAME]`` table is laid over it. A file without
``[model.*]`` describes one model that has the folder's name.

Unknown keys, wrong types and hashes that are none are refused, all at once, each with the place it stands in.
"""

from __future__ import annotations

import difflib
import functools
import json
import operator
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from utils import paths
from utils.errors import RecipeError
from utils.sources import Source

__all__ = ["Recipe", "find", "load_all"]

#: Names that become task names and folder names.
_NAME = r"^[a-z][a-z0-9_]*$"

#: Names that are taken: tasks beside the models, commands of doit, and the folder build/cache.
_TASKS = frozenset(
    [
        *(
            "demo",
            "vela",
            "board",
            "verify",
            "lock",
            "mirror",
            "report",
            "release",
            "publish",
            "compat",
            "cache",
            "venv",
        ),
        *("auto", "clean", "dumpdb", "forget", "help", "ignore", "info", "list", "run", "strace", "tabcompletion"),
    ]
)

Variant = Literal["float32", "int8"]
Percent = Annotated[float, Field(ge=0, le=100)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _refuse(wrong: list[str]) -> None:
    """Raise all that is wrong between several keys, a line each: key (from the model that checks), colon, sentence."""
    if wrong:
        raise ValueError("\n".join(wrong))


class SourceFile(_Closed):
    """One upstream file. Without ``sha256`` it is unpinned: recorded at first fetch, refused by a release."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # file name, no folder
    urls: Annotated[list[Annotated[str, Field(pattern=r"^https?://\S+$")]], Field(min_length=1)]  # origin first
    size: Annotated[int, Field(gt=0)] | None = None  # bytes
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None  # only where upstream has no sha256
    licence: str  # SPDX id or a plain name
    what: str  # what it is, for people

    def source(self) -> Source:
        """The same facts as the downloader takes them."""
        return Source(
            name=self.file,
            urls=tuple(self.urls),
            size=self.size,
            sha256=self.sha256,
            md5=self.md5,
            licence=self.licence,
            what=self.what,
        )


class Input(_Closed):
    """The graph's input and how an image becomes it: ``(pixel - mean) / std``, pixel in 0..255."""

    name: str  # of the signature's input
    shape: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=4, max_length=4)]  # N, H, W, C
    colour: Literal["gray", "rgb"]
    resize: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    fit: Literal["stretch", "crop"]  # crop: the short side is resized, the centre is kept
    mean: list[float]  # one a channel, in pixel values 0..255
    std: list[Annotated[float, Field(gt=0)]]  # one a channel, in pixel values 0..255

    @model_validator(mode="after")
    def _channels(self) -> Input:
        channels = {"gray": 1, "rgb": 3}[self.colour]
        wrong = [] if self.shape[0] == 1 else ["shape: the batch (first number) is 1 on a board"]
        for key, count in (("shape", self.shape[3]), ("mean", len(self.mean)), ("std", len(self.std))):
            if count != channels:
                wrong.append(f"{key}: colour {self.colour!r} has {channels} channel(s), this has {count}")
        _refuse(wrong)
        return self


class Output(_Closed):
    """The graph's one output."""

    name: str  # of the signature's output
    shape: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=2)]
    kind: Literal["probabilities"]


class IdxSet(_Closed):
    """Images and labels in the idx format of MNIST, gzipped."""

    kind: Literal["idx"]
    images: str  # key in [sources]
    labels: str  # key in [sources]


class DrawnSet(_Closed):
    """Digits that the pipeline draws itself: no download, not real data."""

    kind: Literal["drawn"]
    count: Annotated[int, Field(gt=0, le=100_000)]  # images
    seed: Annotated[int, Field(ge=0)]  # two sets with different seeds share no image; Python takes -1 for 1


Dataset = Annotated[IdxSet | DrawnSet, Field(discriminator="kind")]


class Train(_Closed):
    """How the model is trained: Adam on a one-cycle (linear warm-up, cosine to zero) schedule."""

    dataset: str  # key in [datasets]
    epochs: Annotated[int, Field(gt=0, le=1000)]
    batch_size: Annotated[int, Field(gt=0)]  # images
    learning_rate: Annotated[float, Field(gt=0)]  # at the peak
    warmup_steps: Annotated[int, Field(ge=0)]  # steps from a tenth of the peak to the peak
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]  # share of the target spread over all classes
    seed: Annotated[int, Field(ge=0)]


class Calibration(_Closed):
    """The images that set the int8 ranges."""

    dataset: str  # key in [datasets]
    count: Annotated[int, Field(gt=0)]  # the first images of the set


class Gate(_Closed):
    """The least accuracy that may be published, per variant, and the most that int8 may lose."""

    float32: Percent  # % top-1, at least
    int8: Percent  # % top-1, at least
    loss: Percent  # points, float32 minus int8, at most


class Evaluation(_Closed):
    """The images that the accuracy is measured on; never used for training or calibration."""

    dataset: str  # key in [datasets]
    metric: Literal["top1"]  # share of images whose highest output is the label
    gate: Gate


class Expected(_Closed):
    """What the artifacts must look like; a build that differs fails."""

    parameters: Annotated[int, Field(gt=0)]  # trained numbers, exact
    operators: dict[str, int]  # TFLite operator -> count, in the float32 and the int8 graph alike, exact
    int8_bytes: Annotated[int, Field(gt=0)]  # at most
    min_runtime: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]  # TFLite version, at most


class Tolerance(_Closed):
    """How far a correct runtime may be from the golden tensors."""

    int8_steps: Annotated[int, Field(ge=0)]  # quantisation steps of the output
    float32: Annotated[float, Field(ge=0)]  # absolute, in the output's unit
    source: str  # why this much


class Claim(_Closed):
    """A number or statement that is not ours, with where it comes from."""

    what: str
    value: str
    source: str


class Target(_Closed):
    """What is known about one board and accelerator."""

    board: str
    accelerator: str
    verdict: Literal["works", "fails", "untested"]
    why: str
    source: str


class Card(_Closed):
    """What the model card shows beyond the numbers."""

    introduction: str  # a paragraph
    limitations: str  # a paragraph
    feature_map: str | None = None  # TFLite operator whose output is drawn as a picture


class Recipe(_Closed):
    """One model: everything that is known about it before it is built."""

    format: Literal[1]
    name: Annotated[str, Field(pattern=_NAME, max_length=40)]
    folder: str  # the folder in recipes/ that it stands in
    title: str  # for people
    summary: str  # one line, for `doit list`
    group: Literal["zoo", "demo"] = "zoo"  # `doit` builds the zoo; `doit demo` the demo
    task: Literal["classification"]
    licence: str  # of the artifacts: SPDX id or a plain name
    code: str  # the Python file that builds the network, from the recipe's folder
    parameters: dict[str, str | int | float] = {}  # given to the code's build()
    labels: Annotated[list[str], Field(min_length=2)]  # in the order of the output
    variants: Annotated[list[Variant], Field(min_length=1)]
    examples: Annotated[int, Field(gt=0, le=100)]  # example inputs taken from the evaluation set
    input: Input
    output: Output
    sources: dict[str, SourceFile] = {}
    datasets: dict[str, Dataset]
    train: Train
    calibration: Calibration
    evaluation: Evaluation
    expected: Expected
    tolerance: Tolerance
    claims: list[Claim] = []
    targets: list[Target] = []
    card: Card

    @model_validator(mode="after")
    def _references(self) -> Recipe:
        wrong = []
        for key in ("train", "calibration", "evaluation"):
            name = getattr(self, key).dataset
            if name not in self.datasets:
                wrong.append(f"{key}.dataset: no [datasets.{name}]{_close(name, self.datasets)}")
        for key, dataset in self.datasets.items():
            if isinstance(dataset, IdxSet):
                for field in ("images", "labels"):
                    name = getattr(dataset, field)
                    if name not in self.sources:
                        wrong.append(f"datasets.{key}.{field}: no [sources.{name}]{_close(name, self.sources)}")
        images = self._images(self.evaluation.dataset)
        if images and images in (self._images(self.train.dataset), self._images(self.calibration.dataset)):
            wrong.append("evaluation.dataset: the evaluation set must not be trained or calibrated on")
        if len(self.labels) != self.output.shape[-1]:
            wrong.append(f"labels: {len(self.labels)} labels for {self.output.shape[-1]} outputs")
        if len(set(self.variants)) != len(self.variants):
            wrong.append("variants: one is named twice")
        _refuse(wrong)
        return self

    def _images(self, name: str) -> tuple[str, str | int] | None:
        """What the images of a data set come from: the same under two names is the same set."""
        dataset = self.datasets.get(name)
        if dataset is None:
            return None
        return ("idx", dataset.images) if isinstance(dataset, IdxSet) else ("drawn", dataset.seed)

    @property
    def code_file(self) -> Path:
        """The Python file that builds the network."""
        return (paths.RECIPES / self.folder / self.code).resolve()

    def sources_of(self, *datasets: str) -> dict[str, SourceFile]:
        """The sources that the named datasets are made of, by key."""
        keys: list[str] = []
        for name in datasets:
            dataset = self.datasets[name]
            if isinstance(dataset, IdxSet):
                keys += [dataset.images, dataset.labels]
        return {key: self.sources[key] for key in keys}

    def part(self, *keys: str) -> dict[str, Any]:
        """What a step's result depends on, as plain JSON values: tables, or keys of one (``expected.parameters``)."""
        whole = self.model_dump(mode="json")
        return {key: functools.reduce(operator.getitem, key.split("."), whole) for key in keys}


def _close(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """The keys that the schema knows beside the last part of ``location``."""
    model: Any = Recipe
    for part in location[:-1]:
        if isinstance(model, type) and issubclass(model, BaseModel):
            if part not in model.model_fields:
                return []
            model = model.model_fields[str(part)].annotation
        elif isinstance(model, type):
            return []
        else:  # dict[str, X], list[X] or the union of datasets: the value type, or the tagged member
            members = [m for m in _flatten(model) if isinstance(m, type) and issubclass(m, BaseModel)]
            tagged = [
                m for m in members if get_args(getattr(m.model_fields.get("kind"), "annotation", None)) == (part,)
            ]
            model = tagged[0] if tagged else (members[0] if len(members) == 1 else model)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        members = [m for m in _flatten(model) if isinstance(m, type) and issubclass(m, BaseModel)]
        if len(members) != 1:
            return []
        model = members[0]
    return list(model.model_fields)


def _flatten(annotation: Any) -> list[Any]:
    arguments = get_args(annotation)
    return [annotation] if not arguments else [leaf for a in arguments for leaf in _flatten(a)]


def _place(location: tuple[int | str, ...]) -> str:
    """The key as the file has it: without what pydantic adds for the members of a union."""
    if location[:1] == ("datasets",):
        location = location[:2] + location[3:]
    if location[:1] == ("parameters",):
        location = location[:2]
    return ".".join(str(part) for part in location)


def _explain(error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors(include_url=False):
        where = _place(item["loc"])
        if item["type"] == "value_error":  # of _refuse
            lines += [".".join(filter(None, (where, line))) for line in str(item["ctx"]["error"]).split("\n")]
            continue
        message = item["msg"]
        if item["type"] == "extra_forbidden":
            message = f"unknown key{_close(str(item['loc'][-1]), _keys_at(item['loc']))}"
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


def _merge(shared: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(shared)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _read(file: Path) -> list[Recipe]:
    where = paths.relative(file)
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"not valid TOML: {error}", where=where, hint="mend the line it names") from None
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", where=where) from None
    models = data.pop("model", None)
    if models is None:
        models = {file.parent.name: {}}
    if not isinstance(models, dict) or not models or not all(isinstance(value, dict) for value in models.values()):
        raise RecipeError("[model.NAME] must be tables", where=f"{where}: model")
    recipes = []
    wrong: dict[str, list[str]] = {}  # what is to mend -> the models that have it
    for name, over in models.items():
        merged = _merge(data, over)
        for key in ("name", "folder"):
            if key in merged:
                raise RecipeError(
                    f"unknown key {key!r}", where=where, hint="the name is that of the folder or of [model.NAME]"
                )
        merged |= {"name": name, "folder": file.parent.relative_to(paths.RECIPES).as_posix()}
        try:
            recipe = Recipe.model_validate(merged)
        except ValidationError as error:
            for line in _explain(error):
                wrong.setdefault(line, []).append(name)
            continue
        if not recipe.code_file.is_file():
            raise RecipeError(
                f"there is no file {recipe.code!r}",
                where=f"{where}: code",
                hint="name the Python file that builds the network, seen from the recipe's folder",
            )
        recipes.append(recipe)
    if wrong:
        lines = [line if len(names) == len(models) else f"[model.{names[0]}] {line}" for line, names in wrong.items()]
        things = "1 thing" if len(lines) == 1 else f"{len(lines)} things"
        raise RecipeError(
            "\n  ".join([f"{things} to mend:", *lines]), where=where, hint="utils/recipe.py says what each key means"
        )
    return recipes


@cache
def load_all() -> dict[str, Recipe]:
    """Every recipe by model name, sorted.

    Raises:
        RecipeError: a recipe is wrong, or two have one name.
    """
    found: dict[str, Recipe] = {}
    wrong: list[RecipeError] = []
    for file in sorted(paths.RECIPES.glob("*/recipe.toml")):
        try:
            recipes = _read(file)
        except RecipeError as error:
            wrong.append(error)
            continue
        for recipe in recipes:
            if recipe.name in found:
                twice = f"two recipes have the name {recipe.name!r}: recipes/{found[recipe.name].folder} and "
                hint = "rename one of them"
                wrong.append(RecipeError(f"{twice}recipes/{recipe.folder}", where=paths.relative(file), hint=hint))
            elif recipe.name in _TASKS:
                what = f"{recipe.name!r} is the name of a task, or of a command of doit"
                wrong.append(RecipeError(what, where=paths.relative(file), hint="choose another name"))
            found[recipe.name] = recipe
    if wrong:
        raise wrong[0] if len(wrong) == 1 else RecipeError("\n".join(str(error) for error in wrong))
    return dict(sorted(found.items()))


def find(name: str) -> Recipe:
    """The recipe of the model ``name``.

    Raises:
        RecipeError: there is none.
    """
    recipes = load_all()
    if name not in recipes:
        raise RecipeError(
            f"there is no recipe for {name!r}{_close(name, recipes)}", hint="`doit list` shows what there is"
        )
    return recipes[name]
