"""The tables of a recipe that only the model card shows: what others say of the model, and the card's own texts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from utils.errors import did_you_mean
from utils.npu import bsp
from utils.recipe.fields import Closed, Variant, refuse

__all__ = ["Card", "Claim", "Measured", "Target"]


class Claim(Closed):
    """A number or statement that is not ours, with where it comes from."""

    what: str
    value: str
    source: str


class Target(Closed):
    """What is known about one board and accelerator."""

    board: str
    accelerator: str
    verdict: Literal["works", "fails", "untested"]
    why: str
    source: str


class Measured(Closed):
    """A latency that somebody measured on a board and published: never ours, never an estimate."""

    board: str
    accelerator: str  # CPU (1 thread), NPU, ...
    variant: Variant
    ms: Annotated[float, Field(gt=0)]  # milliseconds an inference
    bsp: str  # what the board ran: a name of utils/npu/bsp.csv
    command: str
    source: str

    @model_validator(mode="after")
    def _known(self) -> Measured:
        known = bsp.load_bsps()
        refuse([] if self.bsp in known else [f"bsp: no BSP is called {self.bsp!r}{did_you_mean(self.bsp, known)}"])
        return self


class Card(Closed):
    """What the model card shows beyond the numbers."""

    introduction: str  # a paragraph
    limitations: str  # a paragraph
    feature_map: str | None = None  # TFLite operator whose output is drawn as a picture
