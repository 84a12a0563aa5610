"""Where each step's files are: names in ``build/<model>/``, in a bundle, and of what is compiled for an NPU."""

from __future__ import annotations

from pathlib import Path

from utils import paths
from utils.recipe.datasets import FileSet
from utils.recipe.fields import Variant
from utils.recipe.schema import Recipe
from utils.recipe.tables import LoadSavedModel, LoadTflite
from utils.tasks import task_of

__all__ = [
    "INPUTS",
    "board_reports",
    "bundle_files",
    "card_files",
    "compares_int8",
    "compiled_folder",
    "deployed",
    "example_files",
    "explain_folder",
    "figure",
    "has_samples",
    "model_file",
    "model_name",
    "network_file",
    "npu_file",
    "npu_folder",
    "npu_name",
    "npu_variant",
    "rebuild_files",
    "source_digest_file",
]

#: The folder of a bundle that holds its example inputs; example.py's own is the same, and it would import numpy.
INPUTS = "inputs"


#: Variants that an NPU computes, the better first.
_INTEGERS: tuple[Variant, ...] = ("int8", "uint8")


def model_name(model: str, variant: str) -> str:
    """The file name of a converted model, here and in the bundle."""
    return f"{model}_{variant}.tflite"


def model_file(model: str, variant: str) -> Path:
    """The converted model among the intermediate files."""
    return paths.work(model) / model_name(model, variant)


def deployed(recipe: Recipe) -> str:
    """The name of the file that goes to a board: int8 where there is that."""
    return model_name(recipe.name, "int8" if "int8" in recipe.variants else recipe.variants[-1])


def compares_int8(recipe: Recipe) -> bool:
    """Whether it has a float32 file that its int8 file can be held against, layer by layer."""
    return {"float32", "int8"} <= {*recipe.variants}


def explain_folder(model: str) -> Path:
    """What ``doit explain`` writes about a model: in no bundle, for nothing on a board reads it."""
    return paths.work(model) / "explain"


def source_digest_file(recipe: Recipe, key: str) -> Path:
    """The file that holds the sha256 of one source: who reads the source depends on it, and not on words about it."""
    return paths.work(recipe.name) / "sources" / f"{key}.sha256"


def example_files(recipe: Recipe) -> tuple[str, ...]:
    """The names of a bundle's example inputs, ``example_input`` first; ``example.py`` finds them without the folder."""
    if isinstance(recipe.examples, int):
        ends = [recipe.input.suffix] * recipe.examples
    else:
        ends = [Path(recipe.sources[entry.source].file).suffix for entry in recipe.examples]
    return tuple(f"{INPUTS}/example_{number or 'input'}{end}" for number, end in enumerate(ends))


def figure(name: str) -> str:
    """The name of a picture of the card in the bundle: beside the inputs, so that ``-i inputs`` reads inputs alone."""
    return f"figures/{name}.png"


def has_samples(recipe: Recipe) -> bool:
    """Whether a bundle may carry inputs of the evaluation set."""
    found = recipe.datasets[recipe.evaluation.dataset]
    return found.redistribute if isinstance(found, FileSet) else True


def bundle_files(recipe: Recipe) -> tuple[str, ...]:
    """The names of the files that are validated on the way into a bundle; the card adds its own."""
    variants = [name for v in recipe.variants for name in (model_name(recipe.name, v), f"golden_{v}.npz")]
    samples = ["samples.npz"] if has_samples(recipe) else []
    return ("example.py", "model.json", "labels.txt", *samples, *example_files(recipe), *variants)


def card_files(recipe: Recipe) -> tuple[str, ...]:
    """The names of the files that the card adds to a bundle."""
    pictures = ["result"]
    pictures += ["training"] if recipe.train else []
    pictures += task_of(recipe).figures(recipe)
    return ("README.md", "manifest.json", "compat.json", "SHA256SUMS", "utils/example.py", *map(figure, pictures))


def network_file(recipe: Recipe) -> Path | None:
    """What ``train`` or ``load`` leaves for the conversions: Keras weights, or a frozen graph."""
    if isinstance(recipe.load, LoadTflite):
        return None
    return paths.work(recipe.name) / ("graph.pb" if isinstance(recipe.load, LoadSavedModel) else "model.weights.h5")


def board_reports(model: str) -> list[Path]:
    """What was measured of a model on boards (``utils/board``): one file a target."""
    return sorted((paths.work(model) / "board").glob("*.json"))


def rebuild_files(model: str) -> list[Path]:
    """What a card says of rebuilds depends on these: the statements about a model, and the keys that count.

    Without a statement there is none: a new key changes no other model.
    """
    statements = _plain_files(paths.REBUILDS / model, "*.json")
    return [*statements, *_plain_files(paths.REBUILDS / paths.REBUILD_KEYS, "*.pub")] if statements else []


def _plain_files(folder: Path, pattern: str) -> list[Path]:
    return sorted(file for file in folder.glob(pattern) if file.is_file() and not file.is_symlink())


def npu_folder(model: str) -> Path:
    """What is compiled for the i.MX 93's NPU, in the bundle: a folder a BSP, and a page about all of them."""
    return paths.bundle(model) / "imx93"


def compiled_folder(model: str) -> Path:
    """What Vela has compiled, a folder a BSP, on its way into the bundle."""
    return paths.work(model) / "imx93"


def npu_variant(recipe: Recipe) -> Variant | None:
    """The variant that is compiled for the NPU: one whose input and network are integers; None if there is none."""
    return next((variant for variant in _INTEGERS if variant in recipe.variants), None)


def npu_file(recipe: Recipe) -> Path:
    """What is compiled: the bundle's file of integers, whoever built it."""
    return paths.bundle(recipe.name) / model_name(recipe.name, npu_variant(recipe) or "int8")


def npu_name(recipe: Recipe) -> str:
    """The name of the compiled file."""
    return f"{npu_file(recipe).stem}_vela.tflite"
