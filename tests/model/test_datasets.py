"""Data sets: idx files, image files, masks and names, whole and damaged, served as a user's mirror serves them."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image

from utils import example, paths
from utils.errors import BuildError, DataError
from utils.model import datasets, preprocess
from utils.recipe.datasets import DrawnSet, IdxSet, ImageSet, SourceFile
from utils.recipe.load import find_recipe
from utils.recipe.schema import Recipe
from utils.recipe.tables import Example
from utils.tasks.segmentation.measure import read_truth

#: Without the time, so that every process names its tests alike.
compress = functools.partial(gzip.compress, mtime=0)

IMAGES = np.random.default_rng(1).integers(0, 256, (12, 28, 28), np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 10


def idx(array: np.ndarray, magic: bytes = b"\0\0\x08") -> bytes:
    return magic + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function: the bytes of two files -> a recipe whose evaluation set they are, in a mirror of their own."""
    monkeypatch.setenv("ZOO_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    (tmp_path / "mirror").mkdir()

    def source(name: str, data: bytes) -> SourceFile:
        sha256 = hashlib.sha256(data).hexdigest()
        (tmp_path / "mirror" / sha256).write_bytes(data)
        url = f"https://example.invalid/{name}"
        return SourceFile(file=name, urls=[url], size=len(data), sha256=sha256, licence="MIT", what="a test")

    def make(images: bytes, labels: bytes) -> Recipe:
        found = find_recipe("mnist_nearest")
        ours = {"test_images": source("images.gz", images), "test_labels": source("labels.gz", labels)}
        return found.model_copy(update={"sources": {**found.sources, **ours}})

    return make


def test_idx_round_trip(serve) -> None:
    found = datasets.load(serve(compress(idx(IMAGES)), compress(idx(LABELS))), "test")
    assert found.inputs.dtype == np.uint8
    assert found.labels.dtype == np.int64
    np.testing.assert_array_equal(found.inputs, IMAGES[..., np.newaxis])
    np.testing.assert_array_equal(found.labels, LABELS)


GOOD = compress(idx(IMAGES))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (compress(idx(IMAGES, b"\0\0\x0d")), "images.gz: wrong magic '00000d03'"),
        (compress(idx(IMAGES, b"\1\0\x08")), "images.gz: wrong magic"),
        (compress(b"\0\0\x08\0" + b"x"), "images.gz: wrong magic '00000800'"),
        (compress(idx(IMAGES)[:-1]), "the header says (12, 28, 28), 9408 bytes, but 9407 follow"),
        (compress(idx(IMAGES) + b"\0"), "the header says (12, 28, 28), 9408 bytes, but more follow"),
        (compress(idx(IMAGES)[:11]), "images.gz: ends inside the header"),
        (compress(idx(IMAGES)[:3]), "images.gz: wrong magic"),
        (compress(b""), "images.gz: wrong magic ''"),
        (idx(IMAGES), "images.gz: not a complete gzip file"),
        (GOOD[: len(GOOD) // 2], "images.gz: not a complete gzip file"),
        (GOOD[:-1], "images.gz: not a complete gzip file"),
        (GOOD[:100] + bytes([GOOD[100] ^ 0xFF]) + GOOD[101:], "images.gz: not a complete gzip file"),
        (GOOD[:10] + b"\xff" + GOOD[11:], "images.gz: not a complete gzip file"),
        (GOOD + b"more", "images.gz: not a complete gzip file"),
        (compress(b"\0\0\x08\x28" + bytes(160)), "1 to 4 dimensions"),  # more than numpy has
        (compress(b"\0\0\x08\3" + b"\xff" * 12), "more than 1,073,741,824 bytes"),
        (compress(b"\0\0\x08\3" + bytes(50 << 20)), "the header says (0, 0, 0), 0 bytes, but more follow"),
        (compress(idx(IMAGES[:11])), "images.gz, labels.gz: images have shape (11, 28, 28) and labels (12,)"),
        (compress(idx(LABELS)), "images.gz, labels.gz: images have shape (12,) and labels (12,)"),
        (compress(idx(IMAGES[:, :27])), "datasets.test: inputs of (27, 28, 1), but the graph takes (28, 28, 1)"),
    ],
)
def test_wrong_images(serve, images: bytes, said: str) -> None:
    with pytest.raises(DataError) as caught:
        datasets.load(serve(images, compress(idx(LABELS))), "test")
    assert said in str(caught.value)
    assert "  -> " in str(caught.value)


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (IMAGES, np.full(12, 10, np.uint8), "recipes/mnist/recipe.toml: datasets.test: a label is 10, but the recipe"),
        (IMAGES[:0], LABELS[:0], "recipes/mnist/recipe.toml: datasets.test: has no inputs"),
        (IMAGES, LABELS.reshape(3, 4), "labels (3, 4)"),
    ],
)
def test_wrong_labels(serve, images: np.ndarray, labels: np.ndarray, said: str) -> None:
    with pytest.raises(DataError) as caught:
        datasets.load(serve(compress(idx(images)), compress(idx(labels))), "test")
    assert said in str(caught.value)


def test_real_mnist_is_what_the_recipe_says(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_MIRROR", str(mirror))
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    found = find_recipe("mnist_nearest")
    assert isinstance(found.datasets["test"], IdxSet)
    examples = datasets.load(found, "test")
    assert examples.inputs.shape == (10_000, 28, 28, 1)
    assert np.bincount(examples.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def draw(count: int, seed: int) -> datasets.Examples:
    return datasets.draw(DrawnSet(kind="drawn", count=count, seed=seed))


def test_drawn_digits_repeat() -> None:
    """The same bytes each time; another seed has other images, in another order."""
    one, same, other = draw(200, 1), draw(200, 1), draw(200, 2)
    assert one.inputs.tobytes() == same.inputs.tobytes()
    assert one.labels.tolist() == same.labels.tolist() != other.labels.tolist()
    assert not {image.tobytes() for image in one.inputs} & {image.tobytes() for image in other.inputs}
    assert len({image.tobytes() for image in one.inputs}) == 200


@pytest.mark.skipif(
    f"pillow=={PIL.__version__} " not in paths.LOCK.read_text(), reason="another Pillow than the lock's may draw others"
)
def test_drawn_digits_are_the_same_everywhere() -> None:
    """A changed hash means that the demo's artifacts change too."""
    wanted = "6e341db6c592de3dae76010d8f0a0baa4bdd62b1c315d15b52c596a94d2d7812"
    assert hashlib.sha256(draw(20, 1).inputs.tobytes()).hexdigest() == wanted


def test_drawn_digits_look_like_mnist() -> None:
    found = draw(205, 3)
    assert found.inputs.shape == (205, 28, 28, 1)
    assert found.inputs.dtype == np.uint8
    assert sorted(np.bincount(found.labels, minlength=10).tolist()) == [20] * 5 + [21] * 5
    assert found.labels[:20].tolist() != sorted(found.labels[:20].tolist())
    assert (found.inputs.max(axis=(1, 2, 3)) > 200).all()  # something white
    assert 0.05 < found.inputs.mean() / 255 < 0.3  # on black
    edges = np.concatenate([found.inputs[:, [0, -1]].ravel(), found.inputs[:, :, [0, -1]].ravel()])
    assert (edges > 64).mean() < 0.01  # and not cut off


# --- image lists


def picture() -> Image.Image:
    """48 x 40 pixels, each corner another colour, smooth: JPEG keeps it."""
    corners = Image.fromarray(np.asarray([[[250, 30, 30], [30, 230, 40]], [[40, 50, 240], [220, 210, 60]]], np.uint8))
    return corners.resize((48, 40), Image.Resampling.BILINEAR)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


Files = dict[str, bytes]


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Recipe]:
    """A function: images by name -> a recipe that evaluates on them, all from a mirror of their own."""
    monkeypatch.setenv("ZOO_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    (tmp_path / "mirror").mkdir()

    def keep(data: bytes) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        (tmp_path / "mirror" / sha256).write_bytes(data)
        return f"{sha256},{len(data)}"

    def make(files: Files, masks: Files | None = None, names: Files | None = None, **changes: Any) -> Recipe:
        """``names``: further sources; ``changes``: of the recipe."""
        head = "file,sha256,size," + ("mask,mask_sha256,mask_size" if masks else "label") + "\n"
        ends = [f"{name},{keep(data)}" for name, data in masks.items()] if masks else map(str, range(len(files)))
        lines = [f"{name},{keep(data)},{end}\n" for (name, data), end in zip(files.items(), ends, strict=True)]
        (tmp_path / "list.csv").write_text(head + "".join(lines))
        found = find_recipe("deeplabv3" if masks else "mobilenet_v2")
        monkeypatch.setattr(paths, "RECIPES", tmp_path)  # where lists are
        listed = {"urls": ["https://example.invalid/{file}"], "licence": "MIT", "what": "a test"}
        facts: dict[str, Any] = {
            "datasets": {"evaluation": ImageSet(kind="images", file=str(tmp_path / "list.csv"), **listed)},
            "input": found.input.model_copy(update={"shape": [1, 20, 24, 3], "fit": "stretch"}),
            "output": found.outputs[0].model_copy(update={"shape": [1, 20, 24, 4] if masks else [1, 12]}),
            "labels": [f"class {number}" for number in range(4 if masks else 12)],
            "sources": {},
        }
        for name, data in (names or {}).items():
            sha256, size = keep(data).split(",")
            pinned = {"size": int(size), "sha256": sha256, "licence": "MIT", "what": "a test"}
            key = name.partition(".")[0]
            facts["sources"][key] = SourceFile(file=name, urls=["https://example.invalid/x"], **pinned)
        return found.model_copy(update=facts | changes)

    return make


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees to the right
    return saved(picture().transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95, subsampling=0)


def transparent() -> bytes:
    image = picture().convert("RGBA")
    image.putalpha(255)
    return saved(image, "PNG")


def test_every_kind_of_picture_comes_out_as_the_same_colours(listed: Callable[..., Recipe]) -> None:
    """Gray becomes gray RGB, CMYK its colours, 16 bits 8, EXIF upright: as the RGB original, within what JPEG loses."""
    upright, gray = picture(), picture().convert("L")
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    kinds: dict[str, tuple[bytes, Image.Image, float]] = {
        "rgb.png": (saved(upright, "PNG"), upright, 0),
        "rgb.jpg": (saved(upright, "JPEG", quality=95, subsampling=0), upright, 8),
        "progressive.JPEG": (saved(upright, "JPEG", quality=95, subsampling=0, progressive=True), upright, 8),
        "gray.png": (saved(gray, "PNG"), gray, 0),
        "gray.jpg": (saved(gray, "JPEG", quality=95), gray, 8),
        "cmyk.jpg": (saved(upright.convert("CMYK"), "JPEG", quality=95), upright, 12),
        "deep.png": (saved(deep, "PNG"), gray, 1),
        "rotated.jpg": (rotated(), upright, 8),
        "rgba.png": (transparent(), upright, 0),
        "palette.png": (saved(upright.quantize(256), "PNG"), upright, 24),
    }
    found = listed({name: data for name, (data, _, _) in kinds.items()})
    examples = datasets.load(found, "evaluation")
    assert examples.inputs.dtype == np.uint8
    assert examples.inputs.shape == (len(kinds), 20, 24, 3)
    assert examples.labels.tolist() == list(range(len(kinds)))
    assert examples.truths == ()
    spec = preprocess.spec_of(found.input)
    for image, (name, (_, wanted, most)) in zip(examples.inputs, kinds.items(), strict=True):
        right = example.fit_image(wanted.convert("RGB"), spec)
        assert np.abs(image.astype(int) - right).max() <= most, name
    assert len({image.tobytes() for image in examples.inputs}) > 4


def test_the_first_images(listed: Callable[..., Recipe]) -> None:
    colours = {f"{value}.png": saved(Image.new("RGB", (9, 7), (value, 0, 0)), "PNG") for value in range(6)}
    found = datasets.load(listed(colours), "evaluation", 4)
    assert found.inputs[:, 0, 0, 0].tolist() == [0, 1, 2, 3]  # in the order of the list
    assert found.labels.tolist() == [0, 1, 2, 3]


JPEG = saved(picture(), "JPEG")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (JPEG[: len(JPEG) // 2], "bad.jpg: cannot be read: "),
        (JPEG[:40], "bad.jpg: cannot be read: "),
        (saved(picture(), "PNG")[:-200], "bad.jpg: cannot be read: "),
        (b"GIF89a", "bad.jpg: cannot be read: "),
        (b"no image", "bad.jpg: cannot be read: not an image\n  -> name another file"),
    ],
)
def test_a_damaged_picture_is_named(listed: Callable[..., Recipe], data: bytes, said: str) -> None:
    with pytest.raises(DataError) as caught:
        datasets.load(listed({"good.jpg": JPEG, "bad.jpg": data}), "evaluation")
    assert said in str(caught.value)
    assert str(paths.cache()) not in str(caught.value)
    shown = {"names": {"bad.jpg": data}, "examples": [Example(source="bad", label="class 0")]}
    with pytest.raises(DataError) as caught:
        datasets.examples(listed({"good.jpg": JPEG}, **shown))
    assert said in str(caught.value)


def test_a_label_beyond_the_outputs(listed: Callable[..., Recipe]) -> None:
    found = listed({"a.jpg": JPEG, "b.png": saved(picture(), "PNG")})
    few = found.model_copy(update={"output": found.outputs[0].model_copy(update={"shape": [1, 1]})})
    with pytest.raises(DataError, match=r"datasets\.evaluation: a label is 1, but the recipe has 1 labels"):
        datasets.load(few, "evaluation")


def mask(values: Any, mode: str = "P") -> bytes:
    image = Image.fromarray(np.asarray(values, np.uint8))
    if mode == "P":
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0] + [224, 224, 192] * 252)
    return saved(image, "PNG")


VALUES = [[0, 1, 2, 3], [255, 255, 3, 3], [0, 0, 0, 0]]


@pytest.mark.parametrize("mode", ["P", "L"])
def test_masks_are_their_indices(listed: Callable[..., Recipe], mode: str) -> None:
    """Palette indices, not colours; at the file's own size; 255 stays."""
    found = datasets.load(listed({"a.jpg": JPEG}, {"a.png": mask(VALUES, mode)}), "evaluation", read_truth=read_truth)
    assert found.labels.shape == (0,)
    (only,) = found.truths
    assert only.dtype == np.uint8
    assert only.tolist() == VALUES


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (mask([[4, 255]]), "a.png: not a mask of 4 classes: an image of mode P, values up to 4\n  -> a mask is a PNG"),
        (mask([[254]], "L"), "a.png: not a mask of 4 classes: an image of mode L, values up to 254"),
        (saved(picture(), "PNG"), "a.png: not a mask of 4 classes: an image of mode RGB"),
        (saved(Image.new("I;16", (2, 2)), "PNG"), "a.png: not a mask of 4 classes: an image of mode I;16"),
        (saved(Image.new("1", (2, 2)), "PNG"), "a.png: not a mask of 4 classes: an image of mode 1"),
        (mask(VALUES)[:-30], "a.png: cannot be read: "),
        (mask(VALUES)[:20], "a.png: cannot be read: "),
        (b"no image", "a.png: cannot be read: "),
    ],
)
def test_wrong_masks(listed: Callable[..., Recipe], data: bytes, said: str) -> None:
    with pytest.raises(DataError) as caught:
        datasets.load(listed({"a.jpg": JPEG}, {"a.png": data}), "evaluation", read_truth=read_truth)
    assert said in str(caught.value)
    assert "  -> " in str(caught.value)


# --- names of the outputs


def index(*names: str) -> bytes:
    """As Keras publishes it."""
    table = {str(number): [f"n{number:08d}", name] for number, name in enumerate(names)}
    return json.dumps(table, sort_keys=True).encode()


TWELVE = ["tench", "great_white_shark", "jack-o'-lantern", *(f"thing_{number}" for number in range(3, 12))]


def test_a_class_index(listed: Callable[..., Recipe]) -> None:
    """In the order of the numbers, not of the file, where "10" comes before "2"."""
    found = listed({"a.jpg": JPEG}, names={"index.json": index(*TWELVE)}, labels="index")
    assert datasets.labels(found) == [name.replace("_", " ") for name in TWELVE]
    assert datasets.labels(listed({"a.jpg": JPEG}))[:2] == ["class 0", "class 1"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (index(*TWELVE[:11]), "index.json: 11 labels for 12 outputs\n  -> correct labels"),
        (index(*TWELVE, "more"), "index.json: 13 labels for 12 outputs"),
        (b"{}", "index.json: 0 labels for 12 outputs"),
        (b"tench\nshark\n", "index.json: is not JSON"),
        (b"\xff\xfe", "index.json: is not JSON"),
        (b"[]", "index.json: 0 labels for 12 outputs"),
        (b'["tench"]', "index.json: not a class index: TypeError"),
        (b'{"1": ["n", "tench"]}', "index.json: not a class index: KeyError '0'"),
        (b'{"0": ["n"]}', "index.json: not a class index: IndexError"),
        (b'{"0": ["n", "two\\nlines"]}', "'two lines' is not the name of a class"),
        (b'{"0": ["n", 7]}', "'7' is not the name of a class"),
        (b"[" * 100_000, "index.json: is not JSON: more than 64 brackets deep"),
        (b"7", "index.json: not a class index: TypeError"),
    ],
)
def test_no_class_index(listed: Callable[..., Recipe], data: bytes, said: str) -> None:
    found = listed({"a.jpg": JPEG}, names={"index.json": data}, labels="index")
    with pytest.raises(DataError) as caught:
        datasets.labels(found)
    assert said in str(caught.value)


# --- example inputs


def test_pictures_are_the_examples(listed: Callable[..., Recipe]) -> None:
    """In the recipe's order, with the number of each label."""
    red, blue = (saved(Image.new("RGB", (30, 30), colour), "PNG") for colour in ("#ff0000", "#0000ff"))
    shown = [Example(source="blue", label="class 7"), Example(source="red", label="class 2")]
    found = listed({"a.jpg": JPEG}, names={"red.png": red, "blue.png": blue}, examples=shown)
    examples = datasets.examples(found)
    assert examples.inputs[:, 5, 5].tolist() == [[0, 0, 255], [255, 0, 0]]
    assert examples.inputs.shape == (2, 20, 24, 3)
    assert examples.labels.tolist() == [7, 2]
    assert [source.name for source in datasets.pictures(found)] == ["blue.png", "red.png"]


def test_a_picture_of_what_the_model_does_not_know(listed: Callable[..., Recipe]) -> None:
    shown = {"examples": [Example(source="a", label="shark")], "names": {"a.jpg": JPEG}}
    with pytest.raises(
        BuildError, match=r"mobilenet_v2/recipe\.toml: examples\.0\.label: 'shark' is not one of the labels\n  ->"
    ):
        datasets.examples(listed({"b.jpg": JPEG}, **shown))


def test_too_few_images_for_the_examples(listed: Callable[..., Recipe]) -> None:
    found = listed({"a.jpg": JPEG}, examples=2)
    with pytest.raises(BuildError, match="examples is 2, but the evaluation set has only 1 inputs"):
        datasets.examples(found)
