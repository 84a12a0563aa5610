"""Data sets: images and labels, from pinned sources or drawn by the pipeline itself."""

from __future__ import annotations

import gzip
import math
import random
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from utils import sources
from utils.errors import DataError
from utils.recipe import DrawnSet, IdxSet, Recipe

__all__ = ["Examples", "draw", "load", "read_idx"]


@dataclass(frozen=True)
class Examples:
    """Images with labels.

    Attributes:
        images: uint8, shape (N, height, width, channels), pixel values 0..255.
        labels: int64, shape (N,), index into the recipe's labels.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def load(recipe: Recipe, name: str) -> Examples:
    """The data set that the recipe calls ``name``; missing sources are fetched.

    Raises:
        DataError: a file is not what it should be.
        SourceError: a file cannot be had.
    """
    dataset = recipe.datasets[name]
    where = f"recipes/{recipe.folder}/recipe.toml: datasets.{name}"
    examples = draw(dataset) if isinstance(dataset, DrawnSet) else _idx(recipe, dataset)
    _, height, width, channels = recipe.input.shape
    if examples.images.shape[1:] != (height, width, channels):
        raise DataError(
            f"images of {examples.images.shape[1:]}, but the graph takes {(height, width, channels)}",
            where=where,
            hint="mend input.shape, or name another data set",
        )
    if not len(examples.images):
        raise DataError("has no images", where=where, hint="name another data set")
    if examples.labels.max(initial=0) >= len(recipe.labels):
        raise DataError(
            f"a label is {examples.labels.max()}, but the recipe has {len(recipe.labels)} labels",
            where=where,
            hint="mend labels, or name another data set",
        )
    return examples


def _idx(recipe: Recipe, dataset: IdxSet) -> Examples:
    images = read_idx(sources.fetch(recipe.sources[dataset.images].source()), recipe.sources[dataset.images].file)
    labels = read_idx(sources.fetch(recipe.sources[dataset.labels].source()), recipe.sources[dataset.labels].file)
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise DataError(
            f"images have shape {images.shape} and labels {labels.shape}; (N, height, width) and (N,) belong together",
            where=f"{recipe.sources[dataset.images].file}, {recipe.sources[dataset.labels].file}",
            hint="the recipe names the wrong pair of files",
        )
    return Examples(images[..., np.newaxis], labels.astype(np.int64))


def read_idx(file: Path, name: str = "") -> npt.NDArray[np.uint8]:
    """Read a gzipped idx file of unsigned bytes.

    The format (http://yann.lecun.com/exdb/mnist): two zero bytes, type 0x08, number of dimensions, then each
    dimension as a big-endian int32, then the bytes.

    Args:
        file: where it is.
        name: what to call it in a message; the file's own name when empty.

    Raises:
        DataError: not gzip, wrong magic, a short or a long body.
    """
    where = name or file.name
    hint = "the recipe names the wrong file: this one has the hash that the recipe pins"
    try:
        raw = gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"not a whole gzip file: {error}", where=where, hint=hint) from None
    if len(raw) < 4 or raw[:3] != b"\0\0\x08" or raw[3] == 0:
        raise DataError(
            f"wrong magic {raw[:4].hex()!r}: an idx file of bytes starts with '000008' and its dimensions",
            where=where,
            hint=hint,
        )
    rank = raw[3]
    start = 4 + 4 * rank
    if len(raw) < start:
        raise DataError("ends inside the header", where=where, hint=hint)
    shape = struct.unpack(f">{rank}I", raw[4:start])
    if len(raw) - start != math.prod(shape):
        raise DataError(
            f"the header says {shape}, {math.prod(shape)} bytes, but {len(raw) - start} follow", where=where, hint=hint
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


#: Edge of a drawn digit in pixels, and how much larger it is drawn before it is made small.
_EDGE, _SCALE = 28, 4


def draw(dataset: DrawnSet) -> Examples:
    """Draw digits with Pillow's built-in font: random size, slant, turn, shift and stroke.

    They look like MNIST from afar and are none of it: white on black, 28x28, balanced classes. The same seed gives
    the same bytes.
    """
    chance = random.Random(dataset.seed)
    images = np.empty((dataset.count, _EDGE, _EDGE, 1), np.uint8)
    labels = np.arange(dataset.count, dtype=np.int64) % 10
    chance_order = list(range(dataset.count))
    chance.shuffle(chance_order)
    labels = labels[chance_order]
    for index, label in enumerate(labels):
        images[index, ..., 0] = _digit(str(label), chance)
    return Examples(images, labels)


def _digit(text: str, chance: random.Random) -> npt.NDArray[np.uint8]:
    edge = _EDGE * _SCALE
    middle = edge / 2
    font = ImageFont.load_default(size=chance.randint(17, 24) * _SCALE)
    sheet = Image.new("L", (edge, edge))
    ImageDraw.Draw(sheet).text(
        (middle, middle),
        text,
        fill=255,
        font=font,
        anchor="mm",
        stroke_width=chance.randint(0, _SCALE),
        stroke_fill=255,
    )
    turn, slant = chance.uniform(-0.26, 0.26), chance.uniform(-0.3, 0.3)  # radians; share of the height
    wide, tall = chance.uniform(0.85, 1.2), chance.uniform(0.9, 1.15)
    right, down = (chance.uniform(-2.5, 2.5) * _SCALE for _ in range(2))
    cos, sin = math.cos(turn), math.sin(turn)
    # the inverse map, from where a pixel goes to where it comes from
    a, b = wide * cos, wide * sin + slant
    d, e = -tall * sin, tall * cos
    c = middle - a * (middle + right) - b * (middle + down)
    f = middle - d * (middle + right) - e * (middle + down)
    moved = sheet.transform((edge, edge), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR)
    return np.asarray(moved.resize((_EDGE, _EDGE), Image.Resampling.BOX), np.uint8)
