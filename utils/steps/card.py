"""card: draw the pictures, write the model card, and put the finished bundle into ``artifacts/``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from utils import example, files, paths, tflite
from utils.bundle import board_report, bundle, markdown
from utils.bundle.boards import boards_part
from utils.bundle.rebuilds import LockRebuilds, find_rebuilds
from utils.graph import layout, record
from utils.graph.step import Step
from utils.model import datasets, preprocess
from utils.npu import compat
from utils.npu.bsp import load_bsps, parse_version
from utils.recipe.schema import Recipe
from utils.steps import main, note, say
from utils.tasks import Scene, figures_of, pictures, read_truth_of, task_of

#: The text of the card; its own file, so that words can change without code. A kind of task fills in its blocks.
TEMPLATE = Path(__file__).with_name("card.md.j2")


def work(recipe: Recipe, step: Step, outputs: record.Outputs) -> None:
    """Write README.md, the pictures, manifest.json and SHA256SUMS beside the files that were validated."""
    home = paths.work(recipe.name)

    def written(name: str) -> dict[str, Any]:
        return files.load_json(home / name) if (home / name) in step.reads else {}

    evaluation, validation = written("evaluation.json"), written("validation.json")
    folder = outputs.folder
    bundle.copy_files(home / "bundle", folder, layout.bundle_files(recipe))
    (folder / layout.figure("any")).parent.mkdir()
    graph = tflite.read(folder / layout.model_name(recipe.name, recipe.variants[-1]))
    figures_of(recipe)(_scene(recipe, folder, evaluation)).draw()
    if recipe.train:
        accuracy = {variant: result["accuracy"] for variant, result in evaluation["variants"].items()}
        pictures.training(folder / layout.figure("training"), written("history.json"), accuracy)
    examined = compat.as_json(folder / layout.deployed(recipe))
    (folder / "compat.json").write_text(files.dump_json(examined), encoding="utf-8")
    facts = bundle.manifest(recipe, evaluation, validation, written("parity.json"), written("sources.json"), graph)
    (folder / "manifest.json").write_text(files.dump_json(facts), encoding="utf-8")
    (folder / "utils").mkdir()
    (folder / "utils" / "example.py").write_text(bundle.OLD_PATH_SCRIPT, encoding="utf-8")
    boards, unreadable = board_report.load_records(recipe, folder)
    for error in unreadable:
        note(f"left out: {error.where}: {error.what} -> {error.hint}")
    artifacts = {
        layout.model_name(recipe.name, variant): result["sha256"]
        for variant, result in facts["evaluation"]["variants"].items()
    }
    rebuilds = find_rebuilds(recipe.name, artifacts)
    for words in rebuilds.notes:
        note(words)
    text = _text(recipe, facts, compat=examined, boards=boards_part(boards.values()), rebuilds=rebuilds)
    (folder / "README.md").write_text(text, encoding="utf-8")
    (folder / files.SUMS).write_text(files.make_sums(folder), encoding="utf-8")
    if boards:  # outside these check sums: measuring again leaves them true
        (folder / "board").mkdir()
        for file, board in boards.items():
            (folder / "board" / file.name).write_text(board_report.dump_record(board), encoding="utf-8")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    say(f"{paths.relative(paths.bundle(recipe.name))}/ is ready, {size / 1000:,.0f} kB")


def _scene(recipe: Recipe, folder: Path, evaluation: dict[str, Any]) -> Scene:
    """What the figures are drawn from."""

    def open_model(file: Path, **options: Any) -> example.Model:
        model = example.Model(str(file), example.load_runtime(), threads=1, **options)
        model.bind(recipe.input.name, *(output.name for output in recipe.outputs))
        return model

    return Scene(
        recipe=recipe,
        folder=folder,
        files=layout.example_files(recipe),
        shown=datasets.examples(recipe),
        labels=datasets.labels(recipe),
        evaluation=evaluation,
        figure=lambda name: folder / layout.figure(name),
        model=lambda variant: folder / layout.model_name(recipe.name, variant),
        load=lambda: datasets.load(recipe, recipe.evaluation.dataset, read_truth=read_truth_of(recipe)),
        showcase=lambda found: datasets.showcase(recipe, found.labels),
        tensors=lambda inputs: preprocess.tensor_of(inputs, recipe.input),
        open=open_model,
    )


def _text(
    recipe: Recipe,
    facts: dict[str, Any],
    compat: dict[str, Any],
    boards: str,
    rebuilds: LockRebuilds | None = None,
) -> str:
    return markdown.render(
        figures_of(recipe).template,
        {"card": TEMPLATE},
        recipe=recipe,
        task=task_of(recipe),
        draws=example.TASKS[recipe.task].draws,
        facts=facts,
        labels=datasets.labels(recipe),
        layout=layout,
        compat=compat,
        needs=_needs(compat),
        boards=boards,
        rebuilds=rebuilds or LockRebuilds(),
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
