"""What an entry of catalogue.json is made of; ``schema.py`` puts the parts together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Before",
    "Board",
    "Cell",
    "Claim",
    "Classes",
    "Closed",
    "Colour",
    "Correctness",
    "Count",
    "Data",
    "File",
    "Finding",
    "Known",
    "Layer",
    "Measured",
    "Npu",
    "Number",
    "Placement",
    "Previous",
    "Rebuilt",
    "Report",
    "Sha256",
    "Source",
    "Speed",
    "Variant",
]

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Number = Annotated[float, Field(ge=0)]
Colour = Literal["green", "yellow", "red"]


class Closed(BaseModel):
    """Only these keys, all of them there; no NaN or infinity."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        populate_by_name=True,
    )


class Data(Closed):
    """What the accuracy was measured on."""

    dataset: str
    """Name of the data set."""
    id: Sha256
    """Equal for two models if they were measured on the same inputs: only then their numbers can be compared."""
    count: Count
    """How many inputs."""
    metric: str
    """What was measured; in %, more is better."""
    sampled: bool
    """Whether it is a sample of a larger set."""


class Variant(Closed):
    """One file of a model."""

    variant: str
    """`float32`, `int8`, `int8_float_io` or `uint8`."""
    file: str
    """File name."""
    size: Count
    """Bytes."""
    sha256: Sha256
    """Of the file."""
    accuracy: float
    """The metric, in %."""
    agreement: float | None
    """Share of answers that are those of the first variant, in %; null for the first."""
    loss: float | None
    """Accuracy of the first variant less that of this one, in points; null for the first."""
    verdict: str
    """What `example.py` said in the bundle: `PASS`, or what is wrong."""
    download: str | None
    """Where the file, or an archive with it, can be had; null if the site has none."""


class Placement(Closed):
    """Where the operators run."""

    verdict: Colour
    """`green`: all on the accelerator; `yellow`: some on the CPU; `red`: do not deploy."""
    placed: Count
    """Operators on the accelerator."""
    total: Count
    """Operators of the model."""
    by: str
    """Who says so: `tables` (predicted), or a Vela and its version."""
    bsps: list[str]
    """BSPs that this holds for."""


class Correctness(Closed):
    """Whether the answers on the accelerator are right."""

    state: Literal["right", "wrong", "untested"]
    """What was found; `untested`: nobody has compared them."""
    kind: Literal["ours", "published"] | None
    """`ours`: a board ran this file; `published`: others ran their own; null if untested."""
    by: str | None
    """The board that ran it, or where it is published."""
    date: str | None
    """Day of the measurement."""
    bsp: str | None
    """System of the board."""
    why: str | None
    """The verdict, or the reason, in words."""


class Speed(Closed):
    """A time for one inference."""

    kind: Literal["ours", "published", "estimated"]
    """`ours`: measured on a board with this file; `published`: measured by others; `estimated`: by Vela."""
    accelerator: str
    """What computed."""
    variant: str
    """Which file."""
    ms: Number
    """Milliseconds."""
    bsp: str
    """BSP, or the board's system."""
    source: str
    """Who measured, where it is published, or which Vela estimated."""


class Board(Closed):
    """One board with its NPU."""

    board: str
    """Name of the board."""
    accelerator: str
    """Its NPU."""
    placement: Placement | None
    """With the newest confirmed BSP."""
    correctness: Correctness
    """On the NPU."""
    speed: list[Speed]
    """On the NPU."""
    cpu: list[Speed]
    """On the board's CPU, to compare."""
    caution: str | None
    """What must stand beside a green verdict; null only if the answers are right and the NPU is not slower."""


class Finding(Closed):
    """An obstacle."""

    id: str
    """Name of the rule."""
    what: str
    """What is in the way."""
    remedy: str
    """What to do."""


class Cell(Closed):
    """A model on one accelerator with one BSP."""

    accelerator: Literal["vx", "ethos_u", "cpu"]
    """Key of a target."""
    bsp: str
    """Name of the BSP."""
    verdict: Colour
    """As in `placement`."""
    placed: Count
    """Operators on the accelerator."""
    total: Count
    """Operators of the model."""
    by: str
    """As in `placement`."""
    findings: list[Finding]
    """The reasons."""


class Layer(Closed):
    """A row of Vela's table."""

    operator: str
    """In Vela's naming."""
    name: str
    """Of its output."""
    cycles: Number
    """Per inference."""
    macs: Count
    """Multiply-accumulates."""
    sram_bytes: Count
    """SRAM in use while it runs."""


class Npu(Closed):
    """What one Vela estimates. Never compare numbers of two versions."""

    bsp: str
    """BSP that the Vela belongs to."""
    vela: str
    """Its version."""
    ms: Number
    """Milliseconds for one inference."""
    sram_kib: Number
    """Peak SRAM in KiB."""
    dram_kib: Number
    """Peak DRAM in KiB."""
    cycles: Count
    """Per inference."""
    layers: list[Layer]
    """In the order of execution."""


class Source(Closed):
    """A file that the model was made from or measured on."""

    name: str
    """File name."""
    url: str | None
    """Where it is from; null for user-supplied weights."""
    licence: str | None
    """Its licence; null if it is not stated."""
    sha256: Sha256
    """Of the file; of a list of files, the list's."""


class File(Closed):
    """A file of the bundle."""

    name: str
    """Path in the bundle."""
    size: Count
    """Bytes."""
    sha256: Sha256
    """Of the file."""
    path: str | None
    """Its copy in the site; null if the site has none."""


class Claim(Closed):
    """A number or statement of others."""

    what: str
    """What it is about."""
    value: str
    """The number, or the statement."""
    source: str
    """Where it is published."""


class Known(Closed):
    """What others found on a board."""

    board: str
    """Name of the board."""
    accelerator: str
    """What computed."""
    verdict: Literal["works", "fails", "untested"]
    """What was found."""
    why: str
    """The reason."""
    source: str
    """Where it is published."""


class Measured(Closed):
    """A latency that others published."""

    board: str
    """Name of the board."""
    accelerator: str
    """What computed."""
    variant: str
    """Which file."""
    ms: Number
    """Milliseconds."""
    bsp: str
    """BSP of the board."""
    command: str
    """What measured it."""
    source: str
    """Where it is published."""


class Report(Closed):
    """What a board said of one file of this bundle."""

    target: str
    """The board, as it was called."""
    date: str
    """Day of the measurement."""
    board: str
    """Model of the board, in its own words."""
    system: str
    """Its operating system and kernel."""
    emulated: bool
    """Whether it was no board, but an emulation: then its times say nothing."""
    runtime: str
    """The runtime and its version."""
    variant: str
    """Which file."""
    ran_on: str
    """`cpu`, or the delegate."""
    verdict: str
    """`PASS`, or what is wrong; `-` if nothing was compared."""
    first_ms: Number | None
    """The first run, in which a delegate compiles."""
    ms: Number | None
    """The median of the further runs."""


class Rebuilt(Closed):
    """A known rebuilder who built all files of `variants` again, and signed what was found."""

    name: str
    """The rebuilder, as the checkout calls the key."""
    commit: str
    """The commit that was built."""
    builder: Literal["image", "venv"]
    """Where it was built."""
    cpu: str
    """On which processor."""
    time: str
    """When the bytes were compared, in UTC."""


class Classes(Closed):
    """How well single classes are told."""

    labels: list[str]
    """Names of the classes, by index; empty if the bundle has none."""
    confusion: dict[str, list[list[Count]]]
    """By variant: row: the truth, column: the answer. Empty with more than 100 classes."""
    scores: dict[str, dict[str, float]]
    """By variant: index of the class -> IoU or average precision, in %."""


class Before(Closed):
    """A file of the previous release."""

    accuracy: float | None
    """The metric, in %, as it was; null for a new file."""
    size: Count | None
    """Bytes, as it was."""
    sha256: Sha256 | None
    """As it was."""
    same: bool
    """Whether the file is the same, to the byte."""


class Previous(Closed):
    """What moved since the previous release."""

    version: str
    """Of the previous release."""
    known: bool
    """Whether that release has this model."""
    variants: dict[str, Before]
    """By variant."""
