"""Data sets: idx files, whole and damaged, served as a user's mirror serves them, and the digits that are drawn."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import PIL
import pytest

from utils import datasets, paths, recipe
from utils.errors import DataError
from utils.recipe import DrawnSet, IdxSet, Recipe, SourceFile

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
        found = recipe.find("mnist_nearest")
        ours = {"test_images": source("images.gz", images), "test_labels": source("labels.gz", labels)}
        return found.model_copy(update={"sources": {**found.sources, **ours}})

    return make


def test_idx_round_trip(serve) -> None:
    found = datasets.load(serve(gzip.compress(idx(IMAGES)), gzip.compress(idx(LABELS))), "test")
    assert found.images.dtype == np.uint8
    assert found.labels.dtype == np.int64
    np.testing.assert_array_equal(found.images, IMAGES[..., np.newaxis])
    np.testing.assert_array_equal(found.labels, LABELS)


GOOD = gzip.compress(idx(IMAGES))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (gzip.compress(idx(IMAGES, b"\0\0\x0d")), "images.gz: wrong magic '00000d03'"),
        (gzip.compress(idx(IMAGES, b"\1\0\x08")), "images.gz: wrong magic"),
        (gzip.compress(b"\0\0\x08\0" + b"x"), "images.gz: wrong magic '00000800'"),
        (gzip.compress(idx(IMAGES)[:-1]), "the header says (12, 28, 28), 9408 bytes, but 9407 follow"),
        (gzip.compress(idx(IMAGES) + b"\0"), "the header says (12, 28, 28), 9408 bytes, but 9409 follow"),
        (gzip.compress(idx(IMAGES)[:11]), "images.gz: ends inside the header"),
        (gzip.compress(idx(IMAGES)[:3]), "images.gz: wrong magic"),
        (gzip.compress(b""), "images.gz: wrong magic ''"),
        (idx(IMAGES), "images.gz: not a whole gzip file"),
        (GOOD[: len(GOOD) // 2], "images.gz: not a whole gzip file"),
        (GOOD[:-1], "images.gz: not a whole gzip file"),
        (GOOD[:100] + bytes([GOOD[100] ^ 0xFF]) + GOOD[101:], "images.gz: not a whole gzip file"),
        (GOOD[:10] + b"\xff" + GOOD[11:], "images.gz: not a whole gzip file"),
        (GOOD + b"more", "images.gz: not a whole gzip file"),
        (gzip.compress(idx(IMAGES[:11])), "images.gz, labels.gz: images have shape (11, 28, 28) and labels (12,)"),
        (gzip.compress(idx(LABELS)), "images.gz, labels.gz: images have shape (12,) and labels (12,)"),
        (gzip.compress(idx(IMAGES[:, :27])), "datasets.test: images of (27, 28, 1), but the graph takes (28, 28, 1)"),
    ],
)
def test_wrong_images(serve, images: bytes, said: str) -> None:
    with pytest.raises(DataError) as caught:
        datasets.load(serve(images, gzip.compress(idx(LABELS))), "test")
    assert said in str(caught.value)
    assert "  -> " in str(caught.value)


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (IMAGES, np.full(12, 10, np.uint8), "recipes/mnist/recipe.toml: datasets.test: a label is 10, but the recipe"),
        (IMAGES[:0], LABELS[:0], "recipes/mnist/recipe.toml: datasets.test: has no images"),
        (IMAGES, LABELS.reshape(3, 4), "labels (3, 4)"),
    ],
)
def test_wrong_labels(serve, images: np.ndarray, labels: np.ndarray, said: str) -> None:
    with pytest.raises(DataError) as caught:
        datasets.load(serve(gzip.compress(idx(images)), gzip.compress(idx(labels))), "test")
    assert said in str(caught.value)


def test_real_mnist_is_what_the_recipe_says(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_MIRROR", str(mirror))
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    found = recipe.find("mnist_nearest")
    assert isinstance(found.datasets["test"], IdxSet)
    examples = datasets.load(found, "test")
    assert examples.images.shape == (10_000, 28, 28, 1)
    assert np.bincount(examples.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def draw(count: int, seed: int) -> datasets.Examples:
    return datasets.draw(DrawnSet(kind="drawn", count=count, seed=seed))


def test_drawn_digits_repeat() -> None:
    """The same bytes each time; another seed has other images, in another order."""
    one, same, other = draw(200, 1), draw(200, 1), draw(200, 2)
    assert one.images.tobytes() == same.images.tobytes()
    assert one.labels.tolist() == same.labels.tolist() != other.labels.tolist()
    assert not {image.tobytes() for image in one.images} & {image.tobytes() for image in other.images}
    assert len({image.tobytes() for image in one.images}) == 200


@pytest.mark.skipif(
    f"pillow=={PIL.__version__} " not in paths.LOCK.read_text(), reason="another Pillow than the lock's may draw others"
)
def test_drawn_digits_are_the_same_everywhere() -> None:
    """A changed hash means that the demo's artifacts change too."""
    wanted = "6e341db6c592de3dae76010d8f0a0baa4bdd62b1c315d15b52c596a94d2d7812"
    assert hashlib.sha256(draw(20, 1).images.tobytes()).hexdigest() == wanted


def test_drawn_digits_look_like_mnist() -> None:
    found = draw(205, 3)
    assert found.images.shape == (205, 28, 28, 1)
    assert found.images.dtype == np.uint8
    assert sorted(np.bincount(found.labels, minlength=10).tolist()) == [20] * 5 + [21] * 5
    assert found.labels[:20].tolist() != sorted(found.labels[:20].tolist())
    assert (found.images.max(axis=(1, 2, 3)) > 200).all()  # something white
    assert 0.05 < found.images.mean() / 255 < 0.3  # on black
    edges = np.concatenate([found.images[:, [0, -1]].ravel(), found.images[:, :, [0, -1]].ravel()])
    assert (edges > 64).mean() < 0.01  # and not cut off
