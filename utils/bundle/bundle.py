"""The bundle that a user copies to the board: its contents and its manifest."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from utils import environment, example, files, paths, tflite
from utils.errors import BuildError
from utils.graph import layout, record
from utils.model import datasets, preprocess
from utils.recipe.datasets import FileSet, IdxSet
from utils.recipe.fields import Variant
from utils.recipe.schema import Recipe
from utils.sources.fetch import fetch
from utils.tasks import answers_of, task_of

__all__ = [
    "MANIFEST_FORMAT",
    "OLD_PATH_SCRIPT",
    "SAMPLES",
    "copy_files",
    "fill",
    "manifest",
    "save_npz",
]

#: The path that NXP's instructions name, ``python3 utils/example.py``: it runs the program beside the models.
OLD_PATH_SCRIPT = """\
# The program is example.py, beside the models; this is the path that older instructions name.
import os
import runpy

runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "example.py"), run_name="__main__")
"""

#: Of manifest.json; since 2 it has ``card`` and ``graph``.
MANIFEST_FORMAT = 2

#: Inputs of the evaluation set that a bundle carries as samples.npz.
SAMPLES = 100


def fill(recipe: Recipe, folder: Path, *, with_own_weights: bool) -> None:
    """Write everything of a bundle but the card into ``folder``: the files of ``layout.bundle_files``."""
    shutil.copyfile(paths.EXAMPLE, folder / "example.py")
    labels = datasets.labels(recipe)
    (folder / "labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
    shown = datasets.examples(recipe)
    pictures = datasets.pictures(recipe)
    (folder / layout.INPUTS).mkdir()
    for number, name in enumerate(layout.example_files(recipe)):
        if pictures:
            shutil.copyfile(fetch(pictures[number]), folder / name)
        else:
            preprocess.write(shown.inputs[number], recipe.input, folder / name)
    if layout.has_samples(recipe):
        examples = datasets.load(recipe, recipe.evaluation.dataset, SAMPLES)
        given, truth = example.TASKS[recipe.task].samples
        save_npz(folder / "samples.npz", **{given: examples.inputs, truth: examples.labels.astype(np.int32)})
    golden = answers_of(recipe)(recipe, labels).golden_inputs(preprocess.tensor_of(shown.inputs, recipe.input))
    variants: dict[str, Any] = {}
    for variant in recipe.variants:
        name = layout.model_name(recipe.name, variant)
        shutil.copyfile(layout.model_file(recipe.name, variant), folder / name)
        variants[variant] = {
            "file": name,
            **files.describe_file(folder / name),
            "golden": f"golden_{variant}.npz",
            "tolerance": _tolerance(recipe, variant),
            "aliases": recipe.aliases.get(variant, []),
        }
        tensors = _golden(recipe, folder / name, golden)
        _check_spread(recipe, variant, [tensors[key] for key in example.output_keys(len(recipe.outputs))])
        save_npz(folder / f"golden_{variant}.npz", **tensors)
    (folder / "model.json").write_text(
        files.dump_json(_model_json(recipe, variants, with_own_weights)), encoding="utf-8"
    )


def _check_spread(recipe: Recipe, variant: Variant, outputs: list[npt.NDArray[Any]]) -> None:
    """Refuse golden outputs, each of shape (N, ...), that a fixed output would match."""
    real, allowed = [output.astype(np.float64) for output in outputs], _tolerance(recipe, variant)
    spread = max(float(np.abs(output - output[0]).max()) for output in real)
    task = example.TASKS[recipe.task](preprocess.spec_of(recipe.input), _outputs(recipe))
    fixed = [np.repeat(output[:1], len(output), axis=0) for output in outputs]
    if spread <= allowed or task.judge(fixed, outputs, allowed)["verdict"] == "PASS":
        raise BuildError(
            f"the {variant} outputs for the example inputs differ by {spread:g} and the tolerance is {allowed:g}: a "
            "fixed output would pass",
            where=f"{recipe.where}: examples, tolerance",
            hint="choose example inputs with different answers, or a smaller tolerance",
        )


def _tolerance(recipe: Recipe, variant: Variant) -> float:
    """The largest error of a right runtime: in steps for integers, else absolute."""
    if recipe.outputs[0].dtype_in(variant) != "FLOAT32":
        return float(recipe.tolerance.int8_steps)
    return recipe.tolerance.int8_float_io or recipe.tolerance.float32


def save_npz(file: Path, **arrays: npt.NDArray[Any]) -> None:
    """Write arrays for ``np.load``, with the same bytes on every Python.

    With ``np.savez``, the zip version and the compression depend on Python and zlib.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(entry, content.getvalue())


def _golden(recipe: Recipe, model: Path, inputs: npt.NDArray[np.float32]) -> dict[str, Any]:
    """Raw input tensors, and of each output the part that is compared, computed by the reference kernels."""
    reference = example.Model(str(model), example.load_runtime(), threads=1, reference=True)
    reference.bind(recipe.input.name, *(output.name for output in recipe.outputs))
    tensors = reference.quantise(inputs)[:, np.newaxis]
    task = example.TASKS[recipe.task](preprocess.spec_of(recipe.input), _outputs(recipe))
    kept = zip(*(task.kept(reference.run_all(tensor)) for tensor in tensors), strict=True)
    keys = example.output_keys(len(recipe.outputs))
    return {"input": tensors} | {key: np.stack(each) for key, each in zip(keys, kept, strict=True)}


def _outputs(recipe: Recipe) -> list[dict[str, Any]]:
    """The outputs in the form of model.json."""
    return [output.model_dump(mode="json", exclude_none=True) for output in recipe.outputs]


def _model_json(recipe: Recipe, variants: dict[str, Any], with_own_weights: bool) -> dict[str, Any]:
    """The content of model.json: what example.py knows about the model."""
    weights = "user-supplied" if with_own_weights else "as published" if recipe.load else "trained here"
    return {
        "format": 1,
        "name": recipe.name,
        "title": recipe.title,
        "task": recipe.task,
        "licence": recipe.licence,
        "input": preprocess.spec_of(recipe.input),
        "output": _outputs(recipe) if len(recipe.outputs) > 1 else _outputs(recipe)[0],
        "labels": "labels.txt",
        "samples": "samples.npz" if layout.has_samples(recipe) else None,
        "weights": weights,
        "body": recipe.parameters,
        "tolerance": {"int8_steps": recipe.tolerance.int8_steps, "float32": recipe.tolerance.float32},
        "variants": variants,
    }


def manifest(
    recipe: Recipe,
    evaluation: dict[str, Any],
    validation: dict[str, Any],
    parity: Any,
    sources: dict[str, Any],
    graph: tflite.Graph,
) -> dict[str, Any]:
    """The content of manifest.json: sources, tools and results. It is the same on every host, commit and day.

    Args:
        recipe: of the model.
        evaluation: ``evaluation.json``.
        validation: what example.py said in the bundle.
        parity: ``parity.json``; empty where nothing was converted from a network.
        sources: ``sources.json``; empty without sources.
        graph: of the last variant.
    """
    code = (recipe.code_file,) if recipe.code_file else ()
    return {
        "format": MANIFEST_FORMAT,
        "model": recipe.name,
        "licence": recipe.licence,
        "card": _card(recipe, sources),
        "graph": _graph(recipe, graph),
        "recipe_sha256": record.key_of(recipe.model_dump(mode="json"), code),
        "sources": sources,
        "environment": environment.describe(),
        "parity": parity,
        "evaluation": evaluation,
        "validation": validation,
    }


def _graph(recipe: Recipe, graph: tflite.Graph) -> dict[str, Any]:
    """How large the network is, as papers count it, and the operators of the last variant's file."""
    known = recipe.expected.parameters
    return {
        "parameters": known if isinstance(known, int) else graph.parameters(),
        "macs": graph.macs(),
        "operators": graph.count(),
    }


def _card(recipe: Recipe, sources: dict[str, Any]) -> dict[str, Any]:
    """What the card says in words, and what others found out, for readers that read no Markdown."""
    own = [source for source in sources.values() if "own" in source]
    weights = [recipe.sources[key] for key in recipe.load.sources] if recipe.load else []
    may = bool(own[0].get("licence")) if own else all(source.redistribute for source in weights)
    plain = recipe.model_dump(mode="json", include={"claims", "targets", "measured"})
    return plain | {
        "group": recipe.group,
        "summary": recipe.summary,
        "introduction": recipe.card.introduction.strip(),
        "limitations": recipe.card.limitations.strip(),
        "metric": task_of(recipe).metric,
        "redistributable": may,
        "evaluation_set": _evaluation_set(recipe, sources),
        "links": _links(recipe, sources),
    }


def _evaluation_set(recipe: Recipe, sources: dict[str, Any]) -> dict[str, str]:
    """What the accuracy is measured on: equal for two models if their numbers can be compared."""
    found = recipe.datasets[recipe.evaluation.dataset]
    if isinstance(found, IdxSet):
        name = recipe.sources[found.images].file
        made_of = [sources[key]["sha256"] for key in (found.images, found.labels)]
    elif isinstance(found, FileSet):
        listed = sources[recipe.evaluation.dataset]
        name, made_of = listed["name"], [listed["sha256"]]
    else:
        name, made_of = f"{found.count:,} drawn digits", [f"seed {found.seed}", f"count {found.count}"]
    return {"name": name, "sha256": hashlib.sha256("\n".join(made_of).encode()).hexdigest()}


def _links(recipe: Recipe, sources: dict[str, Any]) -> dict[str, str]:
    """The address of each source by its key; of a list, where its files begin. A user's own weights have none."""
    files_of = {key: found for key, found in recipe.datasets.items() if isinstance(found, FileSet)}
    links = {key: source.urls[0] for key, source in recipe.sources.items()}
    links |= {key: found.urls[0].partition("{file}")[0] for key, found in files_of.items()}
    return {key: links[key] for key, source in sources.items() if "own" not in source}


def copy_files(folder: Path, to: Path, names: Iterable[str]) -> None:
    """Copy the named files of ``folder``, and no others, into the folder ``to``."""
    for name in names:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, to / name)
