#!/usr/bin/env python3
"""Run the models of this bundle on a board, on CPU or NPU, and check the answers.

Examples:
  python3 example.py                           check every model of this bundle
  python3 example.py -i inputs                 what is in these pictures?
  python3 example.py -m MODEL.tflite -i IMAGE  one model, your own picture
  python3 example.py --compare                 NPU and CPU side by side
  python3 example.py --samples                 accuracy on samples.npz
  python3 example.py -m MODEL.tflite -i IMAGE -o DIR
                       draw the answer into DIR/IMAGE_overlay.png
  python3 example.py --check --json            for a program: one JSON object

Exit codes (of several, the highest):
  0  no error
  2  wrong use, or a model or input file that cannot be read
  3  no runtime here can run the model
  4  a verdict is not PASS
  5  the delegate cannot be loaded, refuses the model or fails
  6  you asked for an NPU, and the CPU ran the model
  7  the model crashed the runtime or exceeded a bound

This program needs Python 3.8, numpy and one of ai_edge_litert, tflite_runtime or tensorflow. Pillow reads image files;
without it, a PNG of the graph's own size and an .npy file of pixels work. A WAV file must have the model's rate and
length, 16 bits and one channel: nothing is resampled, and an error names the command that converts a file. The program
imports nothing else, opens no socket, and writes only where -o says. A relative path after -i that does not exist here
is looked up in the bundle and in its folder inputs/.

-d/--delegate chooses what computes: "cpu"; "vx" (libvx_delegate.so, i.MX 8M Plus) or "ethosu" (libethosu_delegate.so,
i.MX 93), found in LD_LIBRARY_PATH and the system's library folders; or the path of any other TFLite delegate. The
default is "auto": the NPU of the board if it has one, else the CPU; the output says which. A model that ran on an NPU
is always checked.

A .tflite file that no model.json names runs too. The program then takes from its tensors, operators and metadata only
what they prove, and says what it assumed:
    a picture     the input has the shape 1 x height x width x channels, with sides of at least 24: of 3 channels, or
                  a square of 1. An input of any other shape takes no picture: give the tensor as an .npy file, or
                  the word random or zeros, with -i.
    pixels        become the input by the file's metadata, else by the input's quantisation, else (a float input) as is
                  usual. --normalise MEAN/STD says another way: (pixel - MEAN) / STD, one number or one a channel.
    an answer     is told if the operator that makes the output, packed labels or --labels say what it is. --task TASK
                  says it too. Without them the program prints the outputs as numbers, and no class, mask or box.
Of several inputs one takes what you give; the program sets the others to zero and names them.

A model file whose sha256 is not in the model.json beside this program runs in its own process, with bounds on time
(--timeout), memory and output: if it crashes the runtime, you get a message. A model.json elsewhere may be the model
author's own. This process is not a sandbox: it has your user's rights.

The verdict compares the outputs for the golden inputs with those of the reference kernels at build time. With
--compare it also compares the outputs of the NPU with those of the CPU:
    PASS          within the tolerance of model.json, with the same answers (except ties; for at least 99 % of the
                  pixels, where each has an answer). A model that runs wholly on Ethos-U must be bit-exact.
    FIXED_OUTPUT  the output does not change with the input
    NAN           the output holds NaN or infinity
    SATURATED     every output value is the lowest or the highest
    MISMATCH      the error exceeds the tolerance

--json prints one object: {"format": 1, "runtime": {"name", "version"}, "delegate": {"name", "library", "sha256",
"options", "note"}, "models": [{"file", "sha256", "variant", "task", "delegate", "first_ms", "steady_ms": {"min",
"median", "p90", "runs"}, "check": {"verdict", "inputs", "top1_agreement", "max_error", "mean_error", "tolerance",
"unit", "remedy"}, "samples": {"count", "correct", "accuracy"}, "predictions": [{"input", ...}], "nodes": {"total",
"delegated", "partitions"}, "cpu": {"first_ms", "steady_ms", "check", "predictions"}, "compare": (as "check"),
"notes": [sentence], "failure": {"code", "what", "remedy"}, "tensors": {"inputs": [{"name", "shape", "dtype", "set"}],
"outputs": [{"name", "shape", "dtype"}]}}]}. "task" is the kind of task, null if nothing tells it. It
decides what stands beside "input" in "predictions": the class of each kind in this file says what.
"tensors" is there for a file that no model.json names. "set" is what an input holds: "picture", "tensor" or "zeros".
"delegate" of a model is what ran it. "nodes" counts the graph's nodes and those that the NPU took, null if the runtime
cannot tell. "cpu" has the same keys, measured on the CPU. Times are in milliseconds; "first_ms" is separate because a
delegate may compile in the first run. Errors are in quantisation steps for integer outputs ("unit": "steps"), else in
the output's own unit ("unit": "absolute"). An error or a score that is NaN or infinity is null. "remedy" is present if
the verdict is not PASS, "failure" if the delegate failed (code 5) or the CPU did its work (code 6). A part is absent if
you did not ask for it or it has no content. Later versions may add keys; they keep these.
"""

from __future__ import annotations

import argparse
import ctypes
import difflib
import hashlib
import importlib
import io
import json
import mmap
import os
import re
import select
import shlex
import signal
import struct
import sys
import time
import unicodedata
import warnings
import zipfile
import zlib
from typing import Any, Callable, ClassVar, Dict, List, NamedTuple, Optional, Sequence, Tuple, Type, TypeVar

try:
    import numpy as np
except ImportError:  # said in main(), after --help
    np = None  # type: ignore[assignment]

USAGE, RUNTIME, VERDICT, DELEGATE, ON_CPU, BOUNDS = 2, 3, 4, 5, 6, 7

HERE = os.path.dirname(os.path.abspath(__file__))


class Problem(Exception):
    """A mistake that the user can correct, with its exit code."""

    def __init__(self, message: str, remedy: str = "", code: int = USAGE) -> None:
        self.message, self.remedy, self.code = as_text(message, 2000), as_text(remedy, 2000), code
        super().__init__(self.message + ("\n  -> " + self.remedy if remedy else ""))


# --- untrusted files: read with bounds, shown as plain text ---------------------------------------------------------

#: model.json and vela.json; ours have 10 kB and a depth of 10 brackets.
JSON_BYTES, JSON_DEPTH = 1 << 20, 32

#: A file of labels; the 1001 of ImageNet have 12 kB.
LABEL_BYTES = 1 << 20

#: An image file, and its pixels: cameras make 50 million.
IMAGE_BYTES, PIXELS = 1 << 28, 1 << 26

#: An array of an .npz file; the largest of ours, 300 photographs, has 45 MB.
ARRAY_BYTES = 1 << 29

#: Bounds for a model that the model.json here does not name: memory beyond the program's own, and bytes printed.
MEMORY, OUTPUT_BYTES = 4 << 30, 1 << 25


#: What -i takes in place of a file, for a model that no model.json names.
INVENTED = ("random", "zeros")


def as_text(text: object, limit: int = 500) -> str:
    """Untrusted text as one line for a terminal: control and direction codes are escaped, and the line is cut."""
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    shown = spell(" ".join(words[: 4 * limit].split()))
    return shown if len(shown) <= limit and len(words) <= 4 * limit else shown[: limit - 3] + "..."


def spell(text: str) -> str:
    """The text with characters that would act on a terminal, line ends among them, replaced by their code points."""
    return text if text.isprintable() else "".join(_spelt(char) for char in text)


def _spelt(char: str) -> str:
    if char == " " or unicodedata.category(char)[0] not in "CZ":
        return char
    return "\\u%04x" % ord(char) if ord(char) > 0xFF else "\\x%02x" % ord(char)


def read_bounded(path: str, limit: int) -> bytes:
    """The content of a regular file of at most ``limit`` bytes; else ValueError or OSError."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError("it is not a regular file")
    with open(path, "rb") as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise ValueError("it has more than %d bytes" % limit)
    return data


def read_json(path: str, table: Any) -> Any:
    """Read a JSON file of bounded size and depth, and check its types.

    Args:
        path: the file, in UTF-8.
        table: what it has to hold: the allowed types of a value; a list with the table of each entry; a dictionary
            with the table of each key, where ``key?`` may be missing and ``*`` is every key.

    Raises:
        OSError: it cannot be read.
        ValueError: it does not match the table; names the key.
    """
    text = read_bounded(path, JSON_BYTES).decode("utf-8")
    depth = 0
    for found in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[{\]}]', text, re.DOTALL):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found.group(), 0)
        if depth > JSON_DEPTH:  # json.loads would overflow the stack first
            raise ValueError("more than %d brackets deep" % JSON_DEPTH)
    value = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
    _fit_table(value, table, "")
    return value


def _whole(text: str) -> int:
    if len(text) > 18:
        raise ValueError("a number of %d digits" % len(text))
    return int(text)


def _finite(text: str) -> float:
    if not abs(float(text)) < 1e300:
        raise ValueError("%s is too large" % text[:40])
    return float(text)


def _fit_table(value: Any, table: Any, where: str) -> None:
    if isinstance(table, dict):
        if not isinstance(value, dict):
            raise ValueError("%s is not an object" % (where or "it"))  # noqa: TRY004  # as for any other wrong content
        for key, inner in table.items():
            name = key.rstrip("?")
            for each in value if key == "*" else [name]:
                if each in value:
                    _fit_table(value[each], inner, (where and where + ".") + each)
                elif key == name:
                    raise ValueError("%s is missing" % ((where and where + ".") + name))
    elif isinstance(table, list):
        if not isinstance(value, list):
            raise ValueError("%s is not a list" % where)  # noqa: TRY004
        for each in value:
            _fit_table(each, table[0], "an entry of " + where)
    elif type(value) not in table:
        wanted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in table)
        raise ValueError("%s is %s, not %s" % (where, type(value).__name__, wanted))


def read_array(stream: Any, most_bytes: int) -> np.ndarray:
    """Read an array of .npy's format; its header is looked at before memory is taken for what it promises."""
    version, shapes = np.lib.format.read_magic(stream), np.lib.format
    read = {(1, 0): shapes.read_array_header_1_0, (2, 0): shapes.read_array_header_2_0}.get(version)
    size = stream.read(2 * version[0])
    length = struct.unpack("<H" if len(size) == 2 else "<I", size)[0] if read else 0
    if read is None or length > 4096:
        raise ValueError("its header has an unknown format")
    shape, by_column, dtype = read(io.BytesIO(size + stream.read(length)))
    count = 1
    for side in shape:
        count *= side
    if dtype.kind not in "biuf":
        raise ValueError("it holds %s, not numbers" % as_text(dtype, 80))
    if count < 0 or len(shape) > 8 or count * dtype.itemsize > most_bytes:
        raise ValueError("its shape takes more than %d bytes" % most_bytes)
    data = stream.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize or stream.read(1):  # with its end, an archive checks its sum
        raise ValueError("its length does not match its shape")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if by_column else "C")


# --- recordings: calibration and evaluation of the build call these very functions ---------------------------------

#: What counts as a recording in a folder of inputs.
RECORDINGS = (".wav",)

#: A WAV file; a second at 16 kHz has 32 kB.
WAV_BYTES = 1 << 26

#: How samples are packed in a WAV file, by the number of its format (RFC 2361).
WAV_FORMATS = {1: "PCM", 2: "ADPCM", 3: "float", 6: "A-law", 7: "mu-law", 17: "ADPCM", 80: "MPEG", 85: "MP3"}

#: Files that are often named .wav, by their first bytes.
NOT_WAV = (
    (b"ID3", "an MP3 file"),
    (b"fLaC", "a FLAC file"),
    (b"OggS", "an Ogg file"),
    (b"FORM", "an AIFF file"),
    (b"RIFX", "a WAV file of a big-endian machine"),
    (b"RF64", "a WAV file of 64 bits"),
)


def read_recording(path: str, spec: Dict[str, Any]) -> np.ndarray:
    """Read a WAV file of just what the graph hears: 16-bit samples, one channel, its rate and its length.

    Nothing is resampled, mixed, cut or filled: what the model was not measured on is a Problem, and its remedy does it.

    Args:
        path: a WAV file.
        spec: "input" of model.json: rate (samples a second), samples (their number).

    Returns:
        int16, shape (samples,).
    """
    if not os.path.isfile(path):
        what = "%s is a folder" if os.path.isdir(path) else "there is no file %s"
        raise Problem(what % path, "give the path of a WAV file with -i")
    seconds = "%.6g" % (spec["samples"] / spec["rate"])
    wanted = "the model takes 16-bit PCM, 1 channel, %d Hz, %s s" % (spec["rate"], seconds)
    making = "ffmpeg -i %s -ac 1 -ar %d -c:a pcm_s16le -af apad -t %s new.wav"
    making %= (shlex.quote(path), spec["rate"], seconds)
    try:
        kind, channels, rate, bits, content = _read_wav(read_bounded(path, WAV_BYTES))
    except (OSError, ValueError) as error:
        remedy = "give a whole WAV file: %s; %s converts other files" % (wanted, making)
        raise Problem("%s cannot be read: %s" % (path, error), remedy) from None
    count = len(content) // (max(1, bits // 8) * max(1, channels))
    wrong = []
    if kind != 1 or bits != 16:
        wrong.append("%d-bit %s" % (bits, WAV_FORMATS.get(kind, "samples of format %d" % kind)))
    if channels != 1:
        wrong.append("stereo" if channels == 2 else "%d channels" % channels)
    if rate != spec["rate"]:
        wrong.append("%d Hz" % rate)
    if kind == 1 and count * spec["rate"] != spec["samples"] * max(1, rate):
        longer = count * spec["rate"] > spec["samples"] * max(1, rate)
        wrong.append("%.4g s, which is too %s" % (count / max(1, rate), "long" if longer else "short"))
    if wrong:
        remedy = "convert it: %s mixes the channels, resamples, and cuts the end or adds silence" % making
        raise Problem("%s is %s; %s" % (path, ", ".join(wrong), wanted), remedy)
    return np.frombuffer(content[: 2 * count], "<i2").astype(np.int16)


def _read_wav(data: bytes) -> Tuple[int, int, int, int, bytes]:
    """Format, channels, rate in Hz, bits a sample, and the samples of a WAV file; ValueError if it is none, or cut."""
    if not data:
        raise ValueError("it is empty")
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        named = [name for begin, name in NOT_WAV if data.startswith(begin)]
        if not named and data[0] == 0xFF and data[1:2] >= b"\xe0":  # a frame of MPEG audio
            named = ["an MP3 file"]
        raise ValueError("it is %s, not a WAV file" % named[0] if named else "it is not a WAV file")
    at = 12
    form: Optional[Tuple[int, int, int, int]] = None
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        content = data[at + 8 : at + 8 + size]
        if len(content) < size:
            shown = as_text(name.rstrip(), 20)
            raise ValueError("it is cut: %d of the %d bytes of its part %r are there" % (len(content), size, shown))
        if name == b"fmt ":
            if size < 16:
                raise ValueError("its header is damaged")
            kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", content)
            if kind == 0xFFFE and size >= 26:  # extensible: the format is the first number of a GUID
                kind = struct.unpack_from("<H", content, 24)[0]
            form = (kind, channels, rate, bits)
        elif name == b"data" and form:
            return (*form, content)
        at += 8 + size + size % 2
    raise ValueError("it is cut: its header ends before the samples")


def mfcc(samples: np.ndarray, spec: Dict[str, Any]) -> np.ndarray:
    """The features of recordings: cosine transforms of the logarithms of the mel bands of each window.

    It is the reference front end of MLPerf Tiny (github.com/mlcommons/tiny, benchmark/training/keyword_spotting), with
    the conventions of tf.signal: samples are divided by the largest one; periodic Hann windows, filled with zeros to a
    power of two; magnitudes; triangular mel bands; log(band + 1e-6); DCT-II times sqrt(2 / bands).

    Args:
        samples: numbers, shape (N, samples).
        spec: "input" of model.json: shape, rate, window_ms, hop_ms, bands, low_hz, high_hz, coefficients.

    Returns:
        float32, shape (N, *shape[1:]): the windows in the order of time, of each the first coefficients.
    """
    window, hop = (round(spec["rate"] * spec[key] / 1000.0) for key in ("window_ms", "hop_ms"))
    values = samples.astype(np.float64)
    largest = values.max(-1, keepdims=True)
    largest = np.where(largest > 0, largest, np.abs(values).max(-1, keepdims=True))
    values /= np.where(largest > 0, largest, 1.0)  # digital silence stays zero
    begins = np.arange(0, values.shape[-1] - window + 1, hop)
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(window) / window)
    length = 1 << (window - 1).bit_length()
    bands = mel_bands(length // 2 + 1, spec)
    numbers = np.arange(spec["bands"]) + 0.5
    transform = np.cos(np.pi / spec["bands"] * np.outer(numbers, np.arange(spec["coefficients"])))
    transform *= np.sqrt(2.0 / spec["bands"])
    found = np.empty((len(values), len(begins), spec["coefficients"]), np.float32)
    for number, recording in enumerate(values):  # one by one: the spectra of a test set would take gigabytes
        windows = recording[begins[:, np.newaxis] + np.arange(window)] * hann
        spectrum = np.abs(np.fft.rfft(windows, length, axis=-1))
        found[number] = np.log(spectrum @ bands + 1e-6) @ transform
    return found.reshape(len(values), *spec["shape"][1:])


def mel_bands(bins: int, spec: Dict[str, Any]) -> np.ndarray:
    """The weight of each frequency, 0 to half of the rate, in each mel band: float64, shape (bins, bands).

    A band is a triangle on the mel scale, 1127 ln(1 + hertz / 700), of height 1, from the middle of its neighbour below
    to that of its neighbour above. The frequency 0 is in none.
    """
    frequencies = np.linspace(0.0, spec["rate"] / 2.0, bins)
    mels = 1127.0 * np.log1p(frequencies / 700.0)[:, np.newaxis]
    low, high = (1127.0 * np.log1p(spec[key] / 700.0) for key in ("low_hz", "high_hz"))
    edges = np.linspace(low, high, spec["bands"] + 2)
    lower, middle, upper = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (mels - lower) / (middle - lower), (upper - mels) / (upper - middle)
    weights = np.maximum(0.0, np.minimum(rising, falling))
    weights[0] = 0.0
    return np.asarray(weights)


# --- images: calibration and evaluation of the build call these very functions -------------------------------------

#: What counts as an image in a folder of inputs.
IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".npy", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

#: What Pillow calls the formats of such files, and of the JPEGs of phones.
FORMATS = ("BMP", "GIF", "JPEG", "MPO", "PNG", "PPM", "TIFF", "WEBP")

#: What Pillow calls the ways to change a picture's size, in small letters.
KERNELS = ("nearest", "bilinear", "bicubic", "lanczos")


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
    try:
        return np.asarray(_with_picture(path, lambda image: fit_image(image, spec)))
    except Problem:
        pixels = None if sys.modules.get("PIL") else _read_png(path, spec)
        if pixels is None:
            raise
        return pixels


def _with_picture(path: str, use: Callable[[Any], Any]) -> Any:
    """Return ``use`` of the Pillow image in a file, rotated as its EXIF says."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise Problem(
            "Pillow is not installed, so %s cannot be read" % path,
            "pip install pillow, or give an .npy file of pixels",
        ) from None
    try:
        if os.path.getsize(path) > IMAGE_BYTES:
            raise ValueError("it has more than %d bytes" % IMAGE_BYTES)
        with Image.open(path) as opened:
            if opened.format not in FORMATS:  # Pillow runs other programs for some formats
                raise ValueError("%s files are not supported" % opened.format)
            if opened.size[0] * opened.size[1] > PIXELS:
                raise ValueError("decompression bomb")
            image = ImageOps.exif_transpose(opened) or opened
            image.load()
            return use(image)
    except Exception as error:  # Pillow raises what its codecs raise: OSError, ValueError, SyntaxError, ...
        reason, remedy = str(error), "give a whole JPEG, PNG or BMP file"
        if "cannot identify" in reason:
            reason = "not an image"
        elif "bomb" in reason:
            reason, remedy = "it has more than %d pixels" % PIXELS, "make it smaller"
        raise Problem("%s cannot be read: %s" % (path, reason), remedy) from None


def _read_npy(path: str, spec: Dict[str, Any]) -> np.ndarray:
    height, width, channels = spec["shape"][1:]
    try:
        with open(path, "rb") as stream:
            found = read_array(stream, 16 * height * width * channels)
        pixels = found.reshape(height, width, channels).astype(np.float64)
        scaled = np.issubdtype(found.dtype, np.floating) and 0 < np.max(pixels) <= 1
        if not np.isfinite(pixels).all():
            raise ValueError("it holds NaN or infinity")
        if scaled:
            raise ValueError("it holds values up to 1, not up to 255: the program scales pixels itself")
    except Exception as error:  # OSError, ValueError, and what numpy makes of a damaged header
        raise Problem(
            "%s cannot be read: %s" % (path, error),
            "give pixel values 0..255 of shape (%d, %d, %d)" % (height, width, channels),
        ) from None
    return np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)


def _read_png(path: str, spec: Dict[str, Any]) -> Optional[np.ndarray]:
    """Without Pillow: an 8-bit PNG that has the graph's size and colours already; None if it is any other file."""
    height, width, channels = spec["shape"][1:]
    header, packed, at = b"", [], 8
    try:
        data = read_bounded(path, IMAGE_BYTES)
        while at + 12 <= len(data):
            size, kind = struct.unpack_from(">I4s", data, at)
            content = data[at + 8 : at + 8 + size]
            header = content if kind == b"IHDR" else header
            packed += [content] if kind == b"IDAT" else []
            at += 12 + size
        if header != struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0):
            return None
        size = height * (1 + width * channels)
        rows = np.frombuffer(zlib.decompressobj().decompress(b"".join(packed), size), np.uint8)
        rows = rows.reshape(height, 1 + width * channels)
        if rows[:, 0].max() > 4:
            return None
    except (OSError, ValueError, struct.error, zlib.error):
        return None
    image = np.zeros((1 + height, channels + width * channels), np.uint8)  # with a border of zeros above and left
    for row in range(height):
        above, line = image[row].tolist(), image[row + 1].tolist()
        for place, value in enumerate(rows[row, 1:].tolist(), channels):  # each byte is told from its neighbours
            left, up, corner = line[place - channels], above[place], above[place - channels]
            nearest = min((left, up, corner), key=lambda near: abs(left + up - corner - near))
            line[place] = (value + (0, left, up, (left + up) // 2, nearest)[rows[row, 0]]) & 255
        image[row + 1] = line
    return image[1:, channels:].reshape(height, width, channels)


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
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:  # transparent pixels become black
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


def quantise_as(detail: Dict[str, Any], values: np.ndarray) -> np.ndarray:
    """Real numbers as the tensor that ``detail`` describes wants them, as the interpreter does."""
    dtype = detail["dtype"]
    if not np.issubdtype(dtype, np.integer):
        return values.astype(dtype)
    scale, zero_point = detail["quantization"]
    found = quantise(values, scale or 1.0, zero_point, dtype)  # without a scale, the integers are the values
    return np.clip(found, *detail["limits"]) if "limits" in detail else found


def dequantise(values: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """The tensor's integers to real numbers: float32."""
    return np.asarray((values.astype(np.float32) - np.float32(zero_point)) * np.float32(scale), np.float32)


# --- tensors of any meaning: for models that no model.json names ---------------------------------------------------


def shape_of(detail: Dict[str, Any]) -> List[int]:
    """The shape of a tensor that the interpreter describes."""
    return [int(size) for size in detail["shape"]]


def is_numeric(detail: Dict[str, Any]) -> bool:
    """Whether a tensor holds real numbers or truth values, and not text, complex numbers or a resource."""
    return bool(np.dtype(detail["dtype"]).kind in "biuf")


def dtype_name(dtype: Any) -> str:
    """The name of a tensor's type; what is none of numpy's numbers is text."""
    return "string" if np.dtype(dtype).kind in "SUO" else str(np.dtype(dtype))


def describe(detail: Dict[str, Any]) -> str:
    """A tensor for people: its name, shape and type; many files leave out names."""
    name = "'%s'" % as_text(detail["name"], 60) if detail["name"] else "without a name"
    return "%s (%s, %s)" % (name, as_sizes(shape_of(detail)), dtype_name(detail["dtype"]))


def as_sizes(shape: Sequence[int]) -> str:
    """A shape for people: 1 x 96 x 96 x 3."""
    return " x ".join(map(str, shape)) or "a single value"


def ends_of(detail: Dict[str, Any]) -> Tuple[int, int]:
    """The smallest and the largest number of an integer tensor; one of 4 bits is of 8 to numpy, and has "limits"."""
    ends = np.iinfo(detail["dtype"])
    return detail.get("limits", (int(ends.min), int(ends.max)))  # type: ignore[no-any-return]


def zeros_of(detail: Dict[str, Any]) -> np.ndarray:
    """The real number 0 everywhere, as the input that ``detail`` describes wants it; of text, nothing."""
    shape = tuple(shape_of(detail))
    if dtype_name(detail["dtype"]) == "string":
        return np.full(shape, b"", object)
    if not is_numeric(detail):
        return np.zeros(shape, detail["dtype"])
    return np.asarray(quantise_as(detail, np.zeros(shape, np.float32)))


def read_tensor_file(path: str, detail: Dict[str, Any]) -> np.ndarray:
    """Read an .npy file as the raw input tensor that ``detail`` describes.

    Args:
        path: an array of the tensor's shape, with or without a first 1. Of the tensor's own type it is taken as it is;
            an integer tensor takes floats as real numbers, by its scale and zero point.
        detail: of the input, as the interpreter has it.

    Raises:
        Problem: the file cannot be read, has another shape, or has values that the tensor cannot hold.
    """
    shape, dtype = shape_of(detail), np.dtype(detail["dtype"])
    remedy = "save an array of shape (%s), %s, with numpy.save" % (", ".join(map(str, shape)), dtype_name(dtype))
    if not os.path.isfile(path):
        what = "%s is a folder" if os.path.isdir(path) else "there is no file %s"
        raise Problem(what % path, "give the path of an .npy file with -i, or the word " + " or ".join(INVENTED))
    try:
        with open(path, "rb") as stream:
            found = read_array(stream, 16 * max(1, int(np.prod(shape, dtype=np.int64))))
        if list(found.shape) != shape and [1, *found.shape] != shape:
            what = "it holds %s, %s; the input %s"
            raise ValueError(what % (as_sizes(found.shape), found.dtype, describe(detail)))
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            raise ValueError("it holds NaN or infinity")
        if found.dtype.kind in "iub" and dtype.kind in "iu" and found.size:
            low, high = ends_of(detail)
            if int(found.min()) < low or int(found.max()) > high:
                raise ValueError("it holds values that are not from %d to %d" % (low, high))
    except Exception as error:  # OSError, ValueError, and what numpy makes of a damaged header
        raise Problem("%s cannot be read: %s" % (path, error), remedy) from None
    found = found.reshape(shape)
    if found.dtype.kind == "f" and dtype.kind in "iu":
        return quantise_as(detail, found)
    return np.ascontiguousarray(found.astype(dtype))


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


# --- the delegate --------------------------------------------------------------------------------------------------

#: Delegates by the names that -d knows, in the order in which "auto" tries them.
LIBRARIES = {"vx": "libvx_delegate.so", "ethosu": "libethosu_delegate.so"}

#: Where NXP's BSPs and Debian keep libraries.
FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/lib/aarch64-linux-gnu", "/usr/local/lib", "/lib")


class Delegate(NamedTuple):
    """What computes: the CPU, or an NPU behind a library."""

    name: str  # cpu, vx, ethosu, or the library's file name
    library: Optional[str] = None  # path
    options: Sequence[Tuple[str, str]] = ()  # keys and values
    asked: bool = False  # by its name: the CPU will not do
    note: Optional[str] = None  # why it was chosen


def choose_delegate(choice: str, options: Sequence[Tuple[str, str]], runtime: Runtime) -> Delegate:
    """The delegate that -d names; its library is there and can be loaded."""
    if choice == "auto":
        notes = []
        for name, library in LIBRARIES.items():
            path = _find(library)
            if path:
                found = Delegate(name, path, options, note="found %s" % path)
                try:
                    load_delegate(found, runtime)
                    return found
                except Problem as problem:
                    notes.append(problem.message)
        return Delegate("cpu", note="; ".join(notes) or "no NPU delegate is installed here")
    if choice == "cpu":
        return Delegate("cpu")
    path = _find(LIBRARIES.get(choice, choice))
    if path is None:
        raise Problem(
            "there is no delegate library %s (nor in LD_LIBRARY_PATH, %s)"
            % (LIBRARIES.get(choice, choice), ", ".join(FOLDERS)),
            "-d takes auto, cpu, vx (i.MX 8M Plus), ethosu (i.MX 93) or the path of a delegate's library",
            DELEGATE,
        )
    kinds = {library: name for name, library in LIBRARIES.items()}
    found = Delegate(kinds.get(os.path.basename(path), os.path.basename(path)), path, options, asked=True)
    load_delegate(found, runtime)
    return found


def _find(library: str) -> Optional[str]:
    """The path of a library that is given by its path, or by its name in one of the folders."""
    if os.path.isfile(library):
        return os.path.abspath(library)
    folders = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if folder]
    for folder in [*folders, *FOLDERS]:
        if os.sep not in library and os.path.isfile(os.path.join(folder, library)):
            return os.path.join(folder, library)
    return None


def load_delegate(delegate: Delegate, runtime: Runtime) -> Any:
    """The delegate as the interpreter takes it; each interpreter needs one of its own."""
    path = str(delegate.library)
    with open(path, "rb") as stream:
        head = stream.read(64)
    if head[:5] == b"\x7fELF\2":  # of 64 bits; what ends before its table of sections would kill the process
        table, size, count = struct.unpack("<40xQ10xHH2x", head.ljust(64, b"\0"))
        if len(head) < 64 or table + size * count > os.path.getsize(path):
            raise Problem("%s is truncated" % path, "copy it again", DELEGATE)
    try:  # first by hand: a failure inside the runtime's own loader is followed by noise from its destructor
        library = ctypes.CDLL(path)
    except OSError as error:
        remedy = "check that it is built for this machine and that its libraries are installed (ldd %s)" % path
        raise Problem("%s cannot be loaded: %s" % (path, error), remedy, DELEGATE) from None
    if not hasattr(library, "tflite_plugin_create_delegate"):
        raise Problem("%s is a library, but not a TFLite delegate" % path, "give another with -d", DELEGATE)
    load = getattr(runtime.module, "load_delegate", None) or runtime.module.experimental.load_delegate
    try:
        return load(path, dict(delegate.options))
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[-1]
        remedy = "check that the NPU's driver is loaded and that each --delegate-option is right"
        raise Problem("the delegate %s does not start: %s" % (path, reason), remedy, DELEGATE) from None


# --- the model -----------------------------------------------------------------------------------------------------

#: The first BSP with each TFLite.
BSPS = (
    ("2.9.1", "LF5.15.52_2.1.0"),
    ("2.10.0", "LF6.1.1_1.0.0"),
    ("2.11.1", "LF6.1.36_2.1.0"),
    ("2.12.1", "LF6.1.55_2.2.0"),
    ("2.14.0", "LF6.6.3_1.0.0"),
    ("2.15.0", "LF6.6.23_2.0.0"),
    ("2.16.2", "LF6.6.36_2.1.0"),
    ("2.18.0", "LF6.12.20_2.0.0"),
    ("2.19.0", "LF6.12.34_2.1.0"),
)


#: Bytes of one element of a tensor, by the number of its type; of the others, strings among them, nothing is said.
ELEMENT = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 8: 8, 9: 1, 10: 8, 11: 16, 12: 8, 15: 4, 16: 2}

#: Strings, resources and variants: the runtime makes what such a tensor holds.
OPAQUE = (5, 13, 14)

#: Operators that run subgraphs: the type of their options, and how many subgraphs these name.
CALLS = {118: (92, 2), 119: (93, 2), 129: (103, 1), 31: (16, 1)}  # IF, WHILE, CALL_ONCE, CALL
CUSTOM = 32


class _Parts:
    """The tables and vectors of a flatbuffer, looked at before they are read; together not larger than the file."""

    def __init__(self, data: Any) -> None:
        self.data, self.left = data, 2 * len(data) + 4096

    def take(self, kind: str, at: int, what: str) -> Tuple[Any, ...]:
        size = struct.calcsize(kind)
        self.left -= size
        if at < 4 or at + size > len(self.data):
            raise ValueError("%s lies outside of the file" % what)
        if self.left < 0:
            raise ValueError("%s overlaps with other parts" % what)
        return struct.unpack_from(kind, self.data, at)

    def table(self, at: int, what: str) -> List[int]:
        """Where the first 13 fields of a table are; 0 for one that it has not."""
        names = at - self.take("<i", at, what)[0]
        size, length = self.take("<HH", names, what)
        slots = self.take("<%dH" % max(0, min(13, size // 2 - 2)), names + 4, what)
        if size < 4 or any(slot >= length for slot in slots) or at + length > len(self.data):
            raise ValueError("%s lies outside of the file" % what)
        return [slot and at + slot for slot in slots] + [0] * (13 - len(slots))

    def number(self, kind: str, at: int, what: str, otherwise: int = 0) -> int:
        return int(self.take(kind, at, what)[0]) if at else otherwise

    def vector(self, kind: str, at: int, what: str) -> Tuple[Any, ...]:
        """The numbers of a vector; of one of bytes ("") its length alone."""
        if not at:
            return () if kind else (0,)
        begin = at + self.take("<I", at, what)[0]
        count = self.take("<I", begin, what)[0]
        if count > len(self.data):
            raise ValueError("%s has more entries than the file has bytes" % what)
        self.left -= 0 if kind else count
        return self.take("<%d%s" % (count, kind), begin + 4, what) if kind else self.inside(begin + 4, count, what)

    def inside(self, at: int, size: int, what: str) -> Tuple[int]:
        if at + size > len(self.data):
            raise ValueError("%s lies outside of the file" % what)
        return (size,)

    def tables(self, at: int, what: str) -> List[List[int]]:
        """The fields of each table of a vector."""
        if not at:
            return []
        offsets = self.vector("I", at, what + "s")
        first = at + struct.unpack_from("<I", self.data, at)[0] + 4
        return [
            self.table(first + 4 * number + offset, "%s %d" % (what, number)) for number, offset in enumerate(offsets)
        ]


def check_structure(data: Any, runs: bool = True) -> None:
    """Look at every index, offset and length of a .tflite file that runtimes and schema readers trust.

    Args:
        data: the file's bytes.
        runs: whether a runtime gets it, which ends the process at a tensor that nothing writes; a reader does not.

    Raises:
        ValueError: one of them points to what is not there; says which.
    """
    parts = _Parts(data)
    if len(data) < 8:
        raise ValueError("it has no root")
    model = parts.table(struct.unpack_from("<I", data, 0)[0], "the model")
    codes = []
    for number, code in enumerate(parts.tables(model[1], "operator code")):
        what = "operator code %d" % number
        parts.vector("", code[1], what)
        codes.append(max(parts.number("<b", code[0], what), parts.number("<i", code[3], what)))
    buffers = []
    for number, buffer in enumerate(parts.tables(model[4], "buffer")):
        what = "buffer %d" % number
        begin, size = (parts.number("<Q", at, what) for at in buffer[1:3])
        parts.inside(begin if begin > 1 else 0, size if begin > 1 else 0, what)
        buffers.append(parts.vector("", buffer[0], what)[0] or (size if begin > 1 else 0))
    for number, entry in enumerate(parts.tables(model[6], "metadata entry")):
        parts.vector("", entry[0], "metadata entry %d" % number)
        _index(parts.number("<I", entry[1], "metadata entry"), len(buffers), "metadata entry %d: buffer" % number)
    graphs = parts.tables(model[2], "subgraph")
    if not graphs:
        raise ValueError("it has no subgraph")
    tensors = [
        _check_graph(parts, graph, codes, buffers, len(graphs), runs, "subgraph %d" % number)
        for number, graph in enumerate(graphs)
    ]
    _check_calls([calls for _, calls in tensors])
    for number, entry in enumerate(parts.tables(model[7], "signature")):
        what = "signature %d" % number
        graph = _index(parts.number("<I", entry[4], what), len(graphs), what + ": subgraph")
        parts.vector("", entry[2], what)
        for named in parts.tables(entry[0], what + ": input") + parts.tables(entry[1], what + ": output"):
            parts.vector("", named[0], what)
            _index(parts.number("<I", named[1], what), tensors[graph][0], what + ": tensor")


def _index(number: int, count: int, what: str, least: int = 0) -> int:
    if not least <= number < count:
        raise ValueError("%s %d of %d" % (what, number, count))
    return number


def _check_graph(
    parts: _Parts, graph: List[int], codes: List[int], buffers: List[int], graphs: int, runs: bool, what: str
) -> Tuple[int, List[int]]:
    """How many tensors a subgraph has, and the subgraphs that it calls."""
    tensors = parts.tables(graph[0], what + ": tensor")
    filled = [_check_tensor(parts, tensor, buffers, "%s: tensor %d" % (what, n)) for n, tensor in enumerate(tensors)]
    parts.vector("", graph[4], what)
    ends = [parts.vector("i", at, what + ": its ends") for at in graph[1:3]]
    for index in ends[0] + ends[1]:
        _index(index, len(tensors), what + ": input or output: tensor")
    ready, calls = set(ends[0]), []
    operators = parts.tables(graph[3], what + ": operator")
    if not runs:  # what nothing writes may be read; what is written later may not
        written = {index for operator in operators for index in parts.vector("i", operator[2], what)}
        ready.update(set(range(len(tensors))) - written)
    for number, operator in enumerate(operators):
        name = "%s: operator %d" % (what, number)
        code = codes[_index(parts.number("<I", operator[0], name), len(codes), name + ": operator code")]
        inputs, outputs, inside = (parts.vector("i", operator[slot], name) for slot in (1, 2, 8))
        parts.vector("", operator[5], name)
        for index in inputs + outputs + inside:
            _index(index, len(tensors), name + ": tensor", -1)
        for index in inputs:
            if index >= 0 and not filled[index] and index not in ready and code != CUSTOM:
                raise ValueError("%s: tensor %d is read before it is written" % (name, index))
        for index in outputs:
            if index >= 0 and filled[index] == CONSTANT:
                raise ValueError("%s: writes the constant tensor %d" % (name, index))
        ready.update(outputs)
        if code in CALLS:
            kind, count = CALLS[code]
            if parts.number("<B", operator[3], name) != kind or not operator[4]:
                raise ValueError("%s: does not say which subgraph it calls" % name)
            options = parts.table(operator[4] + parts.take("<I", operator[4], name)[0], name)
            for at in options[:count]:
                calls.append(_index(parts.number("<i", at, name), graphs, name + ": subgraph"))
    for index in ends[1]:
        if not filled[index] and index not in ready:
            raise ValueError("%s: output: tensor %d is never written" % (what, index))
    return len(tensors), calls


CONSTANT, STATE = 1, 2


def _check_tensor(parts: _Parts, tensor: List[int], buffers: List[int], what: str) -> int:
    """CONSTANT, STATE, or 0 where it is computed."""
    shape, quantisation = parts.vector("i", tensor[0], what), tensor[4]
    parts.vector("", tensor[3], what)
    kind = parts.number("<b", tensor[1], what)
    bytes_here = buffers[_index(parts.number("<I", tensor[2], what), len(buffers), what + ": buffer")]
    count = 1
    for side in shape[:9]:
        count *= abs(side)
    if len(shape) > 8 or min(shape, default=0) < -1 or count * ELEMENT.get(kind, 1) >= 1 << 31:
        raise ValueError("%s: shape %s" % (what, as_text(list(shape[:9]), 100)))
    if bytes_here and not tensor[6] and bytes_here < count * ELEMENT.get(kind, 0):
        raise ValueError("%s: %d bytes for shape %s" % (what, bytes_here, list(shape)))
    if quantisation:
        fields = parts.table(quantisation + parts.take("<I", quantisation, what)[0], what)
        scales, zeros = parts.vector("f", fields[2], what), parts.vector("q", fields[3], what)
        channel = parts.number("<i", fields[6], what)
        # of a bias some converters give the axis of its weights; TFLite Micro and Vela take that
        wanted = shape[channel] if 0 <= channel < len(shape) else shape[0] if len(shape) == 1 else 1
        if len(scales) not in (0, 1, wanted) or len(zeros) not in (0, len(scales)):
            raise ValueError("%s: %d scales and %d zero points" % (what, len(scales), len(zeros)))
        if not all(0 <= scale < float("inf") for scale in scales):
            raise ValueError("%s: a scale that is negative, NaN or infinity" % what)
    if tensor[6]:
        sparsity = parts.table(tensor[6] + parts.take("<I", tensor[6], what)[0], what)
        parts.tables(sparsity[2], what + ": dimension")
    for variant in parts.tables(tensor[9], what + ": variant"):
        parts.vector("i", variant[0], what)
    if bytes_here or parts.number("<I", tensor[10], what):  # here, or in another file
        return CONSTANT
    return STATE if kind in OPAQUE or not count or parts.number("<B", tensor[5], what) else 0


def _check_calls(calls: List[List[int]]) -> None:
    """No subgraph calls itself, also by way of others."""
    ends: List[int] = []
    left = {number: set(called) for number, called in enumerate(calls)}
    while left:
        ends = [number for number, called in left.items() if not called & set(left)]
        if not ends:
            raise ValueError("subgraph %d calls itself" % min(left))
        for number in ends:
            del left[number]


#: The custom operator that makes boxes of a network's numbers; no NPU computes it.
POSTPROCESS = "TFLite_Detection_PostProcess"

#: What it computes, in the order of its outputs.
MEANINGS = ("boxes", "classes", "scores", "count")

#: The custom operator that edgetpu_compiler makes of a graph, and how those of TensorFlow's Flex delegate begin.
EDGETPU, FLEX = "edgetpu-custom-op", "Flex"

#: Builtin operators by their numbers: those that tell what an output means, and those that only change its form.
SOFTMAX, LOG_SOFTMAX, ARG_MAX, RESIZES = 25, 50, 56, (23, 97)
FORMS = (6, 22, 43, 53, 70, 114)  # DEQUANTIZE, RESHAPE, SQUEEZE, CAST, EXPAND_DIMS, QUANTIZE

#: Types of tensors that many runtimes refuse, by their numbers, and the number of quantisation in blocks.
ODD_TYPES = {
    7: "16-bit integers (INT16)",
    16: "16-bit integers (UINT16)",
    17: "4-bit integers (INT4)",
    18: "16-bit floats (BFLOAT16)",
    19: "2-bit integers (INT2)",
    20: "4-bit integers (UINT4)",
    21: "8-bit floats (FLOAT8_E4M3FN)",
    22: "8-bit floats (FLOAT8_E5M2)",
}
BLOCKWISE = 2

#: The smallest and the largest number of the types that numpy has no type for, by their numbers.
LIMITS = {17: (-8, 7), 19: (-2, 1), 20: (0, 15)}


class Detector(NamedTuple):
    """What a graph says of its TFLite_Detection_PostProcess."""

    outputs: Dict[str, int]  # of MEANINGS -> the index of its tensor, whatever the order of the graph's outputs
    classes: int  # that it tells apart, without the background; 0 if it does not say


class End(NamedTuple):
    """The operator that makes an output; operators that only change its form are passed over."""

    operator: int  # its number among the builtin ones
    shape: List[int]  # of its first input


class Content(NamedTuple):
    """What a .tflite file says of itself, read without any library but Python's own."""

    customs: List[str]  # operators outside TFLite's own set
    min_runtime: str  # the TFLite version that the converter says it needs; "" if it does not say
    mean: List[float]  # of TFLite's metadata: (pixel - mean) / std; empty without
    std: List[float]
    labels: List[List[str]]  # of each text file that is packed to its end
    wrong: str  # what points to what is not there; "" if nothing does
    detector: Optional[Detector]  # if it ends in TFLite's operator for that
    ends: Dict[int, End]  # of the outputs, by the indices of their tensors
    odd: List[str]  # values of ODD_TYPES that it holds, and whether in blocks
    is_split: bool  # weights are in another file
    limits: Dict[int, Tuple[int, int]]  # of LIMITS, by the indices of the first subgraph's tensors
    signatures: List[str]

    @property
    def is_vela(self) -> bool:
        """It was compiled for Ethos-U."""
        return "ethos-u" in self.customs


def read_content(path: str) -> Content:
    """Look at the flatbuffer's structure and read the few fields that matter here; what is missing is empty."""
    customs: List[str] = []
    found: Dict[str, bytes] = {}
    mean: List[float] = []
    std: List[float] = []
    labels: List[List[str]] = []
    detector: Optional[Detector] = None
    ends: Dict[int, End] = {}
    odd: Tuple[List[str], bool, Dict[int, Tuple[int, int]]] = ([], False, {})
    signatures: List[str] = []
    wrong = ""
    try:
        with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            check_structure(data)
            root = _follow(data, 0)
            customs = [_text(data, _field(data, code, 1)) for code in _tables(data, _field(data, root, 1))]
            buffers = _tables(data, _field(data, root, 4))
            for entry in _tables(data, _field(data, root, 6)):
                at, name = _field(data, entry, 1), _text(data, _field(data, entry, 0))
                if name in ("TFLITE_METADATA", "min_runtime_version") and name not in found:
                    buffer = buffers[struct.unpack_from("<I", data, at)[0] if at else 0]
                    found[name] = _bytes(data, _field(data, buffer, 0))
            graphs = _tables(data, _field(data, root, 2))
            if POSTPROCESS in customs:
                detector = _read_detector(data, graphs[0], customs)
            ends = _read_ends(data, graphs[0], _tables(data, _field(data, root, 1)))
            odd = _read_types(data, graphs)
            signatures = [_text(data, _field(data, entry, 2)) for entry in _tables(data, _field(data, root, 7))[:16]]
    except (struct.error, IndexError, ValueError, OSError) as error:
        wrong = as_text(error) or "unknown"
    facts = found.get("TFLITE_METADATA", b"")
    try:  # ModelMetadata > subgraph_metadata > input_tensor_metadata > process_units > NormalizationOptions
        graph = _tables(facts, _field(facts, _follow(facts, 0), 3))[0]
        for unit in _tables(facts, _field(facts, _tables(facts, _field(facts, graph, 2))[0], 4))[:16]:
            kind, options = _field(facts, unit, 0), _field(facts, unit, 1)
            if kind and facts[kind] == 1 and options:
                mean, std = (_floats(facts, _field(facts, _follow(facts, options), field)) for field in (0, 1))
    except (struct.error, IndexError, ValueError):
        pass  # no metadata, or none of that kind
    try:
        with zipfile.ZipFile(path) as packed:
            names = [entry for entry in packed.infolist() if entry.filename.endswith(".txt")]
            names = [entry for entry in names if entry.file_size < LABEL_BYTES and entry.compress_type in PACKINGS]
            labels = [packed.read(entry).decode().splitlines() for entry in names[:4]]
    except Exception:  # nothing packed to its end, or damaged: BadZipFile, zlib.error, NotImplementedError, ...
        labels = []
    version = as_text(found.get("min_runtime_version", b"").rstrip(b"\0"), 40)
    customs = [name for name in customs if name]
    return Content(customs, version, mean, std, labels, wrong, detector, ends, *odd, signatures)


def _read_ends(data: Any, graph: int, codes: Sequence[int]) -> Dict[int, End]:
    """What makes each output of a graph, by the index of its tensor."""
    tensors, makers = _tables(data, _field(data, graph, 0)), {}
    for operator in _tables(data, _field(data, graph, 3)):
        makers.update(dict.fromkeys(_integers(data, _field(data, operator, 2)), operator))
    ends: Dict[int, End] = {}
    for output in _integers(data, _field(data, graph, 2)):
        index = output
        for _ in range(64):  # a tensor that is written twice may make a circle
            if index not in makers:
                break
            code, inputs = _field(data, makers[index], 0), _integers(data, _field(data, makers[index], 1))
            table = codes[struct.unpack_from("<I", data, code)[0] if code else 0]
            old, new = _field(data, table, 0), _field(data, table, 3)
            number = max(
                int(struct.unpack_from("<b", data, old)[0]) if old else 0,
                int(struct.unpack_from("<i", data, new)[0]) if new else 0,
            )
            if not inputs or inputs[0] < 0:
                break
            if number not in FORMS:
                ends[output] = End(number, _integers(data, _field(data, tensors[inputs[0]], 0)))
                break
            index = inputs[0]
    return ends


def _read_types(data: Any, graphs: Sequence[int]) -> Tuple[List[str], bool, Dict[int, Tuple[int, int]]]:
    """The odd types of the tensors in a file, whether weights are in another file, and the limits of small types."""
    found: Dict[str, None] = {}
    is_split, limits = False, {}
    for graph in graphs:
        for index, tensor in enumerate(_tables(data, _field(data, graph, 0))):
            kind, quantisation, outside = (_field(data, tensor, number) for number in (1, 4, 10))
            number = int(struct.unpack_from("<b", data, kind)[0]) if kind else 0
            name = ODD_TYPES.get(number)
            if number in LIMITS and graph == graphs[0]:
                limits[index] = LIMITS[number]
            if name and quantisation:
                details = _field(data, _follow(data, quantisation), 4)
                name += " in blocks" if details and data[details] == BLOCKWISE else ""
            if name:
                found[name] = None
            is_split = is_split or bool(outside and struct.unpack_from("<I", data, outside)[0])
    return list(found), is_split, limits


def _read_detector(data: Any, graph: int, customs: Sequence[str]) -> Optional[Detector]:
    """The last TFLite_Detection_PostProcess of a graph."""
    for operator in reversed(_tables(data, _field(data, graph, 3))):
        code, outputs = _field(data, operator, 0), _field(data, operator, 2)
        if customs[struct.unpack_from("<I", data, code)[0] if code else 0] == POSTPROCESS and outputs:
            begin = _follow(data, outputs)
            count = min(struct.unpack_from("<I", data, begin)[0], len(MEANINGS))
            classes = _read_option(_bytes(data, _field(data, operator, 5)), b"num_classes")
            tensors = struct.unpack_from("<%di" % count, data, begin + 4)
            return Detector({MEANINGS[place]: tensors[place] for place in range(count)}, classes)
    return None


def _read_option(data: bytes, name: bytes) -> int:
    """A whole number of a custom operator's options, a map in the format FlexBuffers; 0 if it is not there.

    The end of the data tells the width of the root, in bytes, and its type; an offset counts backwards. Before the
    values of a map are the offset and the width of its keys, and its length; after them the type of each value.
    """

    def number(at: int, width: int) -> int:
        if at < 0 or at + width > len(data) or width not in (1, 2, 4, 8):
            raise ValueError("the options end too early")
        return int.from_bytes(data[at : at + width], "little")

    try:
        root = len(data) - 2 - data[-1]
        width, values = 1 << (data[-2] & 3), root - number(root, data[-1])
        keys, key_width = values - 3 * width - number(values - 3 * width, width), number(values - 2 * width, width)
        length = number(values - width, width)
        for place in range(min(length, 64)):
            key = keys + place * key_width
            begin = key - number(key, key_width)
            if begin >= 0 and data[begin : begin + len(name) + 1] == name + b"\0":
                whole = data[values + length * width + place] >> 2 in (1, 2)  # the types of signed and unsigned numbers
                return number(values + place * width, width) if whole else 0
    except (IndexError, ValueError):
        pass  # empty, or no map
    return 0


#: How the members of archives may be packed: the others may take gigabytes to unpack a byte.
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def _follow(data: Any, at: int) -> int:
    return at + int(struct.unpack_from("<I", data, at)[0])


def _field(data: Any, table: int, number: int) -> int:
    """Where a field of a flatbuffer's table is; 0 if it has none."""
    names = table - struct.unpack_from("<i", data, table)[0]
    slot = 4 + 2 * number
    if slot >= struct.unpack_from("<H", data, names)[0]:
        return 0
    offset = struct.unpack_from("<H", data, names + slot)[0]
    return table + int(offset) if offset else 0


def _bytes(data: Any, at: int) -> bytes:
    if not at:
        return b""
    begin = _follow(data, at)
    return bytes(data[begin + 4 : begin + 4 + struct.unpack_from("<I", data, begin)[0]])


def _text(data: Any, at: int) -> str:
    return _bytes(data, at).decode(errors="replace")


def _floats(data: Any, at: int) -> List[float]:
    if not at:
        return []
    begin = _follow(data, at)
    count = struct.unpack_from("<I", data, begin)[0]
    return list(struct.unpack_from("<%df" % min(count, 4), data, begin + 4))  # one a channel


def _integers(data: Any, at: int) -> List[int]:
    if not at:
        return []
    begin = _follow(data, at)
    count = struct.unpack_from("<I", data, begin)[0]
    if 4 * count > len(data):
        raise ValueError
    return list(struct.unpack_from("<%di" % count, data, begin + 4))


def _tables(data: Any, at: int) -> List[int]:
    if not at:
        return []
    begin = _follow(data, at)
    count = struct.unpack_from("<I", data, begin)[0]
    if 4 * count > len(data):
        raise ValueError
    return [_follow(data, begin + 4 + 4 * number) for number in range(count)]


#: In place of an input or an output, for a graph that has none.
NO_TENSOR: Dict[str, Any] = {"name": "", "index": -1, "shape": (0,), "dtype": "float32", "quantization": (0.0, 0)}

#: What runtimes say where they refuse a type.
OF_TYPES = "(?i)support|type|int4|int16"

#: What a runtime raises about a file that it refuses, and an old one about a numpy that it does not know.
REFUSALS = (ValueError, RuntimeError, SystemError, ImportError, AttributeError, TypeError)


class Model:
    """A TFLite model, ready to run.

    Args:
        path: the .tflite file.
        runtime: from load_runtime().
        threads: CPU threads; None leaves it to the runtime.
        reference: run the slow reference kernels, the oracle of the golden tensors (ai_edge_litert, tensorflow).
        keep_all: keep what is between input and output, for read_tensor().
        delegates: loaded delegates, for an NPU.
        falls_back: run a file that XNNPACK, the runtime's own delegate, refuses without it; ``refusal`` says why.
    """

    def __init__(
        self,
        path: str,
        runtime: Runtime,
        threads: Optional[int] = None,
        reference: bool = False,
        keep_all: bool = False,
        delegates: Sequence[Any] = (),
        falls_back: bool = False,
    ) -> None:
        options: Dict[str, Any] = {"model_path": path}
        if threads:
            options["num_threads"] = threads
        if delegates:
            options["experimental_delegates"] = list(delegates)
        if keep_all:
            options["experimental_preserve_all_tensors"] = True
        kernels: Any = getattr(runtime.module, "OpResolverType", None) or getattr(
            getattr(runtime.module, "experimental", None), "OpResolverType", None
        )
        if reference:
            options["experimental_op_resolver_type"] = kernels.BUILTIN_REF
        self._path, self._delegated, self._runtime = path, bool(delegates), runtime
        plain = getattr(kernels, "BUILTIN_WITHOUT_DEFAULT_DELEGATES", None)  # old runtimes lack it
        self._plain: Optional[Dict[str, Any]] = None
        if falls_back and plain and not (reference or delegates):
            self._plain = {**options, "experimental_op_resolver_type": plain}
        self.refusal = ""
        self.nodes: Optional[Dict[str, Optional[int]]] = None
        self.operators: List[str] = []
        try:
            self._load(options)
        except REFUSALS as error:
            if not self._fall_back(error):
                raise self._why_not(error) from None
        self.input = self.inputs[0] if self.inputs else NO_TENSOR
        self.output = self.outputs[0] if self.outputs else NO_TENSOR
        self.bound = self.outputs[:1]
        self._others: List[Tuple[int, np.ndarray]] = []

    def _load(self, options: Dict[str, Any]) -> None:
        """Make the interpreter, and ask for the tensors at the graph's ends; a tensor that is listed twice is one."""
        self._watch()
        self._interpreter = self._runtime.module.Interpreter(**options)
        if self._delegated:
            self._look_at_nodes()  # before allocate_tensors: there the runtime adds its own delegate, XNNPACK
        self._interpreter.allocate_tensors()
        ends = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self.inputs, self.outputs = (list({detail["index"]: detail for detail in side}.values()) for side in ends)

    def _fall_back(self, error: Exception) -> bool:
        """Load the file without XNNPACK, if that may be why it was refused; once."""
        options, self._plain = self._plain, None
        if options is None or not isinstance(error, RuntimeError):
            return False
        self._interpreter = None  # a board's memory may not hold it twice
        try:
            self._load(options)
        except REFUSALS as second:
            raise self._why_not(second) from None
        self.refusal = _reason(error)
        return True

    #: Seconds that loading, and each run, may take: the process is ended then; 0: as long as they like.
    seconds = 0

    def _watch(self) -> None:
        if self.seconds:
            signal.alarm(self.seconds)

    def _look_at_nodes(self) -> None:
        """Count the graph's nodes, and those that the delegates took."""
        try:
            details = self._interpreter._get_ops_details()
        except Exception:  # not a public interface: a runtime may lack or change it
            self.nodes = {"total": None, "delegated": None, "partitions": None}
            return
        ours = [node for node in details if node["op_name"] == "DELEGATE"]
        graph = [node for node in details if node["op_name"] != "DELEGATE"]
        makes = {int(tensor): node for node in graph for tensor in node["outputs"]}
        taken = set()
        for node in ours:  # back from what it makes to what it is given
            given = {int(tensor) for tensor in node["inputs"]}
            ahead = [int(tensor) for tensor in node["outputs"]]
            while ahead:
                tensor = ahead.pop()
                if tensor in makes and tensor not in given and makes[tensor]["index"] not in taken:
                    taken.add(makes[tensor]["index"])
                    ahead += [int(tensor) for tensor in makes[tensor]["inputs"]]
        self.operators = [str(node["op_name"]) for node in graph]
        self.nodes = {"total": len(graph), "delegated": len(taken), "partitions": len(ours)}

    def _why_not(self, error: Exception) -> Problem:
        reason, runtime = _reason(error.__cause__ or error), self._runtime
        content = read_content(self._path)
        who = "%s %s" % (runtime.name, runtime.version)
        if content.is_vela and ("ethos-u" in reason or not self._delegated):
            return Problem(
                "%s is compiled for Ethos-U (by Vela): no CPU can run it" % self._path,
                "run it on an i.MX 93 with -d ethosu, or take the file that it was compiled from",
                RUNTIME,
            )
        foreign = self._foreign(content, reason, who)
        if foreign:
            return foreign
        if "find op for" in reason:
            needs = [bsp for version, bsp in BSPS if _numbers(version) >= _numbers(content.min_runtime)]
            remedy = "it needs a newer TFLite"
            if content.min_runtime:
                remedy = "it needs TFLite %s: " % content.min_runtime
                remedy += "BSP %s and later have it" % needs[0] if needs else "no BSP known here has it"
        elif self._delegated and isinstance(error, RuntimeError):
            remedy = "run it with -d cpu; the manual of the BSP lists the operators that the NPU takes"
            return Problem("the delegate refuses %s: %s" % (self._path, reason), remedy, DELEGATE)
        elif not isinstance(error, (ValueError, RuntimeError)) and np.__version__ >= "2":
            remedy = "the runtime may be older than this numpy %s: pip install 'numpy<2'" % np.__version__
        elif content.odd and re.search(OF_TYPES, reason):
            return self._odd(content, reason)
        elif "quantized_dimension must be" in reason:
            remedy = "no TFLite runtime takes it: TFLite Micro and Vela do; convert it again with a newer TensorFlow"
            reason = reason.split("Tensor ")[0]  # it is said of each tensor
        else:
            remedy = "run it with a newer runtime (pip install ai-edge-litert), or convert it again for this one"
        return Problem("%s cannot run %s: %s" % (who, self._path, reason), remedy, RUNTIME)

    def _odd(self, content: Content, reason: str) -> Problem:
        """Why a file with types that many runtimes refuse is refused."""
        parts = self._runtime.name, self._runtime.version, self._path, " and ".join(content.odd), reason
        what = "%s %s refuses %s, which holds %s: %s" % parts
        return Problem(what, "convert it with 8-bit integers or 32-bit floats, or use a newer runtime", RUNTIME)

    def _foreign(self, content: Content, reason: str, who: str) -> Optional[Problem]:
        """Why a file with custom operators is refused, if they are the reason; a delegate may know some of them."""
        if not re.search("custom op|TensorFlow op", reason):
            return None
        unknown = sorted({name for name in content.customs if name in reason})
        unknown = unknown or [name for name in content.customs if name != POSTPROCESS]
        flex = [name for name in content.customs if name.startswith(FLEX)]
        if EDGETPU in unknown:
            what = "%s is compiled for the Edge TPU (by edgetpu_compiler): no NXP board runs it" % self._path
            return Problem(what, "take the .tflite file from before edgetpu_compiler", RUNTIME)
        if set(flex) & set(unknown):
            what = "%s needs TensorFlow's Flex delegate, which %s does not have, for %s"
            names = as_text(", ".join(flex), 200)
            remedy = "convert it again without SELECT_TF_OPS: with TFLite's own operators alone"
            return Problem(what % (self._path, who, names), remedy, RUNTIME)
        if unknown:
            what = "%s has custom operators that %s does not know: %s"
            names = as_text(", ".join(unknown), 200)
            remedy = "use a runtime or a delegate that has them, or convert the model again without them"
            return Problem(what % (self._path, who, names), remedy, RUNTIME)
        return None

    def bind(self, input_name: str, *output_names: str) -> None:
        """Choose the input and the outputs by name; their order in the file means nothing."""
        self.input, self.bound = _named(self.inputs, input_name), [_named(self.outputs, name) for name in output_names]
        self.output = self.bound[0]

    def choose(self, given: int, answers: Sequence[int]) -> None:
        """Choose the input and the outputs by the indices of their tensors: names may be missing, or doubled.

        The other inputs become zeros.

        Args:
            given: index of the input; -1 where the graph has none.
            answers: indices of the outputs.
        """
        inputs, outputs = ({int(each["index"]): each for each in side} for side in (self.inputs, self.outputs))
        self.input, self.bound = inputs.get(given, NO_TENSOR), [outputs[index] for index in answers]
        self.output = self.bound[0] if self.bound else NO_TENSOR
        self._others = [(index, zeros_of(detail)) for index, detail in inputs.items() if index != given]

    #: What to do about a run that fails on the CPU.
    remedy = "copy the bundle again"

    def quantise(self, values: np.ndarray) -> np.ndarray:
        """float32, shape (1, ...), as the graph's input tensor wants it."""
        return quantise_as(self.input, values)

    def dequantise(self, raw: np.ndarray, number: int = 0) -> np.ndarray:
        """The values of an output tensor, by its number in ``bind``, as real numbers, float32.

        Integers without a scale are the values, float64; what is no real number stays as it is.
        """
        if raw.dtype.kind not in "biuf":
            return raw
        if not np.issubdtype(raw.dtype, np.integer):
            return raw.astype(np.float32)
        scale, zero_point = self.bound[number]["quantization"]
        return dequantise(raw, scale, zero_point) if scale else raw.astype(np.float64)

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """The first raw output for a raw input tensor."""
        return self.run_all(tensor)[0]

    def real(self, outputs: Sequence[np.ndarray]) -> List[np.ndarray]:
        """What ``run_all`` gives, as real numbers."""
        return [self.dequantise(raw, number) for number, raw in enumerate(outputs)]

    def run_all(self, tensor: np.ndarray) -> List[np.ndarray]:
        """The raw outputs for a raw input tensor, in the order of ``bind``; one of them without ``bind``."""
        self._watch()
        try:
            for index, values in [(self.input["index"], tensor), *self._others]:
                if index >= 0 and values.size:  # one without a value has no memory
                    self._interpreter.set_tensor(index, values)
            self._interpreter.invoke()
            return [self._read(detail) for detail in self.bound]
        except (RuntimeError, ValueError) as error:  # ValueError: a tensor of another shape, or one without memory
            if "xnnpack" in str(error).lower() and self._fall_back(error):
                return self.run_all(tensor)
            content = read_content(self._path)
            if not self._delegated and content.odd and re.search(OF_TYPES, _reason(error)):
                raise self._odd(content, _reason(error)) from None
            what = "the delegate fails in" if self._delegated else "the runtime fails in"
            problem = "%s %s: %s" % (what, self._path, _reason(error))
            remedy = "run it with -d cpu, and look into dmesg" if self._delegated else self.remedy
            raise Problem(problem, remedy, DELEGATE if self._delegated else RUNTIME) from None

    def _read(self, detail: Dict[str, Any]) -> np.ndarray:
        """A raw output; one without a value has no memory, and may become so in a run."""
        try:
            return np.asarray(self._interpreter.get_tensor(detail["index"]))
        except ValueError:
            found = next(each for each in self._interpreter.get_output_details() if each["index"] == detail["index"])
            if all(shape_of(found)):
                raise
            return np.zeros(tuple(shape_of(found)), detail["dtype"])

    def close(self) -> None:
        """Give its memory back."""
        self._interpreter = None

    def read_tensor(self, index: int, tensor: np.ndarray) -> np.ndarray:
        """The real values, float32, of the tensor ``index`` inside the graph for a raw input tensor."""
        self.run(tensor)
        detail = next(d for d in self._interpreter.get_tensor_details() if d["index"] == index)
        raw = np.asarray(self._interpreter.get_tensor(index))
        return dequantise(raw, *detail["quantization"]) if np.issubdtype(raw.dtype, np.integer) else raw


def _reason(error: BaseException) -> str:
    """What the runtime said, on one line, without what every refusal ends with."""
    return " ".join(str(error).split("Restored original execution plan")[0].split())[:300]


def _numbers(version: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


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
    if outputs.shape != golden.shape or not golden.size:
        what = "the outputs have shape %s, not %s" % (list(outputs.shape[1:]), list(golden.shape[1:]))
        raise Problem(what, "copy the whole bundle again", RUNTIME)
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
    return np.asarray(values.reshape(-1, values.shape[-1] if values.ndim else 1), np.float32)


def _remedy(verdict: str, body: Dict[str, Any], delegate: str) -> str:
    if delegate == "cpu" and verdict == "NAN":
        return "the weights or the input are damaged: copy the bundle again (sha256sum -c SHA256SUMS)"
    if delegate == "cpu":
        return (
            "this runtime's values differ from those of the reference kernels: update it (pip install ai-edge-litert)"
        )
    if verdict == "FIXED_OUTPUT" and body.get("upsampling") == "nearest":
        return (
            "the accelerator does not compute RESIZE_NEAREST_NEIGHBOR with half-pixel centres (the VX delegate of the "
            "i.MX 8M Plus is known for it): use the bilinear model, whose RESIZE_BILINEAR it computes correctly"
        )
    return {
        "NAN": "the accelerator computes NaN or infinity: use the int8 model, or run on the CPU",
        "FIXED_OUTPUT": "the accelerator skips an operator that the answer depends on: run on the CPU, and report it",
        "SATURATED": "the accelerator misreads the quantisation: update its driver, or run on the CPU",
        "MISMATCH": "the accelerator computes wrong values: update its driver, or run on the CPU",
    }[verdict]


# --- the kinds of task: a class each, chosen by "task" of model.json ------------------------------------------------

_TEXT, _WHOLE, _NUMBER = (str,), (int,), (int, float)


class Task:
    """What a model is for: how its inputs are read, and how its outputs are compared, told and drawn.

    A kind of task is a class below, with the same methods.

    Args:
        given: "input" of model.json.
        answers: the entries of "output" of model.json, in its order.
    """

    #: "task" of model.json; "": nothing tells.
    name = ""
    #: How the names of its input files end, and what such a file is.
    files: Tuple[str, ...] = ()
    thing = "input"
    #: --threshold says from which score on an answer counts.
    has_threshold = False
    #: How many answers are shown without --top.
    top = 5
    #: How far NPU and CPU may be apart where no model.json says it; for floats, of the largest value.
    assumed_tolerance: ClassVar[Dict[str, float]] = {"int8_steps": 20.0, "float32": 0.01}
    #: -o writes a picture of each answer.
    draws = False
    #: Its outputs have the shapes that model.json, or the file, says.
    has_fixed_outputs = True
    #: The arrays of samples.npz: inputs as read from files, and labels.
    samples = ("images", "labels")

    def __init__(self, given: Dict[str, Any], answers: Sequence[Dict[str, Any]]) -> None:
        self.input, self.outputs = given, list(answers)

    @classmethod
    def check(cls, facts: Dict[str, Any]) -> None:
        """Look at "input" and "output" of model.json; ValueError names a value that cannot be."""

    @classmethod
    def assume(cls, model: Model, content: Content, said: Said) -> Optional[Assumed]:  # noqa: ARG003  # as kinds do
        """What a model without model.json is, if what it holds proves that it is of this kind, or the user says it.

        Raises:
            Problem: the user says that it is of this kind, and it cannot be.
        """
        return None

    @property
    def classes(self) -> Optional[int]:
        """How many labels there are; None if the outputs do not tell."""
        return int(self.outputs[0]["shape"][-1])

    def read(self, path: str) -> np.ndarray:
        """An input file as ``prepare`` takes it."""
        raise NotImplementedError

    def prepare(self, values: np.ndarray) -> np.ndarray:
        """What ``read`` gives, or an entry of samples.npz, as the network's input: float32, without the batch."""
        return np.asarray(values, np.float32)

    def tensor(self, path: str, model: Model) -> np.ndarray:
        """An input file as the raw input tensor of the model."""
        return model.quantise(self.prepare(self.read(path))[np.newaxis])

    def fits(self, values: np.ndarray) -> bool:
        """Whether the inputs of samples.npz are what ``prepare`` takes."""
        return False

    def noise(self, rng: Any, detail: Dict[str, Any]) -> np.ndarray:
        """A raw input tensor of noise for the input that ``detail`` describes, as the interpreter does."""
        if not is_numeric(detail):
            return zeros_of(detail)
        shape, dtype = tuple(detail["shape"]), detail["dtype"]
        if np.issubdtype(dtype, np.integer):
            top = 128 if np.dtype(dtype).itemsize == 1 else 2
            top = min(top, detail["limits"][1] + 1) if "limits" in detail else top
            return np.asarray(rng.randint(0, top, shape).astype(dtype))
        return np.asarray(rng.uniform(-1, 1, shape).astype(dtype))

    def kept(self, outputs: Sequence[np.ndarray]) -> List[np.ndarray]:
        """The parts of raw outputs, each with its batch, that golden tensors hold and that are compared."""
        return list(outputs)

    def judge(
        self,
        outputs: Sequence[np.ndarray],
        golden: Sequence[np.ndarray],
        tolerance: float,
        body: Optional[Dict[str, Any]] = None,
        delegate: str = "cpu",
    ) -> Dict[str, Any]:
        """Compare outputs with golden ones, one array an output, each (N, ...); the "check" object of --json.

        ``judge()`` documents the arguments.
        """
        return judge(outputs[0], golden[0], tolerance, body, delegate)

    def label(self, outputs: Sequence[np.ndarray]) -> int:
        """The number of the label that real outputs answer with, for --samples."""
        return int(outputs[0].argmax())

    def answer(
        self,
        path: str,
        outputs: Sequence[np.ndarray],
        labels: Sequence[str],
        options: argparse.Namespace,
        mark: str = "",
    ) -> Dict[str, Any]:
        """What stands beside "input" in "predictions" of --json.

        Args:
            path: the input file.
            outputs: real values, each with its batch.
            labels: names of the classes.
            options: the command line; with --output, the answer is drawn there.
            mark: what the name of a drawing ends with, beside OVERLAY.
        """
        return {}

    @staticmethod
    def agreement(check: Dict[str, Any]) -> str:
        """What a line of the report says of equal answers."""
        return "top-1 agrees on %.0f %%" % (100 * check["top1_agreement"])

    def show(self, prediction: Dict[str, Any], cpu: Optional[Dict[str, Any]]) -> None:
        """Print an answer, and beside it the CPU's where both ran."""


#: Every kind of task by its name.
TASKS: Dict[str, Type[Task]] = {}


Kind = TypeVar("Kind", bound=Type[Task])


def kind_of_task(kind: Kind) -> Kind:
    """Enter a class into TASKS."""
    TASKS[kind.name] = kind
    return kind


class Said(NamedTuple):
    """What the user says of a model without model.json."""

    task: Optional[str] = None  # of TASKS
    normalise: Optional[Tuple[List[float], List[float]]] = None  # mean and std: (pixel - mean) / std
    labels: Optional[int] = None  # how many the file of --labels has

    def is_kind(self, kind: Type[Task]) -> bool:
        """Whether it is of this kind of task."""
        return self.task is not None and self.task == kind.name


class Assumed(NamedTuple):
    """What a model without model.json seems to be."""

    input: Dict[str, Any]  # as in model.json, with the "index" of its tensor
    outputs: List[Dict[str, Any]]  # as in model.json, each with the "index" of its tensor
    labels: Optional[List[str]]
    notes: List[str]  # a sentence for each thing that was assumed


#: The shortest side of an input that counts as a picture: of models in use, MNIST's has 28. Features of sounds are
#: narrower (49 x 10), or no square (96 x 64).
LEAST_SIDE = 24


def takes_picture(detail: Dict[str, Any], *, is_said: bool = False) -> bool:
    """Whether an input takes a picture, by its shape; of any size where the user says what the model does."""
    shape = shape_of(detail)
    if len(shape) != 4 or shape[0] != 1 or shape[3] not in (1, 3) or np.dtype(detail["dtype"]).kind not in "iuf":
        return False
    return min(shape) > 0 if is_said else min(shape[1:3]) >= LEAST_SIDE and (shape[3] == 3 or shape[1] == shape[2])


def assume_pixels(
    detail: Dict[str, Any], content: Optional[Content], said: Said
) -> Tuple[List[float], List[float], str, bool]:
    """The mean and the std with which pixels become an input, why, and whether the user or the file says so.

    ``content`` describes this very input; None if it describes another.
    """
    channels, dtype = shape_of(detail)[3], np.dtype(detail["dtype"])
    if said.normalise:
        for numbers in said.normalise:
            if len(numbers) not in (1, channels):
                what = "--normalise has %d numbers, and the input %d channels" % (len(numbers), channels)
                raise Problem(what, "give one number, or one a channel: --normalise 127.5/127.5")
        return (*said.normalise, "as --normalise says", True)
    mean, std = (content.mean, content.std) if content and dtype != np.uint8 else ([], [])
    if len(mean) == len(std) in (1, channels) and all(abs(x) < 1e30 for x in mean) and all(0 < x < 1e30 for x in std):
        return mean, std, "by its metadata", True
    if dtype.kind in "iu" and detail["quantization"][0] > 1e-30 and dtype.itemsize == 1:
        ends = np.asarray(ends_of(detail))  # the pixels 0..255 fill what the tensor can hold
        low, high = (float(end) for end in dequantise(ends, *detail["quantization"]))
        mean, std = [float(-low * 255 / (high - low)) + 0.0], [float(255 / (high - low))]  # no -0
        return mean, std, "by its quantisation", True
    if dtype.kind in "iu" and detail["quantization"][0] <= 1e-30:
        shift = 128.0 if dtype == np.int8 else 0.0
        return [shift], [1.0], "its integers have no scale", False
    usual = ([0.0], [255.0]) if channels == 1 else ([127.5], [127.5])
    return (*usual, "as is usual", False)


#: "input" of model.json for an image, as read_json() wants it.
IMAGE_INPUT = {"colour": _TEXT, "resize": _TEXT, "fit": _TEXT, "mean": [_NUMBER], "std": [_NUMBER]}


class ImageTask(Task):
    """What the kinds that take one image have in common."""

    files = IMAGES
    thing = "image"

    @classmethod
    def check(cls, facts: Dict[str, Any]) -> None:
        """Look at what says how an image becomes the input."""
        given = facts["input"]
        _fit_table(given, IMAGE_INPUT, "input")
        channels = given["shape"][-1:]
        for right, what in (
            (len(given["shape"]) == 4 and given["shape"][0] == 1, "input.shape is not 1, height, width, channels"),
            (channels in ([1], [3]), "input.shape: of 1 channel or 3"),
            (
                all(len(given[key]) in (1, *channels) for key in ("mean", "std")),
                "input.mean and input.std: one a channel",
            ),
            (all(value > 0 for value in given["std"]), "input.std has a number that is not above 0"),
            (given["resize"] in KERNELS, "input.resize is not one of " + ", ".join(KERNELS)),
            (given["fit"] in ("crop", "stretch"), "input.fit is neither crop nor stretch"),
        ):
            if not right:
                raise ValueError(what)

    @classmethod
    def assume_input(cls, model: Model, content: Content, said: Said) -> Optional[Tuple[Dict[str, Any], List[str]]]:
        """How an image becomes the input that takes one, and notes that say so; None if none does."""
        found = [detail for detail in model.inputs if takes_picture(detail, is_said=bool(said.task))]
        if not found:
            return None
        detail, shape = found[0], shape_of(found[0])
        spec: Dict[str, Any] = {"shape": shape, "resize": "bilinear", "fit": "stretch", "index": int(detail["index"])}
        described = content if detail is model.inputs[0] else None
        spec["mean"], spec["std"], why, is_stated = assume_pixels(detail, described, said)
        shown = "%.6g" if said.normalise else "%.4g"
        note = "input: %s, stretched to %d x %d, (pixel - %s) / %s (%s)" % (
            "gray" if shape[3] == 1 else "RGB",
            shape[2],
            shape[1],
            "/".join(shown % value for value in spec["mean"]),
            "/".join(shown % value for value in spec["std"]),
            why,
        )
        if not is_stated:
            note += "; --normalise MEAN/STD sets another scale"
        if shape[3] == 1 and not said.task:
            note += "; one channel, a square: taken for a picture"
        notes = [note]
        if len(found) > 1:
            notes.append("%d inputs may take a picture: the first does" % len(found))
        return spec, notes

    @classmethod
    def assume_classes(
        cls, model: Model, content: Content, said: Said, answers: List[Dict[str, Any]], count: int, why: str = ""
    ) -> Optional[Assumed]:
        """The whole assumption for a model that takes an image and answers with ``count`` classes.

        Raises:
            Problem: the user says that it is of this kind, and it takes no image.
        """
        found = cls.assume_input(model, content, said)
        if found is None and said.is_kind(cls):
            inputs = "; ".join(describe(detail) for detail in model.inputs[:4]) or "none"
            what = "--task %s needs an input of 1 x height x width x 3, or x 1; the inputs are: %s" % (cls.name, inputs)
            raise Problem(what, "leave out --task: the program then prints the outputs as numbers")
        if found is None:
            return None
        labels = next((packed for packed in content.labels if len(packed) == count), None)
        how = "labels packed into the file" if labels else "without labels: give --labels"
        many = "%d classes" % count if count else "an unknown number of classes"
        note = "output: %s, %s, %s%s" % (cls.name, many, how, why and " (%s)" % why)
        return Assumed(found[0], answers, labels, [*found[1], note])

    def read(self, path: str) -> np.ndarray:
        """An image file as pixels: uint8, shape (H, W, C)."""
        return read_image(path, self.input)

    def prepare(self, values: np.ndarray) -> np.ndarray:
        """Pixels as the network's input."""
        return normalise(values, self.input)

    def fits(self, values: np.ndarray) -> bool:
        """Whether samples are pixels of the graph's size."""
        return values.dtype == np.uint8 and values.shape[1:] == tuple(self.input["shape"][1:])

    def noise(self, rng: Any, detail: Dict[str, Any]) -> np.ndarray:
        """An image of noise."""
        return quantise_as(detail, self.prepare(rng.randint(0, 256, tuple(detail["shape"]), np.uint8)))


# --- classification: the best label of an input --------------------------------------------------------------------


class LabelTask(Task):
    """What the kinds have in common that answer once an input."""

    def answer(
        self,
        path: str,
        outputs: Sequence[np.ndarray],
        labels: Sequence[str],
        options: argparse.Namespace,
        mark: str = "",
    ) -> Dict[str, Any]:
        """The best labels with their scores."""
        return {"top": best(outputs[0].reshape(-1), labels, options.top or self.top)}

    def show(self, prediction: Dict[str, Any], cpu: Optional[Dict[str, Any]]) -> None:
        """A line a label, with a bar; with the CPU's beside it, the labels of both."""
        ours = {line["label"]: line["score"] for line in prediction["top"]}
        for label, texts in _table(prediction["top"], cpu["top"] if cpu else None, "score", 100):
            if isinstance(ours.get(label), float):
                texts.append("#" * round(30 * ours[label]))
            print(("    %-20s %s" % (as_text(label, 80), "  ".join(texts))).rstrip())


@kind_of_task
class Classification(LabelTask, ImageTask):
    """The best label of an image. In "predictions": "top": [{"label", "score"}], best first."""

    name = "classification"

    @classmethod
    def assume(cls, model: Model, content: Content, said: Said) -> Optional[Assumed]:
        """One output whose last axis alone has a length, and that something says to hold scores of classes."""
        found = assume_scores(cls, model, content, said)
        if found is None:
            return None
        answer = entry_of(found[0])
        return cls.assume_classes(model, content, said, [answer], answer["shape"][-1], found[1])


#: Models that tell the classes of ImageNet apart have so many outputs, without or with one for the background.
IMAGENET = (1000, 1001)


def entry_of(detail: Dict[str, Any], **more: Any) -> Dict[str, Any]:
    """An output as an entry of "output" of model.json."""
    return {"name": str(detail["name"]), "shape": shape_of(detail), "index": int(detail["index"]), **more}


def assume_scores(kind: Type[Task], model: Model, content: Content, said: Said) -> Optional[Tuple[Dict[str, Any], str]]:
    """The output that holds a score for each class, and why it is one; None if nothing says so.

    Raises:
        Problem: the user says that the model is of this kind, and no output, or more than one, can be that.
    """
    vectors = [d for d in model.outputs if is_numeric(d) and int(np.prod(shape_of(d))) == (shape_of(d) or [1])[-1] > 1]
    ends = [content.ends.get(int(detail["index"])) for detail in vectors]
    sure = [d for d, end in zip(vectors, ends) if end and end.operator in (SOFTMAX, LOG_SOFTMAX) and end.shape]
    sure = [d for d in sure if content.ends[int(d["index"])].shape[-1] == shape_of(d)[-1]]
    if said.is_kind(kind):
        found = sure if len(vectors) > 1 else vectors
        if len(found) == 1:
            return found[0], "as --task says"
        outputs = "; ".join(describe(detail) for detail in model.outputs[:4]) or "none"
        what = "--task %s needs one output with a score for each class; the outputs are: %s" % (kind.name, outputs)
        raise Problem(what, "leave out --task: the program then prints the outputs as numbers")
    if len(model.outputs) != 1 or not vectors or said.task:
        return None
    count = shape_of(vectors[0])[-1]
    for right, why in (
        (bool(sure), "its last operator is SOFTMAX"),
        (any(len(packed) == count for packed in content.labels), ""),
        (said.labels == count, "--labels has as many"),
        (count in IMAGENET, "as many as ImageNet has"),
    ):
        if right:
            return vectors[0], why
    return None


def best(scores: np.ndarray, labels: Sequence[str], top: int) -> List[Dict[str, Any]]:
    """The ``top`` labels with the highest scores, best first; logits become probabilities, NaN and infinity None."""
    if np.isfinite(scores).all() and (scores.min() < -0.01 or scores.max() > 1.01):  # logits: through a softmax
        scores = np.exp(scores - scores.max())
        scores = scores / scores.sum()
    order = np.argsort(-scores, kind="stable")[:top]
    return [{"label": labels[i], "score": float(scores[i]) if np.isfinite(scores[i]) else None} for i in order]


def _table(
    ours: List[Dict[str, Any]], theirs: Optional[List[Dict[str, Any]]], key: str, percent: int
) -> List[Tuple[str, List[str]]]:
    """The labels of one answer, or of two, and the columns of numbers beside each; what prints as 0.0 % is left out."""
    first = {line["label"]: line[key] for line in ours}
    second = {line["label"]: line[key] for line in theirs or ()}
    lines: List[Tuple[str, List[str]]] = []
    for row, label in enumerate([*first, *(label for label in second if label not in first)]):
        columns = [first.get(label, "-")] + ([] if theirs is None else [second.get(label, "-")])
        if row and all(isinstance(value, float) and abs(percent * value) < 0.05 for value in columns):
            continue  # it would print as 0.0 %
        texts = []
        for value in columns:
            if value is None:
                texts.append("not a number")
            elif isinstance(value, float):
                texts.append("%5.1f %%" % (percent * value))
            else:
                texts.append("%7s" % value)
        lines.append((label, texts))
    return lines


# --- audio: the best label of a recording --------------------------------------------------------------------------

#: "input" of model.json for a recording, as read_json() wants it.
AUDIO_INPUT = {
    **dict.fromkeys(("rate", "samples", "bands", "coefficients"), _WHOLE),
    **dict.fromkeys(("window_ms", "hop_ms", "low_hz", "high_hz"), _NUMBER),
}

#: Bounds for the features of a recording: 87 s at 48 kHz, and numbers in a spectrum.
SAMPLES, SPECTRUM = 1 << 22, 1 << 26


@kind_of_task
class Audio(LabelTask):
    """The best label of a recording. In "predictions": "top": [{"label", "score"}], best first."""

    name = "audio"
    files = RECORDINGS
    thing = "WAV file"
    samples = ("recordings", "labels")

    @classmethod
    def check(cls, facts: Dict[str, Any]) -> None:
        """Look at what says how a recording becomes the input."""
        given = facts["input"]
        _fit_table(given, AUDIO_INPUT, "input")
        rate, samples = given["rate"], given["samples"]
        for right, what in (
            (0 < rate <= 1 << 20, "input.rate is not 1 to %d" % (1 << 20)),
            (0 < samples <= SAMPLES, "input.samples is not 1 to %d" % SAMPLES),
            (0 < given["bands"] <= 1 << 10, "input.bands is not 1 to %d" % (1 << 10)),
            (0 < given["coefficients"] <= given["bands"], "input.coefficients is not 1 to input.bands"),
            (0 <= given["low_hz"] < given["high_hz"] <= rate / 2.0, "input.low_hz and input.high_hz are no band"),
            (all(given[key] < 1e6 for key in ("window_ms", "hop_ms")), "input.window_ms or input.hop_ms is too large"),
        ):
            if not right:
                raise ValueError(what)
        window, hop = (round(rate * given[key] / 1000.0) for key in ("window_ms", "hop_ms"))
        if not (0 < window <= samples and hop > 0):
            raise ValueError("input.window_ms or input.hop_ms is not in the recording")
        count = 1 + (samples - window) // hop
        if count * window > SPECTRUM:
            raise ValueError("input.hop_ms makes too many windows")
        shape = given["shape"]
        if not shape or shape[0] != 1 or int(np.prod(shape)) != count * given["coefficients"]:
            raise ValueError("input.shape is not 1, and %d windows of %d" % (count, given["coefficients"]))

    @classmethod
    def assume(cls, model: Model, content: Content, said: Said) -> Optional[Assumed]:
        """What the user alone can say: features of a sound have no shape of their own."""
        found = assume_scores(cls, model, content, said) if said.is_kind(cls) else None
        if found is None:
            return None
        detail, count = model.input, shape_of(found[0])[-1]
        labels = next((packed for packed in content.labels if len(packed) == count), None)
        how = "labels packed into the file" if labels else "without labels: give --labels"
        notes = [
            "input: features as an .npy file for %s: nothing says how a recording becomes them" % describe(detail),
            "output: %s, %d classes, %s (%s)" % (cls.name, count, how, found[1]),
        ]
        return Assumed({"shape": shape_of(detail), "index": int(detail["index"])}, [entry_of(found[0])], labels, notes)

    def read(self, path: str) -> np.ndarray:
        """A WAV file as samples: int16, shape (samples,)."""
        return read_recording(path, self.input)

    def tensor(self, path: str, model: Model) -> np.ndarray:
        """A WAV file, or without a model.json an .npy file of its features, as the raw input tensor."""
        if "rate" in self.input:
            return super().tensor(path, model)
        return read_any(path, model.input)

    def prepare(self, values: np.ndarray) -> np.ndarray:
        """Samples as features."""
        return np.asarray(mfcc(values[np.newaxis], self.input)[0])

    def fits(self, values: np.ndarray) -> bool:
        """Whether samples are recordings of the graph's length."""
        return values.dtype == np.int16 and values.shape[1:] == (self.input["samples"],)


# --- drawings over the input ---------------------------------------------------------------------------------------

#: How the name of an overlay ends.
OVERLAY = "_overlay.png"


#: Longest side of an overlay; larger inputs are made smaller, for the board's memory.
LARGEST = 2048


def read_picture(path: str, spec: Dict[str, Any], largest: int) -> Tuple[np.ndarray, Tuple[int, int]]:
    """A picture as RGB, uint8 (H, W, 3), made smaller where a side is above ``largest``; its own width and height."""

    def look(image: Any) -> Tuple[np.ndarray, Tuple[int, int]]:
        size = image.size
        image.thumbnail((largest, largest))
        return np.asarray(_in_colours(image, 3), np.uint8), size

    if path.endswith(".npy") or not _has_pillow():
        pixels = read_image(path, spec)
        return np.repeat(pixels, 3 // pixels.shape[-1], -1), (pixels.shape[1], pixels.shape[0])
    found: Tuple[np.ndarray, Tuple[int, int]] = _with_picture(path, look)
    return found


def _has_pillow() -> bool:
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        return False
    return True


def save_overlay(path: str, folder: str, mark: str, draw: Callable[[], Any]) -> str:
    """Save what ``draw`` gives, a Pillow image, in the folder of -o, named after the input ``path``; its path."""
    file = os.path.join(folder, os.path.splitext(os.path.basename(path))[0] + mark + OVERLAY)
    try:
        os.makedirs(folder, exist_ok=True)
        draw().save(file)
    except ImportError:
        raise Problem("Pillow is not installed, so no overlay can be drawn", "pip install pillow") from None
    except OSError as error:
        raise Problem(
            "%s cannot be written: %s" % (file, error.strerror or error), "choose another folder with -o"
        ) from None
    return file


def load_font(size: float) -> Any:
    """Pillow's own font; before Pillow 10.1, or without FreeType, it has one small size."""
    from PIL import ImageFont

    try:
        return ImageFont.load_default(size=size)
    except (TypeError, ImportError, OSError):
        return ImageFont.load_default()


def show_overlays(prediction: Dict[str, Any], cpu: Optional[Dict[str, Any]]) -> None:
    """Print the paths of drawings."""
    for path in (prediction.get("overlay"), cpu and cpu.get("overlay")):
        if path:
            print("    -> %s" % as_text(path))


# --- segmentation: the class of each pixel; the build calls these too, for the card's pictures and the evaluation --


@kind_of_task
class Segmentation(ImageTask):
    """The class of each pixel. In "predictions": "classes": [{"label", "share"}], largest first, and "overlay".

    "share" is in % of the pixels, "overlay" the path of the picture or null.
    """

    name = "segmentation"
    draws = True

    @classmethod
    def assume(cls, model: Model, content: Content, said: Said) -> Optional[Assumed]:
        """One output with the class, or a score for each class, of each pixel.

        Several outputs, or others of that shape (feature maps, pictures, heat maps), are not taken for it.
        """
        found = [(detail, cls._classes(detail, model, content, said)) for detail in model.outputs if is_numeric(detail)]
        fits = [(detail, count, why) for detail, (count, why) in found if count]
        if said.is_kind(cls) and len(fits) != 1:
            outputs = "; ".join(describe(detail) for detail in model.outputs[:4]) or "none"
            what = "--task %s needs one output with the classes of each pixel; the outputs are: %s"
            remedy = "leave out --task: the program then prints the outputs as numbers"
            raise Problem(what % (cls.name, outputs), remedy)
        if len(fits) != 1 or (len(model.outputs) != 1 and not said.task):
            return None
        detail, count, why = fits[0]
        more = {"kind": CLASS_MAP, "classes": count} if _is_map(detail) else {}
        answer = entry_of(detail, golden_stride=max(1, shape_of(detail)[1] // 64), **more)
        return cls.assume_classes(model, content, said, [answer], count, why)

    @classmethod
    def _classes(cls, detail: Dict[str, Any], model: Model, content: Content, said: Said) -> Tuple[int, str]:
        """How many classes an output tells apart at each pixel, and why it does; 0 if nothing says that it does."""
        shape, end = shape_of(detail), content.ends.get(int(detail["index"]), End(-1, []))
        is_map, many = _is_map(detail), shape[-1] if shape else 0
        has_scores = len(shape) == 4 and shape[0] == 1 and min(shape[1:]) > 1
        is_picture = shape[1:3] in [shape_of(each)[1:3] for each in model.inputs if takes_picture(each)]
        is_best = end.operator == ARG_MAX and len(end.shape) == 4 and end.shape[1:3] == shape[1:3]
        for right, count, why in (
            (
                is_map and is_best,
                end.shape[-1:],
                "a class for each pixel, without scores: its last operator is ARG_MAX",
            ),
            (is_map and said.is_kind(cls), [said.labels or 256], "as --task says"),
            (is_map or not has_scores, [0], ""),
            (said.is_kind(cls), [many], "as --task says"),
            (not is_picture, [0], ""),
            (many in [len(packed) for packed in content.labels], [many], ""),
            (many == said.labels, [many], "--labels has as many"),
            (end.operator == SOFTMAX and end.shape[-1:] == [many], [many], "its last operator is SOFTMAX"),
            (end.operator in RESIZES and many > 4, [many], "scores resized to the picture"),  # up to 4: a picture?
        ):
            if right:
                return count[0], why
        return 0, ""

    @property
    def classes(self) -> Optional[int]:
        """The last axis; of an output without scores, as the graph or the user says."""
        return int(self.outputs[0].get("classes") or self.outputs[0]["shape"][-1])

    @property
    def is_map(self) -> bool:
        """The output holds classes, and not their scores."""
        return bool(self.outputs[0].get("kind") == CLASS_MAP)

    def judge(
        self,
        outputs: Sequence[np.ndarray],
        golden: Sequence[np.ndarray],
        tolerance: float,
        body: Optional[Dict[str, Any]] = None,
        delegate: str = "cpu",
    ) -> Dict[str, Any]:
        """Compare scores; without scores, the classes of the pixels."""
        if self.is_map:
            return judge_maps(outputs[0], golden[0], body, delegate)
        return super().judge(outputs, golden, tolerance, body, delegate)

    def kept(self, outputs: Sequence[np.ndarray]) -> List[np.ndarray]:
        """Every so manieth row and column: a class map is smooth."""
        step = self.outputs[0].get("golden_stride", 1)
        return [outputs[0][:, ::step, ::step] if step > 1 else outputs[0]]

    def answer(
        self,
        path: str,
        outputs: Sequence[np.ndarray],
        labels: Sequence[str],
        options: argparse.Namespace,
        mark: str = "",
    ) -> Dict[str, Any]:
        """The shares of the classes, and where --output says, the overlay."""
        classes = as_classes(outputs[0]) if self.is_map else class_map(outputs[0])
        if not np.isfinite(outputs[0]).all():  # such a pixel has no class
            classes[~np.isfinite(outputs[0]).all(-1).reshape(classes.shape)] = -1
        found = [
            {"label": label, "share": share} for label, share in shares(classes, labels)[: options.top or self.top]
        ]

        def draw() -> Any:
            return overlay(*at_own_size(path, self.input, classes), labels)

        return {"classes": found, "overlay": save_overlay(path, options.output, mark, draw) if options.output else None}

    def show(self, prediction: Dict[str, Any], cpu: Optional[Dict[str, Any]]) -> None:
        """A line a class; with the CPU's beside it, the classes of both; then where the overlays are."""
        for label, texts in _table(prediction["classes"], cpu["classes"] if cpu else None, "share", 1):
            texts[-1] += " of the pixels"
            print(("    %-20s %s" % (as_text(label, 80), "  ".join(texts))).rstrip())
        show_overlays(prediction, cpu)


def class_map(scores: np.ndarray) -> np.ndarray:
    """The class of each pixel: scores, raw or real, shape (1, H, W, classes) or (H, W, classes), to int32 (H, W)."""
    return np.asarray(scores.reshape(scores.shape[-3:]).argmax(-1), np.int32)


#: "kind" of an output that holds the class of each pixel, and no scores.
CLASS_MAP = "class_map"


def _is_map(detail: Dict[str, Any]) -> bool:
    """Whether an output may hold a class for each pixel: integers without a scale, 1 x H x W or 1 x H x W x 1."""
    shape = shape_of(detail)
    flat = shape[:3] if len(shape) == 4 and shape[3] == 1 else shape
    is_integer = np.dtype(detail["dtype"]).kind in "iu" and not detail["quantization"][0]
    return bool(is_integer and len(flat) == 3 and flat[0] == 1 and min(flat[1:]) > 1)


def as_classes(found: np.ndarray) -> np.ndarray:
    """An output of shape (1, H, W) or (1, H, W, 1) that holds classes, as int32 (H, W)."""
    return np.asarray(np.clip(found.reshape(found.shape[1:3]), -1, 1 << 16), np.int32)


def judge_maps(
    outputs: np.ndarray, golden: np.ndarray, body: Optional[Dict[str, Any]] = None, delegate: str = "cpu"
) -> Dict[str, Any]:
    """Compare the classes of pixels.

    Args:
        outputs: shape (N, ...): classes, of the runtime under test.
        golden: the same of the reference.
        body: "body" of model.json, for the remedy.
        delegate: what ran the model, for the remedy.

    Returns:
        the "check" object of --json; its errors are shares of the pixels.
    """
    other = [float((ours != theirs).mean()) for ours, theirs in zip(outputs, golden)]
    fixed, was_fixed = (all((each == side[0]).all() for each in side) for side in (outputs, golden))
    if max(other) <= PIXELS_THAT_MAY_TURN:
        verdict = "PASS"
    elif len(golden) > 1 and fixed and not was_fixed:
        verdict = "FIXED_OUTPUT"
    else:
        verdict = "MISMATCH"
    check = {
        "verdict": verdict,
        "inputs": len(golden),
        "top1_agreement": 1.0 - float(np.mean(other)),
        "max_error": max(other),
        "mean_error": float(np.mean(other)),
        "tolerance": PIXELS_THAT_MAY_TURN,
        "unit": "absolute",
    }
    if verdict != "PASS":
        check["remedy"] = _remedy(verdict, body or {}, delegate)
    return check


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


#: The part of a class's colour in an overlay; the rest is the picture in grey.
TINT = 0.6


def tint(pixels: np.ndarray, classes: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """The picture with its classes tinted and outlined; the class called "background" stays as it is.

    A tinted pixel is the colour of its class mixed with its own grey: its hue is that of ``legend``.

    Args:
        pixels: uint8, shape (H, W, 3).
        classes: integers, shape (H, W); a pixel without a label (-1, or the 255 of PASCAL) stays as it is.
        labels: names of the classes 0, 1, ...

    Returns:
        uint8, shape (H, W, 3).
    """
    colours = palette(len(labels)).astype(np.float32)
    known = (classes >= 0) & (classes < len(labels))
    is_tinted = np.asarray([not _is_background(label) for label in labels])
    tinted = known & is_tinted[np.where(known, classes, 0)]
    picture = np.array(pixels)
    grey = picture[tinted].astype(np.float32) @ np.asarray([0.299, 0.587, 0.114], np.float32)
    picture[tinted] = np.rint(TINT * colours[classes[tinted]] + (1 - TINT) * grey[:, np.newaxis]).astype(np.uint8)
    edge = tinted & _borders(classes, max(1, max(classes.shape) // 400))
    picture[edge] = colours[classes[edge]].astype(np.uint8)
    return picture


def _is_background(label: str) -> bool:
    return label.lower() == "background"


def legend(classes: np.ndarray, labels: Sequence[str]) -> List[Tuple[str, Tuple[int, int, int]]]:
    """A text and a colour for each class of at least 0.05 % of the pixels, largest first.

    The colour is the class's, mixed with middle grey as ``tint`` mixes it with the picture; white for the background.
    """
    colours = palette(len(labels)).astype(np.float32)
    lines = []
    for label, share in shares(classes, labels):
        red, green, blue = np.rint(TINT * colours[list(labels).index(label)] + (1 - TINT) * 128)
        text = "%.1f" % share
        if text != "0.0":
            mixed = (255, 255, 255) if _is_background(label) else (int(red), int(green), int(blue))
            lines.append(("%s %s %%" % (as_text(label, 60), text), mixed))
    return lines


def overlay(pixels: np.ndarray, classes: np.ndarray, labels: Sequence[str]) -> Any:
    """The tinted picture and, beside it, its legend; ``tint`` documents the arguments.

    Returns:
        a Pillow image, RGB, as high as the picture (or as the legend), and wider.
    """
    from PIL import Image, ImageDraw

    picture, lines = tint(pixels, classes, labels), legend(classes, labels)
    line = max(14, picture.shape[0] // 24)
    font = load_font(line * 0.7)
    wide = max([font.getmask(text).size[0] for text, _ in lines] or [0]) + 3 * line
    high = max(picture.shape[0], line * (len(lines) + 1))
    image = Image.new("RGB", (picture.shape[1] + wide, high), (255, 255, 255))
    image.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(image)
    for row, (text, colour) in enumerate(lines):
        left, upper = picture.shape[1] + line // 2, line // 2 + row * line
        draw.rectangle((left, upper, left + line - 3, upper + line - 3), fill=colour, outline=(0, 0, 0))
        draw.text((left + line + line // 4, upper), text, fill=(0, 0, 0), font=font)
    return image


def _borders(classes: np.ndarray, width: int) -> np.ndarray:
    """Which pixels are at most ``width`` pixels from one of another class, in a row or a column: bool, shape (H, W)."""
    found = np.zeros(classes.shape, bool)
    for step in range(1, width + 1):
        across, down = classes[:, step:] != classes[:, :-step], classes[step:] != classes[:-step]
        found[:, step:] |= across
        found[:, :-step] |= across
        found[step:] |= down
        found[:-step] |= down
    return found


def at_own_size(path: str, spec: Dict[str, Any], classes: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The input as RGB at its own size, and the classes of its pixels: -1 where the graph did not look."""
    from PIL import Image

    picture, _ = read_picture(path, spec, LARGEST)
    height, width = picture.shape[:2]
    left, upper, right, lower = (round(edge) for edge in _seen((width, height), spec))
    nearest = getattr(Image, "Resampling", Image).NEAREST
    whole = np.full((height, width), -1, np.int32)
    if right > left and lower > upper:  # of a picture of one row, the part that the graph saw may be none
        part = Image.fromarray(classes.astype(np.int32)).resize((right - left, lower - upper), nearest)
        whole[upper:lower, left:right] = np.asarray(part)
    return picture, whole


# --- detection: the build calls these too, for the card's pictures and the evaluation ------------------------------

#: An object of this score is an answer, unless --threshold or model.json says otherwise.
THRESHOLD = 0.5

#: How much the boxes of one object, found by two runs, overlap at least, unless model.json says otherwise.
SAME_IOU = 0.9

#: A label that stands for a number of the output that names no class.
UNNAMED = "???"


@kind_of_task
class Detection(ImageTask):
    """Objects. In "predictions": "objects": [{"label", "score", "box"}], the highest score first, and what follows.

    "box" is left, top, right, bottom in pixels of the picture. "below" is the object with the highest score of those
    that the threshold leaves out, or null. "broken" counts those that are left out because they hold NaN or infinity.
    "overlay" is the path of the picture, or null. In "check", "objects" counts those that had to be found again,
    "top1_agreement" is the share of them that were, "max_error" the largest difference of their scores (the whole
    score of one that is missing), "min_iou" the smallest overlap of their boxes, and "turned" counts those in whose
    place a neighbour was found.
    """

    name = "detection"
    draws = True
    has_threshold = True
    top = 100
    assumed_tolerance: ClassVar[Dict[str, float]] = {"int8_steps": 20.0, "float32": 0.05}

    @classmethod
    def check(cls, facts: Dict[str, Any]) -> None:
        """Look at the input, and at what the outputs mean: each is found by its meaning, and not by its place."""
        super().check(facts)
        answers = facts["output"]
        kinds = [answer.get("kind") for answer in answers]
        if sorted(map(str, kinds)) not in (sorted(MEANINGS), sorted(MEANINGS[:3])):
            raise ValueError("output: the kinds are not %s, each once" % ", ".join(MEANINGS))
        shapes = {answer["kind"]: answer["shape"] for answer in answers}
        many = shapes["scores"][-1]
        if (shapes["boxes"], shapes["classes"], shapes["scores"]) != ([1, many, 4], [1, many], [1, many]):
            raise ValueError("output: the shapes of boxes, classes and scores are not 1 x N x 4, 1 x N and 1 x N")
        for answer in answers:
            for key in ("threshold", "iou"):
                if not 0 <= _number(answer.get(key), 0.5) <= 1:
                    raise ValueError("output.%s is not a number from 0 to 1" % key)
            if type(answer.get("classes", 1)) is not int:
                raise ValueError("output.classes is not a whole number")

    @classmethod
    def assume(cls, model: Model, content: Content, said: Said) -> Optional[Assumed]:
        """A graph whose outputs mean boxes, classes and scores: by TFLite's own operator, or by shapes and names."""
        named = {int(detail["index"]): detail for detail in model.outputs}
        meant = content.detector.outputs if content.detector else cls._by_shape(model, said)
        answers = [entry_of(named[index], kind=kind) for kind, index in meant.items() if index in named]
        shapes = {answer["kind"]: answer["shape"] for answer in answers}
        many = shapes.get("scores", [0])[-1]
        if [shapes.get(kind) for kind in MEANINGS[:3]] != [[1, many, 4], [1, many], [1, many]]:
            if said.is_kind(cls):
                outputs = "; ".join(describe(detail) for detail in model.outputs[:4]) or "none"
                what = "--task %s needs outputs of 1 x N x 4, 1 x N and 1 x N for boxes, classes and scores: %s"
                remedy = "leave out --task: the program then prints the outputs as numbers"
                raise Problem(what % (cls.name, outputs), remedy)
            return None
        count = content.detector.classes if content.detector else said.labels or 0
        next(answer for answer in answers if answer["kind"] == "classes")["classes"] = count or None
        why = "by its operator %s" % POSTPROCESS if content.detector else "by the shapes and names of its outputs"
        return cls.assume_classes(model, content, said, answers, count, why)

    @classmethod
    def _by_shape(cls, model: Model, said: Said) -> Dict[str, int]:
        """The meanings of four outputs of 1 x N x 4, 1 x N, 1 x N and 1; empty if they cannot be told.

        Classes and scores have the same shape: their names tell them apart or, where the user says what the model
        does, the order in which TensorFlow 1 or 2 exports detectors.
        """
        outputs = [detail for detail in model.outputs if is_numeric(detail)]
        shapes = [shape_of(detail) for detail in outputs]
        many = next((shape[1] for shape in shapes if len(shape) == 3 and shape[::2] == [1, 4]), 0)
        wanted = ([1, many, 4], [1, many], [1])
        places = [[number for number, shape in enumerate(shapes) if shape == each] for each in wanted]
        if many < 1 or len(shapes) != 4 or [len(each) for each in places] != [1, 2, 1]:
            return {}
        (boxes,), pair, (count,) = places
        names = [str(detail["name"]).lower() for detail in outputs]
        scores = [number for number in pair if "score" in names[number]]
        classes = [number for number in pair if re.search("class|categor|label", names[number])]
        if len(scores) != 1 or len(classes) != 1 or scores == classes:
            order = {(0, 3): (1, 2), (1, 2): (3, 0)}.get((boxes, count))  # TensorFlow 1, and 2
            if order is None or not said.is_kind(cls):
                return {}
            classes, scores = [order[0]], [order[1]]
        chosen = dict(zip(MEANINGS, (boxes, classes[0], scores[0], count)))
        return {kind: int(outputs[number]["index"]) for kind, number in chosen.items()}

    @property
    def classes(self) -> Optional[int]:
        """As model.json, or the graph's own operator, says."""
        found = self._of("classes").get("classes")
        return int(found) if found else None

    @property
    def threshold(self) -> float:
        """The score from which an object is an answer."""
        return _number(self._of("scores").get("threshold"), THRESHOLD)

    def _of(self, kind: str) -> Dict[str, Any]:
        return next((answer for answer in self.outputs if answer.get("kind") == kind), {})

    def matching(self, tolerance: float) -> "Matching":
        """How near two answers must be whose scores may differ by ``tolerance``."""
        iou = _number(self._of("boxes").get("iou"), SAME_IOU)
        return Matching(self.threshold, tolerance, iou, int(self._of("scores")["shape"][-1]))

    def objects(self, outputs: Sequence[np.ndarray]) -> "Objects":
        """What outputs, real numbers in the order of model.json, say."""
        return read_objects({answer["kind"]: outputs[number] for number, answer in enumerate(self.outputs)})

    def judge(
        self,
        outputs: Sequence[np.ndarray],
        golden: Sequence[np.ndarray],
        tolerance: float,
        body: Optional[Dict[str, Any]] = None,
        delegate: str = "cpu",
    ) -> Dict[str, Any]:
        """Compare objects, and not tensors: which of two equal scores stands first means nothing."""
        found = [[self.objects(each) for each in zip(*side)] for side in (outputs, golden)]
        return judge_objects(found[0], found[1], self.matching(tolerance), body, delegate)

    @staticmethod
    def agreement(check: Dict[str, Any]) -> str:
        """How many objects were compared, and found again."""
        if not check.get("objects"):
            return "no object to compare"
        return "%d objects, %.0f %% found again" % (check["objects"], 100 * check["top1_agreement"])

    def answer(
        self,
        path: str,
        outputs: Sequence[np.ndarray],
        labels: Sequence[str],
        options: argparse.Namespace,
        mark: str = "",
    ) -> Dict[str, Any]:
        """The objects above the threshold; where --output says, the picture with their boxes."""
        picture, size = read_picture(path, self.input, LARGEST if options.output else 1)
        found = self.objects(outputs)
        least = self.threshold if options.threshold is None else options.threshold
        boxes = in_picture(found.boxes, size, self.input)
        visible = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])  # others lie outside of the picture
        above = found.scores >= np.float32(least)
        shown = np.flatnonzero(visible & above)[: options.top or self.top]
        lower = np.flatnonzero(visible & ~above)[:1]

        def entry(number: int) -> Dict[str, Any]:
            label = object_name(int(found.classes[number]), labels)
            corners = [round(float(edge), 1) for edge in boxes[number]]
            return {"label": label, "score": float(found.scores[number]), "box": corners}

        objects = [entry(number) for number in shown]
        below = next((entry(number) for number in lower), None)
        path_drawn = None
        if options.output:
            texts = ["%s %.0f %%" % (as_text(each["label"], 40), 100 * each["score"]) for each in objects]

            def draw() -> Any:
                scale = picture.shape[1] / size[0]
                return draw_objects(picture, boxes[shown] * scale, texts, [int(found.classes[n]) for n in shown])

            path_drawn = save_overlay(path, options.output, mark, draw)
        return {"objects": objects, "below": below, "broken": found.broken, "overlay": path_drawn}

    def show(self, prediction: Dict[str, Any], cpu: Optional[Dict[str, Any]]) -> None:
        """A line an object, with its box; with the CPU's beside it, the score of the same object there."""
        theirs = list(cpu["objects"]) if cpu else []
        for ours in prediction["objects"]:
            same = _same_object(ours, theirs)
            if same:
                theirs.remove(same)
            _show_object(ours, ours["score"], same["score"] if same else None, cpu is not None)
        for each in theirs:
            _show_object(each, None, each["score"], True)
        if not prediction["objects"] and not theirs:
            below = prediction["below"]
            best = "; the best is %s, %.1f %%" % (as_text(below["label"], 80), 100 * below["score"]) if below else ""
            print("    no object above the threshold%s" % best)
        if prediction["broken"]:
            print("    %d objects are left out: they hold NaN or infinity" % prediction["broken"])
        show_overlays(prediction, cpu)


def _number(value: Any, otherwise: float) -> float:
    """A number of model.json, or what it is without one; -1 for anything else."""
    if value is None:
        return otherwise
    return float(value) if type(value) in _NUMBER else -1.0


def _same_object(ours: Dict[str, Any], theirs: Sequence[Dict[str, Any]]) -> Optional[Dict[str, Any]]:
    """Of ``theirs`` the object of our label whose box overlaps ours most, by half at least."""
    found = [each for each in theirs if each["label"] == ours["label"]]
    alike = overlaps(np.asarray([ours["box"]]), np.asarray([each["box"] for each in found]).reshape(-1, 4))[0]
    return found[int(alike.argmax())] if found and alike.max() >= NEIGHBOUR_IOU else None


def _show_object(each: Dict[str, Any], ours: Optional[float], theirs: Optional[float], beside: bool) -> None:
    scores = [ours, theirs] if beside else [ours]
    texts = ["%7s" % "-" if score is None else "%5.1f %%" % (100 * score) for score in scores]
    left, upper, right, lower = each["box"]
    place = "at %.0f,%.0f to %.0f,%.0f" % (left, upper, right, lower)
    print("    %-20s %s  %s" % (as_text(each["label"], 80), "  ".join(texts), place))


class Objects(NamedTuple):
    """The objects that a detector found in one picture, the highest score first."""

    boxes: np.ndarray  # float32 (K, 4): top, left, bottom, right, as shares of what the graph sees; may lie outside
    classes: np.ndarray  # int64 (K,)
    scores: np.ndarray  # float32 (K,)
    broken: int  # outputs that are left out, because they hold NaN or infinity

    def above(self, threshold: float) -> "Objects":
        """Those of at least this score."""
        chosen = self.scores >= np.float32(threshold)
        return Objects(self.boxes[chosen], self.classes[chosen], self.scores[chosen], self.broken)


def read_objects(raw: Dict[str, np.ndarray]) -> Objects:
    """Read the outputs of a detector.

    Args:
        raw: boxes (1, N, 4), classes (1, N), scores (1, N) and, where the graph says how many of the N are real,
            count (1,): real numbers.

    Raises:
        Problem: their shapes do not belong together.
    """
    scores = np.asarray(raw["scores"], np.float64).reshape(-1)
    classes = np.asarray(raw["classes"], np.float64).reshape(-1)
    boxes = np.asarray(raw["boxes"], np.float64)
    if boxes.size != 4 * len(scores) or len(classes) != len(scores) or np.size(raw.get("count", 0)) != 1:
        shapes = ", ".join("%s %s" % (name, list(np.shape(raw[name]))) for name in MEANINGS if name in raw)
        raise Problem("the outputs are not those of a detector: %s" % shapes, "copy the whole bundle again", RUNTIME)
    boxes = boxes.reshape(-1, 4)
    count = float(np.asarray(raw["count"]).reshape(-1)[0]) if "count" in raw else len(scores)
    broken = int(not np.isfinite(count))
    count = 0 if broken else int(min(max(round(count), 0), len(scores)))
    right = np.isfinite(boxes).all(1) & np.isfinite(scores) & np.isfinite(classes) & (np.arange(len(scores)) < count)
    broken += count - int(right.sum())
    order = np.flatnonzero(right)
    order = order[np.argsort(-scores[order], kind="stable")]
    numbers = np.rint(np.clip(classes[order], -1e6, 1e6)).astype(np.int64)
    corners = np.clip(boxes[order], -1e6, 1e6).astype(np.float32)
    return Objects(corners, numbers, scores[order].astype(np.float32), broken)


def object_name(number: int, labels: Sequence[str]) -> str:
    """The label of a class; "class N" for one that has no name."""
    known = 0 <= number < len(labels) and labels[number] != UNNAMED
    return labels[number] if known else "class %d" % number


def in_picture(boxes: np.ndarray, size: Tuple[int, int], spec: Dict[str, Any]) -> np.ndarray:
    """Boxes of ``Objects`` as left, top, right, bottom in pixels of a picture: float64 (K, 4), cut at its edges.

    Args:
        boxes: shape (K, 4).
        size: width and height of the picture.
        spec: "input" of model.json: its "fit" says which part of the picture the graph saw.
    """
    left, upper, right, lower = _seen(size, spec)
    across = left + boxes[:, 1::2].astype(np.float64) * (right - left)
    down = upper + boxes[:, 0::2].astype(np.float64) * (lower - upper)
    across, down = np.clip(across, 0, size[0]), np.clip(down, 0, size[1])
    return np.stack([across[:, 0], down[:, 0], across[:, 1], down[:, 1]], axis=1)


def overlaps(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Intersection over union of each of M boxes with each of K: float64 (M, K); 0 where a box has no area.

    Args:
        ours: shape (M, 4): two corners, the first with the smaller coordinates.
        theirs: shape (K, 4), in the same order and unit.
    """
    one, other = np.asarray(ours, np.float64)[:, np.newaxis], np.asarray(theirs, np.float64)[np.newaxis]
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    shared = np.clip(sides, 0, None).prod(-1)
    areas = [np.clip(box[..., 2:] - box[..., :2], 0, None).prod(-1) for box in (one, other)]
    union = areas[0] + areas[1] - shared
    return np.asarray(np.where(shared > 0, shared / np.where(union > 0, union, 1), 0.0))


class Matching(NamedTuple):
    """How near the objects that two runs of a detector found must be."""

    threshold: float  # only objects above it count
    score: float  # largest difference of the scores
    iou: float  # smallest overlap of the boxes
    most: int  # objects that the graph can find: with so many, those of lower scores are cut off


#: Of several boxes around one object, rounding decides which one a detector keeps: they overlap by this, and for this
#: share of the objects another one is right.
NEIGHBOUR_IOU, OBJECTS_THAT_MAY_TURN = 0.5, 0.25


class Matched(NamedTuple):
    """How the objects of one run are found again in another."""

    wanted: int  # objects that have to be found again
    errors: List[float]  # of each: difference of the scores; its whole score where the other lacks it
    ious: List[float]  # of each that is found


def match_objects(wanted: Objects, found: Objects, allowed: Matching) -> Matched:
    """Find objects again: of the same class, each at most once, with the nearest box.

    An object has to be found if it leads the threshold, and what the other run cut off, by the allowed difference of
    scores: what is nearer to them may be missing for rounding alone. Where its own box is not there, a neighbour's is
    taken, which may be that of another object too.
    """
    floor = allowed.threshold
    if len(found.scores) >= allowed.most and len(found.scores):
        floor = max(floor, float(found.scores[-1]))
    sure = wanted.above(floor + allowed.score)
    alike = overlaps(sure.boxes, found.boxes)
    alike[sure.classes[:, np.newaxis] != found.classes[np.newaxis]] = 0
    matched = Matched(len(sure.scores), [], [])
    is_free = np.ones(len(found.scores), bool)
    for number, score in enumerate(sure.scores):
        apart = np.abs(found.scores.astype(np.float64) - float(score))
        same = np.flatnonzero((alike[number] >= max(allowed.iou, 1e-9)) & is_free)
        near = same if len(same) else np.flatnonzero((alike[number] >= NEIGHBOUR_IOU) & (alike[number] < allowed.iou))
        if not len(near):
            matched.errors.append(float(score))
            continue
        best = near[np.lexsort((-alike[number, near], apart[near] > allowed.score))[0]]  # first by the last key
        matched.errors.append(float(apart[best]))
        matched.ious.append(float(alike[number, best]))
        is_free[best] = False
    return matched


def judge_objects(
    outputs: Sequence[Objects],
    golden: Sequence[Objects],
    allowed: Matching,
    body: Optional[Dict[str, Any]] = None,
    delegate: str = "cpu",
) -> Dict[str, Any]:
    """Compare what a detector finds with what it should find: objects, and not raw tensors, whose order is free.

    Args:
        outputs: of the runtime under test, one for each input.
        golden: of the reference kernels, for the same inputs.
        allowed: how far they may be apart.
        body: "body" of model.json, for the remedy.
        delegate: what ran the model, for the remedy.

    Returns:
        the "check" object of --json. An object that only one side has counts with its whole score.
    """
    errors: List[float] = []
    ious: List[float] = []
    for number, theirs in enumerate(golden):
        ours = outputs[number]
        for matched in (match_objects(theirs, ours, allowed), match_objects(ours, theirs, allowed)):
            errors += matched.errors
            ious += matched.ious
    worst, everything = max(errors, default=0.0), [list(outputs), list(golden)]
    fixed, was_fixed = (all(_is_same(each, side[0]) for each in side) for side in everything)
    at_ends, were_at_ends = (_are_at_ends(side) for side in everything)
    broken, turned = any(each.broken for each in outputs), sum(iou < allowed.iou for iou in ious)
    found_all = len(ious) == len(errors) and turned <= OBJECTS_THAT_MAY_TURN * len(errors)
    if broken:
        verdict = "NAN"
    elif worst <= allowed.score + 1e-6 and found_all:
        verdict = "PASS"
    elif len(outputs) > 1 and fixed and not was_fixed:
        verdict = "FIXED_OUTPUT"
    elif at_ends and not were_at_ends:
        verdict = "SATURATED"
    else:
        verdict = "MISMATCH"
    check = {
        "verdict": verdict,
        "inputs": len(outputs),
        "top1_agreement": (len(ious) - turned) / len(errors) if errors else 1.0,
        "max_error": None if broken else worst,
        "mean_error": None if broken else float(np.mean(errors or [0.0])),
        "tolerance": allowed.score,
        "unit": "absolute",
        "objects": len(errors),
        "turned": turned,
        "min_iou": min(ious, default=0.0 if errors else 1.0),
    }
    if verdict != "PASS":
        check["remedy"] = _remedy(verdict, body or {}, delegate)
    return check


def _is_same(ours: Objects, theirs: Objects) -> bool:
    """Two answers do not differ by more than rounding."""
    if len(ours.scores) != len(theirs.scores) or (ours.classes != theirs.classes).any():
        return False
    scores, boxes = np.abs(ours.scores - theirs.scores), np.abs(ours.boxes - theirs.boxes)
    return float(max(scores.max(initial=0), boxes.max(initial=0))) < 0.005


def _are_at_ends(found: Sequence[Objects]) -> bool:
    """There are objects, and each score is 0 or 1, as far as 8 bits can say so."""
    scores = np.concatenate([each.scores for each in found]) if found else np.empty(0)
    return bool(len(scores)) and bool((np.minimum(scores, 1 - scores) < 0.005).all())


def draw_objects(picture: np.ndarray, boxes: np.ndarray, texts: Sequence[str], numbers: Sequence[int]) -> Any:
    """The picture with a frame and a text for each object, the first on top.

    Args:
        picture: uint8, shape (H, W, 3).
        boxes: left, top, right, bottom in its pixels, shape (K, 4).
        texts: what stands at each.
        numbers: of the classes; each has its colour of PASCAL VOC's palette.

    Returns:
        a Pillow image, RGB, of the picture's size.
    """
    from PIL import Image, ImageDraw

    image = Image.fromarray(np.asarray(picture, np.uint8)).convert("RGB")
    draw, line = ImageDraw.Draw(image), max(12, min(image.size) // 24)
    font, width = load_font(line * 0.8), max(2, min(image.size) // 200)
    colours = palette(256)
    for number in reversed(range(len(texts))):
        red, green, blue = (int(part) for part in colours[1 + int(numbers[number]) % 255])
        dark = 299 * red + 587 * green + 114 * blue < 128000
        left, upper, right, lower = (round(float(edge)) for edge in boxes[number])
        frame = (left, upper, max(left, right - 1), max(upper, lower - 1))
        draw.rectangle(frame, outline=(red, green, blue), width=width)
        wide = font.getmask(texts[number]).size[0] + line // 2 if texts[number] else 0
        high = line + 2
        left, upper = max(0, min(left, image.width - wide)), upper if upper < high else upper - high
        draw.rectangle((left, upper, left + wide, upper + high), fill=(red, green, blue))
        ink = (255, 255, 255) if dark else (0, 0, 0)
        draw.text((left + line // 4, upper + 1), texts[number], fill=ink, font=font)
    return image


# --- numbers: a model of which nothing says what its outputs mean --------------------------------------------------

#: How many values of an output are shown.
FIRST = 8


class Numbers(Task):
    """The outputs as numbers. In "predictions": "outputs": [{"name", "shape", "dtype", "min", "max", ...}].

    "mean" is that of all values, "broken" counts those that are NaN or infinity and left out of the other three, and
    "first" has the first values. They are real numbers: integers with a scale are dequantised. Of text and complex
    numbers, "first" has the words, and the others are null.
    """

    has_fixed_outputs = False

    @property
    def classes(self) -> Optional[int]:
        """None: labels have no meaning here."""
        return None

    def tensor(self, path: str, model: Model) -> np.ndarray:
        """An .npy file of the input's shape."""
        return read_any(path, model.input)

    def kept(self, outputs: Sequence[np.ndarray]) -> List[np.ndarray]:
        """All numbers; of an output that holds none, nothing."""
        return [raw if raw.dtype.kind in "biuf" else np.empty(0) for raw in outputs]

    def judge(
        self,
        outputs: Sequence[np.ndarray],
        golden: Sequence[np.ndarray],
        tolerance: float,
        body: Optional[Dict[str, Any]] = None,
        delegate: str = "cpu",
    ) -> Dict[str, Any]:
        """Compare every output by its own range; the "check" object of the worst."""
        checks = []
        for ours, theirs in zip(outputs, golden):
            if not theirs.size or ours.shape != theirs.shape:
                continue
            steps = np.issubdtype(theirs.dtype, np.integer)
            allowed = self.assumed_tolerance["int8_steps" if steps else "float32"]
            scale = 1.0 if steps else max(1.0, float(np.abs(np.nan_to_num(theirs.astype(np.float32))).max()))
            checks.append(judge(ours, theirs, allowed * scale, body, delegate))
        worst = [check for check in checks if check["verdict"] != "PASS"] or checks
        return max(worst, key=lambda check: (check["max_error"] or 0.0) / (check["tolerance"] or 1.0))

    def answer(
        self,
        path: str,
        outputs: Sequence[np.ndarray],
        labels: Sequence[str],
        options: argparse.Namespace,
        mark: str = "",
    ) -> Dict[str, Any]:
        """What the numbers of each output are."""
        return {"outputs": [_as_numbers(known, values) for known, values in zip(self.outputs, outputs)]}

    def show(self, prediction: Dict[str, Any], cpu: Optional[Dict[str, Any]]) -> None:
        """A line an output; with the CPU's beside it, another."""
        for number, output in enumerate(prediction["outputs"]):
            name = as_text(output["name"], 60) or "output %d" % number
            print("    %-20s %s %s" % (name, as_sizes(output["shape"]), output["dtype"]))
            for found, mark in ((output, ""), (cpu["outputs"][number] if cpu else None, "cpu: ")):
                if found:
                    print("    %-20s %s%s" % ("", mark, _in_words(found)))


class PictureNumbers(ImageTask, Numbers):
    """A model that takes a picture, and whose answer is not known: its outputs as numbers."""

    def tensor(self, path: str, model: Model) -> np.ndarray:
        """A picture."""
        return Task.tensor(self, path, model)


def _as_numbers(known: Dict[str, Any], values: np.ndarray) -> Dict[str, Any]:
    found: Dict[str, Any] = {"name": known["name"], "shape": list(values.shape), "dtype": known["dtype"]}
    found.update(min=None, max=None, mean=None, broken=0)
    first = values.reshape(-1)[:FIRST]
    if values.dtype.kind not in "biuf":
        return {**found, "first": [as_text(value, 80) for value in first.tolist()]}
    finite = np.isfinite(values)
    found["broken"] = int(values.size - finite.sum())
    sound = values[finite] if found["broken"] else values
    if sound.size:
        found.update(min=float(sound.min()), max=float(sound.max()), mean=float(sound.mean(dtype=np.float64)))
    return {**found, "first": [float(value) if np.isfinite(value) else None for value in first]}


def _in_words(output: Dict[str, Any]) -> str:
    """The numbers of an output on one line."""

    def short(value: Any) -> str:
        if value is None or isinstance(value, str):
            return value or "NaN or infinity"
        return "%.0f" % value if value == round(value) and abs(value) < 1e15 else "%.5g" % value

    parts = ["%s %s" % (key, short(output[key])) for key in ("min", "max", "mean") if output[key] is not None]
    parts += ["%d are NaN or infinity" % output["broken"]] if output["broken"] else []
    parts += ["first " + " ".join(short(value) for value in output["first"])] if output["first"] else ["no value"]
    return ", ".join(parts)


def read_any(path: str, detail: Dict[str, Any]) -> np.ndarray:
    """Read a file for an input of which nothing says what it takes: the tensor itself, as an .npy file."""
    if detail["index"] < 0:
        raise Problem("the model has no input for %s" % path, "leave out -i")
    if os.path.isfile(path) and not path.lower().endswith(".npy"):
        what = "%s is no input for this model: that the input %s takes a picture or a recording is not known"
        remedy = "give the tensor itself as an .npy file of shape (%s), or the word %s, with -i" % (
            ", ".join(map(str, shape_of(detail))),
            " or ".join(INVENTED),
        )
        if takes_picture(detail, is_said=True):
            remedy += "; if it takes a picture, say with --task what the model does"
        raise Problem(what % (path, describe(detail)), remedy)
    return read_tensor_file(path, detail)


# --- what is known of a model --------------------------------------------------------------------------------------

#: What the program takes from model.json, as read_json() wants it; the class of the task looks further at "input" and
#: "output", which is a list where there are several. "golden_stride": golden outputs hold every so manieth row and
#: column, where each pixel has an answer. Of a variant, "tolerance" wins over the general one, and "aliases" are other
#: names that users know its file by.
FACTS = {
    "format": _WHOLE,
    "task": _TEXT,
    "labels": _TEXT,
    "samples": (str, type(None)),
    "body?": (dict, type(None)),
    "input": {"name": _TEXT, "shape": [_WHOLE]},
    "output": (dict, list),
    "tolerance": {"int8_steps": _NUMBER, "float32": _NUMBER},
    "variants": {
        "*": {
            "file": _TEXT,
            "size": _WHOLE,
            "sha256": _TEXT,
            "golden": _TEXT,
            "tolerance?": _NUMBER,
            "aliases?": [_TEXT],
        }
    },
}


def _check_facts(facts: Dict[str, Any]) -> None:
    """Look at the values of model.json, and make "output" a list; ValueError names one that cannot be."""
    facts["output"] = answers = facts["output"] if isinstance(facts["output"], list) else [facts["output"]]
    _fit_table(answers, [{"name": _TEXT, "shape": [_WHOLE], "golden_stride?": _WHOLE}], "output")
    variants = facts["variants"].values()
    names = [facts["labels"], facts["samples"] or "none"]
    names += [entry[key] for entry in variants for key in ("file", "golden")]
    sizes = facts["input"]["shape"] + [size for answer in answers for size in answer["shape"]]
    tolerances = [*facts["tolerance"].values(), *(entry.get("tolerance", 0) for entry in variants)]
    for right, what in (
        (facts["format"] == 1, "format is %d, not 1" % facts["format"]),
        (facts["task"] in TASKS, "task is not one of " + ", ".join(TASKS)),
        (variants, "there are no variants"),
        (answers and all(answer["shape"] for answer in answers), "an output has no shape"),
        (all(0 < size <= 1 << 16 for size in sizes), "a shape has an invalid size"),
        (all(answer.get("golden_stride", 1) > 0 for answer in answers), "output.golden_stride is not above 0"),
        (all(value >= 0 for value in tolerances if type(value) in _NUMBER), "a tolerance is below 0"),
        (not any(re.search(r"[/\\\0]|^\.*$", name) for name in names), "a file name is not a plain name"),
    ):
        if not right:
            raise ValueError(what)
    TASKS[facts["task"]].check(facts)


class Known(NamedTuple):
    """What is known of one model, from model.json or by assumption."""

    variant: Optional[str]
    task: Task
    labels: Any  # path of the file, a list, or None
    samples: Optional[str]  # path
    golden: Optional[Tuple[np.ndarray, List[np.ndarray]]]  # inputs; the kept part of each output
    tolerance: float  # steps for an integer output, else absolute
    body: Dict[str, Any]
    notes: List[str]


class ModelFile(NamedTuple):
    """A TFLite file to run, and what a bundle's model.json knows of it."""

    path: str
    sha256: str
    #: Whose golden tensors are its own; None: no variant of the bundle's.
    variant: Optional[str]
    #: The model.json beside this program has its very sha256; what else is run, is run apart.
    is_vouched_for: bool


def output_keys(count: int) -> List[str]:
    """What the arrays of so many outputs are called in a file of golden tensors."""
    return ["output"] if count == 1 else ["output_%d" % number for number in range(count)]


class Bundle:
    """model.json and the files that it names."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        path = os.path.join(folder, "model.json")
        try:
            self.facts = read_json(path, FACTS)
            _check_facts(self.facts)
        except FileNotFoundError:
            raise Problem(
                "there is no model.json in %s" % folder,
                "name a model with -m, or start it in the folder of a model.json",
            ) from None
        except OSError as error:
            raise Problem("%s cannot be read: %s" % (path, error.strerror), "make it readable for this user") from None
        except (ValueError, RecursionError) as error:
            raise Problem("%s is damaged: %s" % (path, error), "copy the whole bundle again") from None
        self.files = {entry["file"]: (variant, entry) for variant, entry in self.facts["variants"].items()}
        self.aliases = {name: file for file, (_, entry) in self.files.items() for name in entry.get("aliases", ())}

    def find(self, path: str) -> "ModelFile":
        """What model.json says of a file.

        Raises:
            Problem: its name is one of ours, and its bytes are not.
        """
        size, digest = os.path.getsize(path), _sha256(path)
        for variant, entry in self.files.values():
            if digest == entry["sha256"]:
                return ModelFile(path, digest, str(variant), os.path.samefile(self.folder, HERE))
        variant, entry = self.files.get(os.path.basename(path), (None, None))
        if entry and size != entry["size"]:
            raise Problem("%s is %d bytes, not %d: truncated?" % (path, size, entry["size"]), "copy it again")
        if entry:
            raise Problem("%s is damaged: its sha256 is not that of model.json" % path, "copy it again")
        return ModelFile(path, digest, self._compiled_from(path), False)

    def _compiled_from(self, path: str) -> Optional[str]:
        """Which variant Vela compiled a file from: its golden tensors are those of that variant. None: of none."""
        try:
            table = {"input": {"sha256": _TEXT}}
            origin = read_json(os.path.join(os.path.dirname(path), "vela.json"), table)["input"]["sha256"]
        except (OSError, ValueError, RecursionError):
            return None
        for variant, entry in self.files.values():
            if path.endswith("_vela.tflite") and origin == entry["sha256"]:
                return str(variant)
        return None

    def known(self, variant: str, model: Model) -> Known:
        """What model.json says of a variant; binds the model to the tensors it names."""
        facts, entry = self.facts, self.facts["variants"][variant]
        model.bind(facts["input"]["name"], *(answer["name"] for answer in facts["output"]))
        for side, detail, wanted in (
            ("input", model.input, facts["input"]),
            *(("output", detail, wanted) for detail, wanted in zip(model.bound, facts["output"])),
        ):
            if [int(size) for size in detail["shape"]] != wanted["shape"]:
                what = "%s has %s shape %s, model.json says %s"
                sizes = [int(size) for size in detail["shape"]], wanted["shape"]
                raise Problem(what % (entry["file"], side, *sizes), "copy the whole bundle again")
        steps = np.issubdtype(model.output["dtype"], np.integer)
        inputs, *outputs = self.arrays(entry["golden"], "input", *output_keys(len(model.bound)))
        known = Known(
            variant=variant,
            task=TASKS[facts["task"]](facts["input"], facts["output"]),
            labels=os.path.join(self.folder, facts["labels"]),
            samples=facts["samples"],
            golden=(inputs, outputs),
            tolerance=float(entry.get("tolerance", facts["tolerance"]["int8_steps" if steps else "float32"])),
            body=facts.get("body") or {},
            notes=[],
        )
        question = np.empty(tuple(model.input["shape"]), model.input["dtype"])
        answers = known.task.kept([np.empty(tuple(detail["shape"]), detail["dtype"]) for detail in model.bound])
        for array, tensor in ((inputs, question), *zip(outputs, answers)):
            if array.dtype != tensor.dtype or array.shape[1:] != tensor.shape:
                raise Problem(
                    "%s belongs to another model than %s" % (entry["golden"], entry["file"]), "copy the bundle again"
                )
        return known

    def arrays(self, name: str, *keys: str) -> List[np.ndarray]:
        """The named arrays, equally long, of an .npz file of the bundle."""
        path = os.path.join(self.folder, name)
        try:
            if os.path.exists(path) and not os.path.isfile(path):
                raise ValueError("it is not a regular file")
            with zipfile.ZipFile(path) as packed:
                found = [self._array(packed, key + ".npy") for key in keys]
            if any(array.ndim < 1 or len(array) != len(found[0]) for array in found) or not len(found[0]):
                raise ValueError("its arrays are not equally long")
            if not all(np.isfinite(array).all() for array in found):
                raise ValueError("it holds NaN or infinity")
            return found
        except OSError as error:
            raise Problem("%s cannot be read: %s" % (name, error), "copy the whole bundle again") from None
        except Exception as error:  # BadZipFile, zlib.error and what numpy raises have no common base
            raise Problem("%s is damaged: %s" % (name, error), "copy the whole bundle again") from None

    @staticmethod
    def _array(packed: zipfile.ZipFile, member: str) -> np.ndarray:
        entry = packed.getinfo(member)
        if entry.compress_type not in PACKINGS:
            raise ValueError("%s is compressed with a method that is not supported" % member)
        with packed.open(entry) as stream:
            return read_array(stream, ARRAY_BYTES)


def assume(path: str, model: Model, said: Said = Said()) -> Known:  # noqa: B008  # it cannot change
    """What a model without model.json is, by what it holds and by what the user says; chooses its tensors.

    Raises:
        Problem: it cannot be what the user says.
    """
    content = read_content(path)
    for detail in model.inputs:
        detail.update(
            {"limits": content.limits[int(detail["index"])]} if int(detail["index"]) in content.limits else {}
        )
    kinds: List[Type[Task]] = [TASKS[said.task]] if said.task else list(TASKS.values())
    pairs = ((kind, kind.assume(model, content, said)) for kind in kinds)
    task, found = next(((kind, found) for kind, found in pairs if found), (None, None))
    if said.task and found is None:
        what = "a .tflite file without a model.json does not say how a model of --task %s is read" % said.task
        raise Problem(what, "leave out --task: the program then prints the outputs as numbers")
    if task is None or found is None:
        task, found = _assume_numbers(model, content, said)
    model.choose(found.input["index"], [output["index"] for output in found.outputs])
    tell = "read from the file alone" if issubclass(task, Numbers) else "its tensors and metadata tell what it does"
    notes = ["model.json does not name this file: " + tell, *found.notes]
    others = [detail for detail in model.inputs if detail["index"] != model.input["index"]]
    if others:
        what = "it has %d inputs: %s takes what -i gives; set to zero: %s"
        names = ", ".join(describe(detail) for detail in others[:4]) + (", ..." if len(others) > 4 else "")
        notes.append(what % (len(model.inputs), describe(model.input), names))
    if len(model.outputs) > len(model.bound):
        names = ", ".join(describe(detail) for detail in model.bound)
        notes.append("it has %d outputs: these alone are used: %s" % (len(model.outputs), names))
    if len(content.signatures) > 1:
        names = ", ".join(as_text(name, 40) for name in content.signatures)
        notes.append("it has several signatures (%s): the first subgraph runs" % names)
    steps = np.issubdtype(model.output["dtype"], np.integer)
    return Known(
        variant=None,
        task=task(found.input, found.outputs),
        labels=found.labels,
        samples=None,
        golden=None,
        tolerance=task.assumed_tolerance["int8_steps" if steps else "float32"],
        body={},
        notes=notes,
    )


def _assume_numbers(model: Model, content: Content, said: Said) -> Tuple[Type[Numbers], Assumed]:
    """A model of which nothing says what its outputs mean; it may take a picture all the same."""
    answers = [entry_of(detail, dtype=dtype_name(detail["dtype"])) for detail in model.outputs]
    note = "output: nothing says what it means, so it is printed as numbers; if you know it, say it with --task"
    note = note if answers else "output: the graph has none"
    seen = PictureNumbers.assume_input(model, content, said)
    if seen:
        return PictureNumbers, Assumed(seen[0], answers, None, [*seen[1], note])
    given = next((detail for detail in model.inputs if is_numeric(detail)), (model.inputs or [NO_TENSOR])[0])
    spec = {"shape": shape_of(given), "index": int(given["index"])}
    taking = "input: nothing says what %s takes: an .npy file of its shape" % describe(given)
    return Numbers, Assumed(spec, answers, None, [taking if model.inputs else "input: the graph has none", note])


def _described(model: Model, known: Known) -> Dict[str, Any]:
    """The "tensors" of --json: what is at the ends of a graph, and what its inputs take."""

    def entry(detail: Dict[str, Any]) -> Dict[str, Any]:
        return {"name": str(detail["name"]), "shape": shape_of(detail), "dtype": dtype_name(detail["dtype"])}

    takes = "picture" if isinstance(known.task, ImageTask) else "tensor"
    return {
        "inputs": [
            {**entry(detail), "set": takes if detail["index"] == model.input["index"] else "zeros"}
            for detail in model.inputs[:TENSORS]
        ],
        "outputs": [entry(detail) for detail in model.outputs[:TENSORS]],
    }


#: How many tensors at an end of a graph are listed.
TENSORS = 64


def _noise_inputs(model: Model, known: Known, count: int = 4) -> List[np.ndarray]:
    """Input tensors of noise, the same each time."""
    rng = np.random.RandomState(1)
    return [known.task.noise(rng, model.input) for _ in range(count)]


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _check_file(path: str, known: str) -> None:
    """It is there, can be read, and begins as a TFLite file does."""
    if not os.path.isfile(path):
        raise Problem("there is no file %s" % path, "give the path of a .tflite file with -m" + known)
    try:
        with open(path, "rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise Problem("%s cannot be read: %s" % (path, error.strerror), "make it readable for this user") from None
    if not head:
        raise Problem("%s is empty" % path, "copy it again")
    if head[4:8] != b"TFL3":
        raise Problem("%s is not a TFLite model" % path, "give a .tflite file with -m")


def _read_labels(path: str) -> List[str]:
    try:
        return read_bounded(path, LABEL_BYTES).decode("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise Problem("%s cannot be read: %s" % (path, error), "give a text file of labels with --labels") from None


def _labels(known: Known, path: Optional[str]) -> List[str]:
    wanted = known.task.classes
    path = path or (known.labels if isinstance(known.labels, str) else None)
    if path is None:
        return list(known.labels or ("class %d" % number for number in range(wanted or 0)))
    labels = _read_labels(path)
    if len(labels) != wanted is not None:
        raise Problem("%s has %d labels, the model %d outputs" % (path, len(labels), wanted), "one label a line")
    return labels


# --- the program ---------------------------------------------------------------------------------------------------


def time_runs(model: Model, tensor: np.ndarray, runs: int) -> Tuple[float, Dict[str, Any]]:
    """The first run in ms (a delegate compiles in it) and the steady state over ``runs`` further ones, in ms."""
    spent = []
    for _ in range(1 + runs):
        begin = time.perf_counter()
        model.run_all(tensor)
        spent.append((time.perf_counter() - begin) * 1000.0)
    steady = np.asarray(spent[1:])
    return spent[0], {
        "min": float(steady.min()),
        "median": float(np.median(steady)),
        "p90": float(np.percentile(steady, 90)),
        "runs": runs,
    }


def run_model(
    bundle: Optional[Bundle], file: ModelFile, runtime: Runtime, delegate: Delegate, options: argparse.Namespace
) -> Dict[str, Any]:
    """Everything that was asked of one model: an entry of "models" in --json."""
    path = file.path
    content = read_content(path)
    if content.wrong:
        remedy = "copy it again" if file.variant else "download it again, or convert the model again"
        raise Problem("%s is damaged or truncated: %s" % (path, content.wrong), remedy)
    if content.is_split:
        what = "%s has its weights in another file (external buffers), which this program does not load" % path
        raise Problem(what, "give a .tflite file that holds all of its weights", RUNTIME)
    report: Dict[str, Any] = {"file": os.path.basename(path), "sha256": file.sha256, "variant": file.variant}
    report["task"] = None
    report["delegate"] = delegate.name
    notes: List[str] = []
    try:
        model, delegate = _open(file, runtime, delegate, options.threads, notes)
    except Problem as problem:
        if problem.code != DELEGATE:
            raise
        return {**report, **_failure(problem)}
    if bundle and file.variant:
        known = bundle.known(file.variant, model)
    else:
        known = assume(path, model, _said(options))
        _check_options(known, options)
        report["tensors"] = _described(model, known)
    notes[:0] = known.notes
    report["task"] = known.task.name or None
    report["delegate"] = delegate.name
    if model.nodes:
        report["nodes"] = model.nodes
        if model.nodes["delegated"] == 0:
            report["delegate"] = "cpu"
            what = "%s took none of the nodes of %s: the CPU ran it" % (delegate.library, path)
            if delegate.asked:
                remedy = "the NPU supports none of its operators; the manual of its BSP lists those it supports"
                report.update(_failure(Problem(what, remedy, ON_CPU)))
            else:
                notes.append(what)
    try:
        _measure_all(report, model, known, file, runtime, options, notes)
    except Problem as problem:
        if problem.code != DELEGATE:
            raise
        report.update(_failure(problem))
    if model.refusal:
        what = "XNNPACK, the runtime's own delegate, refuses this file: the CPU runs it without XNNPACK (%s)"
        notes.append(what % model.refusal)
    if notes:
        report["notes"] = notes
    return report


def _said(options: argparse.Namespace) -> Said:
    """What the command line says of a model without model.json."""
    labels = len(_read_labels(options.labels)) if options.labels else None
    return Said(options.task, options.normalise, labels)


def _check_options(known: Known, options: argparse.Namespace) -> None:
    """Options that mean nothing for what a model without model.json turned out to be are a Problem."""
    task = known.task
    is_known, takes_pictures = not isinstance(task, Numbers), isinstance(task, ImageTask)
    answers = "what this model answers is not known" if not is_known else "this model answers with labels"
    for given, right, what in (
        (options.output, task.draws, "-o/--output draws answers over pictures, and " + answers),
        (options.threshold is not None, task.has_threshold, "--threshold is for models that find objects"),
        (options.labels, is_known, "--labels names classes, and " + answers),
        (options.normalise, takes_pictures, "--normalise is for pictures, and no input is known to take one"),
    ):
        if given and not right:
            raise Problem(what, "leave it out" + ("" if is_known else ", or say with --task what the model does"))


def _failure(problem: Problem) -> Dict[str, Any]:
    return {"failure": {"code": problem.code, "what": problem.message, "remedy": problem.remedy}}


#: What to do where a runtime fails in a file that no model.json names.
OTHERS_REMEDY = "give other values with -i, or use a newer runtime (pip install ai-edge-litert)"


def _open(
    file: ModelFile, runtime: Runtime, delegate: Delegate, threads: Optional[int], notes: List[str]
) -> Tuple[Model, Delegate]:
    """The model on the delegate; where "auto" chose one that refuses it, on the CPU."""
    if delegate.library:
        try:
            return Model(file.path, runtime, threads, delegates=[load_delegate(delegate, runtime)]), delegate
        except Problem as problem:
            if problem.code != DELEGATE or delegate.asked:
                raise
            notes.append("%s: the CPU runs it instead" % problem.message)
    model = Model(file.path, runtime, threads, falls_back=True)
    if not file.variant:
        model.remedy = OTHERS_REMEDY
    return model, Delegate("cpu")


def _measure_all(
    report: Dict[str, Any],
    model: Model,
    known: Known,
    file: ModelFile,
    runtime: Runtime,
    options: argparse.Namespace,
    notes: List[str],
) -> None:
    """Add to the report what the model does, on what runs it and, to compare, on the CPU."""
    name = report["delegate"]
    tolerance = known.tolerance
    whole = model.nodes and model.nodes["delegated"] == model.nodes["total"] is not None
    if name == "ethosu" and whole and np.issubdtype(model.output["dtype"], np.integer):
        tolerance = 0.0  # the NPU computes what the reference kernels do, to the bit
    body = known.body or {"upsampling": "nearest" if "RESIZE_NEAREST_NEIGHBOR" in model.operators else ""}
    compare = name != "cpu" and (options.compare or known.golden is None)
    if compare and read_content(file.path).is_vela:
        compare = False
        notes.append("compiled for Ethos-U: nothing was compared, because no CPU can run it")
    elif options.compare and not compare:
        notes.append("nothing was compared, because no NPU ran this model")
    part, outputs = _measure(model, known, name, tolerance, body, options, compare)
    report.update(part)
    if options.samples:
        report["samples"] = _accuracy(model, known, options)
    if not compare:
        return
    model.close()  # a board's memory may not hold it twice
    cpu, _ = _open(file, runtime, Delegate("cpu"), options.threads, notes)
    cpu.choose(model.input["index"], [detail["index"] for detail in model.bound])
    report["cpu"], wanted = _measure(cpu, known, "cpu", known.tolerance, body, options, compare)
    if not any(ours.size and ours.shape == theirs.shape for ours, theirs in zip(outputs, wanted)):
        notes.append("nothing was compared: no output has numbers, or their shapes change from run to run")
        return
    limit = tolerance + known.tolerance  # both may be off
    if known.golden is None and wanted[0].size and not np.issubdtype(wanted[0].dtype, np.integer):
        limit = known.tolerance * max(1.0, float(np.abs(wanted[0]).max()))
    report["compare"] = known.task.judge(outputs, wanted, limit, body, name)


def _measure(
    model: Model,
    known: Known,
    name: str,
    tolerance: float,
    body: Dict[str, Any],
    options: argparse.Namespace,
    compare: bool,
) -> Tuple[Dict[str, Any], List[np.ndarray]]:
    """Times, check, predictions; and what is compared: of each output, shape (N, ...), for the golden inputs or noise.

    The images of the user are compared too.
    """
    task, inputs = known.task, known.golden[0] if known.golden else _noise_inputs(model, known)
    part: Dict[str, Any] = {}
    part["first_ms"], part["steady_ms"] = time_runs(model, inputs[0], options.runs)
    kept = []
    wanted = options.check or options.compare or name != "cpu" or not (options.input or options.samples)
    if compare or (known.golden and wanted):
        kept = [task.kept(model.run_all(tensor)) for tensor in inputs]
    if known.golden and wanted:
        part["check"] = task.judge(_stacked(kept), known.golden[1], tolerance, body, name)
    paths = options.input or ([] if model.inputs else [NO_INPUT])
    if paths:
        labels = _labels(known, options.labels)
        part["predictions"] = []
        mark = "_cpu" if compare and name == "cpu" else ""
        for path in paths:
            raw = model.run_all(_question(path, model, known))
            for output, known_output in zip(raw, task.outputs):
                if task.has_fixed_outputs and list(output.shape) != known_output["shape"]:
                    what = "the output has shape %s, not %s" % (list(output.shape), known_output["shape"])
                    raise Problem(what, "-i needs a model whose output has a fixed shape", RUNTIME)
            kept += [task.kept(raw)] if compare else []
            answer = task.answer(path, model.real(raw), labels, options, mark)
            part["predictions"].append({"input": path, **answer})
    return part, _stacked(kept)


#: In place of an input file, for a graph without an input.
NO_INPUT = "no input"


def _question(path: str, model: Model, known: Known) -> np.ndarray:
    """The raw input tensor for what -i names: a file or, for a model without model.json, a word of INVENTED."""
    if not model.inputs and path == NO_INPUT:
        return np.empty(0, np.float32)
    if path in INVENTED and known.variant is None and not known.task.draws and not os.path.exists(path):
        return zeros_of(model.input) if path == INVENTED[1] else _noise_inputs(model, known, 1)[0]
    return known.task.tensor(path, model)


def _stacked(kept: List[List[np.ndarray]]) -> List[np.ndarray]:
    """The outputs of many inputs as one array an output, shape (N, ...); an empty one where their shapes differ."""
    return [np.stack(each) if len({raw.shape for raw in each}) == 1 else np.empty(0) for each in zip(*kept)]


def _accuracy(model: Model, known: Known, options: argparse.Namespace) -> Dict[str, Any]:
    if known.samples is None:
        raise Problem(
            "this bundle carries no samples: their licence does not allow it"
            if known.variant
            else "only a bundle has samples",
            "give your own files with -i",
        )
    task = known.task
    values, truth = options.bundle.arrays(known.samples, *task.samples)
    if not (task.fits(values) and truth.dtype.kind in "iu" and truth.ndim == 1):
        raise Problem("%s belongs to another model" % known.samples, "copy the bundle again")
    tensors = (model.quantise(task.prepare(value)[np.newaxis]) for value in values)
    answers = [task.label(model.real(model.run_all(tensor))) for tensor in tensors]
    correct = int(np.sum(np.asarray(answers) == truth))
    return {"count": len(truth), "correct": correct, "accuracy": correct / len(truth)}


def show(report: Dict[str, Any], runtime: Runtime, delegate: Delegate) -> None:
    """The report of one model, for people."""
    print("%s on %s (%s %s)" % (as_text(report["file"]), as_text(report["delegate"]), runtime.name, runtime.version))
    for note in report.get("notes", []):
        print("  note      %s" % as_text(note))
    if "nodes" in report:
        nodes = report["nodes"]
        took = "an unknown number of nodes (this runtime does not tell)"
        if nodes["delegated"] is not None:
            took = "%d of %d nodes, in %d parts" % (nodes["delegated"], nodes["total"], nodes["partitions"])
        print("  delegate  %s took %s" % (delegate.library, took))
    cpu = report.get("cpu", {})
    for part, title in ((report, "time"), (cpu, "time cpu")):
        if "steady_ms" in part:
            steady = part["steady_ms"]
            print(
                "  %-8s  first run %.2f ms, then %.2f ms (median of %d; min %.2f, p90 %.2f)"
                % (title, part["first_ms"], steady["median"], steady["runs"], steady["min"], steady["p90"])
            )
    task = TASKS.get(report["task"] or "", Numbers)
    checks = ((report.get("check"), "golden"), (cpu.get("check"), "cpu"), (report.get("compare"), "npu:cpu"))
    for check, title in checks:
        if not check:
            continue
        error = "not a number" if check["max_error"] is None else "%.3g" % check["max_error"]
        agreement = task.agreement(check)
        print(
            "  %-8s  %s: %d inputs, %s, largest error %s (%s, %g allowed)"
            % (title, check["verdict"], check["inputs"], agreement, error, check["unit"], check["tolerance"])
        )
        if "remedy" in check:
            print("            -> %s" % check["remedy"])
    if "samples" in report:
        samples = report["samples"]
        print(
            "  samples   %d of %d right (%.1f %%)" % (samples["correct"], samples["count"], 100 * samples["accuracy"])
        )
    for number, prediction in enumerate(report.get("predictions", [])):
        beside = ": %s, and beside it cpu" % as_text(report["delegate"]) if cpu else ""
        print("  %s%s" % (as_text(prediction["input"]), beside))
        task({}, ()).show(prediction, cpu["predictions"][number] if cpu else None)


def conclude(reports: Sequence[Dict[str, Any]], delegate: Delegate, compares: bool) -> str:
    """The last line: how many models passed, what ran them, and what was not checked or compared."""
    unchecked, wrong = [], []
    for report in reports:
        cpu = report.get("cpu", {})
        verdicts = [
            check["verdict"] for check in (report.get("check"), cpu.get("check"), report.get("compare")) if check
        ]
        bad = next((verdict for verdict in verdicts if verdict != "PASS"), "failed" if "failure" in report else "")
        if bad:
            wrong.append("%s (%s)" % (as_text(report["file"]), bad))
        elif not verdicts:
            unchecked.append(report)
    passed = len(reports) - len(unchecked) - len(wrong)
    kinds = {"cpu": "the CPU", "vx": "the NPU (vx)", "ethosu": "the NPU (ethosu)"}
    ran = sorted({kinds.get(report["delegate"], "the delegate " + as_text(report["delegate"])) for report in reports})
    did = "ran" if len(unchecked) == len(reports) else "PASS"
    count = len(reports) if did == "ran" else passed
    parts = ["%d of %d models %s on %s of %s" % (count, len(reports), did, " and ".join(ran), _machine())]
    parts += ["not PASS: " + ", ".join(wrong)] if wrong else []
    if unchecked:
        has_golden = any(report["variant"] for report in unchecked)
        how = "--check compares with the golden tensors" if has_golden else "there are no golden tensors for it"
        parts.append("%d not checked: %s" % (len(unchecked), how))
    if compares and not wrong and not any("compare" in report for report in reports):
        parts.append("nothing was compared: " + (as_text(delegate.note or "no NPU ran a model")))
    return "; ".join(parts)


def _machine() -> str:
    """The board's name as its device tree has it, else the kind of machine."""
    try:
        name = as_text(read_bounded("/proc/device-tree/model", 4096).rstrip(b"\0"), 100)
    except (OSError, ValueError):
        name = ""
    return name or "this %s machine" % os.uname().machine


#: The folder of a bundle that holds its example inputs.
INPUTS = "inputs"


def _find_input(path: str, bundle: Optional[Bundle]) -> str:
    """The path as given, or, if nothing is there, that of the bundle's own input; old instructions name no folder."""
    if bundle and not os.path.exists(path):
        for place in (os.path.join(bundle.folder, path), os.path.join(bundle.folder, INPUTS, path)):
            if os.path.exists(place):
                return os.path.relpath(place)
    return path


def _inputs(given: Sequence[str], bundle: Optional[Bundle], task: Optional[Type[Task]]) -> List[str]:
    """The files; for a folder the inputs of the kind of task in it, where that is not known those of any, sorted."""
    kinds = [task] if task else list(TASKS.values())
    ends = tuple(sorted({end for kind in kinds for end in kind.files}))
    thing = (task or Task).thing
    found: List[str] = []
    for path in (_find_input(path, bundle) for path in given):
        if not os.path.isdir(path):
            found.append(path)
            continue
        names = [name for name in sorted(os.listdir(path)) if name.lower().endswith(ends) and name[0] != "."]
        inside = [os.path.join(path, name) for name in names if not name.endswith(OVERLAY)]
        if not inside:
            what, remedy = "there is no %s in the folder %s", "give a %s, or a folder of %ss, with -i"
            raise Problem(what % (thing, path), remedy % (thing, thing))
        found += inside
    return found


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    described, *parts = (__doc__ or "").split("\n\n")
    more = "The head of this file documents delegates, verdicts and JSON: less example.py"
    parser = argparse.ArgumentParser(
        prog="example.py",
        usage="python3 example.py [-m MODEL.tflite] [-i IMAGE ...] [OPTION ...]",
        description=described,
        epilog="\n\n".join([*parts[:2], more]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-m", "--model", help="a .tflite file (default: all of this bundle)")
    parser.add_argument(
        "-i",
        "--input",
        nargs="+",
        action="extend",
        help="input files and folders of them: images, .npy files of pixels, WAV files; for a file that no model.json "
        "names also .npy files of tensors, and the words random and zeros",
    )
    parser.add_argument(
        "-q", action="store_true", help="ignored: the file says whether it is quantised (for old scripts)"
    )
    parser.add_argument(
        "-d", "--delegate", default="auto", metavar="{auto,cpu,vx,ethosu,PATH}", help="what computes (default: auto)"
    )
    parser.add_argument(
        "--delegate-option",
        action="append",
        default=[],
        type=_pair,
        metavar="K=V",
        help="an option for the delegate; repeat it for more",
    )
    parser.add_argument(
        "--compare", action="store_true", help="run NPU and CPU side by side, and check both against the golden tensors"
    )
    parser.add_argument("--check", action="store_true", help="compare with the golden tensors, also when -i is given")
    parser.add_argument("--samples", action="store_true", help="measure the accuracy on samples.npz")
    parser.add_argument("--labels", help="a file of labels, one a line (default: labels.txt)")
    parser.add_argument(
        "--task", choices=list(TASKS), help="what a file that no model.json names does (default: what it proves itself)"
    )
    parser.add_argument(
        "--normalise",
        type=_scaling,
        metavar="MEAN/STD",
        help="how pixels become its input: (pixel - MEAN) / STD, one number or one a channel, as 127.5/127.5 or "
        "123.7,116.3,103.5/58.4,57.1,57.4",
    )
    parser.add_argument("--top", type=_positive, help="how many answers to show (default: 5; of objects: 100)")
    parser.add_argument(
        "--threshold", type=_share, metavar="SCORE", help="show objects of at least this score, 0 to 1 (default: 0.5)"
    )
    parser.add_argument("-o", "--output", metavar="DIR", help="draw answers over pictures: INPUT_overlay.png there")
    parser.add_argument("-n", "--runs", type=_positive, default=20, help="timed runs after the first (default: 20)")
    parser.add_argument("-t", "--threads", type=_positive, help="CPU threads (default: the runtime's)")
    parser.add_argument(
        "--timeout",
        type=_positive,
        default=300,
        metavar="SECONDS",
        help="limit for loading, and for each run of, a model that the model.json here does not name (default: 300)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options, left = parser.parse_known_args(arguments)
    if left:
        raise _misplaced(left, [name for action in parser._actions for name in action.option_strings])
    return options


def _misplaced(left: List[str], known: List[str]) -> Problem:
    """What to say of arguments that belong to no option."""
    for word in left:
        if word.startswith("-"):
            near = difflib.get_close_matches(word.split("=")[0], known, 1)
            return Problem("there is no option %s" % word, "did you mean %s?" % near[0] if near else "-h lists them")
    models = [word for word in left if word.endswith(".tflite")]
    option, words = ("-m", models[:1]) if models else ("-i", left)
    what = "no option stands before %s" % ", ".join(words)
    return Problem(what, "use %s: python3 example.py %s %s" % (option, option, " ".join(words)))


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10000:
        raise argparse.ArgumentTypeError("%r is not a whole number from 1 to 10000" % text)
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("%r is not a number from 0 to 1" % text)
    return value


def _scaling(text: str) -> Tuple[List[float], List[float]]:
    sides = text.split("/")
    try:
        mean, std = ([float(number) for number in side.split(",")] for side in sides)
    except ValueError:
        mean, std = [], []
    numbers = [abs(value) < 1e30 for value in mean] + [0 < value < 1e30 for value in std]
    if not numbers or not all(numbers) or any(len(side) not in (1, 3) for side in (mean, std)):
        raise argparse.ArgumentTypeError("%r is not MEAN/STD, such as 127.5/127.5 or 0,0,0/255,255,255" % text)
    return mean, std


def _pair(text: str) -> Tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError("%r is not KEY=VALUE" % text)
    return key, value


def main(arguments: Sequence[str]) -> int:
    """Run the program; returns the exit code."""
    options = parse(arguments)
    if np is None:
        raise Problem("numpy is not installed", "NXP's BSPs ship it; elsewhere: pip install numpy", RUNTIME)
    folders = [os.path.dirname(os.path.abspath(options.model))] if options.model else []
    folders += [os.getcwd(), HERE, os.path.dirname(HERE)]
    folder = next((place for place in folders if os.path.isfile(os.path.join(place, "model.json"))), None)
    bundle = options.bundle = Bundle(folder or HERE) if folder or not options.model else None
    if not options.model:
        models = [os.path.join(bundle.folder, name) for name in sorted(bundle.files)] if bundle else []
    elif bundle and not os.path.isfile(options.model) and os.path.basename(options.model) in bundle.aliases:
        models = [os.path.join(bundle.folder, bundle.aliases[os.path.basename(options.model)])]
    else:
        models = [options.model]
    for path in models:
        _check_file(path, "; here are " + ", ".join(sorted(bundle.files)) if bundle else "")
    found = [bundle.find(path) if bundle else ModelFile(path, _sha256(path), None, False) for path in models]
    task = TASKS[bundle.facts["task"]] if bundle and any(file.variant for file in found) else None
    if task and (options.task or options.normalise):
        what = "--task and --normalise are for a file that no model.json names, and this one does"
        raise Problem(what, "leave them out")
    if options.input:
        options.input = _inputs(options.input, bundle, task)
    if options.output and task and not task.draws:
        what = "-o/--output draws answers over pictures, and this model answers with labels"
        raise Problem(what, "leave it out: the program prints the answers")
    if options.threshold is not None and task and not task.has_threshold:
        raise Problem("--threshold is for models that find objects", "leave it out: --top says how many labels to show")
    stems = [os.path.splitext(os.path.basename(name))[0] for name in options.input or ()]
    if options.output and (len(models) > 1 or len(set(stems)) < len(stems)):
        raise Problem("one overlay would overwrite another", "name one model with -m, and inputs with different names")
    if options.delegate_option and options.delegate == "cpu":
        raise Problem("--delegate-option needs a delegate, and -d cpu has none", "leave out one of them")

    def work() -> int:
        return run_models(bundle, found, options)

    return work() if all(file.is_vouched_for for file in found) else run_apart(work, options.timeout)


def run_models(bundle: Optional[Bundle], models: List[ModelFile], options: argparse.Namespace) -> int:
    """Do what was asked of each model, and print it; returns the exit code."""
    runtime = load_runtime()
    delegate = choose_delegate(options.delegate, options.delegate_option, runtime)
    reports = [run_model(bundle, file, runtime, delegate, options) for file in models]
    if options.json:
        print(json.dumps(_everything(runtime, delegate, reports), indent=2, sort_keys=True))
    else:
        if delegate.note or delegate.library:
            print("delegate: %s (%s)" % (as_text(delegate.name), as_text(delegate.note or delegate.library)))
        for report in reports:
            show(report, runtime, delegate)
        print(conclude(reports, delegate, compares=options.compare))
    codes = [0]
    for report in reports:
        for check in (report.get("check"), report.get("cpu", {}).get("check"), report.get("compare")):
            codes.append(VERDICT if check and check["verdict"] != "PASS" else 0)
        failure = report.get("failure")
        if failure:
            codes.append(failure["code"])
            sys.stderr.write("example.py: %s\n  -> %s\n" % (failure["what"], failure["remedy"]))
    return max(codes)


def _everything(runtime: Runtime, delegate: Delegate, reports: List[Dict[str, Any]]) -> Dict[str, Any]:
    return {
        "format": 1,
        "runtime": {"name": runtime.name, "version": runtime.version},
        "delegate": {
            "name": delegate.name,
            "library": delegate.library,
            "sha256": _sha256(delegate.library) if delegate.library else None,
            "options": dict(delegate.options),
            "note": delegate.note,
        },
        "models": reports,
    }


# --- a process of its own, for files that nothing vouches for ------------------------------------------------------


def run_apart(work: Callable[[], int], seconds: int) -> int:
    """Run ``work`` in a child process with bounds; print what it printed, and return its exit code.

    The child begins before a runtime or a delegate is loaded: these live in it alone. A crash of the child, or a
    bound that it exceeded, is a Problem; nothing that it printed to stdout is shown then.
    """
    if not hasattr(os, "fork"):  # no board is without it
        return work()
    sys.stdout.flush()
    sys.stderr.flush()
    pipes = [os.pipe(), os.pipe()]
    with warnings.catch_warnings():  # Python warns of numpy's threads; they sleep, and the child needs none of them
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        code = 1
        try:
            for number, (_, end) in enumerate(pipes, 1):
                os.dup2(end, number)
            _set_bounds(seconds)
            code = exit_code(work)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            try:
                sys.stderr.flush()  # Python 3.8 keeps it back where it is no terminal
            finally:
                os._exit(code)  # without the cleaning up of the runtime, which may crash
    for _, end in pipes:
        os.close(end)
    try:
        out, err = _collect([begin for begin, _ in pipes])
        status = os.waitpid(child, 0)[1]
        child = 0
    finally:
        if child:  # Ctrl-C, or too much output
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if os.WIFEXITED(status):
        sys.stdout.write(_lines(out))
        sys.stdout.flush()
    sys.stderr.write(_lines(err))
    if os.WIFEXITED(status):
        return os.WEXITSTATUS(status)
    number = os.WTERMSIG(status)
    if number == signal.SIGALRM:
        what, remedy = "loading or running the model took longer than %d s" % seconds, "allow more with --timeout"
    else:
        names = {int(found): found.name for found in signal.Signals}
        what = "the model made the runtime crash (signal %d, %s)" % (number, names.get(number, "unknown"))
        remedy = (
            "the file is damaged or hostile, needs more than %d MiB, or meets a defect of the runtime: download it "
        )
        remedy = (remedy + "again, or use a newer runtime") % (MEMORY >> 20)
    raise Problem(what, remedy, BOUNDS)


def _set_bounds(seconds: int) -> None:
    """Give this process bounds on memory and time, and let it end with its parent."""
    import resource

    Model.seconds = seconds
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
    np.seterr(all="ignore")  # what is NaN or infinity is said in the verdict
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, of Linux
        with open("/proc/self/statm") as stream:
            used = int(stream.read().split()[0]) * resource.getpagesize()
        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        wanted = used + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (wanted if most < 0 else min(wanted, most), most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError, AttributeError):
        pass  # not Linux: the bound on time is there


def _collect(ends: List[int]) -> List[bytes]:
    """What comes out of the pipes, each to its end."""
    found = {end: bytearray() for end in ends}
    left = list(ends)
    while left:
        for end in select.select(left, [], [])[0]:
            block = os.read(end, 1 << 16)
            found[end] += block
            if not block:
                left.remove(end)
                os.close(end)
        if sum(map(len, found.values())) > OUTPUT_BYTES:
            what = "the model made the runtime print more than %d bytes" % OUTPUT_BYTES
            raise Problem(what, "download the file again, or give fewer images", BOUNDS)
    return [bytes(found[end]) for end in ends]


def _lines(data: bytes) -> str:
    """A process's output with nothing in it that acts on the terminal."""
    lines = data.decode("utf-8", "replace").split("\n")
    return "\n".join(spell(line) for line in lines)


def exit_code(work: Callable[[], int]) -> int:
    """Run ``work``; print a message instead of a traceback for a user's mistake; returns the exit code."""
    try:
        code = work()
        sys.stdout.flush()
        return code
    except Problem as problem:
        sys.stderr.write("example.py: %s\n" % problem)
        return problem.code
    except MemoryError:
        what = "there is not enough memory for the model or the input"
        sys.stderr.write("example.py: %s\n  -> give a smaller one\n" % what)
        return BOUNDS
    except BrokenPipeError:  # the reader closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    for terminal in (sys.stdout, sys.stderr):
        getattr(terminal, "reconfigure", dict)(errors="backslashreplace")  # it may not know every letter
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged images
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
