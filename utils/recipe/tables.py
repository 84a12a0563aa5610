"""Tables of a recipe: where the network comes from, what is measured and expected.

The string below a key is its description: the JSON Schema, the reference and ``doit new`` show it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from utils.recipe.fields import Closed, Count, Percent, Variant, refuse

__all__ = [
    "Calibration",
    "Evaluation",
    "Example",
    "Expected",
    "Gate",
    "Load",
    "LoadKeras",
    "LoadSavedModel",
    "LoadTflite",
    "Shown",
    "Tolerance",
    "Train",
]


#: A path in a folder, without a way out of it: no part begins with a dot.
_MEMBER = r"^([A-Za-z0-9_][A-Za-z0-9._-]*/)*[A-Za-z0-9_][A-Za-z0-9._-]*$"


class LoadKeras(Closed):
    """Weights from a Keras file, for the network that the recipe's `code` builds."""

    kind: Literal["keras"]
    """`keras`: a weights file for the network of `code`."""
    source: str
    """Key in [sources]: an .h5, .weights.h5 or .keras file."""

    @property
    def sources(self) -> list[str]:
        """The keys of the sources that it reads."""
        return [self.source]


class LoadSavedModel(Closed):
    """One signature of a SavedModel: in an archive, or published as single files."""

    kind: Literal["saved_model"]
    """`saved_model`: a signature of a SavedModel, with its graph."""
    source: str | None = None
    """Key in [sources]: a tar or zip archive. Give `source` or `files`, not both."""
    files: dict[Annotated[str, Field(pattern=_MEMBER)], str] = Field(default_factory=dict)
    """Path of each file in the SavedModel's folder, with its key in [sources]: where upstream has no archive."""
    signature: str
    """Name of the signature. It takes one input; its outputs have names."""

    @model_validator(mode="after")
    def _one_of_both(self) -> LoadSavedModel:
        findings = []
        if (self.source is None) == (not self.files):
            findings.append("source: give source or [load.files], and not both")
        if self.files and "saved_model.pb" not in self.files:
            findings.append("files: saved_model.pb is missing")
        refuse(findings)
        return self

    @property
    def sources(self) -> list[str]:
        """The keys of the sources that it reads."""
        return [self.source] if self.source else list(self.files.values())


class LoadTflite(Closed):
    """A published TFLite file, taken as it is."""

    kind: Literal["tflite"]
    """`tflite`: a finished TFLite file."""
    source: str
    """Key in [sources]: a .tflite file."""

    @property
    def sources(self) -> list[str]:
        """The keys of the sources that it reads."""
        return [self.source]


Load = Annotated[LoadKeras | LoadSavedModel | LoadTflite, Field(discriminator="kind")]


class Train(Closed):
    """How the model is trained: Adam on a one-cycle schedule (linear warm-up, then cosine to zero)."""

    dataset: str
    """Key in [datasets]: the inputs to train on."""
    epochs: Annotated[int, Field(gt=0, le=1000)]
    """Passes over the training set: 1 to 1000."""
    batch_size: Annotated[int, Field(gt=0)]
    """Inputs in one training step."""
    learning_rate: Annotated[float, Field(gt=0)]
    """Learning rate at the peak of the schedule."""
    warmup_steps: Annotated[int, Field(ge=0)]
    """Training steps from a tenth of the peak to the peak."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    """Share of the target that is spread over all classes: 0 to below 1."""
    shift: Annotated[int, Field(ge=0, le=100)] = 0
    """Each epoch moves each image by up to so many pixels in both directions, by chance: 0 to 100. Images only."""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    """Seed of the initial weights and of the order of the inputs: 0 to 4294967295, the range of NumPy."""


class Calibration(Closed):
    """The inputs that set the int8 ranges."""

    dataset: str
    """Key in [datasets]. It shares no file with the evaluation set."""
    count: Annotated[int, Field(gt=0)]
    """How many inputs: the first ones of the set."""
    ranges: Literal["fitted", "seen"] = "fitted"
    """fitted: each tensor's range is cut where int8 is nearest to its values; seen: all that was seen."""


class Gate(Closed):
    """The lowest accuracy that a build accepts, per variant, and the most that int8 may lose."""

    float32: Percent | None = None
    """Lowest accepted accuracy of the float32 variant, in % of the metric."""
    int8_float_io: Percent | None = None
    """Lowest accepted accuracy of the int8_float_io variant, in % of the metric."""
    int8: Percent | None = None
    """Lowest accepted accuracy of the int8 variant, in % of the metric."""
    uint8: Percent | None = None
    """Lowest accepted accuracy of the uint8 variant, in % of the metric."""
    loss: Percent
    """Most that int8 may lose against the first variant, in percentage points."""
    agreement: Percent = 0.0
    """Lowest accepted share of answers that int8 and the first variant give alike, in % of inputs, pixels or boxes."""

    def least(self, variant: Variant) -> float | None:
        """The lowest accepted accuracy of a variant, in % of the metric."""
        return {
            "float32": self.float32,
            "int8_float_io": self.int8_float_io,
            "int8": self.int8,
            "uint8": self.uint8,
        }[variant]


class Evaluation(Closed):
    """The inputs that the accuracy is measured on; they are never used for training or calibration."""

    dataset: str
    """Key in [datasets]."""
    metric: Literal["top1", "miou", "ap"]
    """In %. `top1`: the best answer is the label. `miou`: mean IoU of the classes present. `ap`: COCO AP 0.50:0.95."""
    gate: Gate
    """What a build must reach."""


class Expected(Closed):
    """What the artifacts must look like; a build that differs fails."""

    parameters: Count
    """Learnt numbers in the network: one number, or [lowest, highest]."""
    macs: Count
    """Multiply-accumulates of one inference in convolutions and dense layers: one number, or [lowest, highest]."""
    operators: dict[str, int] | None = None
    """TFLite operator and its exact count, in every variant whose input and output have the variant's own type."""
    int8_bytes: Annotated[int, Field(gt=0)]
    """Largest accepted size of the int8 file, in bytes."""
    min_runtime: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    """Newest TFLite version that the files may require, as `2.3.0`."""

    def misses(self, what: Literal["parameters", "macs"], count: int) -> str:
        """How a number misses what is expected; empty if it does not."""
        wanted = getattr(self, what)
        least, most = wanted if isinstance(wanted, list) else (wanted, wanted)
        if least <= count <= most:
            return ""
        return f"{what}: {count:,}, expected {f'{least:,}' if least == most else f'{least:,} to {most:,}'}"


class Tolerance(Closed):
    """How far a correct runtime may be from the golden tensors."""

    int8_steps: Annotated[int, Field(ge=0)]
    """Largest accepted difference of an integer output, in quantisation steps."""
    float32: Annotated[float, Field(ge=0)]
    """Largest accepted absolute difference of a float output, in its unit; of a detector's outputs, of the scores."""
    int8_float_io: Annotated[float, Field(ge=0)] | None = None
    """Largest accepted absolute difference of the int8_float_io variant, in the output's unit."""
    conversion: Annotated[float, Field(ge=0)] = 1e-4
    """Largest accepted absolute difference between the float32 file and the network it was made from."""
    source: str
    """Why these numbers: what was measured, on which runtimes."""


class Shown(Closed):
    """An object that a picture shows."""

    label: str
    """Name of its class, one of the recipe's labels."""
    box: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=4, max_length=4)]
    """Left, top, right, bottom, in pixels of the picture."""


class Example(Closed):
    """A file that goes into the bundle, and what the model must answer."""

    source: str
    """Key in [sources]: the picture or the recording."""
    label: str | None = None
    """The answer it must get, where only one is right; where pixels or boxes have answers: one that it must show."""
    share: Annotated[list[Percent], Field(min_length=2, max_length=2)] | None = None
    """[lowest, highest] share of pixels with the label, in %, where each pixel has an answer."""
    objects: list[Shown] | None = None
    """The objects that the picture shows, where boxes are answers; empty if it shows none of the classes."""
    found: Annotated[int, Field(ge=0)] | None = None
    """How many of `objects` the model must find at least; all of them without it."""
