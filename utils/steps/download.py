"""download: fetch and check a model's sources, and note what the cache now holds."""

from __future__ import annotations

import os
from typing import Any

from utils import files
from utils.errors import SourceError
from utils.graph import layout, record
from utils.graph.step import Step
from utils.recipe.schema import Recipe
from utils.sources.fetch import fetch_all
from utils.steps import main


def work(recipe: Recipe, step: Step, outputs: record.Outputs) -> None:
    """Fetch every source, keep a user's weights; write the marks and ``sources.json``.

    It holds, by key in the recipe, name, size (bytes), sha256, licence, pinned, and own for a user's weights; for a
    list of files name, sha256 and count, and the licence of its files.
    """
    own = step.own
    if own:
        own.keep()
    try:
        found = fetch_all(step.fetches)
    except SourceError as error:
        os.write(2, f"{error.details}\n".encode())  # the step's log: the message names the first few
        raise
    facts: dict[str, Any] = {}
    replaced = recipe.load.sources if own and recipe.load else []
    for key, entry in recipe.sources.items():
        if key not in replaced:
            facts[key] = {
                "name": entry.file,
                **files.describe_file(found[entry.source()]),
                "licence": entry.licence,
                "pinned": entry.sha256 is not None,
            }
        elif own and key == replaced[0]:  # they stand once on the card, whatever they replace
            facts[key] = own.facts | {"pinned": True, "own": True}
        digest = facts[replaced[0] if key in replaced else key]["sha256"]
        outputs.new(layout.source_digest_file(recipe, key)).write_text(f"{digest}\n", encoding="ascii")
    for key in recipe.datasets:
        if listed := recipe.list_file(key):
            rows = recipe.rows(key)
            licence = rows[0].source.licence
            facts[key] = {
                "name": listed.name,
                **files.describe_file(listed),
                "count": len(rows),
                "licence": licence,
                "pinned": True,
            }
    outputs.new(step.writes[0]).write_text(files.dump_json(facts), encoding="utf-8")


if __name__ == "__main__":
    main(work)
