"""Types of what a board may report: of bounded length and value, and nothing but the known keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from utils import limits

__all__ = ["Closed", "Count", "Few", "LabelPrediction", "LabelScore", "Name", "Number", "Sha256", "Text"]

Text = Annotated[str, Field(max_length=limits.BOARD_TEXT_CHARS)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=2**62)]
Number = Annotated[float, Field(ge=-1e300, le=1e300)]

#: A list or a table of bounded length.
Few = Field(max_length=limits.BOARD_ENTRIES)


class Closed(BaseModel):
    """Only these keys, and no NaN or infinity; a key of ``--json`` that nobody asked for is absent."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LabelScore(Closed):
    """One label, and its score: a share of 1, or null for NaN and infinity."""

    label: Text
    score: Number | None


class LabelPrediction(Closed):
    """The best labels of one input."""

    input: Text
    top: Annotated[list[LabelScore], Few]
