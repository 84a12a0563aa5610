"""Tables ``[input]`` and ``[output]`` of a recipe: the graph's tensors, and how a file becomes the input.

``[input]`` is one of several tables, told apart by ``kind``. ``[output]`` is a table, or a list of them where a graph
has several outputs. The string below a key is its description.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from utils.recipe.fields import Closed, Variant, refuse

__all__ = ["AudioInput", "ImageInput", "Input", "Output"]

_Size = Annotated[int, Field(gt=0)]


class ImageInput(Closed):
    """The graph's input, and how an image becomes it: ``(pixel - mean) / std``, with pixel values 0 to 255."""

    kind: Literal["image"] = "image"
    """`image`: an image file. It is the default."""
    name: str
    """Name of the input in the TFLite signature."""
    shape: Annotated[list[_Size], Field(min_length=4, max_length=4)]
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
    def _channels(self) -> ImageInput:
        channels = {"gray": 1, "rgb": 3}[self.colour]
        findings = [] if self.shape[0] == 1 else ["shape: the batch (first number) is 1 on a board"]
        for key, count in (("shape", self.shape[3]), ("mean", len(self.mean)), ("std", len(self.std))):
            if count != channels:
                findings.append(f"{key}: colour {self.colour!r} has {channels} channel(s), this has {count}")
        refuse(findings)
        return self

    #: How the name of a file ends that the build writes.
    suffix: ClassVar = ".png"

    @property
    def what(self) -> str:
        """What the graph takes, in a few words."""
        return f"{self.colour} image"

    @property
    def preparation(self) -> str:
        """How a file becomes the tensor, in words."""
        fits = {
            "crop": "the largest centred crop with these proportions",
            "stretch": "the whole image, stretched",
        }
        mean, std = (", ".join(map(str, numbers)) for numbers in (self.mean, self.std))
        return f"{fits[self.fit]}; {self.resize}; (pixel - {mean}) / {std}"


class AudioInput(Closed):
    """The graph's input, and how a recording becomes it: MFCC features of its windows, in the order of time."""

    kind: Literal["audio"]
    """`audio`: a WAV file of 16-bit samples, one channel."""
    name: str
    """Name of the input in the TFLite signature."""
    shape: Annotated[list[_Size], Field(min_length=2)]
    """Batch first; the rest holds one number for each window and coefficient. The batch is 1."""
    rate: _Size
    """Samples a second. Another rate is refused, never resampled."""
    samples: _Size
    """Samples of a recording that the graph hears."""
    window_ms: Annotated[float, Field(gt=0)]
    """Length of a window, in milliseconds."""
    hop_ms: Annotated[float, Field(gt=0)]
    """From the beginning of a window to that of the next one, in milliseconds."""
    bands: _Size
    """Mel bands."""
    low_hz: Annotated[float, Field(ge=0)]
    """Lower edge of the lowest band, in hertz."""
    high_hz: Annotated[float, Field(gt=0)]
    """Upper edge of the highest band, in hertz: at most half of `rate`."""
    coefficients: _Size
    """Coefficients of the cosine transform that are kept of each window, the first ones."""

    @model_validator(mode="after")
    def _windows(self) -> AudioInput:
        findings = [] if self.shape[0] == 1 else ["shape: the batch (first number) is 1 on a board"]
        if not self.low_hz < self.high_hz <= self.rate / 2:
            findings.append(f"high_hz: above low_hz and at most {self.rate / 2:g}, half of rate")
        if self.coefficients > self.bands:
            findings.append(f"coefficients: at most {self.bands}, the number of bands")
        for key, value in (("window_ms", self.window_ms), ("hop_ms", self.hop_ms)):
            if round(self.rate * value / 1000, 6) % 1:
                findings.append(f"{key}: is {self.rate * value / 1000:g} samples, not a whole number of them")
        window, hop = (round(self.rate * value / 1000) for value in (self.window_ms, self.hop_ms))
        refuse(findings)
        if window > self.samples:
            refuse([f"window_ms: is {window} samples, longer than a recording of {self.samples}"])
        count, held = 1 + (self.samples - window) // hop, math.prod(self.shape)
        if held != count * self.coefficients:
            refuse([f"shape: holds {held} numbers, not {count} windows of {self.coefficients}"])
        return self

    #: How the name of a file ends that the build writes.
    suffix: ClassVar = ".wav"

    @property
    def what(self) -> str:
        """What the graph takes, in a few words."""
        return "MFCC features of a recording"

    @property
    def preparation(self) -> str:
        """How a file becomes the tensor, in words."""
        return (
            f"{self.samples} samples at {self.rate} Hz; windows of {self.window_ms:g} ms every {self.hop_ms:g} ms; "
            f"{self.bands} mel bands from {self.low_hz:g} to {self.high_hz:g} Hz; {self.coefficients} coefficients"
        )


def _kind_of_input(value: Any) -> Any:
    """What tells the tables apart: ``kind``, an image without it."""
    return value.get("kind", "image") if isinstance(value, dict) else getattr(value, "kind", "image")


Input = Annotated[
    Annotated[ImageInput, Tag("image")] | Annotated[AudioInput, Tag("audio")],
    Discriminator(_kind_of_input),
]


class Output(Closed):
    """One output of the graph. A graph with several has a `[[output]]` for each, found by name."""

    name: str
    """Name of the output in the TFLite signature."""
    shape: Annotated[list[_Size], Field(min_length=1)]
    """Batch first, classes last: [1, 10], or [1, 513, 513, 21] where each pixel has an answer."""
    kind: Literal["probabilities", "logits", "boxes", "classes", "scores", "count"]
    """`probabilities` sum to 1, `logits` are what a softmax takes. Detectors: `boxes`, `classes`, `scores`, `count`."""
    classes: _Size | None = None
    """Of `classes`: how many there are. Each has a label; `???` is that of a number that names no class."""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """Of `scores`: an object of at least this score is an answer; 0.5 without it. `--threshold` wins over it."""
    iou: Annotated[float, Field(gt=0, le=1)] | None = None
    """Of `boxes`: smallest accepted overlap (IoU) with the same box of the golden tensors; 0.9 without it."""
    golden_stride: Annotated[int, Field(gt=0)] = 1
    """The golden tensors keep every n-th row and column, where each pixel has an answer."""

    @model_validator(mode="after")
    def _of_its_kind(self) -> Output:
        findings = [
            f"{key}: is for the output of kind {kind!r}, not {self.kind!r}"
            for key, kind in (("classes", "classes"), ("threshold", "scores"), ("iou", "boxes"))
            if getattr(self, key) is not None and self.kind != kind
        ]
        if len(self.shape) < 2 and self.kind != "count":
            findings.append("shape: at least 2 numbers, the batch first")
        refuse(findings)
        return self

    def dtype_in(self, variant: Variant) -> str:
        """Its TFLite type in a variant; the operator that finds a detector's boxes computes floats."""
        if self.kind not in ("probabilities", "logits"):
            return "FLOAT32"
        return {"float32": "FLOAT32", "int8_float_io": "FLOAT32", "int8": "INT8", "uint8": "UINT8"}[variant]
