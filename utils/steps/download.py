"""download: fetch and check a model's sources, and note what the cache now holds."""

from __future__ import annotations

from utils import plan, record, sources
from utils.recipe import Recipe
from utils.steps import main


def work(recipe: Recipe, step: plan.Step, outputs: record.Outputs) -> None:
    """Fetch every source; write ``sources.json``: key -> name, size (bytes), sha256, licence, pinned."""
    wanted = {key: entry.source() for key, entry in recipe.sources.items()}
    files = sources.fetch_all(list(wanted.values()))
    facts = {
        key: {
            "name": source.name,
            **record.file_facts(files[source.name]),
            "licence": source.licence,
            "pinned": source.sha256 is not None,
        }
        for key, source in wanted.items()
    }
    outputs.new(step.writes[0]).write_text(record.dump_json(facts), encoding="utf-8")


if __name__ == "__main__":
    main(work)
