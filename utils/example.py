#!/usr/bin/env python3
"""Run a model of this bundle on the board, and say whether its answers are right.

    python3 example.py                                   check every model here against its golden tensors
    python3 example.py -m MODEL.tflite -i IMAGE          what is in the picture?
    python3 example.py -m MODEL.tflite --samples         accuracy on samples.npz
    python3 example.py -m MODEL.tflite -i IMAGE -o DIR   a segmentation, drawn into DIR/<input's stem>_overlay.png
    python3 example.py -m MODEL.tflite --check --json    the check, for a program

Needs Python 3.8, numpy and one of ai_edge_litert, tflite_runtime or tensorflow; Pillow for image files (an .npy file
of pixels works without it). It imports nothing else, opens no socket, and writes only where -o says.

Exit codes: 0 all is well; 2 wrong use, or a model or input file that cannot be read; 3 no runtime here can run the
model; 4 the verdict is not PASS.

The verdict compares the outputs for the golden inputs with those of the reference kernels at build time:
    PASS          within the tolerance that model.json states, with the same answers (but for ties; for at least 99 %
                  of the pixels of a segmentation)
    FIXED_OUTPUT  the output does not change with the input
    NAN           the output holds numbers that are none
    SATURATED     every output value is the lowest or the highest
    MISMATCH      further off than the tolerance

--json prints one object: {"format": 1, "runtime": {"name", "version"}, "models": [{"file", "variant", "delegate",
"first_ms", "steady_ms": {"min", "median", "p90", "runs"}, "check": {"verdict", "inputs", "top1_agreement",
"max_error", "mean_error", "tolerance", "unit", "remedy"}, "samples": {"count", "correct", "accuracy"},
"predictions": [{"input", "top": [{"label", "score"}]}]}]}; of a segmentation "predictions": [{"input", "classes":
[{"label", "share"}], "overlay"}], the share in % of the pixels, "overlay" the path of the picture or null. Times are
in milliseconds; errors are in quantisation steps for integer outputs ("unit": "steps"), else in the output's own unit
("unit": "absolute"); an error or a score that is no number is null. "remedy" is there when the verdict is not PASS;
other absent parts were not asked for.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import sys
import time
from typing import Any, Callable, Dict, List, NamedTuple, NoReturn, Optional, Sequence, Tuple

try:
    import numpy as np
except ImportError:  # said in main(), after --help
    np = None  # type: ignore[assignment]

USAGE, RUNTIME, VERDICT = 2, 3, 4

HERE = os.path.dirname(os.path.abspath(__file__))


class Problem(Exception):
    """Something a person has to mend; carries the exit code."""

    def __init__(self, message: str, remedy: str = "", code: int = USAGE) -> None:
        super().__init__(message + ("\n  -> " + remedy if remedy else ""))
        self.code = code


# --- one preprocessing: calibration and evaluation of the build call these very functions --------------------------


def read_image(path: str, spec: Dict[str, Any]) -> np.ndarray:
    """Read an image file of any size and mode as the pixels that the graph takes.

    Args:
        path: anything Pillow reads, or an .npy file of pixel values 0..255.
        spec: "input" of model.json: shape (1, H, W, C), colour, resize, fit.

    Returns:
        uint8, shape (H, W, C).
    """
    if not os.path.isfile(path):
        what = "%s is a folder" if os.path.isdir(path) else "there is no file %s"
        raise Problem(what % path, "give the path of an image with -i")
    if path.endswith(".npy"):
        return _read_npy(path, spec)
    return np.asarray(_with_picture(path, lambda image: fit_image(image, spec)))


def _with_picture(path: str, use: Callable[[Any], Any]) -> Any:
    """What ``use`` makes of the Pillow image in a file, turned as its EXIF says."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise Problem(
            "Pillow is not installed, so %s cannot be read" % path, "pip install pillow, or give an .npy file of pixels"
        ) from None
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened) or opened
            image.load()
            return use(image)
    except Exception as error:  # Pillow raises what its codecs raise: OSError, ValueError, SyntaxError, ...
        reason, remedy = str(error), "give a whole JPEG, PNG or BMP file"
        if "cannot identify" in reason:
            reason = "not an image"
        elif "bomb" in reason:
            reason, remedy = "more pixels than Pillow opens", "make it smaller"
        raise Problem("%s cannot be read: %s" % (path, reason), remedy) from None


def _read_npy(path: str, spec: Dict[str, Any]) -> np.ndarray:
    height, width, channels = spec["shape"][1:]
    try:
        with open(path, "rb") as stream:
            pixels = np.load(stream, allow_pickle=False)
        scaled = np.issubdtype(np.asarray(pixels).dtype, np.floating) and 0 < np.max(pixels) <= 1
        pixels = np.asarray(pixels).reshape(height, width, channels).astype(np.float64, casting="same_kind")
        if not np.isfinite(pixels).all():
            raise ValueError("it holds numbers that are none")
        if scaled:
            raise ValueError("it holds values up to 1, not up to 255: model.json says how pixels are scaled")
    except Exception as error:  # OSError, ValueError, TypeError, EOFError, and BadZipFile for an .npz in disguise
        raise Problem(
            "%s cannot be read: %s" % (path, error),
            "give pixel values 0..255 of shape (%d, %d, %d)" % (height, width, channels),
        ) from None
    return np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)


def fit_image(image: Any, spec: Dict[str, Any]) -> np.ndarray:
    """Bring a Pillow image to the graph's colours and size: uint8, shape (H, W, C)."""
    from PIL import Image

    height, width, channels = spec["shape"][1:]
    image = _in_colours(image, channels)
    kernel = getattr(getattr(Image, "Resampling", Image), spec["resize"].upper())  # Pillow < 9.1 has them in Image
    if image.size != (width, height):
        image = image.resize((width, height), kernel, box=_seen(image.size, spec))
    return np.asarray(image, np.uint8).reshape(height, width, channels)


def _in_colours(image: Any, channels: int) -> Any:
    """A Pillow image of any mode in 8 bits gray (1 channel) or RGB (3)."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":  # 16 bits a pixel, or more: to 8, by value and not by clipping
        values = np.nan_to_num(np.asarray(image, np.float64))
        top = 65535.0 if image.mode.startswith("I;16") or values.max(initial=0) > 255 else 255.0
        image = Image.fromarray(np.clip(np.rint(values * (255.0 / top)), 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:  # what is transparent is black
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image.convert("L" if channels == 1 else "RGB")


def _seen(size: Tuple[int, int], spec: Dict[str, Any]) -> Tuple[float, float, float, float]:
    """The part of an image of this (width, height) that the graph sees: left, upper, right, lower in pixels."""
    if spec["fit"] != "crop":
        return 0.0, 0.0, float(size[0]), float(size[1])
    height, width = spec["shape"][1:3]  # the largest centred part with the graph's proportions
    scale = min(size[0] / width, size[1] / height)
    part = (min(width * scale, size[0]), min(height * scale, size[1]))  # rounding may leave the image
    left, upper = (size[0] - part[0]) / 2, (size[1] - part[1]) / 2
    return left, upper, left + part[0], upper + part[1]


def normalise(pixels: np.ndarray, spec: Dict[str, Any]) -> np.ndarray:
    """(pixel - mean) / std per channel: uint8 (..., C) to float32 of the same shape."""
    mean = np.asarray(spec["mean"], np.float32)
    std = np.asarray(spec["std"], np.float32)
    return np.asarray((pixels.astype(np.float32) - mean) / std, np.float32)


def quantise(values: np.ndarray, scale: float, zero_point: int, dtype: Any) -> np.ndarray:
    """Real numbers to the tensor's integers: rounded and clipped, never wrapped."""
    limits = np.iinfo(dtype)
    return np.asarray(np.clip(np.rint(values / np.float32(scale)) + zero_point, limits.min, limits.max), dtype)


def dequantise(values: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """The tensor's integers to real numbers: float32."""
    return np.asarray((values.astype(np.float32) - np.float32(zero_point)) * np.float32(scale), np.float32)


# --- segmentation: the card's pictures and the evaluation of the build call these too -----------------------------


def class_map(scores: np.ndarray) -> np.ndarray:
    """The class of each pixel: scores, raw or real, shape (1, H, W, classes) or (H, W, classes), to int32 (H, W)."""
    return np.asarray(scores.reshape(scores.shape[-3:]).argmax(-1), np.int32)


def palette(count: int) -> np.ndarray:
    """The colours of PASCAL VOC for the classes 0 .. count - 1: uint8, shape (count, 3).

    The bits of the number are dealt to red, green and blue in turn, the lowest to the highest bit of the colour.
    """
    numbers = np.arange(count)
    colours = np.zeros((count, 3), np.int64)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (numbers >> (3 * bit + channel) & 1) << (7 - bit)
    return colours.astype(np.uint8)


def shares(classes: np.ndarray, labels: Sequence[str]) -> List[Tuple[str, float]]:
    """The label and the share of the pixels in % of each class that is there, largest first; no label: not counted."""
    known = classes[(classes >= 0) & (classes < len(labels))]
    counts = np.bincount(known.reshape(-1), minlength=len(labels))
    order = [int(number) for number in np.argsort(-counts, kind="stable") if counts[number]]
    return [(labels[number], 100.0 * int(counts[number]) / classes.size) for number in order]


def overlay(pixels: np.ndarray, classes: np.ndarray, labels: Sequence[str]) -> Any:
    """The picture blended half and half with the colours of its classes, and beside it a legend, largest first.

    Args:
        pixels: uint8, shape (H, W, 3).
        classes: integers, shape (H, W); where a class has no label (-1, or the 255 of PASCAL), the picture is bare.
        labels: names of the classes 0, 1, ...

    Returns:
        a Pillow image, RGB, as high as the picture (or as the legend), and wider.
    """
    from PIL import Image, ImageDraw, ImageFont

    colours = palette(len(labels))
    known = (classes >= 0) & (classes < len(labels))
    picture = np.array(pixels)
    picture[known] = (picture[known] // 2) + (colours[classes[known]] // 2)
    line = max(14, picture.shape[0] // 24)
    try:
        font: Any = ImageFont.load_default(size=line * 0.7)
    except (TypeError, ImportError, OSError):  # Pillow < 10.1, or one built without FreeType: one small size
        font = ImageFont.load_default()
    texts = [(label, "%s %.1f %%" % (label, share)) for label, share in shares(classes, labels)]
    wide = max([font.getmask(text).size[0] for _, text in texts] or [0]) + 3 * line
    high = max(picture.shape[0], line * (len(texts) + 1))
    image = Image.new("RGB", (picture.shape[1] + wide, high), (255, 255, 255))
    image.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(image)
    for row, (label, text) in enumerate(texts):
        left, upper = picture.shape[1] + line // 2, line // 2 + row * line
        colour = tuple(int(value) for value in colours[list(labels).index(label)])
        draw.rectangle((left, upper, left + line - 3, upper + line - 3), fill=colour, outline=(0, 0, 0))
        draw.text((left + line + line // 4, upper), text, fill=(0, 0, 0), font=font)
    return image


#: Longest side of an overlay; larger inputs are made smaller, for the board's memory.
LARGEST = 2048


def at_own_size(path: str, spec: Dict[str, Any], classes: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The input as RGB at its own size, and the classes of its pixels: -1 where the graph did not look."""
    from PIL import Image

    def colours(image: Any) -> Any:
        image.thumbnail((LARGEST, LARGEST))
        return _in_colours(image, 3)

    if path.endswith(".npy"):
        pixels = read_image(path, spec)
        image = Image.fromarray(np.repeat(pixels, 3, -1) if pixels.shape[-1] == 1 else pixels)
    else:
        image = _with_picture(path, colours)
    left, upper, right, lower = (round(edge) for edge in _seen(image.size, spec))
    nearest = getattr(Image, "Resampling", Image).NEAREST
    part = Image.fromarray(classes.astype(np.int32)).resize((right - left, lower - upper), nearest)
    whole = np.full((image.height, image.width), -1, np.int32)
    whole[upper:lower, left:right] = np.asarray(part)
    return np.asarray(image, np.uint8), whole


# --- the runtime ---------------------------------------------------------------------------------------------------


class Runtime(NamedTuple):
    """The first runtime that this machine has."""

    name: str
    version: str
    module: Any


def load_runtime() -> Runtime:
    """ai_edge_litert, else tflite_runtime, else tensorflow (slow to import: the last resort)."""
    broken = ""
    for package, module in (
        ("ai_edge_litert", "ai_edge_litert.interpreter"),
        ("tflite_runtime", "tflite_runtime.interpreter"),
        ("tensorflow", "tensorflow"),
    ):
        try:
            found: Any = importlib.import_module(module)
            if package == "tensorflow":
                found = found.lite  # loaded late: no module that could be imported by its name
        except ImportError as error:
            if getattr(error, "name", None) not in (package, module):
                broken += "; %s is here, but: %s" % (package, error)
            continue
        return Runtime(package, _version(package), found)
    raise Problem(
        "no TFLite runtime is installed" + broken,
        "NXP's BSPs ship tflite_runtime; elsewhere: pip install ai-edge-litert (or tflite-runtime on Python <= 3.11)",
        RUNTIME,
    )


def _version(package: str) -> str:
    from importlib import metadata

    for name in (package.replace("_", "-"), package, package + "-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return str(getattr(importlib.import_module(package), "__version__", "unknown"))


class Model:
    """A TFLite model, ready to run.

    Args:
        path: the .tflite file.
        runtime: from load_runtime().
        threads: CPU threads; None leaves it to the runtime.
        reference: run the slow reference kernels, the oracle of the golden tensors (ai_edge_litert, tensorflow).
        keep_all: keep what is between input and output, for look().
        delegates: loaded delegates, for an NPU.
    """

    def __init__(
        self,
        path: str,
        runtime: Runtime,
        threads: Optional[int] = None,
        reference: bool = False,
        keep_all: bool = False,
        delegates: Sequence[Any] = (),
    ) -> None:
        options: Dict[str, Any] = {"model_path": path}
        if threads:
            options["num_threads"] = threads
        if delegates:
            options["experimental_delegates"] = list(delegates)
        if keep_all:
            options["experimental_preserve_all_tensors"] = True
        if reference:
            kernels = getattr(runtime.module, "OpResolverType", None) or runtime.module.experimental.OpResolverType
            options["experimental_op_resolver_type"] = kernels.BUILTIN_REF
        try:
            self._interpreter = runtime.module.Interpreter(**options)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError, SystemError, ImportError, AttributeError, TypeError) as error:
            reason = str(error.__cause__ or error).strip().split("\n")[0]
            remedy = "is it a whole .tflite file, and not newer than the runtime?"
            if not isinstance(error, (ValueError, RuntimeError)) and np.__version__ >= "2":
                remedy = "the runtime may be older than this numpy %s: pip install 'numpy<2'" % np.__version__
            problem = "%s %s cannot run %s: %s" % (runtime.name, runtime.version, path, reason)
            raise Problem(problem, remedy, RUNTIME) from None
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self.inputs, self.outputs = inputs, outputs
        self.input, self.output = inputs[0], outputs[0]

    def bind(self, input_name: str, output_name: str) -> None:
        """Choose the input and the output by name; their order in the file means nothing."""
        self.input, self.output = _named(self.inputs, input_name), _named(self.outputs, output_name)

    def quantise(self, values: np.ndarray) -> np.ndarray:
        """float32 (1, H, W, C) as the graph's input tensor wants it."""
        dtype = self.input["dtype"]
        if not np.issubdtype(dtype, np.integer):
            return values.astype(dtype)
        scale, zero_point = self.input["quantization"]
        return quantise(values, scale, zero_point, dtype)

    def dequantise(self, raw: np.ndarray) -> np.ndarray:
        """The output tensor's values as real numbers, float32."""
        if not np.issubdtype(raw.dtype, np.integer):
            return raw.astype(np.float32)
        return dequantise(raw, *self.output["quantization"])

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """The raw output for a raw input tensor."""
        self._interpreter.set_tensor(self.input["index"], tensor)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self.output["index"]))

    def look(self, index: int, tensor: np.ndarray) -> np.ndarray:
        """The real values, float32, of the tensor ``index`` inside the graph for a raw input tensor."""
        self.run(tensor)
        detail = next(d for d in self._interpreter.get_tensor_details() if d["index"] == index)
        raw = np.asarray(self._interpreter.get_tensor(index))
        return dequantise(raw, *detail["quantization"]) if np.issubdtype(raw.dtype, np.integer) else raw


def _named(details: List[Dict[str, Any]], name: str) -> Dict[str, Any]:
    for detail in details:
        if detail["name"] == name:
            return detail
    raise Problem(
        "the model has no tensor %r (it has %s)" % (name, ", ".join(repr(d["name"]) for d in details)),
        "model.json belongs to another model: copy the whole bundle again",
    )


# --- the verdict ---------------------------------------------------------------------------------------------------


#: Share of the clear pixels that a right runtime may still answer otherwise.
PIXELS_THAT_MAY_TURN = 0.01


def judge(
    outputs: np.ndarray,
    golden: np.ndarray,
    tolerance: float,
    body: Optional[Dict[str, Any]] = None,
    delegate: str = "cpu",
) -> Dict[str, Any]:
    """Compare raw outputs with the golden ones. Answers are compared per position over the last axis, the classes.

    Args:
        outputs: shape (N, ..., classes), of the runtime under test.
        golden: the same shape and dtype, of the reference kernels.
        tolerance: the largest difference that is right: quantisation steps for integers, else absolute.
        body: "body" of model.json, for the remedy.
        delegate: what ran the model, for the remedy.

    Returns:
        the "check" object of --json.
    """
    unit = "steps" if np.issubdtype(golden.dtype, np.integer) else "absolute"
    noise = 1.0 if unit == "steps" else tolerance  # what rounding alone may move one value by
    if unit == "steps":
        ends = (float(np.iinfo(golden.dtype).min), float(np.iinfo(golden.dtype).max))
    elif golden.min() >= 0 and golden.max() <= 1:
        ends = (0.0, 1.0)
    else:  # logits have no bounds: at the ends is what takes two values and none between them
        ends = (float(outputs.min()), float(outputs.max()))
    worst, total, agree, clear, turned = 0.0, 0.0, 0, 0, 0
    ours_spread, golden_spread, ours_at_ends, golden_at_ends, broken = 0.0, 0.0, True, True, False
    first, golden_first = _positions(outputs[0]), _positions(golden[0])
    positions = len(golden_first)
    # golden answers that lead by so much cannot be turned by rounding alone; along edges, many pixels are nearly ties
    margin = 2 * noise if positions == 1 else tolerance / 2
    for number, raw in enumerate(golden):  # one by one: an output may be 22 MB, the board's memory 512
        ours, theirs = _positions(outputs[number]), _positions(raw)
        broken = broken or not bool(np.isfinite(ours).all())
        errors = np.abs(np.nan_to_num(ours, nan=np.inf, posinf=np.inf, neginf=np.inf) - theirs)
        worst, total = max(worst, float(errors.max())), total + float(errors.sum(dtype=np.float64))
        same = np.nan_to_num(ours).argmax(1) == theirs.argmax(1)
        best = np.partition(theirs, max(theirs.shape[1] - 2, 0), axis=1)[:, -2:]
        certain = best[:, -1] - best.min(1) > margin
        agree, clear = agree + int(same.sum()), clear + int(certain.sum())
        turned += int((certain & ~same).sum())
        if not broken:
            ours_spread = max(ours_spread, float(np.abs(ours - first).max()))
            golden_spread = max(golden_spread, float(np.abs(theirs - golden_first).max()))
            ours_at_ends = ours_at_ends and bool(((ours == ends[0]) | (ours == ends[1])).all())
            golden_at_ends = golden_at_ends and bool(((theirs == ends[0]) | (theirs == ends[1])).all())
    may_turn = 0.0 if positions == 1 else PIXELS_THAT_MAY_TURN * clear
    if broken:
        verdict = "NAN"
    elif worst <= tolerance and turned <= may_turn:
        verdict = "PASS"
    elif len(golden) > 1 and ours_spread <= noise < golden_spread:
        verdict = "FIXED_OUTPUT"
    elif ours_at_ends and not golden_at_ends:
        verdict = "SATURATED"
    else:
        verdict = "MISMATCH"
    check = {
        "verdict": verdict,
        "inputs": len(golden),
        "top1_agreement": agree / (len(golden) * positions),
        "max_error": worst if not broken else None,
        "mean_error": total / golden.size if not broken else None,
        "tolerance": float(tolerance),
        "unit": unit,
    }
    if verdict != "PASS":
        check["remedy"] = _remedy(verdict, body or {}, delegate)
    return check


def _positions(values: np.ndarray) -> np.ndarray:
    """One output as float32 of shape (positions, classes): one position, or one a pixel."""
    return np.asarray(values.reshape(-1, values.shape[-1]), np.float32)


def _remedy(verdict: str, body: Dict[str, Any], delegate: str) -> str:
    if verdict == "NAN":
        return "the weights or the input are damaged: copy the bundle again (sha256sum -c SHA256SUMS)"
    if delegate == "cpu":
        return "this runtime computes something else than the reference kernels: update it (pip install ai-edge-litert)"
    if verdict == "FIXED_OUTPUT" and body.get("upsampling") == "nearest":
        return (
            "the accelerator does not compute RESIZE_NEAREST_NEIGHBOR with half-pixel centres, as i.MX 8M Plus's VX "
            "delegate does not: use the bilinear model"
        )
    return {
        "FIXED_OUTPUT": "the part of the graph that decides is not computed: run on the CPU, and report the operator",
        "SATURATED": "the accelerator does not understand the quantisation: update its driver, or run on the CPU",
        "MISMATCH": "the accelerator computes something else: update its driver, or run on the CPU",
    }[verdict]


# --- the program ---------------------------------------------------------------------------------------------------


#: What a model may be for; both answer with scores over the classes, the last axis of the output.
TASKS = ("classification", "segmentation")

#: What the program takes from model.json. Optional beside it: "body"; "golden_stride" of "output": the golden outputs
#: of a segmentation hold every so manieth row and column; of a variant, "tolerance", which wins over the general one,
#: and "aliases": other names that users know its file by.
FACTS = {
    "input": ("name", "shape", "colour", "resize", "fit", "mean", "std"),
    "output": ("name", "shape"),
    "tolerance": ("int8_steps", "float32"),
}


class Bundle:
    """model.json and the files that it names."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        path = os.path.join(folder, "model.json")
        try:
            with open(path, encoding="utf-8") as stream:
                self.facts = json.load(stream)
            self.files = {entry["file"]: (variant, entry) for variant, entry in self.facts["variants"].items()}
            self.aliases = {name: file for file, (_, entry) in self.files.items() for name in entry.get("aliases", ())}
            whole = [self.facts[key] for key in ("task", "labels", "samples")]
            whole += [self.facts[table][key] for table, keys in FACTS.items() for key in keys]
            whole += [entry[key] for _, entry in self.files.values() for key in ("size", "sha256", "golden")]
            if self.facts["format"] != 1 or not self.files or self.facts["task"] not in TASKS:
                raise ValueError
        except FileNotFoundError:
            raise Problem(
                "there is no model.json in %s" % folder, "copy the whole bundle, not the model alone"
            ) from None
        except OSError as error:
            raise Problem("%s cannot be read: %s" % (path, error.strerror), "make it readable for this user") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Problem("%s is damaged" % path, "copy the whole bundle again") from None

    def open(self, path: str, runtime: Runtime, threads: Optional[int]) -> Tuple[str, Model]:
        """The variant's name and the model, its bytes checked first: a runtime may crash on half a file."""
        if not os.path.isfile(path) and os.path.basename(path) in self.aliases:
            path = os.path.join(self.folder, self.aliases[os.path.basename(path)])
        if not os.path.isfile(path):
            known = ", ".join(sorted(self.files))
            raise Problem("there is no file %s" % path, "give the path of a .tflite file with -m; here are %s" % known)
        try:
            with open(path, "rb") as stream:
                data = stream.read()
        except OSError as error:
            raise Problem("%s cannot be read: %s" % (path, error.strerror), "make it readable for this user") from None
        name = os.path.basename(path)
        if not data:
            raise Problem("%s is empty" % path, "copy it again")
        if data[4:8] != b"TFL3":
            raise Problem("%s is not a TFLite model" % path, "give a .tflite file with -m")
        if name not in self.files:
            raise Problem(
                "%s is not a model of this bundle (%s)" % (path, ", ".join(sorted(self.files))),
                "each model has its own model.json beside it: run the example.py of its bundle",
            )
        variant, entry = self.files[name]
        if len(data) != entry["size"]:
            raise Problem("%s is %d bytes, not %d: truncated?" % (path, len(data), entry["size"]), "copy it again")
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise Problem("%s is damaged: its sha256 is not that of model.json" % path, "copy it again")
        model = Model(path, runtime, threads)
        model.bind(self.facts["input"]["name"], self.facts["output"]["name"])
        return variant, model

    def arrays(self, name: str, *keys: str) -> List[np.ndarray]:
        """The named arrays, equally long, of an .npz file of the bundle."""
        try:
            with open(os.path.join(self.folder, name), "rb") as stream:
                file = np.load(stream, allow_pickle=False)
                found = [np.asarray(file[key]) for key in keys]
            if not len(found[0]) or any(len(array) != len(found[0]) for array in found):
                raise ValueError("its arrays are not equally long")
            return found
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise Problem("%s cannot be read: %s" % (name, error), "copy the whole bundle again") from None
        except Exception as error:  # zipfile.BadZipFile has no common base with the others
            raise Problem("%s is damaged: %s" % (name, error), "copy the whole bundle again") from None

    def strided(self, output: np.ndarray) -> np.ndarray:
        """The part of a raw output, shape (1, ...), that the golden tensors hold."""
        step = self.facts["output"].get("golden_stride", 1)
        return output[:, ::step, ::step] if self.facts["task"] == "segmentation" else output

    def tolerance(self, variant: str, output: Dict[str, Any]) -> float:
        """The largest error that is right: quantisation steps for an integer output, else absolute."""
        general = self.facts["tolerance"]
        steps = np.issubdtype(output["dtype"], np.integer)
        return float(self.facts["variants"][variant].get("tolerance", general["int8_steps" if steps else "float32"]))


def time_runs(model: Model, tensor: np.ndarray, runs: int) -> Tuple[float, Dict[str, Any]]:
    """The first run in ms (a delegate compiles in it) and the steady state over ``runs`` further ones, in ms."""
    spent = []
    for _ in range(1 + runs):
        begin = time.perf_counter()
        model.run(tensor)
        spent.append((time.perf_counter() - begin) * 1000.0)
    steady = np.asarray(spent[1:])
    return spent[0], {
        "min": float(steady.min()),
        "median": float(np.median(steady)),
        "p90": float(np.percentile(steady, 90)),
        "runs": runs,
    }


def _labels(bundle: Bundle, path: Optional[str]) -> List[str]:
    path = path or os.path.join(bundle.folder, bundle.facts["labels"])
    try:
        with open(path, encoding="utf-8") as stream:
            labels = stream.read().splitlines()
    except (OSError, ValueError) as error:
        raise Problem("%s cannot be read: %s" % (path, error), "give a text file of labels with --labels") from None
    wanted = bundle.facts["output"]["shape"][-1]
    if len(labels) != wanted:
        raise Problem("%s has %d labels, the model %d outputs" % (path, len(labels), wanted), "one label a line")
    return labels


def run_model(bundle: Bundle, path: str, runtime: Runtime, options: argparse.Namespace) -> Dict[str, Any]:
    """Everything that was asked of one model: an entry of "models" in --json."""
    variant, model = bundle.open(path, runtime, options.threads)
    spec, entry = bundle.facts["input"], bundle.facts["variants"][variant]
    golden, wanted = bundle.arrays(entry["golden"], "input", "output")
    answer = bundle.strided(np.empty(tuple(model.output["shape"]), model.output["dtype"]))
    question = np.empty(tuple(model.input["shape"]), model.input["dtype"])
    for array, tensor in ((golden, question), (wanted, answer)):
        if array.dtype != tensor.dtype or array.shape[1:] != tensor.shape:
            raise Problem("%s belongs to another model than %s" % (entry["golden"], path), "copy the bundle again")
    report: Dict[str, Any] = {"file": entry["file"], "variant": variant, "delegate": "cpu"}
    report["first_ms"], report["steady_ms"] = time_runs(model, golden[0], options.runs)
    if options.check or not (options.input or options.samples):
        outputs = np.stack([bundle.strided(model.run(tensor)) for tensor in golden])
        limit = bundle.tolerance(variant, model.output)
        report["check"] = judge(outputs, wanted, limit, bundle.facts.get("body"), report["delegate"])
    if options.samples:
        if bundle.facts["samples"] is None:
            raise Problem(
                "this bundle carries no samples: their licence does not allow it", "give images of your own with -i"
            )
        images, truth = bundle.arrays(bundle.facts["samples"], "images", "labels")
        if images.shape[1:] != tuple(spec["shape"][1:]):
            raise Problem("samples.npz belongs to another model than %s" % path, "copy the bundle again")
        answers = [int(model.run(model.quantise(normalise(image, spec)[np.newaxis])).argmax()) for image in images]
        correct = int(np.sum(np.asarray(answers) == truth))
        report["samples"] = {"count": len(answers), "correct": correct, "accuracy": correct / len(answers)}
    if options.input:
        labels = _labels(bundle, options.labels)
        report["predictions"] = []
        for name in options.input:
            raw = model.run(model.quantise(normalise(read_image(name, spec), spec)[np.newaxis]))
            if bundle.facts["task"] == "segmentation":
                prediction = _segments(name, spec, raw, labels, options)
            else:
                prediction = {"top": _best(model.dequantise(raw).reshape(-1), labels, options.top)}
            report["predictions"].append({"input": name, **prediction})
    return report


def _best(scores: np.ndarray, labels: Sequence[str], top: int) -> List[Dict[str, Any]]:
    order = np.argsort(-scores, kind="stable")[:top]
    return [{"label": labels[i], "score": float(scores[i]) if np.isfinite(scores[i]) else None} for i in order]


def _segments(
    name: str, spec: Dict[str, Any], raw: np.ndarray, labels: Sequence[str], options: argparse.Namespace
) -> Dict[str, Any]:
    """The shares of the classes, and where --output says, the overlay."""
    classes = class_map(raw)
    if not np.isfinite(raw).all():  # such a pixel has no class
        classes[~np.isfinite(raw).all(-1).reshape(classes.shape)] = -1
    found = [{"label": label, "share": share} for label, share in shares(classes, labels)[: options.top]]
    path = None
    if options.output:
        path = os.path.join(options.output, os.path.splitext(os.path.basename(name))[0] + OVERLAY)
        try:
            os.makedirs(options.output, exist_ok=True)
            overlay(*at_own_size(name, spec, classes), labels).save(path)
        except ImportError:
            raise Problem("Pillow is not installed, so no overlay can be drawn", "pip install pillow") from None
        except OSError as error:
            raise Problem(
                "%s cannot be written: %s" % (path, error.strerror or error), "choose another folder with -o"
            ) from None
    return {"classes": found, "overlay": path}


def show(report: Dict[str, Any], runtime: Runtime) -> None:
    """The report of one model, for people."""
    steady = report["steady_ms"]
    print("%s on %s (%s %s)" % (report["file"], report["delegate"], runtime.name, runtime.version))
    print(
        "  time      first run %.2f ms, then %.2f ms (median of %d; min %.2f, p90 %.2f)"
        % (report["first_ms"], steady["median"], steady["runs"], steady["min"], steady["p90"])
    )
    if "check" in report:
        check = report["check"]
        error = "not a number" if check["max_error"] is None else "%.3g" % check["max_error"]
        print(
            "  golden    %s: %d inputs, top-1 agrees on %.0f %%, largest error %s (%s, %g allowed)"
            % (
                check["verdict"],
                check["inputs"],
                100 * check["top1_agreement"],
                error,
                check["unit"],
                check["tolerance"],
            )
        )
        if "remedy" in check:
            print("            -> %s" % check["remedy"])
    if "samples" in report:
        samples = report["samples"]
        print(
            "  samples   %d of %d right (%.1f %%)" % (samples["correct"], samples["count"], 100 * samples["accuracy"])
        )
    for prediction in report.get("predictions", []):
        print("  %s" % prediction["input"])
        for line in prediction.get("top", []):
            if line["score"] is None:
                print("    %-20s not a number" % line["label"])
                continue
            print("    %-20s %5.1f %%  %s" % (line["label"], 100 * line["score"], "#" * round(30 * line["score"])))
        for line in prediction.get("classes", []):
            print("    %-20s %5.1f %% of the pixels" % (line["label"], line["share"]))
        if prediction.get("overlay"):
            print("    -> %s" % prediction["overlay"])


#: How the name of an overlay ends.
OVERLAY = "_overlay.png"

#: What counts as an image in a folder of inputs.
IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".npy", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def _inputs(given: Sequence[str]) -> List[str]:
    """The files; for a folder the images in it, sorted."""
    found: List[str] = []
    for path in given:
        if not os.path.isdir(path):
            found.append(path)
            continue
        names = [name for name in sorted(os.listdir(path)) if name.lower().endswith(IMAGES) and name[0] != "."]
        inside = [os.path.join(path, name) for name in names if not name.endswith(OVERLAY)]
        if not inside:
            raise Problem("there is no image in the folder %s" % path, "give an image, or a folder of images, with -i")
        found += inside
    return found


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="example.py",
        description=(__doc__ or "").split("\n\n")[0],
        epilog="The file itself tells more: less example.py",
    )
    parser.add_argument("-m", "--model", help="a .tflite file of this bundle (default: all of them)")
    parser.add_argument("-i", "--input", nargs="+", action="extend", help="images, folders of them, .npy of pixels")
    parser.add_argument("-q", action="store_true", help="the model is quantised (kept for old scripts; the file tells)")
    parser.add_argument("--check", action="store_true", help="compare with the golden tensors, also when -i is given")
    parser.add_argument("--samples", action="store_true", help="measure the accuracy on samples.npz")
    parser.add_argument("--labels", help="a file of labels, one a line (default: labels.txt)")
    parser.add_argument("--top", type=_positive, default=5, help="how many answers to show (default: 5)")
    parser.add_argument("-o", "--output", metavar="DIR", help="segmentation: write INPUT_overlay.png there")
    parser.add_argument("-n", "--runs", type=_positive, default=20, help="timed runs after the first (default: 20)")
    parser.add_argument("-t", "--threads", type=_positive, help="CPU threads (default: the runtime's)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10000:
        raise argparse.ArgumentTypeError("%r is not a whole number from 1 to 10000" % text)
    return int(text)


def main(arguments: Sequence[str]) -> int:
    """Run the program; returns the exit code."""
    options = parse(arguments)
    if np is None:
        raise Problem("numpy is not installed", "NXP's BSPs ship it; elsewhere: pip install numpy", RUNTIME)
    folders = [os.path.dirname(os.path.abspath(options.model))] if options.model else []
    folders += [os.getcwd(), HERE, os.path.dirname(HERE)]
    folder = next((place for place in folders if os.path.isfile(os.path.join(place, "model.json"))), HERE)
    bundle = Bundle(folder)
    models = [options.model] if options.model else [os.path.join(folder, name) for name in sorted(bundle.files)]
    if options.input:
        options.input = _inputs(options.input)
    if options.output and bundle.facts["task"] != "segmentation":
        raise Problem("-o/--output is for segmentation models", "leave it out: the answers are printed")
    stems = [os.path.splitext(os.path.basename(name))[0] for name in options.input or ()]
    if options.output and (len(models) > 1 or len(set(stems)) < len(stems)):
        raise Problem(
            "one overlay would be written over another", "name one model with -m, inputs with different names"
        )
    runtime = load_runtime()
    reports = [run_model(bundle, path, runtime, options) for path in models]
    if options.json:
        everything = {"format": 1, "runtime": {"name": runtime.name, "version": runtime.version}, "models": reports}
        print(json.dumps(everything, indent=2, sort_keys=True))
    else:
        for report in reports:
            show(report, runtime)
    wrong = [report for report in reports if report.get("check", {}).get("verdict", "PASS") != "PASS"]
    return VERDICT if wrong else 0


def _stop(problem: Problem) -> NoReturn:
    sys.stderr.write("example.py: %s\n" % problem)
    sys.exit(problem.code)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Problem as problem:
        _stop(problem)
    except KeyboardInterrupt:
        sys.exit(130)
