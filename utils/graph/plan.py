"""Which steps a model takes: what each reads, writes and depends on. The task graph and the steps both ask here."""

from __future__ import annotations

import ast
import contextlib
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from utils import environment, files, paths
from utils.errors import BuildError
from utils.graph import record
from utils.model.own_weights import OwnWeights, resolve_own_weights
from utils.npu import bsp, compat, vela
from utils.recipe.schema import LoadSavedModel, LoadTflite, Recipe
from utils.sources.fetch import Source, cached

__all__ = ["Step", "npu_file", "npu_folder", "step_of", "steps_of", "vela_step"]


@dataclass(frozen=True, repr=False)
class Step:
    """One step of one model.

    Attributes:
        model: name of the model.
        name: ``download``, ``train`` or ``load``, a variant, ``evaluate``, ``validate`` or ``card``; or ``vela-`` and a
            BSP.
        module: the program: ``python -m <module> <model> <name>``.
        doc: one line for people.
        reads: files that other steps wrote, and the lock.
        code: files of ours that decide what it writes.
        writes: files it leaves behind.
        facts: the part of the recipe it depends on.
        fetches: sources that it leaves in the cache.
        own: the user's weights, in the place of the published ones.
        seals: a folder that it shares with its like; what stands in its SHA256SUMS has to be true.
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
    own: OwnWeights | None = None
    seals: Path | None = None

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
            current = self._is_cached() and record.is_current(self.record, self.key(), self.writes)
            return current and (self.seals is None or files.sums_hold(self.seals))
        except FileNotFoundError:  # a step before it has not run
            return False

    def clean(self) -> None:
        """Take away what it wrote, its record, and folders that are empty then; the cache of sources stays."""
        for file in (self.record, *self.writes):
            file.unlink(missing_ok=True)
        for folder in sorted({file.parent for file in self.writes}, reverse=True):  # the inner ones first
            with contextlib.suppress(OSError):  # not empty, or not there
                folder.rmdir()
        if self.seals:  # its page and check sums speak of files that are gone
            shutil.rmtree(self.seals, ignore_errors=True)

    def _is_cached(self) -> bool:
        kept = self.own is None or self.name != "download" or self.own.is_kept()
        return kept and all(cached(source) is not None for source in self.fetches)


#: Modules that decide when a step runs and where, not what it writes: a change in them rebuilds nothing.
_HOUSE = {
    "utils.errors",
    "utils.graph.plan",
    "utils.graph.record",
    "utils.model.own_weights",
    "utils.paths",
    "utils.recipe.lists",
    "utils.recipe.schema",
    "utils.sources.fetch",
    "utils.steps",
}


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
        waiting += _imports(file)
    return tuple(sorted(found))


@cache
def _imports(file: Path) -> tuple[Path, ...]:
    """The modules of ours that a file imports itself."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(module for name in names if name not in _HOUSE and (module := _module(name)))


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


def deployed(recipe: Recipe) -> str:
    """The name of the file that goes to a board: int8 where there is that."""
    return model_name(recipe.name, "int8" if "int8" in recipe.variants else recipe.variants[-1])


def source_mark(recipe: Recipe, key: str) -> Path:
    """The file that holds the sha256 of one source: who reads the source depends on it, and not on words about it."""
    return paths.work(recipe.name) / "sources" / f"{key}.sha256"


def example_files(recipe: Recipe) -> tuple[str, ...]:
    """The names of a bundle's example inputs, ``example_input`` first."""
    if isinstance(recipe.examples, int):
        ends = [".png"] * recipe.examples
    else:
        ends = [Path(recipe.sources[entry.source].file).suffix for entry in recipe.examples]
    return tuple(f"example_{number or 'input'}{end}" for number, end in enumerate(ends))


def has_samples(recipe: Recipe) -> bool:
    """Whether a bundle may carry images of the evaluation set."""
    return recipe.list_file(recipe.evaluation.dataset) is None


def bundle_files(recipe: Recipe) -> tuple[str, ...]:
    """The names of the files that are validated on the way into a bundle; the card adds its own."""
    variants = [name for v in recipe.variants for name in (model_name(recipe.name, v), f"golden_{v}.npz")]
    samples = ["samples.npz"] if has_samples(recipe) else []
    return ("example.py", "model.json", "labels.txt", *samples, *example_files(recipe), *variants)


def card_files(recipe: Recipe) -> tuple[str, ...]:
    """The names of the files that the card adds to a bundle."""
    pictures = ["training.png"] if recipe.train else []
    if isinstance(recipe.examples, int):
        pictures += ["digits.png", "confusion.png"]
    else:
        pictures += ["result.png"]
    if recipe.card.feature_map:
        pictures.append("feature_map.png")
    return ("README.md", "manifest.json", "compat.json", "SHA256SUMS", "utils/example.py", *pictures)


def network_file(recipe: Recipe) -> Path | None:
    """What ``train`` or ``load`` leaves for the conversions: Keras weights, or a frozen graph."""
    if isinstance(recipe.load, LoadTflite):
        return None
    return paths.work(recipe.name) / ("graph.pb" if isinstance(recipe.load, LoadSavedModel) else "model.weights.h5")


def board_reports(model: str) -> list[Path]:
    """What was measured of a model on boards (``utils/board``): one file a target."""
    return sorted((paths.work(model) / "board").glob("*.json"))


def steps_of(recipe: Recipe) -> list[Step]:  # one flow, told in its order
    """The steps of one model, in the order of the data's flow."""
    work = paths.work(recipe.name)
    steps: list[Step] = []
    own = resolve_own_weights(recipe)
    network_code = code_of(recipe.code_file) if recipe.code_file else ()

    def add(name: str, module: str, doc: str, writes: list[Path], reads: list[Path], facts: dict[str, Any]) -> None:
        extra = {
            "train": network_code,
            "load": network_code,
            "convert": network_code,
            "validate": (paths.EXAMPLE,),
            "card": (paths.UTILS / "steps" / "card.md.j2", compat.RULES, compat.OPERATORS, bsp.FILE),
        }
        steps.append(
            Step(
                model=recipe.name,
                name=name,
                module=f"utils.steps.{module}",
                doc=doc,
                reads=(*dict.fromkeys(reads), paths.LOCK),
                code=tuple(dict.fromkeys((*code_of(paths.UTILS / "steps" / f"{module}.py"), *extra.get(module, ())))),
                writes=tuple(writes),
                facts=facts,
                fetches=fetches(recipe, own) if name == "download" else (),
                own=own,
            )
        )

    def marks(*keys: str | None) -> list[Path]:
        return [source_mark(recipe, key) for key in keys if key]

    def images(part: Any) -> list[Path]:
        """What the images of a data set depend on."""
        listed = recipe.list_file(part.dataset)
        return [listed] if listed else marks(*recipe.sources_of(part.dataset))

    named = marks(recipe.labels) if isinstance(recipe.labels, str) else []
    sources = [work / "sources.json"] if recipe.sources else []
    if recipe.sources:
        lists = [file for key in recipe.datasets if (file := recipe.list_file(key))]
        add(
            "download",
            "download",
            "fetch and check the sources",
            [*sources, *marks(*recipe.sources)],
            lists,
            recipe.part("sources", "datasets") | ({"own weights": own.facts} if own else {}),
        )
    pictures = marks(*(entry.source for entry in recipe.examples)) if isinstance(recipe.examples, list) else []
    shown = [*(pictures or images(recipe.evaluation)), *named]  # what the example inputs depend on
    measures = f"datasets.{recipe.evaluation.dataset}"
    net = ["parameters", "input", "output"]
    network, models = network_file(recipe), [model_file(recipe.name, variant) for variant in recipe.variants]
    history: list[Path] = []
    variants = list(recipe.variants)
    if recipe.train:
        history = [work / "history.json"]
        learns = f"datasets.{recipe.train.dataset}"
        facts = recipe.part(*net, "labels", learns, "train", "expected.parameters")
        add("train", "train", "train the network", [work / "model.weights.h5", *history], images(recipe.train), facts)
    elif recipe.load:
        taken = [network] if network else [model_file(recipe.name, variants.pop(0))]
        facts = recipe.part(*net, "load", "expected", "variants")
        add("load", "load", "load the published model", taken, marks(recipe.load.source), facts)
    parity = [work / "parity.json"] if "float32" in variants else []
    for variant in variants:
        reads, facts = [network or models[0]], recipe.part(*net, "expected", "variants")
        if variant == "float32":
            reads += shown
            facts |= recipe.part("tolerance.conversion", "examples", "labels", measures, "evaluation.dataset")
        elif network and recipe.calibration:
            reads += images(recipe.calibration)
            facts |= recipe.part(f"datasets.{recipe.calibration.dataset}", "calibration")
        written = [model_file(recipe.name, variant), *(parity if variant == "float32" else [])]
        add(variant, "convert", f"convert to {variant} TFLite", written, reads, facts)
    evaluation = work / "evaluation.json"
    add(
        "evaluate",
        "evaluate",
        "measure the accuracy, hold it against the gate",
        [evaluation],
        [*models, *images(recipe.evaluation), *named],
        recipe.part("input", "output", "labels", measures, "evaluation", "variants") | {"own weights": own is not None},
    )
    staged = [work / "bundle" / name for name in bundle_files(recipe)]
    validation = work / "validation.json"
    add(
        "validate",
        "validate",
        "run example.py in the bundle, compare with the golden tensors",
        [*staged, validation],
        [*models, evaluation, *images(recipe.evaluation), *shown],
        recipe.part("title", "task", "licence", "input", "output", "labels", "variants", "examples", "tolerance",
                    measures, "evaluation.dataset", "parameters") | {"own weights": own is not None},
    )  # fmt: skip
    finished = [paths.bundle(recipe.name) / name for name in (*bundle_files(recipe), *card_files(recipe))]
    add(
        "card",
        "card",
        "draw the card and put the bundle into artifacts/",
        finished,
        [
            *staged,
            validation,
            evaluation,
            *parity,
            *history,
            *sources,
            *images(recipe.evaluation),
            *named,
            *board_reports(recipe.name),
        ],
        recipe.part(*Recipe.model_fields) | {"own weights": own is not None},
    )
    return steps


def fetches(recipe: Recipe, own: OwnWeights | None) -> tuple[Source, ...]:
    """Every file from outside that a build needs; a user's own weights take the place of the published ones."""
    replaced = recipe.load.source if own and recipe.load else None
    named = [entry.source() for key, entry in recipe.sources.items() if key != replaced]
    return (*named, *(source for key in recipe.datasets for row in recipe.rows(key) for source in row.sources))


def npu_folder(model: str) -> Path:
    """What is compiled for the i.MX 93's NPU, in the bundle: a folder a BSP, and a page about all of them."""
    return paths.bundle(model) / "imx93"


def npu_file(model: str) -> Path:
    """What is compiled: the bundle's int8 file, whoever built it."""
    return paths.bundle(model) / model_name(model, "int8")


def vela_step(recipe: Recipe, release: bsp.Bsp) -> Step:
    """Compile the bundle's int8 file with the Vela of one BSP; not one of ``steps_of``: it builds nothing before it."""
    folder = npu_folder(recipe.name) / release.name
    lock = vela.lock(release.vela)
    return Step(
        model=recipe.name,
        name=f"vela-{release.name}",
        module="utils.steps.vela",
        doc=f"compile for the NPU of the i.MX 93 with Vela {release.vela}, of {release.name}",
        reads=(npu_file(recipe.name), *([lock] if lock.is_file() else [])),
        code=(*code_of(paths.UTILS / "steps" / "vela.py"), paths.UTILS / "steps" / "vela.md.j2"),
        writes=(folder / f"{recipe.name}_int8_vela.tflite", folder / "vela.json"),
        facts=recipe.part("title", "measured") | {"bsp": asdict(release)},
        seals=npu_folder(recipe.name),
    )


def step_of(recipe: Recipe, name: str) -> Step:
    """The step called ``name``."""
    if name.startswith("vela-"):
        return vela_step(recipe, bsp.find(name.removeprefix("vela-")))
    steps = {step.name: step for step in steps_of(recipe)}
    if name not in steps:
        raise BuildError(f"{recipe.name} has no step {name!r}", hint=f"it has {', '.join(steps)}")
    return steps[name]


#: A step's work: given the recipe, the step and where to write.
Work = Callable[[Recipe, Step, record.Outputs], None]
