"""load: turn what upstream publishes, or a user's own weights, into what the conversions take."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from utils import environment
from utils.errors import BuildError
from utils.graph import layout, record
from utils.graph.step import Step
from utils.model import expectations, network, saved_model, weights
from utils.recipe.schema import Recipe
from utils.recipe.tables import Load, LoadKeras, LoadSavedModel
from utils.sources import unpack
from utils.sources.fetch import fetch, fetch_all
from utils.steps import main, say


def work(recipe: Recipe, step: Step, outputs: record.Outputs) -> None:
    """Write Keras weights, a frozen graph, or the published TFLite file as it is."""
    load = recipe.load
    assert load is not None  # plan.steps_of asked
    target = outputs.new(step.writes[0])
    with tempfile.TemporaryDirectory(dir=outputs.staging) as folder:
        file, where = _file(recipe, step, load, Path(folder) / "own")
        if isinstance(load, LoadKeras):
            environment.pin_tensorflow(seed=0)
            model = network.build(recipe)
            if part := weights.load_into(model, file, where):
                where += f", the model {part} in it"
            network.save_weights(model, target)
        elif isinstance(load, LoadSavedModel):
            tf = environment.pin_tensorflow(seed=0)
            home = file if file.is_dir() else unpack.unpack(file, Path(folder) / "model")
            graph, count = saved_model.freeze(tf, home, recipe, load, where)
            network.check_parameters(recipe, count)
            target.write_bytes(graph)
        else:
            shutil.copyfile(file, target)
            expectations.check_graph(recipe, recipe.variants[0], target)
    say(f"{target.stat().st_size:,} bytes from {where}")


def _file(recipe: Recipe, step: Step, load: Load, folder: Path) -> tuple[Path, str]:
    """The published file or folder, or a copy of the user's own in ``folder``, from the cache; and what to call it."""
    if step.own is None:
        if isinstance(load, LoadSavedModel) and load.files:
            return _assemble(recipe, load, folder), recipe.sources[load.files["saved_model.pb"]].file
        entry = recipe.sources[load.sources[0]]
        return fetch(entry.source()), entry.file
    if layout.source_digest_file(recipe, load.sources[0]).read_text(encoding="ascii").strip() != step.own.sha256:
        raise BuildError("the weights changed while the build ran", where=str(step.own.path), hint="run doit again")
    return step.own.take(folder), step.own.name


def _assemble(recipe: Recipe, load: LoadSavedModel, folder: Path) -> Path:
    """The SavedModel's folder, put together of files that are published one by one."""
    found = fetch_all([recipe.sources[key].source() for key in load.files.values()])
    for name, key in load.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found[recipe.sources[key].source()], folder / name)
    return folder


if __name__ == "__main__":
    main(work)
