"""One model of a release: its bundle, and all that is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from utils import files, paths
from utils.graph import plan
from utils.recipe.datasets import IdxSet
from utils.recipe.schema import Recipe

__all__ = ["ReleasedModel"]

#: Files of a bundle that show or hold images of the evaluation set, or the examples.
_IMAGES = (
    "samples.npz",
    "golden_*.npz",
    "example_*.png",
    "example_*.jpg",
    "digits.png",
    "feature_map.png",
    "result*.png",
)


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
            plan.model_name(self.name, variant): {**result, "variant": variant}
            for variant, result in self.manifest["evaluation"]["variants"].items()
        }

    @property
    def weights(self) -> str | None:
        """The key of the source that the artifacts are made of; None for a model that is trained here."""
        return self.recipe.load.source if self.recipe.load else None

    def withheld(self) -> dict[str, str]:
        """Source key -> licence, of the sources that must not be passed on."""
        return {key: source.licence for key, source in self.recipe.sources.items() if not source.redistribute}

    def left_out(self) -> dict[str, str]:
        """Files of the bundle that a release leaves out -> the source whose licence forbids them."""
        shown = set[str]()
        dataset = self.recipe.datasets[self.recipe.evaluation.dataset]
        if isinstance(dataset, IdxSet):
            shown |= {dataset.images, dataset.labels}
        examples = self.recipe.examples
        if isinstance(examples, list):
            shown |= {example.source for example in examples}
        found = {}
        for key in sorted(shown & self.withheld().keys()):
            for pattern in _IMAGES:
                found.update({file.name: key for file in self.folder.glob(pattern)})
        return dict(sorted(found.items()))
