"""The parts of a bundle's JSON files that the catalogue shows, as strict types: a bundle is untrusted.

Unknown keys are ignored: a later version may add some. A key that is missing or of another type makes the file damaged.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from utils import limits

__all__ = ["Compat", "Evaluation", "Manifest", "ModelJson", "VelaJson", "Verdict"]

Text = Annotated[str, Field(max_length=limits.CATALOGUE_TEXT_CHARS)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=2**62)]
Number = Annotated[float, Field(ge=0, le=1e18)]
Percent = Annotated[float, Field(ge=-100, le=100)]
Few = Field(max_length=limits.BOARD_ENTRIES)
Accelerator = Literal["vx", "ethos_u", "cpu"]
Colour = Literal["green", "yellow", "red"]
VariantName = Literal["float32", "int8", "int8_float_io", "uint8"]


class _Given(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


# model.json


class _File(_Given):
    file: Name
    size: Count
    sha256: Sha256


class ModelJson(_Given):
    """model.json."""

    format: Literal[1]
    name: Name
    title: Text
    task: Name
    licence: Text
    labels: Name
    weights: Literal["trained here", "as published", "user-supplied"]
    input: dict[Text, Any]
    output: dict[Text, Any] | Annotated[list[dict[Text, Any]], Few]
    variants: Annotated[dict[VariantName, _File], Field(min_length=1)]


# manifest.json


class _Source(_Given):
    name: Text
    sha256: Sha256
    licence: Text | None = None
    count: Count | None = None


class _Environment(_Given):
    tools: Annotated[dict[Text, Text], Few]
    bit_identical: bool


class _Result(_Given):
    accuracy: Percent
    sha256: Sha256
    size: Count
    agreement: Percent | None = None
    confusion: Annotated[list[Annotated[list[Count], Few]], Few] | None = None
    iou: Annotated[dict[Name, Percent], Few] | None = None
    ap: Annotated[dict[Name, Percent], Few] | None = None


class Evaluation(_Given):
    """What was measured."""

    dataset: Text
    count: Count
    variants: Annotated[dict[VariantName, _Result], Field(min_length=1)]


class _Check(_Given):
    verdict: Text


class _Validated(_Given):
    file: Name
    check: _Check


class _Validation(_Given):
    models: Annotated[list[_Validated], Few]


class _EvaluationSet(_Given):
    name: Text
    sha256: Sha256


class _Claim(_Given):
    what: Text
    value: Text
    source: Text


class _Known(_Given):
    board: Text
    accelerator: Text
    verdict: Literal["works", "fails", "untested"]
    why: Text
    source: Text


class _Measured(_Given):
    board: Text
    accelerator: Text
    variant: VariantName
    ms: Number
    bsp: Text
    command: Text
    source: Text


class _Card(_Given):
    group: Literal["zoo", "demo"]
    summary: Text
    introduction: Text
    limitations: Text
    metric: Text
    redistributable: bool
    evaluation_set: _EvaluationSet
    links: Annotated[dict[Text, Text], Few]
    claims: Annotated[list[_Claim], Few]
    targets: Annotated[list[_Known], Few]
    measured: Annotated[list[_Measured], Few]


class _Graph(_Given):
    parameters: Count
    macs: Count
    operators: Annotated[dict[Text, Count], Few]


class Manifest(_Given):
    """manifest.json."""

    format: Literal[2]
    model: Name
    card: _Card
    graph: _Graph
    sources: Annotated[dict[Text, _Source], Few]
    environment: _Environment
    evaluation: Evaluation
    validation: _Validation


# compat.json


class _Finding(_Given):
    id: Text
    what: Text
    remedy: Text


class Verdict(_Given):
    """An accelerator with neighbouring BSPs."""

    accelerator: Accelerator
    bsps: Annotated[list[Text], Few]
    verdict: Colour
    placed: Count
    total: Count
    by: Text
    findings: Annotated[list[_Finding], Few]


class Compat(_Given):
    """compat.json."""

    format: Literal[2]
    file: Name
    sha256: Sha256
    targets: Annotated[list[Verdict], Few]


# imx93/BSP/vela.json


class _Bsp(_Given):
    name: Name
    vela: Text


class _Operators(_Given):
    total: Count
    npu: Count
    cpu: Count


class _Summary(_Given):
    ms: Number
    sram_kib: Number
    dram_kib: Number
    cycles: Count


class _OnCpu(_Given):
    operator: Text
    reason: Text


class _Layer(_Given):
    operator: Text
    name: Text
    cycles: Number
    macs: Count
    sram_bytes: Count


class VelaJson(_Given):
    """vela.json."""

    format: Literal[1]
    bsp: _Bsp
    input: _File
    operators: _Operators
    summary: _Summary
    cpu: Annotated[list[_OnCpu], Field(max_length=limits.OPERATORS)]
    layers: Annotated[list[_Layer], Field(max_length=limits.OPERATORS)]
