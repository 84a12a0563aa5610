"""The card of a released model: the bundle's own, with front matter as Hugging Face reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from utils.bundle.board_report import Record
from utils.bundle.boards import boards_part, replace_boards_part
from utils.release.model import ReleasedModel

__all__ = ["text"]

#: What Hugging Face calls licences that we use; anything else is "other", with our words.
_LICENCES = {"MIT": "mit", "Apache-2.0": "apache-2.0", "CC-BY-SA-3.0": "cc-by-sa-3.0", "BSD-3-Clause": "bsd-3-clause"}

_TASKS = {"classification": "image-classification", "segmentation": "image-segmentation"}
_METRICS = {"top1": ("accuracy", "Top-1 (%)"), "miou": ("mean_iou", "Mean IoU (%)")}


def text(model: ReleasedModel, version: str, boards: Iterable[Record] = ()) -> str:
    """Front matter, the bundle's README.md, and what a licence has kept out of the release.

    Of boards it shows ``boards``, and nothing else that the bundle's card may show.
    """
    body = replace_boards_part((model.folder / "README.md").read_text(encoding="utf-8"), boards_part(boards)).strip()
    left_out = model.left_out()
    if left_out:
        body += "\n\n## Not in this release\n\nTheir licence does not allow passing them on:\n"
        origins = {origin for found in left_out.values() for origin in found}
        for origin in sorted(origins, key=lambda origin: (origin.name, origin.url)):
            names = ", ".join(f"`{name}`" for name, found in left_out.items() if origin in found)
            body += f"\n- {names}: made from {origin.name} ({origin.licence}), to be had from {origin.url}"
        body += f"\n\n`doit {model.name}` in a checkout of nxp-model-zoo {version} fetches it and makes them again.\n"
    return f"---\n{_front_matter(model)}\n---\n{body.strip()}\n"


def _front_matter(model: ReleasedModel) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    recipe, evaluation = model.recipe, model.manifest["evaluation"]
    metric, metric_name = _METRICS[evaluation["metric"]]
    licence: dict[str, Any] = {"license": _LICENCES.get(recipe.licence, "other")}
    if licence["license"] == "other":
        licence["license_name"] = re.sub(r"[^a-z0-9.]+", "-", recipe.licence.lower()).strip("-")
    results = [
        EvalResult(
            task_type=_TASKS[recipe.task],
            dataset_type=f"{recipe.folder}-{evaluation['dataset']}",
            dataset_name=f"{recipe.folder}, {evaluation['count']} images",
            dataset_split=evaluation["dataset"],
            metric_type=metric,
            metric_name=f"{metric_name} {facts['variant']}",
            metric_value=facts["accuracy"],
        )
        for facts in model.artifacts.values()
    ]
    data = ModelCardData(
        **licence,
        library_name="tflite",
        pipeline_tag=_TASKS[recipe.task],
        tags=["tflite", "litert", "nxp", "i.mx", *sorted({facts["variant"] for facts in model.artifacts.values()})],
        model_name=model.name,
        eval_results=results,
    )
    return str(data.to_yaml()).strip()
