"""The bundle: what a user takes to the board. Its contents, its manifest, and how it reaches ``artifacts/`` whole."""

from __future__ import annotations

import errno
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from utils import datasets, environment, example, files, paths, plan, preprocess, record
from utils.errors import BuildError
from utils.recipe import Recipe

__all__ = ["SAMPLES", "check_sums", "copy_files", "fill", "manifest", "publish", "save_npz", "showcase"]

#: Images of the evaluation set that a bundle carries as samples.npz.
SAMPLES = 100


def showcase(recipe: Recipe, labels: npt.NDArray[np.int64]) -> list[int]:
    """Indices of the example inputs: the first image of each label in turn, then the second, ..."""
    by_label = [list(np.flatnonzero(labels == label)) for label in range(len(recipe.labels))]
    turns = [int(found[turn]) for turn in range(len(labels)) for found in by_label if turn < len(found)]
    return turns[: recipe.examples]


def fill(recipe: Recipe, folder: Path) -> None:
    """Write everything of a bundle but the card into ``folder``: the files of ``plan.bundle_files``."""
    examples = datasets.load(recipe, recipe.evaluation.dataset)
    chosen = showcase(recipe, examples.labels)
    if len(chosen) < recipe.examples:
        raise BuildError(
            f"{recipe.examples} example inputs wanted, the evaluation set has {len(chosen)} images",
            where=f"recipes/{recipe.folder}/recipe.toml: examples",
            hint="lower it, or name a larger evaluation set",
        )
    shutil.copyfile(paths.EXAMPLE, folder / "example.py")
    (folder / "labels.txt").write_text("\n".join(recipe.labels) + "\n", encoding="utf-8")
    for number, index in enumerate(chosen):
        name = "example_input.png" if number == 0 else f"example_{number}.png"
        pixels = examples.images[index]
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(folder / name, optimize=True)
    save_npz(
        folder / "samples.npz", images=examples.images[:SAMPLES], labels=examples.labels[:SAMPLES].astype(np.int32)
    )
    golden = preprocess.tensor_of(examples.images[chosen], recipe.input)
    variants: dict[str, Any] = {}
    for variant in recipe.variants:
        name = plan.model_name(recipe.name, variant)
        shutil.copyfile(plan.model_file(recipe.name, variant), folder / name)
        variants[variant] = {
            "file": name,
            **files.facts(folder / name),
            "golden": f"golden_{variant}.npz",
        }
        save_npz(folder / f"golden_{variant}.npz", **_golden(recipe, folder / name, golden))
    (folder / "model.json").write_text(files.dump_json(_model_json(recipe, variants)), encoding="utf-8")


def save_npz(file: Path, **arrays: npt.NDArray[Any]) -> None:
    """Write arrays as ``np.load`` reads them, the same bytes on every Python.

    ``np.savez`` leaves the version of the zip format, and the compression, to the Python and zlib that it runs on.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(entry, content.getvalue())


def _golden(recipe: Recipe, model: Path, inputs: npt.NDArray[np.float32]) -> dict[str, Any]:
    """Raw input and output tensors of the reference kernels, which no accelerator and no compiler has touched."""
    reference = example.Model(str(model), example.load_runtime(), threads=1, reference=True)
    reference.bind(recipe.input.name, recipe.output.name)
    tensors = reference.quantise(inputs)[:, np.newaxis]
    return {"input": tensors, "output": np.stack([reference.run(tensor) for tensor in tensors])}


def _model_json(recipe: Recipe, variants: dict[str, Any]) -> dict[str, Any]:
    """What example.py knows of the model."""
    return {
        "format": 1,
        "name": recipe.name,
        "title": recipe.title,
        "task": recipe.task,
        "licence": recipe.licence,
        "input": preprocess.spec_of(recipe.input),
        "output": recipe.output.model_dump(mode="json"),
        "labels": "labels.txt",
        "samples": "samples.npz",
        "body": recipe.parameters,
        "tolerance": {"int8_steps": recipe.tolerance.int8_steps, "float32": recipe.tolerance.float32},
        "variants": variants,
    }


def manifest(
    recipe: Recipe, evaluation: dict[str, Any], validation: dict[str, Any], sources: dict[str, Any]
) -> dict[str, Any]:
    """What the bundle was made from and with. Nothing in it differs between hosts, commits or days."""
    return {
        "format": 1,
        "model": recipe.name,
        "licence": recipe.licence,
        "recipe_sha256": record.key_of(recipe.model_dump(mode="json"), (recipe.code_file,)),
        "sources": sources,
        "environment": environment.describe(),
        "evaluation": evaluation,
        "validation": validation,
    }


def check_sums(folder: Path) -> str:
    """The text of SHA256SUMS: every other file of the folder, sorted, as ``sha256sum -c`` reads it."""
    summed = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != "SHA256SUMS")
    return "".join(f"{files.sha256(file)}  {file.relative_to(folder).as_posix()}\n" for file in summed)


def copy_files(folder: Path, to: Path, names: Iterable[str]) -> None:
    """Copy the named files, and no other that may lie in ``folder``, into the new folder ``to``."""
    to.mkdir(parents=True)
    for name in names:
        shutil.copyfile(folder / name, to / name)


def publish(folder: Path, final: Path) -> None:
    """Put a finished bundle in its place: at any moment there is the old one, none, or the new one."""
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        _swap(folder, final)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # artifacts/ is a mount of its own: the copy has to be made inside it
        for stale in final.parent.glob(f".{final.name}.*/"):
            shutil.rmtree(stale, ignore_errors=True)
        near = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
        try:
            copy_files(folder, near / final.name, [file.name for file in folder.iterdir()])
            _swap(near / final.name, final)
        finally:
            shutil.rmtree(near, ignore_errors=True)


def _swap(new: Path, final: Path) -> None:
    for file in new.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    if final.exists() or final.is_symlink():
        old = Path(tempfile.mkdtemp(prefix="old.", dir=new.parent))
        final.rename(old / final.name)
        try:
            new.rename(final)
        except OSError:
            (old / final.name).rename(final)
            raise
        shutil.rmtree(old, ignore_errors=True)
    else:
        new.rename(final)
