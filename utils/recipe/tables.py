"""Tables of a recipe: how an image becomes an input, where the network comes from, what is measured and expected.

The string below a key is its description: the JSON Schema, the reference and ``doit new`` show it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from utils.recipe.fields import Closed, Count, Percent, refuse

__all__ = [
    "Calibration",
    "Evaluation",
    "Example",
    "Expected",
    "Gate",
    "Input",
    "Load",
    "LoadKeras",
    "LoadSavedModel",
    "LoadTflite",
    "Output",
    "Tolerance",
    "Train",
]


class Input(Closed):
    """The graph's input, and how an image becomes it: ``(pixel - mean) / std``, with pixel values 0 to 255."""

    name: str
    """Name of the input in the TFLite signature."""
    shape: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=4, max_length=4)]
    """Batch, height, width, channels. The batch is 1."""
    colour: Literal["gray", "rgb"]
    """Channels of the input: `gray` has 1, `rgb` has 3."""
    resize: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    """Filter that resizes an image to height and width."""
    fit: Literal["stretch", "crop"]
    """`stretch` resizes the whole image. `crop` takes the largest centred part with the input's proportions."""
    mean: list[float]
    """Subtracted from each pixel: one number a channel, in pixel values 0 to 255."""
    std: list[Annotated[float, Field(gt=0)]]
    """Divides each pixel after `mean` is subtracted: one number a channel, in pixel values 0 to 255."""

    @model_validator(mode="after")
    def _channels(self) -> Input:
        channels = {"gray": 1, "rgb": 3}[self.colour]
        findings = [] if self.shape[0] == 1 else ["shape: the batch (first number) is 1 on a board"]
        for key, count in (("shape", self.shape[3]), ("mean", len(self.mean)), ("std", len(self.std))):
            if count != channels:
                findings.append(f"{key}: colour {self.colour!r} has {channels} channel(s), this has {count}")
        refuse(findings)
        return self


class Output(Closed):
    """The graph's one output."""

    name: str
    """Name of the output in the TFLite signature."""
    shape: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=2)]
    """Batch first, classes last: [1, 10], or [1, 513, 513, 21] for a segmentation."""
    kind: Literal["probabilities", "logits"]
    """`probabilities` sum to 1 for each answer. `logits` are what a softmax would take."""
    golden_stride: Annotated[int, Field(gt=0)] = 1
    """Segmentation: the golden tensors keep every n-th row and column."""


class LoadKeras(Closed):
    """Weights from a Keras file, for the network that the recipe's `code` builds."""

    kind: Literal["keras"]
    """`keras`: a weights file for the network of `code`."""
    source: str
    """Key in [sources]: an .h5, .weights.h5 or .keras file."""


class LoadSavedModel(Closed):
    """One signature of a SavedModel in a .tgz archive."""

    kind: Literal["saved_model"]
    """`saved_model`: a signature of a SavedModel, with its graph."""
    source: str
    """Key in [sources]: a .tgz archive."""
    signature: str
    """Name of the signature. It takes one input, the image; its outputs have names."""


class LoadTflite(Closed):
    """A published TFLite file, taken as it is."""

    kind: Literal["tflite"]
    """`tflite`: a finished TFLite file."""
    source: str
    """Key in [sources]: a .tflite file."""


Load = Annotated[LoadKeras | LoadSavedModel | LoadTflite, Field(discriminator="kind")]


class Train(Closed):
    """How the model is trained: Adam on a one-cycle schedule (linear warm-up, then cosine to zero)."""

    dataset: str
    """Key in [datasets]: the images to train on."""
    epochs: Annotated[int, Field(gt=0, le=1000)]
    """Passes over the images: 1 to 1000."""
    batch_size: Annotated[int, Field(gt=0)]
    """Images in one training step."""
    learning_rate: Annotated[float, Field(gt=0)]
    """Learning rate at the peak of the schedule."""
    warmup_steps: Annotated[int, Field(ge=0)]
    """Training steps from a tenth of the peak to the peak."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    """Share of the target that is spread over all classes: 0 to below 1."""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    """Seed of the initial weights and of the order of the images: 0 to 4294967295, the range of NumPy."""


class Calibration(Closed):
    """The images that set the int8 ranges."""

    dataset: str
    """Key in [datasets]. It shares no image with the evaluation set."""
    count: Annotated[int, Field(gt=0)]
    """How many images: the first ones of the set."""


class Gate(Closed):
    """The lowest accuracy that a build accepts, per variant, and the most that int8 may lose."""

    float32: Percent | None = None
    """Lowest accepted accuracy of the float32 variant, in % of the metric."""
    int8_float_io: Percent | None = None
    """Lowest accepted accuracy of the int8_float_io variant, in % of the metric."""
    int8: Percent | None = None
    """Lowest accepted accuracy of the int8 variant, in % of the metric."""
    loss: Percent
    """Most that int8 may lose against the first variant, in percentage points."""
    agreement: Percent = 0.0
    """Lowest accepted share of answers (images, or pixels) that int8 and the first variant give alike, in %."""


class Evaluation(Closed):
    """The images that the accuracy is measured on; they are never used for training or calibration."""

    dataset: str
    """Key in [datasets]."""
    metric: Literal["top1", "miou"]
    """`top1`: images whose highest output is the label, in %. `miou`: mean IoU of the classes present, in %."""
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
    """Largest accepted difference of the int8 variant, in quantisation steps of the output."""
    float32: Annotated[float, Field(ge=0)]
    """Largest accepted absolute difference of the float32 variant, in the output's unit."""
    int8_float_io: Annotated[float, Field(ge=0)] | None = None
    """Largest accepted absolute difference of the int8_float_io variant, in the output's unit."""
    conversion: Annotated[float, Field(ge=0)] = 1e-4
    """Largest accepted absolute difference between the float32 file and the network it was made from."""
    source: str
    """Why these numbers: what was measured, on which runtimes."""


class Example(Closed):
    """A picture that goes into the bundle, and what the model must answer."""

    source: str
    """Key in [sources]: the picture."""
    label: str | None = None
    """The answer it must get, where only one is right. Segmentation: a class that the picture shows."""
    share: Annotated[list[Percent], Field(min_length=2, max_length=2)] | None = None
    """Segmentation: [lowest, highest] share of pixels with the label, in %."""
