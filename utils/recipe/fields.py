"""Building blocks of a recipe's tables: the closed base model, and the types that several tables share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

__all__ = ["EITHER", "LIST", "ONE", "Closed", "Count", "Line", "Percent", "Variant", "refuse"]

#: As some models are published: int8_float_io, int8 inside with float32 input and output; uint8, with a uint8 input.
Variant = Literal["float32", "int8", "int8_float_io", "uint8"]
Percent = Annotated[float, Field(ge=0, le=100)]

#: For keys that take one value or a list: an error names the kind that the file has.
LIST, ONE = Tag("<list>"), Tag("<one>")
EITHER = Discriminator(lambda value: LIST.tag if isinstance(value, list) else ONE.tag)

#: A text that commands print as it is: no line end, no control characters. JSON Schema has no classes of characters.
Line = Annotated[
    str,
    Field(
        pattern=r"^[^\p{C}\p{Zl}\p{Zp}]*$",
        json_schema_extra={"pattern": r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"},
    ),
]

#: An exact number, or [lowest, highest] where upstream publishes a rounded one.
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
    """Raise all findings at once, one a line: key (relative to the table that checks), colon, sentence."""
    if findings:
        raise ValueError("\n".join(findings))
