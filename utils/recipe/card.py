"""Tables of a recipe that only the model card shows: what others publish about the model, and the card's texts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from utils.errors import did_you_mean
from utils.npu import bsp
from utils.recipe.fields import Closed, Variant, refuse

__all__ = ["Card", "Claim", "Measured", "Target"]


class Claim(Closed):
    """A number or statement of others, with its source."""

    what: str
    """What it is about, such as "accuracy on the ImageNet validation set"."""
    value: str
    """The number with its unit, or the statement."""
    source: str
    """Where it is published: an address, a paper."""


class Target(Closed):
    """What is known about one board and accelerator."""

    board: str
    """Name of the board, such as "i.MX 93"."""
    accelerator: str
    """What computes, such as "NPU through the VX delegate"."""
    verdict: Literal["works", "fails", "untested"]
    """`works` and `fails` need a source; `untested` is for what nobody has run."""
    why: str
    """The reason, and what to use instead where it fails."""
    source: str
    """Where this is known from: an address, a report."""


class Measured(Closed):
    """A latency that others measured on a board and published: not measured by the zoo, never an estimate."""

    board: str
    """Name of the board, such as "i.MX 93"."""
    accelerator: str
    """What computed: "CPU (1 thread)", "NPU"."""
    variant: Variant
    """Variant that was measured: `float32`, `int8`, `int8_float_io` or `uint8`."""
    ms: Annotated[float, Field(gt=0)]
    """Milliseconds per inference."""
    bsp: str
    """BSP that the board ran: a name in utils/npu/bsp.csv."""
    command: str
    """Command that measured it."""
    source: str
    """Where it is published: an address that names a commit or a version."""

    @model_validator(mode="after")
    def _known(self) -> Measured:
        known = bsp.load_bsps()
        refuse([] if self.bsp in known else [f"bsp: no BSP is called {self.bsp!r}{did_you_mean(self.bsp, known)}"])
        return self


class Card(Closed):
    """What the model card shows beyond the numbers."""

    introduction: str
    """What the model is and how it works: one paragraph."""
    data: str | None = None
    """What a reader must know of the data sets to judge the numbers: one paragraph."""
    limitations: str
    """What the model is for, and what it is not for: one paragraph."""
    feature_map: str | None = None
    """TFLite operator whose output the card draws as a picture, such as LOGISTIC."""
