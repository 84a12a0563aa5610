"""Detection: the objects in a picture, each with its box, its class and a score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from utils.recipe.schema import Recipe
from utils.tasks import Shows, Task
from utils.tasks.reported import Closed, Count, Few, Number, Text

__all__ = ["TASK", "Found", "Prediction", "figures"]


class Found(Closed):
    """One object: its box is left, top, right, bottom in pixels of the picture."""

    label: Text
    score: Number
    box: Annotated[list[Number], Field(min_length=4, max_length=4)]


class Prediction(Closed):
    """The objects of one input, and where the picture of them is."""

    input: Text
    objects: Annotated[list[Found], Few]
    below: Found | None = None
    broken: Count = 0
    overlay: Text | None = None


def figures(_recipe: Recipe) -> Mapping[str, frozenset[Shows]]:
    """Truth and answers stand side by side in ``result``; ``precision`` has the AP of each class."""
    return {"precision": frozenset({"labels"})}


TASK = Task(
    metric="AP",
    one="an image",
    many="images",
    files="pictures",
    answers="Objects",
    agreement="Objects that match",
    hub="object-detection",
    hub_metric=("map", "COCO AP 0.50:0.95 (%)"),
    prediction=Prediction,
    figures=figures,
)
