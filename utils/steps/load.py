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
from utils.sources.fetch import fetch
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
    """The published file, or a copy of the user's own in ``folder``, both from the cache; and what to call it."""
    if step.own is None:
        entry = recipe.sources[load.source]
        return fetch(entry.source()), entry.file
    if layout.source_digest_file(recipe, load.source).read_text(encoding="ascii").strip() != step.own.sha256:
        raise BuildError("the weights changed while the build ran", where=str(step.own.path), hint="run doit again")
    return step.own.take(folder), step.own.name


if __name__ == "__main__":
    main(work)
