"""Audio: the best label of a recording."""

from __future__ import annotations

from collections.abc import Mapping

from utils.recipe.schema import Recipe
from utils.tasks import Shows, Task
from utils.tasks.reported import LabelPrediction

__all__ = ["TASK", "name_figures"]

#: The most labels whose confusion matrix can be read.
MOST_LABELS = 60


def name_figures(recipe: Recipe) -> Mapping[str, frozenset[Shows]]:
    """A recording that the model takes for another, and how often it takes which label for which."""
    found: dict[str, frozenset[Shows]] = {"mistake": frozenset({"evaluation", "labels"})}
    return found | ({"confusion": frozenset[Shows]({"labels"})} if recipe.classes <= MOST_LABELS else {})


TASK = Task(
    metric="top-1",
    one="a recording",
    many="recordings",
    files="recordings",
    answers="Answers",
    agreement="Top-1 agreement",
    hub="audio-classification",
    hub_metric=("accuracy", "Top-1 (%)"),
    prediction=LabelPrediction,
    figures=name_figures,
)
