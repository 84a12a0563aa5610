"""Which steps a model takes: what each reads, writes and depends on. The task graph and the steps both ask here."""

from __future__ import annotations

import ast
import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from utils import environment, paths, record
from utils.recipe import Recipe
from utils.sources import Source, cached

__all__ = ["Step", "step_of", "steps_of"]


@dataclass(frozen=True, repr=False)
class Step:
    """One step of one model.

    Attributes:
        model: name of the model.
        name: ``download``, ``train``, ``float32``, ``int8``, ``evaluate``, ``validate`` or ``card``.
        module: the program: ``python -m <module> <model> <name>``.
        doc: one line for people.
        reads: files that other steps wrote, and the lock.
        code: files of ours that decide what it writes.
        writes: files it leaves behind.
        facts: the part of the recipe it depends on.
        fetches: sources that it leaves in the cache.
    """

    model: str
    name: str
    module: str
    doc: str
    reads: tuple[Path, ...]
    code: tuple[Path, ...]
    writes: tuple[Path, ...]
    facts: dict[str, Any]
    fetches: tuple[Source, ...] = ()

    def __repr__(self) -> str:
        return f"{self.model}:{self.name}"

    @property
    def command(self) -> list[str]:
        """How to run it, in a process of its own."""
        return [sys.executable, "-m", self.module, self.model, self.name]

    @property
    def config(self) -> dict[str, Any]:
        """What it depends on beside files."""
        return {"step": self.name, "model": self.model, "recipe": self.facts, "pins": environment.PINS}

    @property
    def record(self) -> Path:
        """Where its record is kept."""
        return paths.work(self.model) / "records" / f"{self.name}.json"

    def key(self) -> str:
        """One hash over everything that its result depends on."""
        return record.key_of(self.config, (*self.reads, *self.code))

    def is_current(self) -> bool:
        """Whether it ran with exactly these inputs and left what is there now."""
        try:
            return self._is_cached() and record.is_current(self.record, self.key(), self.writes)
        except FileNotFoundError:  # a step before it has not run
            return False

    def clean(self) -> None:
        """Take away what it wrote, its record, and folders that are empty then; the cache of sources stays."""
        for file in (self.record, *self.writes):
            file.unlink(missing_ok=True)
        for folder in {file.parent for file in self.writes}:
            with contextlib.suppress(OSError):  # not empty, or not there
                folder.rmdir()

    def _is_cached(self) -> bool:
        return all(cached(source) is not None for source in self.fetches)


#: Modules that decide when a step runs and where, not what it writes: a change in them rebuilds nothing.
_HOUSE = {f"utils.{name}" for name in ("errors", "paths", "plan", "recipe", "record", "sources", "steps")}


@cache
def code_of(start: Path) -> tuple[Path, ...]:
    """The file ``start`` and every module of ours that it imports, however deep and however late."""
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        for node in ast.walk(ast.parse(file.read_bytes())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            waiting += [module for name in names if name not in _HOUSE and (module := _module(name))]
    return tuple(sorted(found))


def _module(name: str) -> Path | None:
    """The file of a module of ours; None for another's, or for a name in a module."""
    stem = paths.ROOT.joinpath(*name.split("."))
    file = stem.with_suffix(".py")
    return file if name.startswith("utils.") and file.is_file() else None


def model_name(model: str, variant: str) -> str:
    """The file name of a converted model, here and in the bundle."""
    return f"{model}_{variant}.tflite"


def model_file(model: str, variant: str) -> Path:
    """The converted model among the intermediate files."""
    return paths.work(model) / model_name(model, variant)


def source_mark(recipe: Recipe, key: str) -> Path:
    """The file that holds the sha256 of one source: who reads the source depends on it, and not on words about it."""
    return paths.work(recipe.name) / "sources" / f"{key}.sha256"


def bundle_files(recipe: Recipe) -> tuple[str, ...]:
    """The names of the files that are validated on the way into a bundle; the card adds its own."""
    variants = [name for v in recipe.variants for name in (model_name(recipe.name, v), f"golden_{v}.npz")]
    examples = [f"example_{number}.png" for number in range(1, recipe.examples)]
    return ("example.py", "model.json", "labels.txt", "samples.npz", "example_input.png", *examples, *variants)


def card_files(recipe: Recipe) -> tuple[str, ...]:
    """The names of the files that the card adds to a bundle."""
    pictures = ["digits.png", "training.png", "confusion.png"]
    if recipe.card.feature_map:
        pictures.append("feature_map.png")
    return ("README.md", "manifest.json", "SHA256SUMS", *pictures)


def steps_of(recipe: Recipe) -> list[Step]:
    """The steps of one model, in the order of the data's flow."""
    work = paths.work(recipe.name)
    steps: list[Step] = []

    def add(name: str, module: str, doc: str, writes: list[Path], reads: list[Path], facts: list[str]) -> None:
        extra = {
            "train": code_of(recipe.code_file),
            "convert": code_of(recipe.code_file),
            "validate": (paths.EXAMPLE,),
            "card": (paths.UTILS / "steps" / "card.md.j2",),
        }
        steps.append(
            Step(
                model=recipe.name,
                name=name,
                module=f"utils.steps.{module}",
                doc=doc,
                reads=(*reads, paths.LOCK),
                code=tuple(dict.fromkeys((*code_of(paths.UTILS / "steps" / f"{module}.py"), *extra.get(module, ())))),
                writes=tuple(writes),
                facts=recipe.part(*facts),
                fetches=tuple(s.source() for s in recipe.sources.values()) if name == "download" else (),
            )
        )

    sources = [work / "sources.json"] if recipe.sources else []
    if recipe.sources:
        marks = [source_mark(recipe, key) for key in recipe.sources]
        add("download", "download", "fetch and check the sources", [*sources, *marks], [], ["sources"])
    trained, calibrated, measured = (
        [source_mark(recipe, key) for key in recipe.sources_of(part.dataset)]
        for part in (recipe.train, recipe.calibration, recipe.evaluation)
    )
    weights = work / "model.weights.h5"
    history = work / "history.json"
    net = ["parameters", "input", "output"]
    learns, measures = f"datasets.{recipe.train.dataset}", f"datasets.{recipe.evaluation.dataset}"
    facts = [*net, "labels", learns, "train", "expected.parameters"]
    add("train", "train", "train the network", [weights, history], trained, facts)
    for variant in recipe.variants:
        calibrates = variant == "int8"
        add(
            variant,
            "convert",
            f"convert to {variant} TFLite",
            [model_file(recipe.name, variant)],
            [weights, *(calibrated if calibrates else [])],
            [*net, "expected", *([f"datasets.{recipe.calibration.dataset}", "calibration"] if calibrates else [])],
        )
    models = [model_file(recipe.name, variant) for variant in recipe.variants]
    evaluation = work / "evaluation.json"
    add(
        "evaluate",
        "evaluate",
        "measure the accuracy, hold it against the gate",
        [evaluation],
        [*models, *measured],
        ["input", "output", "labels", measures, "evaluation", "variants"],
    )
    staged = [work / "bundle" / name for name in bundle_files(recipe)]
    validation = work / "validation.json"
    add(
        "validate",
        "validate",
        "run example.py in the bundle, compare with the golden tensors",
        [*staged, validation],
        [*models, evaluation, *measured],
        ["title", "task", "licence", "input", "output", "labels", "variants", "examples", "tolerance", measures,
         "evaluation.dataset", "parameters"],
    )  # fmt: skip
    finished = [paths.bundle(recipe.name) / name for name in (*bundle_files(recipe), *card_files(recipe))]
    add(
        "card",
        "card",
        "draw the card and put the bundle into artifacts/",
        finished,
        [*staged, validation, evaluation, history, *sources, *measured],
        list(Recipe.model_fields),
    )
    return steps


def step_of(recipe: Recipe, name: str) -> Step:
    """The step called ``name``."""
    return next(step for step in steps_of(recipe) if step.name == name)


#: A step's work: given the recipe, the step and where to write.
Work = Callable[[Recipe, Step, record.Outputs], None]
