"""Classification: the best label of an input."""

from __future__ import annotations

from collections.abc import Mapping

from utils.recipe.schema import Recipe
from utils.tasks import Shows, Task
from utils.tasks.reported import LabelPrediction

__all__ = ["TASK", "name_figures"]


def name_figures(recipe: Recipe) -> Mapping[str, frozenset[Shows]]:
    """Answers and errors on the evaluation set where the examples come from it; what an operator inside makes."""
    found: dict[str, frozenset[Shows]] = {}
    if not isinstance(recipe.examples, int):
        return found
    found |= {"digits": frozenset({"evaluation", "labels"}), "confusion": frozenset({"labels"})}
    if recipe.card.feature_map:
        found["feature_map"] = frozenset({"evaluation"})
        if recipe.parameters.get("upsampling") == "nearest":  # an accelerator without it shows a fixed output
            found["fixed_output"] = frozenset({"evaluation", "labels"})
    return found


TASK = Task(
    metric="top-1",
    one="an image",
    many="images",
    files="pictures",
    answers="Answers",
    agreement="Top-1 agreement",
    hub="image-classification",
    hub_metric=("accuracy", "Top-1 (%)"),
    prediction=LabelPrediction,
    figures=name_figures,
    tried="labels",
)
