"""One model of a release: its bundle, and the facts about it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any

from utils import files, paths
from utils.graph import layout, plan
from utils.graph.step import Step
from utils.recipe.datasets import FileSet, IdxSet
from utils.recipe.schema import Recipe
from utils.tasks import Shows, task_of

__all__ = ["Origin", "ReleasedModel"]


#: Files of a bundle with this project's own code, text and measurements.
_OURS = {
    "README.md",
    "SHA256SUMS",
    "compat.json",
    "example.py",
    "manifest.json",
    "model.json",
    "utils/example.py",
    layout.figure("training"),
}


@dataclass(frozen=True)
class Origin:
    """A source whose content files of a bundle contain or show."""

    name: str  # the file, or the list of the files
    licence: str
    url: str
    redistribute: bool


@dataclass(frozen=True)
class ReleasedModel:
    """A recipe with its finished bundle."""

    recipe: Recipe

    @property
    def name(self) -> str:
        """The model's name."""
        return self.recipe.name

    @property
    def folder(self) -> Path:
        """Where the bundle is."""
        return paths.bundle(self.name)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The bundle's manifest."""
        return files.load_json(self.folder / "manifest.json")

    @cached_property
    def artifacts(self) -> dict[str, dict[str, Any]]:
        """File name -> what was measured of it, with its ``variant``, ``size`` and ``sha256``."""
        return {
            layout.model_name(self.name, variant): {**result, "variant": variant}
            for variant, result in self.manifest["evaluation"]["variants"].items()
        }

    def steps(self) -> list[Step]:
        """The steps that made the bundle, and what is compiled for an NPU in it."""
        return [*plan.steps_of(self.recipe), *plan.npu_steps(self.recipe)]

    @property
    def weights(self) -> list[str]:
        """The keys of the sources that the artifacts are made of; empty for a model that is trained here."""
        return self.recipe.load.sources if self.recipe.load else []

    def withheld(self) -> dict[str, str]:
        """Source key -> licence, of the sources that must not be passed on."""
        return {key: source.licence for key, source in self.recipe.sources.items() if not source.redistribute}

    def contents(self) -> list[str]:
        """The bundle's files that a release may have, without files that a user added or measured."""
        compiled = layout.npu_folder(self.name)
        named = {self.folder / name for name in self.made_from()}
        found = [file for file in self.folder.rglob("*") if file.is_file()]
        return sorted(
            file.relative_to(self.folder).as_posix() for file in found if file in named or compiled in file.parents
        )

    def made_from(self) -> dict[str, frozenset[Origin]]:
        """Each file that the plan gives the bundle -> what of its sources it holds or shows.

        Numbers that were measured on a source, or learnt from it, are not the source.
        """
        recipe = self.recipe
        labels = self._sources(recipe.labels) if isinstance(recipe.labels, str) else frozenset[Origin]()
        measured = self._dataset(recipe.evaluation.dataset)
        pictures = recipe.examples if isinstance(recipe.examples, list) else []
        each = [self._sources(entry.source) for entry in pictures]
        shown = frozenset[Origin]().union(*each) if each else measured
        everything = self._sources(*recipe.sources).union(*map(self._dataset, recipe.datasets))
        found = {  # an unknown file may contain anything
            name: frozenset[Origin]() if name in _OURS or name.endswith(".tflite") else everything
            for name in (*layout.bundle_files(recipe), *layout.card_files(recipe))
        }
        found |= {f"golden_{variant}.npz": shown for variant in recipe.variants}
        found |= dict(zip(layout.example_files(recipe), each or repeat(shown), strict=False))
        origins: dict[Shows, frozenset[Origin]] = {"examples": shown, "evaluation": measured, "labels": labels}
        figures = {"result": frozenset[Shows]({"examples", "labels"}), **task_of(recipe).figures(recipe)}
        for name, shows in figures.items():
            found[layout.figure(name)] = frozenset[Origin]().union(*(origins[what] for what in shows))
        for name, made in {"labels.txt": labels, "samples.npz": measured}.items():
            if name in found:
                found[name] = made
        return found

    def _sources(self, *keys: str) -> frozenset[Origin]:
        found = [self.recipe.sources[key] for key in keys]
        return frozenset(Origin(source.file, source.licence, source.urls[0], source.redistribute) for source in found)

    def _dataset(self, key: str) -> frozenset[Origin]:
        found = self.recipe.datasets[key]
        if isinstance(found, FileSet):
            return frozenset({Origin(found.file, found.licence, found.urls[0], found.redistribute)})
        return self._sources(found.images, found.labels) if isinstance(found, IdxSet) else frozenset()

    def left_out(self) -> dict[str, list[Origin]]:
        """Files of the bundle that a release leaves out -> the sources that forbid them, sorted by name."""
        found = {
            name: sorted((origin for origin in made if not origin.redistribute), key=lambda origin: origin.name)
            for name, made in sorted(self.made_from().items())
        }
        return {name: origins for name, origins in found.items() if origins}
