"""The closed, typed schema of ``recipes/<name>/recipe.toml``: a class a table, and what holds between them.

``datasets.py`` has the tables ``[sources]`` and ``[datasets]``, ``card.py`` those that only the card shows, and
``fields.py`` the types that tables share.
"""

from __future__ import annotations

import functools
import operator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from utils.errors import did_you_mean
from utils.recipe import beside, lists
from utils.recipe.card import Card, Claim, Measured, Target
from utils.recipe.datasets import Dataset, IdxSet, ImageSet, SourceFile
from utils.recipe.fields import EITHER, LIST, ONE, Closed, Count, Line, Percent, Variant, refuse

__all__ = [
    "Calibration",
    "Evaluation",
    "Example",
    "Expected",
    "Gate",
    "Input",
    "Load",
    "LoadKeras",
    "LoadSavedModel",
    "LoadTflite",
    "Output",
    "Recipe",
    "Tolerance",
    "Train",
]

#: Names that become task names and folder names.
_NAME = r"^[a-z][a-z0-9_]*$"


class Input(Closed):
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
        findings = [] if self.shape[0] == 1 else ["shape: the batch (first number) is 1 on a board"]
        for key, count in (("shape", self.shape[3]), ("mean", len(self.mean)), ("std", len(self.std))):
            if count != channels:
                findings.append(f"{key}: colour {self.colour!r} has {channels} channel(s), this has {count}")
        refuse(findings)
        return self


class Output(Closed):
    """The graph's one output."""

    name: str  # of the signature's output
    shape: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=2)]  # the last number: one a label
    kind: Literal["probabilities", "logits"]
    golden_stride: Annotated[int, Field(gt=0)] = 1  # segmentation: golden tensors keep every n-th row and column


class LoadKeras(Closed):
    """The network of the recipe's code with weights from a Keras file."""

    kind: Literal["keras"]
    source: str  # key in [sources]: .h5, .weights.h5 or .keras


class LoadSavedModel(Closed):
    """One signature of a SavedModel in a .tgz."""

    kind: Literal["saved_model"]
    source: str  # key in [sources]
    signature: str  # its one input is the image, its outputs have names


class LoadTflite(Closed):
    """A published TFLite file, taken as it is."""

    kind: Literal["tflite"]
    source: str  # key in [sources]


Load = Annotated[LoadKeras | LoadSavedModel | LoadTflite, Field(discriminator="kind")]


class Train(Closed):
    """How the model is trained: Adam on a one-cycle (linear warm-up, cosine to zero) schedule."""

    dataset: str  # key in [datasets]
    epochs: Annotated[int, Field(gt=0, le=1000)]
    batch_size: Annotated[int, Field(gt=0)]  # images
    learning_rate: Annotated[float, Field(gt=0)]  # at the peak
    warmup_steps: Annotated[int, Field(ge=0)]  # steps from a tenth of the peak to the peak
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]  # share of the target spread over all classes
    seed: Annotated[int, Field(ge=0, lt=2**32)]  # numpy takes no larger one


class Calibration(Closed):
    """The images that set the int8 ranges."""

    dataset: str  # key in [datasets]
    count: Annotated[int, Field(gt=0)]  # the first images of the set


class Gate(Closed):
    """The least that may be published, per variant, and the most that int8 may lose against the variant before it."""

    float32: Percent | None = None  # % of the metric, at least
    int8_float_io: Percent | None = None  # % of the metric, at least
    int8: Percent | None = None  # % of the metric, at least
    loss: Percent  # points, at most
    agreement: Percent = 0.0  # % of the answers (images, or pixels) that both give alike, at least


class Evaluation(Closed):
    """The images that the accuracy is measured on; never used for training or calibration."""

    dataset: str  # key in [datasets]
    metric: Literal["top1", "miou"]  # highest output is the label; intersection over union, mean of classes present
    gate: Gate


class Expected(Closed):
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


class Tolerance(Closed):
    """How far a correct runtime may be from the golden tensors."""

    int8_steps: Annotated[int, Field(ge=0)]  # quantisation steps of the output
    float32: Annotated[float, Field(ge=0)]  # absolute, in the output's unit
    int8_float_io: Annotated[float, Field(ge=0)] | None = None  # absolute, in the output's unit
    conversion: Annotated[float, Field(ge=0)] = 1e-4  # absolute: the float32 file against the network it was made from
    source: str  # why this much


class Example(Closed):
    """A picture that goes into the bundle, and what the model must say to it."""

    source: str  # key in [sources]
    label: str | None = None  # the answer it must get, if there is but one right one; segmentation: a class it shows
    share: Annotated[list[Percent], Field(min_length=2, max_length=2)] | None = None  # segmentation: % of pixels


class Recipe(Closed):
    """One model: everything that is known about it before it is built."""

    format: Literal[1]
    name: Annotated[str, Field(pattern=_NAME, max_length=40)]
    folder: str  # the folder in recipes/ that it stands in
    title: Line  # for people
    summary: Line  # for `doit list`
    group: Literal["zoo", "demo"] = "zoo"  # `doit` builds the zoo; `doit demo` the demo
    task: Literal["classification", "segmentation"]
    licence: Line  # of the artifacts: SPDX id or a plain name
    code: str | None = None  # the Python file that builds the network, from the recipe's folder
    parameters: dict[str, str | int | float] = Field(default_factory=dict)  # given to the code's build()
    # in the order of the output; or a source that has them
    labels: Annotated[Annotated[list[str], Field(min_length=2), LIST] | Annotated[str, ONE], EITHER]
    variants: Annotated[list[Variant], Field(min_length=1)]
    aliases: dict[Variant, list[str]] = Field(default_factory=dict)  # file names in older instructions
    # how many of the evaluation set; or pictures
    examples: Annotated[
        Annotated[int, Field(gt=0, le=100), ONE] | Annotated[list[Example], Field(min_length=1), LIST], EITHER
    ]
    input: Input
    output: Output
    sources: dict[str, SourceFile] = Field(default_factory=dict)
    datasets: dict[str, Dataset]
    train: Train | None = None
    load: Load | None = None
    calibration: Calibration | None = None
    evaluation: Evaluation
    expected: Expected
    tolerance: Tolerance
    claims: list[Claim] = Field(default_factory=list)
    targets: list[Target] = Field(default_factory=list)
    measured: list[Measured] = Field(default_factory=list)
    card: Card

    @model_validator(mode="after")
    def _references(self) -> Recipe:
        findings = []
        if (self.train is None) == (self.load is None):
            findings.append("load: a model is trained or loaded: give [train] or [load], not both")
        if (self.code is None) != isinstance(self.load, LoadSavedModel | LoadTflite):
            findings.append(
                "code: names the file that builds the network; a SavedModel or a TFLite file brings its own"
            )
        if self.calibration is None and self._calibrates():
            findings.append("calibration: is missing: int8 ranges come from images")
        for key in ("train", "calibration", "evaluation"):
            part = getattr(self, key)
            if part is not None and part.dataset not in self.datasets:
                findings.append(
                    f"{key}.dataset: no [datasets.{part.dataset}]{did_you_mean(part.dataset, self.datasets)}"
                )
        findings += [
            f"{place}: no [sources.{name}]{did_you_mean(name, self.sources)}"
            for place, name in self._named_sources()
            if name not in self.sources
        ]
        if isinstance(self.labels, list) and len(self.labels) != self.output.shape[-1]:
            findings.append(f"labels: {len(self.labels)} labels for {self.output.shape[-1]} outputs")
        refuse(findings)
        findings += self._overlaps()
        if len(set(self.variants)) != len(self.variants):
            findings.append("variants: one is named twice")
        findings += [
            f"evaluation.gate.{variant}: is missing"
            for variant in self.variants
            if getattr(self.evaluation.gate, variant) is None
        ]
        if self.evaluation.metric != {"classification": "top1", "segmentation": "miou"}[self.task]:
            findings.append(f"evaluation.metric: {self.evaluation.metric!r} does not measure {self.task}")
        refuse(findings + self._published() + self._of_the_task())
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
        findings = []
        segments = self.task == "segmentation"
        if segments and self.input.fit != "stretch":
            findings.append("input.fit: a segmentation is measured on whole images: 'stretch'")
        if segments != any(row.mask for row in self.rows(self.evaluation.dataset)):
            findings.append(f"evaluation.dataset: {self.task} is measured with {'masks' if segments else 'labels'}")
        for number, entry in enumerate(self.examples if isinstance(self.examples, list) else []):
            if entry.label and isinstance(self.labels, list) and entry.label not in self.labels:
                findings.append(f"examples.{number}.label: no such label{did_you_mean(entry.label, self.labels)}")
            if entry.share and not (segments and entry.label):
                findings.append(f"examples.{number}.share: is of a label, in a segmentation")
        if segments and isinstance(self.examples, int):
            findings.append("examples: a segmentation is shown on pictures: name their sources")
        return findings

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
        findings = []
        measured = self._images(self.evaluation.dataset)
        for key in ("train", "calibration"):
            part = getattr(self, key)
            both = measured.keys() & self._images(part.dataset).keys() if part else set()
            if both:
                findings.append(
                    f"evaluation.dataset: the evaluation set must not be trained or calibrated on, but {key} has "
                    f"{len(both)} of its images, {measured[min(both)]} first"
                )
        return findings

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
        return beside.find_file(self.folder, self.code) if self.code else None

    @property
    def where(self) -> str:
        """The recipe's file, for messages."""
        return f"recipes/{self.folder}/recipe.toml"

    def list_file(self, dataset: str) -> Path | None:
        """The CSV file that lists a data set's images, if it has one."""
        found = self.datasets[dataset]
        return beside.find_file(self.folder, found.file) if isinstance(found, ImageSet) else None

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
