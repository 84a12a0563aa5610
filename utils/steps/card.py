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
from utils.npu.bsp import load_bsps, parse_version
from utils.recipe.schema import Recipe
from utils.steps import main, note, say

#: The text of the card; its own file, so that words can change without code.
TEMPLATE = Path(__file__).with_name("card.md.j2")

#: The operator that an accelerator skips in the picture of FIXED_OUTPUT.
UPSAMPLING = "RESIZE_NEAREST_NEIGHBOR"

#: Digits that are shown with all their scores.
SHOWN_DIGITS = 3


def work(recipe: Recipe, step: Step, outputs: record.Outputs) -> None:
    """Write README.md, the pictures, manifest.json and SHA256SUMS; move the bundle into place."""
    home = paths.work(recipe.name)

    def written(name: str) -> dict[str, Any]:
        return files.load_json(home / name) if (home / name) in step.reads else {}

    evaluation, validation = written("evaluation.json"), written("validation.json")
    folder = outputs.staging / recipe.name
    bundle.copy_files(home / "bundle", folder, layout.bundle_files(recipe))
    (folder / layout.figure("any")).parent.mkdir()
    graph = tflite.read(folder / layout.model_name(recipe.name, recipe.variants[-1]))
    _draw_results(recipe, folder)
    if isinstance(recipe.examples, int):
        _draw_digits(recipe, folder, evaluation, graph)
    if recipe.train:
        accuracy = {variant: result["accuracy"] for variant, result in evaluation["variants"].items()}
        pictures.training(folder / layout.figure("training"), written("history.json"), accuracy)
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


def _draw_results(recipe: Recipe, folder: Path) -> None:
    """Example inputs, and beside each what the last variant makes of it."""
    file, variant = folder / layout.figure("result"), recipe.variants[-1]
    shown, labels = datasets.examples(recipe), datasets.labels(recipe)
    model = example.Model(str(folder / layout.model_name(recipe.name, variant)), example.load_runtime(), threads=1)
    model.bind(recipe.input.name, recipe.output.name)
    if recipe.task == "classification":
        # The golden outputs of the reference kernels: the same on every machine. The example inputs are the first.
        with np.load(folder / f"golden_{variant}.npz", allow_pickle=False) as golden:
            scores = model.dequantise(golden["output"])
        images = shown.images if isinstance(recipe.examples, list) else shown.images[:SHOWN_DIGITS]
        ranked = [example.best(each.reshape(-1), labels, 5) for each in scores[: len(images)]]
        given = [[(answer["label"], 100 * answer["score"]) for answer in best] for best in ranked]
        pictures.answers(file, images, given, f"output of the {variant} model: the best answers")
        return
    spec, segments = preprocess.spec_of(recipe.input), []
    for name, pixels in zip(layout.example_files(recipe), shown.images, strict=True):
        tensor = model.quantise(preprocess.tensor_of(pixels[np.newaxis], recipe.input))
        image, classes = example.at_own_size(str(folder / name), spec, example.class_map(model.run(tensor)))
        segments.append(pictures.Segments(image, example.tint(image, classes, labels), example.legend(classes, labels)))
    pictures.segments(file, segments, f"output of the {variant} model")


def _draw_digits(recipe: Recipe, folder: Path, evaluation: dict[str, Any], graph: tflite.Graph) -> None:
    """One image of each label and the first mistakes, the confusion matrix, the feature map, the fixed output."""
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
        folder / layout.figure("digits"),
        examples.images[chosen],
        [names[examples.labels[index]] for index in chosen],
        answers,
        "one of each, then the first mistakes" if missed else "one of each; no mistakes to show",
    )
    variant = recipe.variants[-1]
    pictures.confusion(
        folder / layout.figure("confusion"),
        results[variant]["confusion"],
        names,
        f"{variant}: {evaluation['count'] - results[variant]['correct']} of {evaluation['count']:,} wrong",
    )
    if not recipe.card.feature_map:
        return
    images = examples.images[chosen[:10]]
    file = folder / layout.model_name(recipe.name, variant)
    seen = _look(recipe, file, graph, images)
    title = f"output of the {variant} model's {recipe.card.feature_map}"
    pictures.feature_maps(folder / layout.figure("feature_map"), images, seen.maps, title)
    if layout.shows_fixed_output(recipe):
        held = folder / "held.tflite"
        held.write_bytes(tflite.hold_input(file.read_bytes(), UPSAMPLING))
        fixed = _look(recipe, held, graph, images[:SHOWN_DIGITS])
        held.unlink()
        drawn = folder / layout.figure("fixed_output")
        pictures.fixed_output(drawn, images[:SHOWN_DIGITS], seen, fixed, names)


def _look(recipe: Recipe, file: Path, graph: tflite.Graph, images: npt.NDArray[np.uint8]) -> pictures.Sight:
    """What the reference kernels make of images, shape (N, H, W, C): scores, and the operator that the recipe names."""
    found = [operator for operator in graph.operators if operator.name == recipe.card.feature_map]
    if not found:
        raise BuildError(
            f"the graph has no operator {recipe.card.feature_map}",
            where=f"{recipe.where}: card.feature_map",
            hint=f"name one of {', '.join(graph.count())}",
        )
    model = example.Model(str(file), example.load_runtime(), threads=1, reference=True, keep_all=True)
    model.bind(recipe.input.name, recipe.output.name)
    tensors = model.quantise(preprocess.tensor_of(images, recipe.input))[:, np.newaxis]
    maps = [model.read_tensor(found[-1].outputs[0], tensor) for tensor in tensors]
    scores = [model.dequantise(model.run(tensor)).reshape(-1) for tensor in tensors]
    return pictures.Sight(np.stack(maps)[:, 0, ..., 0], 100 * np.stack(scores))


def _text(recipe: Recipe, facts: dict[str, Any], graph: tflite.Graph, compat: dict[str, Any], boards: str) -> str:
    return markdown.render(
        TEMPLATE,
        recipe=recipe,
        facts=facts,
        graph=graph,
        labels=datasets.labels(recipe),
        layout=layout,
        compat=compat,
        needs=_needs(compat),
        boards=boards,
    )


def _needs(compat: dict[str, Any]) -> str:
    """The oldest TFLite and BSP that can run the model, as compat.json has them."""
    least, unknown = compat["needs_tflite"], compat["unknown_to_the_table"]
    if not least:
        return "a TFLite version that neither the file nor the table of operators states"
    text = f"TFLite {least} or newer"
    enough = [name for name, known in load_bsps().items() if parse_version(known.tflite) >= parse_version(least)]
    if not enough:
        text += "; no known BSP has it"
    else:
        text += (
            "; every known BSP has it" if len(enough) == len(load_bsps()) else f"; {enough[0]} is the first BSP with it"
        )
    return text + (f"; the table of operators lacks {', '.join(unknown)}" if unknown else "")


if __name__ == "__main__":
    main(work)
