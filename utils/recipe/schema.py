"""The closed, typed schema of ``recipes/<name>/recipe.toml``: the recipe, and what must hold between its tables.

The tables are classes in ``tensors.py`` (``[input]``, ``[output]``), ``tables.py``, ``datasets.py`` (``[sources]``,
``[datasets]``) and ``card.py`` (what only the card shows); ``fields.py`` has the types that they share. The string
below a key is its description. ``KINDS`` says what each kind of task asks of a recipe; ``utils/tasks/`` has the rest.
"""

from __future__ import annotations

import functools
import operator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, model_validator

from utils import limits
from utils.errors import did_you_mean
from utils.recipe import beside, lists
from utils.recipe.card import Card, Claim, Measured, Target
from utils.recipe.datasets import Dataset, FileSet, IdxSet, SourceFile
from utils.recipe.fields import EITHER, LIST, ONE, Closed, Line, Variant, refuse
from utils.recipe.tables import (
    Calibration,
    Evaluation,
    Example,
    Expected,
    Load,
    LoadSavedModel,
    LoadTflite,
    Tolerance,
    Train,
)
from utils.recipe.tensors import ImageInput, Input, Output

__all__ = ["KINDS", "NAME", "Kind", "Recipe"]

#: Names that become task names and folder names.
NAME = r"^[a-z][a-z0-9_]*$"

TaskName = Literal["classification", "segmentation", "detection", "audio"]


class Kind(NamedTuple):
    """What the schema asks of the recipes of one kind of task.

    Attributes:
        metric: what measures it.
        truth: what its lists say of each file.
        input: the kind of its ``[input]``.
        outputs: the meanings of its outputs, each once; of one output, those that it may have.
        needs_files: its examples are files with a source: the evaluation set has none that it could show.
        whole: it is measured on whole images.
    """

    metric: str
    truth: lists.Truth
    input: str = "image"
    outputs: tuple[frozenset[str], ...] = (frozenset({"probabilities", "logits"}),)
    needs_files: bool = False
    whole: bool = False


#: An output of a detector has one meaning.
_OF_A_DETECTOR = tuple(frozenset({kind}) for kind in ("boxes", "classes", "scores", "count"))

#: One kind of task a row; its package in utils/tasks/ has the same name.
KINDS: dict[TaskName, Kind] = {
    "classification": Kind("top1", "label"),
    "segmentation": Kind("miou", "mask", needs_files=True, whole=True),
    "detection": Kind("ap", "boxes", outputs=_OF_A_DETECTOR, needs_files=True, whole=True),
    "audio": Kind("top1", "label", input="audio"),
}


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
    task: TaskName
    """Kind of task: classification, segmentation, detection, or audio."""
    licence: Line
    """Licence of the artifacts: an SPDX identifier, or a plain name."""
    code: str | None = None
    """Python file with `build(parameters, shape)`, relative to the recipe's folder. SavedModel and TFLite need none."""
    parameters: dict[str, str | int | float] = Field(default_factory=dict)
    """Keys and values for `build(parameters, shape)` in the file that `code` names."""
    labels: Annotated[Annotated[list[str], Field(min_length=2), LIST] | Annotated[str, ONE], EITHER]
    """Names of the classes in the order of the output, or the key in [sources] of a file that has them."""
    variants: Annotated[list[Variant], Field(min_length=1)]
    """Files to make: `float32`, `int8` (int8 input and output), or of published files `int8_float_io` or `uint8`."""
    aliases: dict[Variant, list[str]] = Field(default_factory=dict)
    """Other file names of a variant, as older instructions have them."""
    examples: Annotated[
        Annotated[int, Field(gt=0, le=100), ONE] | Annotated[list[Example], Field(min_length=1), LIST], EITHER
    ]
    """How many inputs of the evaluation set go into the bundle (1 to 100), or a list of files."""
    input: Input
    """The graph's input, and how a file becomes it."""
    output: Annotated[
        Annotated[Output, ONE] | Annotated[list[Output], Field(min_length=1), LIST],
        EITHER,
    ]
    """The graph's output, or `[[output]]` for each of several."""
    sources: dict[str, SourceFile] = Field(default_factory=dict)
    """Upstream files, each under a key of your choice."""
    datasets: dict[str, Dataset]
    """Data sets to train, calibrate and measure on, each under a key of your choice."""
    train: Train | None = None
    """How to train the model. Give [train] or [load], not both."""
    load: Load | None = None
    """Where the published model comes from. Give [train] or [load], not both."""
    calibration: Calibration | None = None
    """The inputs that set the int8 ranges."""
    evaluation: Evaluation
    """The inputs that the accuracy is measured on, and the accuracy that a build must reach."""
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
            findings.append("calibration: is missing: int8 ranges come from inputs")
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
        refuse(findings + self._outputs())
        findings += self._overlaps()
        if len(set(self.variants)) != len(self.variants):
            findings.append("variants: the same one twice")
        findings += [
            f"evaluation.gate.{variant}: is missing"
            for variant in self.variants
            if self.evaluation.gate.least(variant) is None
        ]
        if self.evaluation.metric != self.kind.metric:
            findings.append(f"evaluation.metric: {self.evaluation.metric!r} does not measure {self.task}")
        refuse(findings + self._published() + self._of_the_task())
        return self

    def _outputs(self) -> list[str]:
        """Find outputs that are not those of the task, and labels that do not fit them."""
        findings, wanted = [], self.kind.outputs
        found = [output.kind for output in self.outputs]
        if len(found) != len(wanted) or any(not each.intersection(found) for each in wanted):
            meant = ", ".join(" or ".join(sorted(each)) for each in wanted)
            findings.append(f"output: {self.task} has {len(wanted)} output(s), {meant}; this has {', '.join(found)}")
        elif len(wanted) == 1 and isinstance(self.labels, list) and len(self.labels) != self.outputs[0].shape[-1]:
            findings.append(f"labels: {len(self.labels)} labels for {self.outputs[0].shape[-1]} outputs")
        elif any(output.kind == "classes" and output.classes is None for output in self.outputs):
            findings.append("output.classes: is missing: how many classes are there?")
        counted = next((output.classes for output in self.outputs if output.classes), None)
        if counted and isinstance(self.labels, list) and len(self.labels) != counted:
            findings.append(f"labels: {len(self.labels)} labels for {counted} classes of the output")
        if len(wanted) > 1 and isinstance(self.labels, str):
            findings.append("labels: list them here: the shapes of several outputs do not tell how many there are")
        if len(wanted) > 1 and not isinstance(self.load, LoadTflite):
            findings.append("output: only a published TFLite file may have several; what is converted has one")
        if len({output.name for output in self.outputs}) < len(self.outputs):
            findings.append("output: two have the same name")
        return findings

    def _published(self) -> list[str]:
        """Find variants that cannot be made from what is loaded."""
        published = isinstance(self.load, LoadTflite)
        if alone := [variant for variant in self.variants if variant in ("int8_float_io", "uint8") and not published]:
            return [
                f"variants: {alone[0]} is only for a published TFLite file; the zoo's own conversions have int8 I/O"
            ]
        if published and self.variants[1:] and self.variants != ["int8_float_io", "int8"]:
            return ["variants: the first is the published file; only int8 can be made, and only from int8_float_io"]
        return []

    def _of_the_task(self) -> list[str]:
        """Find what does not suit the kind of task."""
        findings, kind = [], self.kind
        if self.train and self.train.shift and not isinstance(self.input, ImageInput):
            findings.append("train.shift: moves images, and the input is none")
        if self.input.kind != kind.input:
            findings.append(f"input.kind: {self.task} takes {kind.input!r}")
        if kind.whole and isinstance(self.input, ImageInput) and self.input.fit != "stretch":
            findings.append(f"input.fit: a {self.task} is measured on whole images: 'stretch'")
        rows = self.rows(self.evaluation.dataset)
        if (not rows and kind.truth != "label") or any((row.label, row.truth) == (None, None) for row in rows):
            findings.append(f"evaluation.dataset: {self.task} is measured with {kind.truth.rstrip('s')}s")
        for number, entry in enumerate(self.examples if isinstance(self.examples, list) else []):
            if entry.label and isinstance(self.labels, list) and entry.label not in self.labels:
                findings.append(f"examples.{number}.label: no such label{did_you_mean(entry.label, self.labels)}")
            if entry.share and not (kind.truth == "mask" and entry.label):
                findings.append(f"examples.{number}.share: needs a label, and a task that answers once a pixel")
            findings += [f"examples.{number}.{wrong}" for wrong in self._of_objects(entry)]
        if kind.needs_files and isinstance(self.examples, int):
            findings.append(f"examples: a {self.task} needs pictures: name their sources")
        return findings

    def _of_objects(self, entry: Example) -> list[str]:
        """Find what is wrong with the objects that an example shows."""
        if entry.objects is None:
            return [] if entry.found is None else ["found: counts objects, and there are none"]
        if self.kind.truth != "boxes":
            return ["objects: is for a task that answers with boxes"]
        findings = []
        if (entry.found or 0) > len(entry.objects):
            findings.append(f"found: {entry.found} of {len(entry.objects)} objects")
        for number, shown in enumerate(entry.objects):
            if shown.label not in self.labels:
                findings.append(f"objects.{number}.label: no such label{did_you_mean(shown.label, list(self.labels))}")
            if not (shown.box[0] < shown.box[2] and shown.box[1] < shown.box[3]):
                findings.append(f"objects.{number}.box: is empty: left, top, right, bottom")
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
            place = "load.files" if isinstance(self.load, LoadSavedModel) and self.load.files else "load.source"
            found += [(place, key) for key in self.load.sources]
        if isinstance(self.labels, str):
            found.append(("labels", self.labels))
        if isinstance(self.examples, list):
            found += [(f"examples.{number}.source", entry.source) for number, entry in enumerate(self.examples)]
        return found

    def _overlaps(self) -> list[str]:
        """Find evaluation inputs that the model is trained or calibrated on: its accuracy would look too high."""
        findings = []
        measured = self._images(self.evaluation.dataset)
        for key in ("train", "calibration"):
            part = getattr(self, key)
            both = measured.keys() & self._images(part.dataset).keys() if part else set()
            if both:
                findings.append(
                    f"evaluation.dataset: the evaluation set must not be trained or calibrated on, but {key} has "
                    f"{len(both)} of its inputs, {measured[min(both)]} first"
                )
        return findings

    def _images(self, name: str) -> dict[str, str]:
        """Map what identifies each input of a data set to its name in a message."""
        dataset = self.datasets[name]
        if isinstance(dataset, FileSet):
            return {row.source.sha256 or "": row.source.name for row in self.rows(name)}
        if isinstance(dataset, IdxSet):
            return {f"idx {dataset.images}": f"those of {dataset.images}"}
        return {f"drawn {dataset.seed}": f"those of seed {dataset.seed}"}

    @property
    def kind(self) -> Kind:
        """What its kind of task asks of it."""
        return KINDS[self.task]

    @property
    def outputs(self) -> list[Output]:
        """The graph's outputs, in the order of the recipe."""
        return self.output if isinstance(self.output, list) else [self.output]

    @property
    def classes(self) -> int:
        """How many classes there are: by the one output's shape; where there are several outputs, by the labels."""
        return len(self.labels) if len(self.outputs) > 1 else self.outputs[0].shape[-1]

    @property
    def code_file(self) -> Path | None:
        """The Python file that builds the network, if the recipe has one."""
        return beside.find_file(self.folder, self.code) if self.code else None

    @property
    def where(self) -> str:
        """The recipe's file, for messages."""
        return f"recipes/{self.folder}/recipe.toml"

    def list_file(self, dataset: str) -> Path | None:
        """The CSV file that lists a data set's files, if it has one."""
        found = self.datasets[dataset]
        return beside.find_file(self.folder, found.file) if isinstance(found, FileSet) else None

    def rows(self, dataset: str) -> tuple[lists.Row, ...]:
        """List the files of a data set of single files, with what the task needs of each; empty for another kind.

        Raises:
            RecipeError: the list is wrong.
        """
        found, file = self.datasets[dataset], self.list_file(dataset)
        if not isinstance(found, FileSet) or file is None:
            return ()
        templates = tuple(found.urls), tuple(found.truth_urls or found.urls)
        return lists.read(file, self.kind.truth, *templates, found.licence, found.what)

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
        whole = self.model_dump(mode="json", include={key.partition(".")[0] for key in keys})
        return {key: functools.reduce(operator.getitem, key.split("."), whole) for key in keys}
