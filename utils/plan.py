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


@dataclass(frozen=True)
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
        return self._is_cached() and record.is_current(self.record, self.key(), self.writes)

    def is_intact(self) -> bool:
        """Whether its targets are as it left them."""
        return self._is_cached() and record.intact(self.record, self.writes)

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
def code_of(module: str) -> tuple[Path, ...]:
    """The file of a module of ours and of every module of ours that it imports, however deep and however late."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in _HOUSE or name == "utils":
            continue
        stem = paths.ROOT.joinpath(*name.split("."))
        file = next((f for f in (stem.with_suffix(".py"), stem / "__init__.py") if f.is_file()), None)
        if file is None or file in found:
            continue
        found.add(file)
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names if alias.name.startswith("utils")]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("utils"):
                waiting += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(sorted(found))


def model_file(model: str, variant: str) -> Path:
    """The converted model among the intermediate files."""
    return paths.work(model) / f"{model}_{variant}.tflite"


def bundle_files(recipe: Recipe) -> tuple[str, ...]:
    """The names of the files that are validated on the way into a bundle; the card adds its own."""
    variants = [name for v in recipe.variants for name in (f"{recipe.name}_{v}.tflite", f"golden_{v}.npz")]
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
            "train": [recipe.code_file],
            "convert": [recipe.code_file],
            "validate": [paths.EXAMPLE],
            "card": [paths.UTILS / "steps" / "card.md.j2"],
        }
        steps.append(
            Step(
                model=recipe.name,
                name=name,
                module=f"utils.steps.{module}",
                doc=doc,
                reads=(*reads, paths.LOCK),
                code=(*code_of(f"utils.steps.{module}"), *extra.get(module, [])),
                writes=tuple(writes),
                facts=recipe.part(*facts),
                fetches=tuple(s.source() for s in recipe.sources.values()) if name == "download" else (),
            )
        )

    sources: list[Path] = []
    if recipe.sources:
        sources = [work / "sources.json"]
        add("download", "download", "fetch and check the sources", sources, [], ["sources"])
    weights = work / "model.weights.h5"
    history = work / "history.json"
    net = ["parameters", "input", "output"]
    learns, measures = f"datasets.{recipe.train.dataset}", f"datasets.{recipe.evaluation.dataset}"
    facts = [*net, "labels", learns, "train", "expected.parameters"]
    add("train", "train", "train the network", [weights, history], sources, facts)
    for variant in recipe.variants:
        calibrates = variant == "int8"
        add(
            variant,
            "convert",
            f"convert to {variant} TFLite",
            [model_file(recipe.name, variant)],
            [weights, *(sources if calibrates else [])],
            [*net, "expected", *([f"datasets.{recipe.calibration.dataset}", "calibration"] if calibrates else [])],
        )
    models = [model_file(recipe.name, variant) for variant in recipe.variants]
    evaluation = work / "evaluation.json"
    add(
        "evaluate",
        "evaluate",
        "measure the accuracy, hold it against the gate",
        [evaluation],
        [*models, *sources],
        ["input", "output", "labels", measures, "evaluation", "variants"],
    )
    staged = [work / "bundle" / name for name in bundle_files(recipe)]
    validation = work / "validation.json"
    add(
        "validate",
        "validate",
        "run example.py in the bundle, compare with the golden tensors",
        [*staged, validation],
        [*models, *sources],
        ["title", "task", "licence", "input", "output", "labels", "variants", "examples", "tolerance", measures,
         "evaluation.dataset", "parameters"],
    )  # fmt: skip
    finished = [paths.bundle(recipe.name) / name for name in (*bundle_files(recipe), *card_files(recipe))]
    add(
        "card",
        "card",
        "draw the card and put the bundle into artifacts/",
        finished,
        [*staged, validation, evaluation, history, *sources],
        list(Recipe.model_fields),
    )
    return steps


def step_of(recipe: Recipe, name: str) -> Step:
    """The step called ``name``."""
    return next(step for step in steps_of(recipe) if step.name == name)


#: A step's work: given the recipe, the step and where to write.
Work = Callable[[Recipe, Step, record.Outputs], None]
