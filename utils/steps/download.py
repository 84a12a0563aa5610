"""download: fetch and check a model's sources, and note what the cache now holds."""

from __future__ import annotations

from typing import Any

from utils import files
from utils.graph import plan, record
from utils.recipe.schema import Recipe
from utils.sources import fetch as sources
from utils.steps import main


def work(recipe: Recipe, step: plan.Step, outputs: record.Outputs) -> None:
    """Fetch every source, keep a user's weights; write the marks and ``sources.json``.

    It holds, by key in the recipe, name, size (bytes), sha256, licence, pinned, and own for a user's weights; for a
    list of images name, sha256 and count, and the licence of its images.
    """
    own = step.own
    if own:
        own.keep()
    found = sources.fetch_all(step.fetches)
    facts: dict[str, Any] = {}
    for key, entry in recipe.sources.items():
        if entry.source() in step.fetches:
            facts[key] = {
                "name": entry.file,
                **files.facts(found[entry.file]),
                "licence": entry.licence,
                "pinned": entry.sha256 is not None,
            }
        elif own:
            facts[key] = own.facts | {"pinned": True, "own": True}
        outputs.new(plan.source_mark(recipe, key)).write_text(f"{facts[key]['sha256']}\n", encoding="ascii")
    for key in recipe.datasets:
        if listed := recipe.list_file(key):
            rows = recipe.rows(key)
            licence = rows[0].source.licence
            facts[key] = {
                "name": listed.name,
                **files.facts(listed),
                "count": len(rows),
                "licence": licence,
                "pinned": True,
            }
    outputs.new(step.writes[0]).write_text(files.dump_json(facts), encoding="utf-8")


if __name__ == "__main__":
    main(work)
