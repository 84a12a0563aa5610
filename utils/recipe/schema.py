"""The closed, typed schema of ``recipes/<name>/recipe.toml``: the recipe, and what must hold between its tables.

The tables are classes in ``tables.py``, ``datasets.py`` (``[sources]``, ``[datasets]``) and ``card.py`` (what only the
card shows); ``fields.py`` has the types that they share. The string below a key is its description.
"""

from __future__ import annotations

import functools
import operator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from utils import limits
from utils.errors import did_you_mean
from utils.recipe import beside, lists
from utils.recipe.card import Card, Claim, Measured, Target
from utils.recipe.datasets import Dataset, IdxSet, ImageSet, SourceFile
from utils.recipe.fields import EITHER, LIST, ONE, Closed, Line, Variant, refuse
from utils.recipe.tables import (
    Calibration,
    Evaluation,
    Example,
    Expected,
    Input,
    Load,
    LoadSavedModel,
    LoadTflite,
    Output,
    Tolerance,
    Train,
)

__all__ = ["NAME", "Recipe"]

#: Names that become task names and folder names.
NAME = r"^[a-z][a-z0-9_]*$"


class Recipe(Closed):
    """One model: everything that is known about it before it is built."""

    format: Literal[1]
    """Version of the recipe format: 1."""
    name: Annotated[str, Field(pattern=NAME, max_length=limits.NAME_CHARS)]
    """Name of the model, of its task and of its bundle. It is that of [model.NAME] or of the folder, never a key."""
    folder: str
    """The recipe's folder in recipes/; never a key."""
    title: Line
    """Display name of the model: the heading of its card."""
    summary: Line
    """One line for `doit list`."""
    group: Literal["zoo", "demo"] = "zoo"
    """`doit` builds the models of `zoo`, `doit demo` those of `demo`."""
    task: Literal["classification", "segmentation"]
    """`classification` answers once an image, `segmentation` once a pixel."""
    licence: Line
    """Licence of the artifacts: an SPDX identifier, or a plain name."""
    code: str | None = None
    """Python file with `build(parameters, shape)`, relative to the recipe's folder. SavedModel and TFLite need none."""
    parameters: dict[str, str | int | float] = Field(default_factory=dict)
    """Keys and values for `build(parameters, shape)` in the file that `code` names."""
    labels: Annotated[Annotated[list[str], Field(min_length=2), LIST] | Annotated[str, ONE], EITHER]
    """Names of the classes in the order of the output, or the key in [sources] of a file that has them."""
    variants: Annotated[list[Variant], Field(min_length=1)]
    """Files to make: `float32`, `int8` (int8 input and output) or `int8_float_io` (published files only)."""
    aliases: dict[Variant, list[str]] = Field(default_factory=dict)
    """Other file names of a variant, as older instructions have them."""
    examples: Annotated[
        Annotated[int, Field(gt=0, le=100), ONE] | Annotated[list[Example], Field(min_length=1), LIST], EITHER
    ]
    """How many images of the evaluation set go into the bundle (1 to 100), or a list of pictures."""
    input: Input
    """The graph's input, and how an image becomes it."""
    output: Output
    """The graph's one output."""
    sources: dict[str, SourceFile] = Field(default_factory=dict)
    """Upstream files, each under a key of your choice."""
    datasets: dict[str, Dataset]
    """Sets of images to train, calibrate and measure on, each under a key of your choice."""
    train: Train | None = None
    """How to train the model. Give [train] or [load], not both."""
    load: Load | None = None
    """Where the published model comes from. Give [train] or [load], not both."""
    calibration: Calibration | None = None
    """The images that set the int8 ranges."""
    evaluation: Evaluation
    """The images that the accuracy is measured on, and the accuracy that a build must reach."""
    expected: Expected
    """What the artifacts must look like; a build that differs fails."""
    tolerance: Tolerance
    """How far a correct runtime may be from the golden tensors."""
    claims: list[Claim] = Field(default_factory=list)
    """Numbers and statements of others, each with its source; the card shows them."""
    targets: list[Target] = Field(default_factory=list)
    """What is known about a board and its accelerator; the card shows it."""
    measured: list[Measured] = Field(default_factory=list)
    """Latencies that others measured on boards and published; the card shows them."""
    card: Card
    """Texts of the model card."""

    @model_validator(mode="after")
    def _references(self) -> Recipe:
        findings = []
        if (self.train is None) == (self.load is None):
            findings.append("load: give [train] or [load], and not both")
        if (self.code is None) != isinstance(self.load, LoadSavedModel | LoadTflite):
            findings.append("code: names the file that builds the network; a SavedModel or a TFLite file contains it")
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
            findings.append("variants: the same one twice")
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
        """Find variants that cannot be made from what is loaded."""
        published = isinstance(self.load, LoadTflite)
        if "int8_float_io" in self.variants and not published:
            return [
                "variants: int8_float_io is only for a published TFLite file; the zoo's own conversions have int8 I/O"
            ]
        if published and self.variants[1:] and self.variants != ["int8_float_io", "int8"]:
            return ["variants: the first is the published file; only int8 can be made, and only from int8_float_io"]
        return []

    def _of_the_task(self) -> list[str]:
        """Find what does not suit a classification, or a segmentation."""
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
                findings.append(f"examples.{number}.share: needs a label, and a segmentation")
        if segments and isinstance(self.examples, int):
            findings.append("examples: a segmentation needs pictures: name their sources")
        return findings

    def _calibrates(self) -> bool:
        return "int8" in self.variants and not isinstance(self.load, LoadTflite)

    def _named_sources(self) -> list[tuple[str, str]]:
        """List every place that names a source, with the name."""
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
        """Find evaluation images that the model is trained or calibrated on: its accuracy would look too high."""
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
        """Map what identifies each image of a data set to its name in a message."""
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
        """List the images of a data set of single files; empty for another kind.

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
        """Get the facts that a step depends on as JSON values: tables, or keys in one (``expected.parameters``)."""
        whole = self.model_dump(mode="json")
        return {key: functools.reduce(operator.getitem, key.split("."), whole) for key in keys}
