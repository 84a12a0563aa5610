"""Kinds of task, a package each: how answers are measured, checked, drawn and called.

A package has the name of the kind in ``KINDS`` of the schema. Its class in ``utils/example.py`` reads inputs and
outputs, for the board and for the build; the package has what only the build does:

- ``__init__.py``: ``TASK``, a :class:`Task`: words and names. It imports nothing heavy: ``doit list`` reads it.
- ``measure.py``: a :class:`Measure` and ``read_truth``, for the step ``evaluate``.
- ``answers.py``: :class:`Answers`, for the bundle's golden tensors and the step ``validate``.
- ``figures.py``: :class:`Figures`, for the step ``card``; beside it ``card.md.j2``, the words of the card.

A step asks :func:`task_of` and its like; ``utils/graph/plan.py`` names the module as code of the step, so that a step
is run again when its own kind changes, and not when another one does. What needs data sets or models gets them as
arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from utils import paths
from utils.recipe.schema import KINDS, Recipe

if TYPE_CHECKING:  # numpy takes a tenth of a second, and `doit list` needs none of it
    import numpy as np
    import numpy.typing as npt
    from pydantic import BaseModel

    from utils import example
    from utils.sources.source import Source

__all__ = [
    "Answers",
    "Examples",
    "Figures",
    "Measure",
    "Part",
    "ReadTruth",
    "Scene",
    "Shows",
    "Task",
    "Tried",
    "answers_of",
    "code_of",
    "every_task",
    "figures_of",
    "measure_of",
    "read_truth_of",
    "task_of",
]

#: What a figure shows, beside numbers: the example inputs, inputs of the evaluation set, names of labels.
Shows = Literal["examples", "evaluation", "labels"]

#: What a page of the catalogue shows of an answer: the labels with a bar each, or the classes of the pixels.
Tried = Literal["labels", "pixels"]

#: What a step asks a kind of task for: a module of its package.
Part = Literal["measure", "answers", "figures"]


@dataclass(frozen=True)
class Task:
    """Words and names of one kind of task.

    Attributes:
        metric: the metric as cards and lists name it; in %, more is better.
        one: one input, with its article: "an image".
        many: several of them: "images".
        files: what a user gives in their place: "pictures".
        answers: what is compared with the first variant, at the head of a column: "Pixels".
        agreement: what the golden tensors compare, at the head of a column: "Pixel agreement".
        hub: the kind of task as Hugging Face calls it.
        hub_metric: the metric as Hugging Face calls it, and its name with the unit.
        prediction: what ``example.py --json`` answers for one input, as a board may report it.
        figures: the figures of a recipe's card beside ``result``, and what each shows.
        tried: what a page of the catalogue shows of an answer; None: a browser cannot try such a model.
    """

    metric: str
    one: str
    many: str
    files: str
    answers: str
    agreement: str
    hub: str
    hub_metric: tuple[str, str]
    prediction: type[BaseModel]
    figures: Callable[[Recipe], Mapping[str, frozenset[Shows]]]
    tried: Tried | None = None


@dataclass(frozen=True)
class Examples:
    """Inputs, and what is true of each.

    Attributes:
        inputs: as ``read`` of the kind's class in example.py gives them, shape (N, ...): of images uint8 pixels,
            (N, height, width, channels), at the graph's size.
        labels: int64, shape (N,), index into the recipe's labels; shape (0,) if the truth is of another kind.
        truths: what ``read_truth`` made of each input's mask or boxes; empty if the truth is a label.
    """

    inputs: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    truths: tuple[Any, ...] = ()

    def truth(self, index: int) -> Any:
        """What is true of one input: its label, or what ``read_truth`` made."""
        return self.truths[index] if self.truths else int(self.labels[index])


#: Reads the mask or the boxes of an input: the recipe, their source, the file, and the file of the input.
ReadTruth = Callable[[Recipe, "Source", Path, Path], Any]


class Measure(Protocol):
    """What one variant answered so far."""

    def __init__(self, recipe: Recipe) -> None: ...

    def add(
        self,
        index: int,
        truth: Any,
        outputs: Sequence[npt.NDArray[np.float32]],
        first: Sequence[npt.NDArray[np.float32]] | None,
    ) -> None:
        """Count one input.

        Args:
            index: its number in the evaluation set.
            truth: of ``Examples.truth``.
            outputs: real values, each with its batch, in the order of the recipe.
            first: those of the first variant; None for itself.
        """

    def result(self) -> dict[str, Any]:
        """The variant's part of ``evaluation.json``.

        ``accuracy`` (the metric, in %), for all but the first variant ``agreement`` (in %) and ``mean_error``, and what
        the card shows.
        """


class Answers(Protocol):
    """What the build knows of a bundle's answers, to hold it against what example.py says there."""

    def __init__(self, recipe: Recipe, labels: list[str]) -> None: ...

    def golden_inputs(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The inputs of the golden tensors, made of the example inputs, shape (N, ...): real values."""

    def asked(self, files: Sequence[str]) -> Sequence[str]:
        """The example inputs that ``validate`` asks example.py about, of all ``files`` of the bundle."""

    def differences(
        self,
        entry: Mapping[str, Any],
        evaluation: Mapping[str, Any],
        golden: Mapping[str, npt.NDArray[Any]],
        *,
        with_own_weights: bool,
    ) -> list[str]:
        """Find where example.py and the build differ, a sentence each.

        Args:
            entry: of "models" in ``example.py --json``.
            evaluation: the variant's part of ``evaluation.json``.
            golden: the variant's golden tensors.
            with_own_weights: what such weights ought to answer, only the user knows.
        """


@dataclass(frozen=True)
class Scene:
    """What a card's figures are drawn from.

    Attributes:
        recipe: of the model.
        folder: the bundle.
        files: its example inputs, paths in ``folder``.
        shown: the same inputs, as the graph's class of example.py reads them.
        labels: names of the classes.
        evaluation: ``evaluation.json``.
        figure: the file of a figure, by its name.
        model: the file of a variant.
        load: loads the evaluation set, with truths.
        showcase: the inputs of the evaluation set that the bundle shows, by index: the first of each label, then the
            second of each, ...
        tensors: inputs, shape (N, ...), as the network takes them: float32, shape (N, ...).
        open: opens a model file for one thread, with its inputs and outputs bound; further arguments as of ``Model``.
    """

    recipe: Recipe
    folder: Path
    files: tuple[str, ...]
    shown: Examples
    labels: list[str]
    evaluation: dict[str, Any]
    figure: Callable[[str], Path]
    model: Callable[[str], Path]
    load: Callable[[], Examples]
    showcase: Callable[[Examples], list[int]]
    tensors: Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]
    open: Callable[..., example.Model]


class Figures(Protocol):
    """What the card shows of a kind of task."""

    #: The words of the card: a template that extends "card", ``utils/steps/card.md.j2``, and fills in its blocks.
    template: Path

    def __init__(self, scene: Scene) -> None: ...

    def draw(self) -> None:
        """Draw ``result`` and the figures that ``Task.figures`` names."""


@cache
def _task(kind: str) -> Task:
    found: Task = import_module(f"utils.tasks.{kind}").TASK
    return found


def task_of(recipe: Recipe) -> Task:
    """Words and names of the recipe's kind of task."""
    return _task(recipe.task)


def every_task() -> dict[str, Task]:
    """Every kind of task, by name."""
    return {kind: _task(kind) for kind in KINDS}


def code_of(recipe: Recipe, part: Part) -> tuple[Path, Path]:
    """The files of the recipe's kind of task that a step calls: its words, and one part."""
    folder = paths.UTILS / "tasks" / recipe.task
    return folder / "__init__.py", folder / f"{part}.py"


def measure_of(recipe: Recipe) -> type[Measure]:
    """What counts the answers of a variant."""
    found: type[Measure] = _part(recipe, "measure").Measure
    return found


def read_truth_of(recipe: Recipe) -> ReadTruth | None:
    """What reads a mask or boxes; None if the truth is a label."""
    found: ReadTruth | None = _part(recipe, "measure").read_truth if recipe.kind.truth != "label" else None
    return found


def answers_of(recipe: Recipe) -> type[Answers]:
    """What checks the answers of a bundle."""
    found: type[Answers] = _part(recipe, "answers").Answers
    return found


def figures_of(recipe: Recipe) -> type[Figures]:
    """What draws the figures of a card."""
    found: type[Figures] = _part(recipe, "figures").Figures
    return found


def _part(recipe: Recipe, part: Part) -> Any:
    return import_module(f"utils.tasks.{recipe.task}.{part}")
