"""What the tables of a recipe are made of: the closed base model, and the types that several tables share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

__all__ = ["EITHER", "LIST", "ONE", "Closed", "Count", "Percent", "Variant", "refuse"]

#: int8_float_io: int8 inside, float32 input and output, as some publish their models.
Variant = Literal["float32", "int8", "int8_float_io"]
Percent = Annotated[float, Field(ge=0, le=100)]

#: For keys that take one value or a list: what is said of a wrong one is said of the kind that stands there.
LIST, ONE = Tag("<list>"), Tag("<one>")
EITHER = Discriminator(lambda value: LIST.tag if isinstance(value, list) else ONE.tag)

#: An exact number, or [least, most] where upstream publishes a rounded one.
Count = Annotated[
    Annotated[int, Field(gt=0), ONE]
    | Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=2, max_length=2), LIST],
    EITHER,
]


class Closed(BaseModel):
    """A table: unknown keys, values of another type, NaN and infinity are refused; nothing changes it later.

    The string below a key is its description.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def refuse(findings: list[str]) -> None:
    """Raise all findings about several keys, a line each: key (from the model that checks), colon, sentence."""
    if findings:
        raise ValueError("\n".join(findings))
