"""Which steps a model takes: what each reads, writes and depends on. The task graph and the steps both ask here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from utils import paths
from utils.errors import BuildError
from utils.graph import layout
from utils.graph.folder import Folder
from utils.graph.npu_plan import imx93_step, npu_steps, vela_step
from utils.graph.step import Step
from utils.model.own_weights import OwnWeights, resolve_own_weights
from utils.npu import bsp
from utils.recipe.schema import Recipe
from utils.sources.source import Source
from utils.tasks import Part, code_of

__all__ = ["imx93_step", "npu_steps", "step_of", "steps_of", "vela_step"]


@dataclass(frozen=True)
class _Model:
    """One recipe, and what several of its steps depend on.

    Attributes:
        recipe: of the model.
        own: the user's own weights, if there are any.
    """

    recipe: Recipe
    own: OwnWeights | None

    @cached_property
    def work(self) -> Path:
        """The folder of intermediate files."""
        return paths.work(self.recipe.name)

    @cached_property
    def code_file(self) -> Path | None:
        """The recipe's own code, if it has any."""
        return self.recipe.code_file

    def step(
        self,
        name: str,
        program: str,
        doc: str,
        *,
        writes: Sequence[Path],
        reads: Sequence[Path],
        facts: dict[str, Any],
        runs_network: bool = False,
        fetches: tuple[Source, ...] = (),
        copies: tuple[Path, str] | None = None,
        folder: Folder | None = None,
        part: Part | None = None,
    ) -> Step:
        """A step whose program is ``utils/steps/<program>.py``; each also reads the lock.

        ``part`` is what the program asks the recipe's kind of task for.
        """
        code = [paths.UTILS / "steps" / f"{program}.py", *(code_of(self.recipe, part) if part else ())]
        if runs_network and self.code_file:
            code.append(self.code_file)
        return Step(
            model=self.recipe.name,
            name=name,
            module=f"utils.steps.{program}",
            doc=doc,
            reads=(*dict.fromkeys(reads), paths.LOCK),
            code=tuple(code),
            writes=tuple(writes),
            facts=facts,
            fetches=fetches,
            own=self.own,
            copies=copies,
            folder=folder,
            warm=runs_network and layout.network_file(self.recipe) is not None,
        )

    def digests(self, *keys: str | None) -> list[Path]:
        """The files that hold the sha256 of these sources."""
        return [layout.source_digest_file(self.recipe, key) for key in keys if key]

    def inputs(self, dataset: str) -> list[Path]:
        """What the inputs of a data set depend on."""
        listed = self.recipe.list_file(dataset)
        return [listed] if listed else self.digests(*self.recipe.sources_of(dataset))

    @cached_property
    def labels(self) -> list[Path]:
        """What the labels depend on, where they come from a source."""
        return self.digests(self.recipe.labels) if isinstance(self.recipe.labels, str) else []

    @cached_property
    def shown(self) -> list[Path]:
        """What the example inputs and their labels depend on."""
        examples = self.recipe.examples
        pictures = self.digests(*(entry.source for entry in examples)) if isinstance(examples, list) else []
        return [*(pictures or self.evaluated), *self.labels]

    @cached_property
    def evaluated(self) -> list[Path]:
        """What the inputs of the evaluation set depend on."""
        return self.inputs(self.recipe.evaluation.dataset)

    @property
    def evaluation_set(self) -> str:
        """The key of the evaluation set's table."""
        return f"datasets.{self.recipe.evaluation.dataset}"

    @cached_property
    def models(self) -> list[Path]:
        """The converted models, float32 first."""
        return [layout.model_file(self.recipe.name, variant) for variant in self.recipe.variants]

    @cached_property
    def staged(self) -> list[Path]:
        """The files of the bundle before they are in artifacts/."""
        folder = self.work / "bundle"
        return [folder / name for name in layout.bundle_files(self.recipe)]

    @property
    def sources(self) -> list[Path]:
        """The page of all sources, where there are any."""
        return [self.work / "sources.json"] if self.recipe.sources else []

    @property
    def history(self) -> list[Path]:
        """The curve of a training, where there is one."""
        return [self.work / "history.json"] if self.recipe.train else []

    @property
    def parity(self) -> list[Path]:
        """How far the converted network is from Keras' own, where a step converts to float32."""
        return [self.work / "parity.json"] if "float32" in _converted(self.recipe) else []

    @property
    def evaluation(self) -> Path:
        """The measured accuracy."""
        return self.work / "evaluation.json"

    @property
    def validation(self) -> Path:
        """What example.py said in the bundle."""
        return self.work / "validation.json"

    @property
    def own_facts(self) -> dict[str, Any]:
        """Whether the card has to speak of own weights."""
        return {"own weights": self.own is not None}


#: The facts of a network.
_NETWORK = ("parameters", "input", "output")


def steps_of(recipe: Recipe) -> list[Step]:
    """The steps of one model, in the order of the data's flow."""
    model = _Model(recipe, resolve_own_weights(recipe))
    steps = [_download(model)] if recipe.sources else []
    if recipe.train:
        steps.append(_train(model))
    elif recipe.load:
        steps.append(_load(model))
    steps += [_convert(model, variant) for variant in _converted(recipe)]
    return [*steps, _evaluate(model), _validate(model), _card(model)]


def _converted(recipe: Recipe) -> list[str]:
    """The variants that a conversion makes: all but the one that ``load`` takes as it is published."""
    as_published = recipe.load and not layout.network_file(recipe)
    return list(recipe.variants[1:] if as_published else recipe.variants)


def _download(model: _Model) -> Step:
    recipe = model.recipe
    return model.step(
        "download",
        "download",
        "fetch and check the sources",
        writes=[*model.sources, *model.digests(*recipe.sources)],
        reads=[file for key in recipe.datasets if (file := recipe.list_file(key))],
        facts=recipe.part("sources", "datasets") | ({"own weights": model.own.facts} if model.own else {}),
        fetches=fetches(recipe, model.own),
    )


def _train(model: _Model) -> Step:
    recipe = model.recipe
    assert recipe.train is not None  # steps_of asked
    return model.step(
        "train",
        "train",
        "train the network",
        writes=[model.work / "model.weights.h5", *model.history],
        reads=model.inputs(recipe.train.dataset),
        facts=recipe.part(*_NETWORK, "labels", f"datasets.{recipe.train.dataset}", "train", "expected.parameters"),
        runs_network=True,
    )


def _load(model: _Model) -> Step:
    recipe = model.recipe
    assert recipe.load is not None  # steps_of asked
    return model.step(
        "load",
        "load",
        "load the published model",
        writes=[layout.network_file(recipe) or model.models[0]],
        reads=model.digests(*recipe.load.sources),
        facts=recipe.part(*_NETWORK, "load", "expected", "variants"),
        runs_network=True,
    )


def _convert(model: _Model, variant: str) -> Step:
    recipe = model.recipe
    network = layout.network_file(recipe)
    reads, facts = [network or model.models[0]], recipe.part(*_NETWORK, "expected", "variants")
    writes = [layout.model_file(recipe.name, variant)]
    if variant == "float32":
        reads += model.shown
        facts |= recipe.part("tolerance.conversion", "examples", "labels", model.evaluation_set, "evaluation.dataset")
        writes += model.parity
    elif network and recipe.calibration:
        reads += model.inputs(recipe.calibration.dataset)
        facts |= recipe.part(f"datasets.{recipe.calibration.dataset}", "calibration")
    doc = f"convert to {variant} TFLite"
    return model.step(variant, "convert", doc, writes=writes, reads=reads, facts=facts, runs_network=True)


def _evaluate(model: _Model) -> Step:
    return model.step(
        "evaluate",
        "evaluate",
        "measure the accuracy, hold it against the gate",
        writes=[model.evaluation],
        reads=[*model.models, *model.evaluated, *model.labels],
        facts=model.recipe.part("task", "input", "output", "labels", model.evaluation_set, "evaluation", "variants")
        | model.own_facts,
        part="measure",
    )


def _validate(model: _Model) -> Step:
    return model.step(
        "validate",
        "validate",
        "run example.py in the bundle, compare with the golden tensors",
        writes=[*model.staged, model.validation],
        reads=[*model.models, model.evaluation, *model.evaluated, *model.shown],
        facts=model.recipe.part("title", "task", "licence", "input", "output", "labels", "variants", "aliases",
                                "examples", "tolerance", model.evaluation_set, "evaluation.dataset", "parameters")
        | model.own_facts,
        part="answers",
    )  # fmt: skip


def _card(model: _Model) -> Step:
    recipe = model.recipe
    names, bundle = (*layout.bundle_files(recipe), *layout.card_files(recipe)), paths.bundle(recipe.name)
    return model.step(
        "card",
        "card",
        "draw the card and put the bundle into artifacts/",
        writes=[bundle / name for name in names],
        reads=[*model.staged, model.validation, model.evaluation, *model.parity, *model.history, *model.sources,
               *model.evaluated, *model.labels, *layout.board_reports(recipe.name),
               *layout.rebuild_files(recipe.name)],
        facts=recipe.part(*Recipe.model_fields) | model.own_facts,
        copies=(bundle / "board", "*.json"),
        folder=Folder(bundle, layout.npu_folder(recipe.name).name, layout.npu_file(recipe)),
        part="figures",
    )  # fmt: skip


def fetches(recipe: Recipe, own: OwnWeights | None) -> tuple[Source, ...]:
    """Every file from outside that a build needs; a user's own weights take the place of the published ones."""
    replaced = recipe.load.sources if own and recipe.load else []
    named = [entry.source() for key, entry in recipe.sources.items() if key not in replaced]
    return (*named, *(source for key in recipe.datasets for row in recipe.rows(key) for source in row.sources))


def step_of(recipe: Recipe, name: str) -> Step:
    """The step called ``name``."""
    if name.startswith("vela-"):
        return vela_step(recipe, bsp.find_bsp(name.removeprefix("vela-")))
    if name == "imx93":
        return imx93_step(recipe)
    steps = {step.name: step for step in steps_of(recipe)}
    if name not in steps:
        raise BuildError(f"{recipe.name} has no step {name!r}", hint=f"it has {', '.join(steps)}")
    return steps[name]
