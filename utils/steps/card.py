"""card: draw the pictures, write the model card, and put the finished bundle into ``artifacts/``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from utils import example, files, paths, tflite
from utils.bundle import board_report, bundle, markdown, pictures
from utils.bundle.boards import boards_part
from utils.errors import BuildError
from utils.graph import layout, record
from utils.graph.step import Step
from utils.model import datasets, preprocess
from utils.npu import compat
from utils.recipe.schema import Recipe
from utils.steps import main, note, say

#: The text of the card; its own file, so that words can change without code.
TEMPLATE = Path(__file__).with_name("card.md.j2")


def work(recipe: Recipe, step: Step, outputs: record.Outputs) -> None:
    """Write README.md, the pictures, manifest.json and SHA256SUMS; move the bundle into place."""
    home = paths.work(recipe.name)

    def written(name: str) -> dict[str, Any]:
        return files.load_json(home / name) if (home / name) in step.reads else {}

    evaluation, validation = written("evaluation.json"), written("validation.json")
    folder = outputs.staging / recipe.name
    bundle.copy_files(home / "bundle", folder, layout.bundle_files(recipe))
    graph = tflite.read(folder / layout.model_name(recipe.name, recipe.variants[-1]))
    if isinstance(recipe.examples, list):
        _draw_results(recipe, folder, validation)
    else:
        _draw_mistakes(recipe, folder, evaluation, graph)
    if recipe.train:
        accuracy = {variant: result["accuracy"] for variant, result in evaluation["variants"].items()}
        pictures.training(folder / "training.png", written("history.json"), accuracy)
    examined = compat.as_json(folder / layout.deployed(recipe))
    (folder / "compat.json").write_text(files.dump_json(examined), encoding="utf-8")
    facts = bundle.manifest(recipe, evaluation, validation, written("parity.json"), written("sources.json"))
    (folder / "manifest.json").write_text(files.dump_json(facts), encoding="utf-8")
    (folder / "utils").mkdir()
    (folder / "utils" / "example.py").write_text(bundle.OLD_PATH_SCRIPT, encoding="utf-8")
    boards, unreadable = board_report.load_records(recipe, folder)
    for error in unreadable:
        note(f"left out: {error.where}: {error.what} -> {error.hint}")
    text = _text(recipe, facts, graph, compat=examined, boards=boards_part(boards.values()))
    (folder / "README.md").write_text(text, encoding="utf-8")
    (folder / files.SUMS).write_text(files.make_sums(folder), encoding="utf-8")
    # Outside these check sums: measuring and compiling again leave them true.
    bundle.keep_npu(recipe, folder)
    if boards:
        (folder / "board").mkdir()
        for file, board in boards.items():
            (folder / "board" / file.name).write_text(board_report.dump_record(board), encoding="utf-8")
    files.replace_folder(folder, paths.bundle(recipe.name))
    size = sum(file.stat().st_size for file in paths.bundle(recipe.name).rglob("*") if file.is_file())
    say(f"{paths.relative(paths.bundle(recipe.name))}/ is ready, {size / 1000:,.0f} kB")


def _draw_results(recipe: Recipe, folder: Path, validation: dict[str, Any]) -> None:
    """What the int8 model makes of the example pictures, in one picture."""
    names = layout.example_files(recipe)
    labels = datasets.labels(recipe)
    entry = next(entry for entry in validation["models"] if entry["variant"] == recipe.variants[-1])
    shown = datasets.examples(recipe)
    if recipe.task == "classification":
        answers = [[(line["label"], 100 * line["score"]) for line in p["top"][:5]] for p in entry["predictions"]]
        pictures.answers(folder / "result.png", shown.images, answers, f"{entry['variant']}: the five best answers, %")
        return
    model = example.Model(str(folder / entry["file"]), example.load_runtime(), threads=1)
    model.bind(recipe.input.name, recipe.output.name)
    tensors = model.quantise(preprocess.tensor_of(shown.images, recipe.input))
    maps = [model.run(tensor[np.newaxis])[0].argmax(-1) for tensor in tensors]
    spec = preprocess.spec_of(recipe.input)
    sheets = [
        example.overlay(*example.at_own_size(str(folder / name), spec, classes), labels)
        for name, classes in zip(names, maps, strict=True)
    ]
    pictures.stack(folder / "result.png", sheets)


def _draw_mistakes(recipe: Recipe, folder: Path, evaluation: dict[str, Any], graph: tflite.Graph) -> None:
    """One image of each label and the first mistakes, the confusion matrix, the feature map."""
    examples = datasets.load(recipe, recipe.evaluation.dataset)
    names, results = datasets.labels(recipe), evaluation["variants"]
    missed = sorted({int(index) for result in results.values() for index in result["wrong"]})
    chosen = datasets.showcase(recipe, examples.labels)
    chosen += [index for index in missed if index not in chosen][: max(20 - len(chosen), 0)]
    answers = {
        variant: [names[result["wrong"].get(str(index), examples.labels[index])] for index in chosen]
        for variant, result in results.items()
    }
    pictures.digits(
        folder / "digits.png",
        examples.images[chosen],
        [names[examples.labels[index]] for index in chosen],
        answers,
        "one of each, then the first mistakes" if missed else "one of each; no mistakes to show",
    )
    variant = recipe.variants[-1]
    pictures.confusion(
        folder / "confusion.png",
        results[variant]["confusion"],
        names,
        f"{variant}: {evaluation['count'] - results[variant]['correct']} of {evaluation['count']:,} wrong",
    )
    if recipe.card.feature_map:
        shown = chosen[:10]
        file = folder / layout.model_name(recipe.name, variant)
        maps = _feature_maps(recipe, file, graph, examples.images[shown])
        pictures.feature_maps(
            folder / "feature_map.png", examples.images[shown], maps, f"what the {variant} body makes of the input"
        )


def _feature_maps(
    recipe: Recipe, file: Path, graph: tflite.Graph, images: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """Outputs of the operator that the recipe names, computed by the reference kernels: float32 (N, H, W)."""
    found = [operator for operator in graph.operators if operator.name == recipe.card.feature_map]
    if not found:
        raise BuildError(
            f"the graph has no operator {recipe.card.feature_map}",
            where=f"{recipe.where}: card.feature_map",
            hint=f"name one of {', '.join(graph.count())}",
        )
    model = example.Model(str(file), example.load_runtime(), threads=1, reference=True, keep_all=True)
    model.bind(recipe.input.name, recipe.output.name)
    inputs = model.quantise(preprocess.tensor_of(images, recipe.input))
    maps = [model.read_tensor(found[-1].outputs[0], tensor[np.newaxis]) for tensor in inputs]
    return np.stack(maps)[:, 0, ..., 0]


def _text(recipe: Recipe, facts: dict[str, Any], graph: tflite.Graph, **more: Any) -> str:
    labels = datasets.labels(recipe)
    return markdown.render(TEMPLATE, recipe=recipe, facts=facts, graph=graph, labels=labels, layout=layout, **more)


if __name__ == "__main__":
    main(work)
