"""download: fetch and check a model's sources, and note what the cache now holds."""

from __future__ import annotations

from utils import files, plan, record, sources
from utils.recipe import Recipe
from utils.steps import main


def work(recipe: Recipe, step: plan.Step, outputs: record.Outputs) -> None:
    """Fetch every source; write the marks and ``sources.json``: key -> name, size (bytes), sha256, licence, pinned."""
    wanted = {key: entry.source() for key, entry in recipe.sources.items()}
    found = sources.fetch_all(list(wanted.values()))
    facts = {
        key: {
            "name": source.name,
            **files.facts(found[source.name]),
            "licence": source.licence,
            "pinned": source.sha256 is not None,
        }
        for key, source in wanted.items()
    }
    outputs.new(step.writes[0]).write_text(files.dump_json(facts), encoding="utf-8")
    for key, fact in facts.items():
        outputs.new(plan.source_mark(recipe, key)).write_text(f"{fact['sha256']}\n", encoding="ascii")


if __name__ == "__main__":
    main(work)
