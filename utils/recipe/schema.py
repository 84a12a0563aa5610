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

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from utils import paths
from utils.errors import RecipeError
from utils.npu import bsp
from utils.recipe import lists
from utils.sources.source import Source

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

#: int8_float_io: int8 inside, float32 input and output, as some publish their models.
Variant = Literal["float32", "int8", "int8_float_io"]
Percent = Annotated[float, Field(ge=0, le=100)]

#: For keys that take one value or a list: what is said of a wrong one is said of the kind that stands there.
_List, _One = Tag("<list>"), Tag("<one>")
_EITHER = Discriminator(lambda value: "<list>" if isinstance(value, list) else "<one>")


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
    redistribute: bool = True  # false: a release leaves out the files of a bundle that are made from it
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
    fit: Literal["stretch", "crop"]  # crop: the largest centred part with the graph's proportions
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
    shape: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=2)]  # the last number: one a label
    kind: Literal["probabilities", "logits"]
    golden_stride: Annotated[int, Field(gt=0)] = 1  # segmentation: golden tensors keep every n-th row and column


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


class ImageSet(_Closed):
    """Single image files, each a pinned source, named by a list in git with their labels or masks."""

    kind: Literal["images"]
    file: str  # CSV list, seen from the recipe's folder; utils/recipe/lists.py says what stands in it
    urls: Annotated[list[Annotated[str, Field(pattern=r"^https?://\S*\{file\}\S*$")]], Field(min_length=1)]
    licence: str
    redistribute: Literal[False] = False  # for measuring only: no image goes into a bundle
    what: str


Dataset = Annotated[IdxSet | DrawnSet | ImageSet, Field(discriminator="kind")]


class LoadKeras(_Closed):
    """The network of the recipe's code with weights from a Keras file."""

    kind: Literal["keras"]
    source: str  # key in [sources]: .h5, .weights.h5 or .keras


class LoadSavedModel(_Closed):
    """One signature of a SavedModel in a .tgz."""

    kind: Literal["saved_model"]
    source: str  # key in [sources]
    signature: str  # its one input is the image, its outputs have names


class LoadTflite(_Closed):
    """A published TFLite file, taken as it is."""

    kind: Literal["tflite"]
    source: str  # key in [sources]


Load = Annotated[LoadKeras | LoadSavedModel | LoadTflite, Field(discriminator="kind")]


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
    """The least that may be published, per variant, and the most that int8 may lose against the variant before it."""

    float32: Percent | None = None  # % of the metric, at least
    int8_float_io: Percent | None = None  # % of the metric, at least
    int8: Percent | None = None  # % of the metric, at least
    loss: Percent  # points, at most
    agreement: Percent = 0.0  # % of the answers (images, or pixels) that both give alike, at least


class Evaluation(_Closed):
    """The images that the accuracy is measured on; never used for training or calibration."""

    dataset: str  # key in [datasets]
    metric: Literal["top1", "miou"]  # highest output is the label; intersection over union, mean of classes present
    gate: Gate


#: An exact number, or [least, most] where upstream publishes a rounded one.
Count = Annotated[
    Annotated[int, Field(gt=0), _One]
    | Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=2, max_length=2), _List],
    _EITHER,
]


class Expected(_Closed):
    """What the artifacts must look like; a build that differs fails."""

    parameters: Count  # numbers that were learnt
    macs: Count  # multiply-accumulates of one inference, of convolutions and dense layers
    operators: dict[str, int] | None = None  # TFLite operator -> count, in every variant with its own I/O type, exact
    int8_bytes: Annotated[int, Field(gt=0)]  # at most
    min_runtime: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]  # TFLite version, at most

    def misses(self, what: Literal["parameters", "macs"], count: int) -> str:
        """How a number misses what is expected; empty if it does not."""
        wanted = getattr(self, what)
        least, most = wanted if isinstance(wanted, list) else (wanted, wanted)
        if least <= count <= most:
            return ""
        return f"{what}: {count:,}, expected {f'{least:,}' if least == most else f'{least:,} to {most:,}'}"


class Tolerance(_Closed):
    """How far a correct runtime may be from the golden tensors."""

    int8_steps: Annotated[int, Field(ge=0)]  # quantisation steps of the output
    float32: Annotated[float, Field(ge=0)]  # absolute, in the output's unit
    int8_float_io: Annotated[float, Field(ge=0)] | None = None  # absolute, in the output's unit
    conversion: Annotated[float, Field(ge=0)] = 1e-4  # absolute: the float32 file against the network it was made from
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


class Example(_Closed):
    """A picture that goes into the bundle, and what the model must say to it."""

    source: str  # key in [sources]
    label: str | None = None  # the answer it must get, if there is but one right one; segmentation: a class it shows
    share: Annotated[list[Percent], Field(min_length=2, max_length=2)] | None = None  # segmentation: % of pixels


class Measured(_Closed):
    """A latency that somebody measured on a board and published: never ours, never an estimate."""

    board: str
    accelerator: str  # CPU (1 thread), NPU, ...
    variant: Variant
    ms: Annotated[float, Field(gt=0)]  # milliseconds an inference
    bsp: str  # what the board ran: a name of utils/npu/bsp.csv
    command: str
    source: str

    @model_validator(mode="after")
    def _known(self) -> Measured:
        known = bsp.load_all()
        _refuse([] if self.bsp in known else [f"bsp: no BSP is called {self.bsp!r}{_close(self.bsp, known)}"])
        return self


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
    task: Literal["classification", "segmentation"]
    licence: str  # of the artifacts: SPDX id or a plain name
    code: str | None = None  # the Python file that builds the network, from the recipe's folder
    parameters: dict[str, str | int | float] = {}  # given to the code's build()
    # in the order of the output; or a source that has them
    labels: Annotated[Annotated[list[str], Field(min_length=2), _List] | Annotated[str, _One], _EITHER]
    variants: Annotated[list[Variant], Field(min_length=1)]
    # how many of the evaluation set; or pictures
    aliases: dict[Variant, list[str]] = {}  # file names that older instructions know a variant by
    examples: Annotated[
        Annotated[int, Field(gt=0, le=100), _One] | Annotated[list[Example], Field(min_length=1), _List], _EITHER
    ]
    input: Input
    output: Output
    sources: dict[str, SourceFile] = {}
    datasets: dict[str, Dataset]
    train: Train | None = None
    load: Load | None = None
    calibration: Calibration | None = None
    evaluation: Evaluation
    expected: Expected
    tolerance: Tolerance
    claims: list[Claim] = []
    targets: list[Target] = []
    measured: list[Measured] = []
    card: Card

    @model_validator(mode="after")
    def _references(self) -> Recipe:
        wrong = []
        if (self.train is None) == (self.load is None):
            wrong.append("load: a model is trained or loaded: give [train] or [load], not both")
        if (self.code is None) != isinstance(self.load, LoadSavedModel | LoadTflite):
            wrong.append("code: names the file that builds the network; a SavedModel or a TFLite file brings its own")
        if self.calibration is None and self._calibrates():
            wrong.append("calibration: is missing: int8 ranges come from images")
        for key in ("train", "calibration", "evaluation"):
            part = getattr(self, key)
            if part is not None and part.dataset not in self.datasets:
                wrong.append(f"{key}.dataset: no [datasets.{part.dataset}]{_close(part.dataset, self.datasets)}")
        wrong += [
            f"{place}: no [sources.{name}]{_close(name, self.sources)}"
            for place, name in self._named_sources()
            if name not in self.sources
        ]
        if isinstance(self.labels, list) and len(self.labels) != self.output.shape[-1]:
            wrong.append(f"labels: {len(self.labels)} labels for {self.output.shape[-1]} outputs")
        _refuse(wrong)
        wrong += self._overlaps()
        if len(set(self.variants)) != len(self.variants):
            wrong.append("variants: one is named twice")
        wrong += [
            f"evaluation.gate.{variant}: is missing"
            for variant in self.variants
            if getattr(self.evaluation.gate, variant) is None
        ]
        if self.evaluation.metric != {"classification": "top1", "segmentation": "miou"}[self.task]:
            wrong.append(f"evaluation.metric: {self.evaluation.metric!r} does not measure {self.task}")
        _refuse(wrong + self._published() + self._of_the_task())
        return self

    def _published(self) -> list[str]:
        """Variants that cannot be made of what is loaded."""
        published = isinstance(self.load, LoadTflite)
        if "int8_float_io" in self.variants and not published:
            return ["variants: int8_float_io is only for a published TFLite file; what is made here has int8 I/O"]
        if published and self.variants[1:] and self.variants != ["int8_float_io", "int8"]:
            return ["variants: the first is the published file; only int8 can be made, and only of int8_float_io"]
        return []

    def _of_the_task(self) -> list[str]:
        """What does not suit a classification, or a segmentation."""
        wrong = []
        segments = self.task == "segmentation"
        if segments and self.input.fit != "stretch":
            wrong.append("input.fit: a segmentation is measured on whole images: 'stretch'")
        if segments != any(row.mask for row in self.rows(self.evaluation.dataset)):
            wrong.append(f"evaluation.dataset: {self.task} is measured with {'masks' if segments else 'labels'}")
        for number, entry in enumerate(self.examples if isinstance(self.examples, list) else []):
            if entry.label and isinstance(self.labels, list) and entry.label not in self.labels:
                wrong.append(f"examples.{number}.label: no such label{_close(entry.label, self.labels)}")
            if entry.share and not (segments and entry.label):
                wrong.append(f"examples.{number}.share: is of a label, in a segmentation")
        if segments and isinstance(self.examples, int):
            wrong.append("examples: a segmentation is shown on pictures: name their sources")
        return wrong

    def _calibrates(self) -> bool:
        return "int8" in self.variants and not isinstance(self.load, LoadTflite)

    def _named_sources(self) -> list[tuple[str, str]]:
        """Every place that names a source, and the name."""
        found = [
            (f"datasets.{key}.{field}", getattr(dataset, field))
            for key, dataset in self.datasets.items()
            if isinstance(dataset, IdxSet)
            for field in ("images", "labels")
        ]
        if self.load is not None:
            found.append(("load.source", self.load.source))
        if isinstance(self.labels, str):
            found.append(("labels", self.labels))
        if isinstance(self.examples, list):
            found += [(f"examples.{number}.source", entry.source) for number, entry in enumerate(self.examples)]
        return found

    def _overlaps(self) -> list[str]:
        """Evaluation images that the model is trained or calibrated on, which would flatter it."""
        wrong = []
        measured = self._images(self.evaluation.dataset)
        for key in ("train", "calibration"):
            part = getattr(self, key)
            both = measured.keys() & self._images(part.dataset).keys() if part else set()
            if both:
                wrong.append(
                    f"evaluation.dataset: the evaluation set must not be trained or calibrated on, but {key} has "
                    f"{len(both)} of its images, {measured[min(both)]} first"
                )
        return wrong

    def _images(self, name: str) -> dict[str, str]:
        """What the images of a data set are told apart by -> how to call it in a message."""
        dataset = self.datasets[name]
        if isinstance(dataset, ImageSet):
            return {row.source.sha256 or "": row.source.name for row in self.rows(name)}
        if isinstance(dataset, IdxSet):
            return {f"idx {dataset.images}": f"those of {dataset.images}"}
        return {f"drawn {dataset.seed}": f"those of seed {dataset.seed}"}

    @property
    def code_file(self) -> Path | None:
        """The Python file that builds the network, if the recipe has one."""
        return (paths.RECIPES / self.folder / self.code).resolve() if self.code else None

    @property
    def where(self) -> str:
        """The recipe's file, for messages."""
        return f"recipes/{self.folder}/recipe.toml"

    def list_file(self, dataset: str) -> Path | None:
        """The CSV file that lists a data set's images, if it has one."""
        found = self.datasets[dataset]
        return (paths.RECIPES / self.folder / found.file).resolve() if isinstance(found, ImageSet) else None

    def rows(self, dataset: str) -> tuple[lists.Row, ...]:
        """The images that a data set of single files lists: empty for another kind.

        Raises:
            RecipeError: the list is wrong.
        """
        found, file = self.datasets[dataset], self.list_file(dataset)
        if not isinstance(found, ImageSet) or file is None:
            return ()
        return lists.read(file, tuple(found.urls), found.licence, found.what)

    def sources_of(self, *datasets: str) -> dict[str, SourceFile]:
        """The sources in ``[sources]`` that the named datasets are made of, by key."""
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
        if part in ("<list>", "<one>"):
            continue
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
    location = tuple(part for part in location if part not in ("<list>", "<one>"))
    if location[:1] == ("datasets",):
        location = location[:2] + location[3:]
    if location[:1] == ("load",):
        location = location[:1] + location[2:]
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
        if recipe.code_file and not recipe.code_file.is_file():
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
            "\n  ".join([f"{things} to mend:", *lines]),
            where=where,
            hint="utils/recipe/schema.py explains each key",
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
