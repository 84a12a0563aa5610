"""Data sets: inputs with labels, masks or boxes, from pinned sources or drawn by the pipeline itself."""

from __future__ import annotations

import functools
import gzip
import math
import random
import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from utils import environment, example, limits, timing
from utils.errors import BuildError, DataError
from utils.model import preprocess
from utils.recipe import lists
from utils.recipe.datasets import DrawnSet, FileSet, IdxSet
from utils.recipe.schema import Recipe
from utils.sources.fetch import fetch, fetch_all
from utils.sources.source import Source
from utils.tasks import Examples, ReadTruth
from utils.untrusted import as_text, parse_json, read_bounded

__all__ = ["draw", "examples", "labels", "load", "pictures", "read_idx", "showcase"]


def labels(recipe: Recipe) -> list[str]:
    """Get the names of the classes in the order of the output, from the recipe or from Keras's class index.

    That file (https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json) holds
    ``{"0": ["n01440764", "tench"], ...}``. Underscores become spaces.

    Raises:
        DataError: the source is not a class index, or has another number of classes.
    """
    if isinstance(recipe.labels, list):
        return recipe.labels
    entry = recipe.sources[recipe.labels]
    hint = "the recipe names the wrong file"
    try:
        content = read_bounded(fetch(entry.source()), limits.JSON_BYTES)
        table = parse_json(content, where=entry.file, error=DataError, hint=hint)
        names = [_class_name(table[str(index)][1]) for index in range(len(table))]
    except (OSError, ValueError, LookupError, TypeError) as error:
        what = f"not a class index: {type(error).__name__} {as_text(error, 100)}"
        raise DataError(what, where=entry.file, hint=hint) from None
    if len(names) != recipe.classes:
        raise DataError(f"{len(names)} labels for {recipe.classes} outputs", where=entry.file, hint="correct labels")
    return names


def _class_name(name: object) -> str:
    """Read a label of a class index; raises ValueError if a line of labels.txt cannot hold it."""
    if not isinstance(name, str) or not name.isprintable():
        raise ValueError(f"{as_text(name, 80)!r} is not the name of a class")
    return name.replace("_", " ")


@timing.phase("read")
def load(recipe: Recipe, name: str, count: int | None = None, read_truth: ReadTruth | None = None) -> Examples:
    """Load the data set that the recipe calls ``name``, or its first ``count`` inputs; missing sources are fetched.

    Masks or boxes are read with ``read_truth``, and left out without it.

    Raises:
        DataError: a file is not what it should be.
        SourceError: a file cannot be fetched.
    """
    dataset = recipe.datasets[name]
    where = f"{recipe.where}: datasets.{name}"
    if isinstance(dataset, FileSet):
        examples = _files(recipe, recipe.rows(name)[:count], read_truth)
    else:
        examples = draw(dataset, count) if isinstance(dataset, DrawnSet) else _idx(recipe, dataset)
        examples = Examples(examples.inputs[:count], examples.labels[:count])
    if not preprocess.fits(examples.inputs, recipe.input):
        raise DataError(
            f"inputs of {examples.inputs.shape[1:]}, but the graph takes {tuple(recipe.input.shape[1:])}",
            where=where,
            hint="correct input.shape, or name another data set",
        )
    if not len(examples.inputs):
        raise DataError("has no inputs", where=where, hint="name another data set")
    known = recipe.classes
    if examples.labels.max(initial=0) >= known:
        raise DataError(
            f"a label is {examples.labels.max()}, but the recipe has {known} labels",
            where=where,
            hint="correct labels, or name another data set",
        )
    return examples


def examples(recipe: Recipe) -> Examples:
    """Load the example inputs: the recipe's files, or the first input of each label, then the second of each, ...

    Raises:
        BuildError: the evaluation set has too few inputs, or a file's label is not one of the recipe's.
        DataError: a file cannot be read.
    """
    if isinstance(recipe.examples, list):
        names = labels(recipe)
        for number, entry in enumerate(recipe.examples):
            if entry.label and entry.label not in names:
                raise BuildError(
                    f"{entry.label!r} is not one of the labels",
                    where=f"{recipe.where}: examples.{number}.label",
                    hint="name one of the labels",
                )
        return Examples(
            np.stack([_read(recipe, source, fetch(source)) for source in pictures(recipe)]),
            np.asarray([names.index(entry.label) if entry.label else -1 for entry in recipe.examples], np.int64),
        )
    found = load(recipe, recipe.evaluation.dataset)
    chosen = showcase(recipe, found.labels)
    if len(chosen) < recipe.examples:
        raise BuildError(
            f"examples is {recipe.examples}, but the evaluation set has only {len(chosen)} inputs",
            where=f"{recipe.where}: examples",
            hint="lower examples, or name a larger evaluation set",
        )
    return Examples(found.inputs[chosen], found.labels[chosen])


def showcase(recipe: Recipe, given: npt.NDArray[np.int64]) -> list[int]:
    """Choose the example inputs, by index: the first of each label, then the second of each, ..."""
    by_label = [list(np.flatnonzero(given == label)) for label in range(recipe.classes)]
    turns = [int(of[turn]) for turn in range(len(given)) for of in by_label if turn < len(of)]
    return turns[: recipe.examples if isinstance(recipe.examples, int) else None]


def pictures(recipe: Recipe) -> list[Source]:
    """The sources of the recipe's own example files; empty if examples come from the evaluation set."""
    chosen = recipe.examples if isinstance(recipe.examples, list) else []
    return [recipe.sources[entry.source].source() for entry in chosen]


def _files(recipe: Recipe, rows: Sequence[lists.Row], read_truth: ReadTruth | None) -> Examples:
    found = fetch_all([source for row in rows for source in (row.sources if read_truth else (row.source,))])

    def read(row: lists.Row) -> npt.NDArray[Any]:
        return _read(recipe, row.source, found[row.source])

    with ThreadPoolExecutor(environment.cores()) as pool:  # Pillow releases the GIL while it decodes
        inputs = np.stack(list(pool.map(read, rows)))
    truths = tuple(
        read_truth(recipe, row.truth, found[row.truth], found[row.source]) for row in rows if read_truth and row.truth
    )
    return Examples(inputs, np.asarray([row.label for row in rows if row.label is not None], np.int64), truths)


def _read(recipe: Recipe, source: Source, file: Path) -> npt.NDArray[Any]:
    try:
        return preprocess.read(file, recipe.input)
    except example.Problem as error:
        what = str(error).splitlines()[0].removeprefix(f"{file} ")  # its name in the cache
        raise DataError(what, where=source.name, hint="name another file: complete, in a common format") from None


def _idx(recipe: Recipe, dataset: IdxSet) -> Examples:
    images = read_idx(fetch(recipe.sources[dataset.images].source()), recipe.sources[dataset.images].file)
    labels = read_idx(fetch(recipe.sources[dataset.labels].source()), recipe.sources[dataset.labels].file)
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise DataError(
            f"images have shape {images.shape} and labels {labels.shape}; they must be (N, height, width) and (N,)",
            where=f"{recipe.sources[dataset.images].file}, {recipe.sources[dataset.labels].file}",
            hint="the recipe names the wrong pair of files",
        )
    return Examples(images[..., np.newaxis], labels.astype(np.int64))


def read_idx(file: Path, name: str = "") -> npt.NDArray[np.uint8]:
    """Read a gzipped idx file of unsigned bytes.

    The format (http://yann.lecun.com/exdb/mnist): two zero bytes, type 0x08, number of dimensions, then each
    dimension as a big-endian int32, then the bytes.

    Args:
        file: its path.
        name: its name in a message; the file's own name when empty.

    Raises:
        DataError: not gzip, wrong magic, more than ``limits.IDX_BYTES``, a body that is too short or too long.
    """
    where = name or file.name
    hint = "name another file: this one has the pinned hash, so the recipe names the wrong one"
    try:
        with gzip.open(file) as stream:
            magic = stream.read(4)
            if len(magic) < 4 or magic[:3] != b"\0\0\x08" or not 1 <= magic[3] <= _RANK:
                right = f"an idx file of bytes starts with '000008' and 1 to {_RANK} dimensions"
                raise DataError(f"wrong magic {magic.hex()!r}: {right}", where=where, hint=hint)
            header = stream.read(4 * magic[3])
            if len(header) < 4 * magic[3]:
                raise DataError("ends inside the header", where=where, hint=hint)
            shape = struct.unpack(f">{magic[3]}I", header)
            size = math.prod(shape)
            if size > limits.IDX_BYTES:
                what = f"the header claims {shape}, more than {limits.IDX_BYTES:,} bytes"
                raise DataError(what, where=where, hint=hint)
            body = stream.read(size + 1)  # never more, whatever it would unpack to
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        raise DataError(f"not a complete gzip file: {as_text(error)}", where=where, hint=hint) from None
    if len(body) != size:
        follow = "more" if len(body) > size else f"{len(body)}"
        raise DataError(f"the header says {shape}, {size} bytes, but {follow} follow", where=where, hint=hint)
    return np.frombuffer(body, np.uint8).reshape(shape)


#: The most dimensions of an idx file: images, height, width, channels.
_RANK = 4

#: Edge of a drawn digit in pixels, and how much larger it is drawn before it is scaled down.
_EDGE, _SCALE = 28, 4


def draw(dataset: DrawnSet, count: int | None = None) -> Examples:
    """Draw digits with Pillow's built-in font: random size, slant, rotation, shift and stroke.

    They resemble MNIST (white on black, 28x28, balanced classes) but are not handwriting. The same seed gives the same
    bytes.

    Args:
        dataset: how many, and the seed.
        count: draw only the first so many of them.
    """
    rng = random.Random(dataset.seed)
    labels = np.arange(dataset.count, dtype=np.int64) % 10
    order = list(range(dataset.count))
    rng.shuffle(order)
    labels = labels[order][:count]
    images = np.empty((len(labels), _EDGE, _EDGE, 1), np.uint8)
    for index, label in enumerate(labels):
        images[index, ..., 0] = _digit(str(label), rng)
    return Examples(images, labels)


@functools.cache
def _sheet(text: str, size: int, stroke: int) -> Image.Image:
    """A digit upright in the middle, four times as large: of these there are few, and they take most of the time."""
    edge = _EDGE * _SCALE
    sheet = Image.new("L", (edge, edge))
    ImageDraw.Draw(sheet).text(
        (edge / 2, edge / 2), text, fill=255, font=_font(size), anchor="mm", stroke_width=stroke, stroke_fill=255
    )
    return sheet


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _digit(text: str, rng: random.Random) -> npt.NDArray[np.uint8]:
    edge = _EDGE * _SCALE
    middle = edge / 2
    size = rng.randint(17, 24) * _SCALE
    sheet = _sheet(text, size, rng.randint(0, _SCALE))
    turn, slant = rng.uniform(-0.26, 0.26), rng.uniform(-0.3, 0.3)  # radians; share of the height
    wide, tall = rng.uniform(0.85, 1.2), rng.uniform(0.9, 1.15)
    right, down = (rng.uniform(-2.5, 2.5) * _SCALE for _ in range(2))
    cos, sin = math.cos(turn), math.sin(turn)
    # the inverse map, from a pixel's destination to its origin
    a, b = wide * cos, wide * sin + slant
    d, e = -tall * sin, tall * cos
    c = middle - a * (middle + right) - b * (middle + down)
    f = middle - d * (middle + right) - e * (middle + down)
    moved = sheet.transform((edge, edge), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR)
    return np.asarray(moved.resize((_EDGE, _EDGE), Image.Resampling.BOX), np.uint8)
