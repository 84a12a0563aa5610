"""Segmentation: the class of each pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from utils.recipe.schema import Recipe
from utils.tasks import Shows, Task
from utils.tasks.reported import Closed, Few, Number, Text

__all__ = ["TASK", "Prediction", "Share", "name_figures"]


class Share(Closed):
    """One class, and its share of the pixels in %."""

    label: Text
    share: Number


class Prediction(Closed):
    """The classes of one input, and where the picture of them is."""

    input: Text
    classes: Annotated[list[Share], Few]
    overlay: Text | None = None


def name_figures(_recipe: Recipe) -> Mapping[str, frozenset[Shows]]:
    """The overlays stand in ``result``."""
    return {}


TASK = Task(
    metric="mIoU",
    one="an image",
    many="images",
    files="pictures",
    answers="Pixels",
    agreement="Pixel agreement",
    hub="image-segmentation",
    hub_metric=("mean_iou", "Mean IoU (%)"),
    prediction=Prediction,
    figures=name_figures,
    tried="pixels",
)
