"""Pictures: the same bytes for the same numbers, small, and right at the edges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from utils.model.datasets import draw
from utils.recipe.datasets import DrawnSet
from utils.tasks import pictures
from utils.tasks.segmentation.figures import Segments, segments

pytestmark = pytest.mark.heavy

IMAGES = draw(DrawnSet(kind="drawn", count=20, seed=3)).inputs
LABELS = [str(number % 10) for number in range(20)]
HISTORY = {"epoch": [0.5, 1.0, 1.5, 2.0], "loss": [2.0, 1.0, 0.5, 0.4], "accuracy": [0.1, 0.8, 0.95, 1.0]}
MATRIX = (np.eye(10, dtype=int) * 90 + np.arange(100).reshape(10, 10) % 7).tolist()

PHOTO = np.random.default_rng(2).integers(0, 255, (60, 90, 3), np.uint8)
SEGMENTS = Segments(PHOTO, PHOTO[::-1], [("cat 60.0 %", (89, 51, 51)), ("background 40.0 %", (255, 255, 255))])


def sight(count: int) -> pictures.Sight:
    """Maps and scores of so many inputs."""
    rng = np.random.default_rng(count)
    return pictures.Sight(rng.random((count, 28, 28), np.float32), 10 * rng.random((count, 10), np.float32))


DRAW: dict[str, Callable[[Path], None]] = {
    "digits": lambda file: pictures.digits(
        file, IMAGES, LABELS, {"float32": LABELS, "int8": LABELS[::-1]}, "one of each, then the first mistakes"
    ),
    "one digit": lambda file: pictures.digits(file, IMAGES[:1], LABELS[:1], {"int8": ["3"]}, "one"),
    "training": lambda file: pictures.training(file, HISTORY, {"float32": 98.6, "int8": 98.5}),
    "perfect": lambda file: pictures.training(file, HISTORY, {"float32": 100.0, "int8": 100.0}),
    "confusion": lambda file: pictures.confusion(file, MATRIX, LABELS[:10], "int8: 300 of 1,200 wrong"),
    "no errors": lambda file: pictures.confusion(file, np.eye(10, dtype=int).tolist(), LABELS[:10], "0 wrong"),
    "feature maps": lambda file: pictures.feature_maps(
        file, IMAGES[:10], np.random.default_rng(1).random((10, 28, 28), np.float32), "what the body makes of it"
    ),
    "answers": lambda file: pictures.answers(
        file, np.stack([PHOTO, PHOTO]), [[("boxer", 99.0), ("cat", 1.0)], [("tabby", 40.0)]], "the best answers"
    ),
    "answers about digits": lambda file: pictures.answers(file, IMAGES[:1], [[("4", 100.0)]], "the best answers"),
    "segments": lambda file: segments(file, [SEGMENTS, SEGMENTS], "output"),
    "fixed output": lambda file: pictures.fixed_output(file, IMAGES[:3], sight(3), sight(3), LABELS[:10]),
    "flat maps": lambda file: pictures.feature_maps(file, IMAGES[:1], np.zeros((1, 28, 28), np.float32), "flat"),
}


@pytest.mark.parametrize("kind", DRAW)
def test_picture(tmp_path: Path, kind: str) -> None:
    files = [tmp_path / "one.png", tmp_path / "two.png"]
    for file in files:
        DRAW[kind](file)
    one, two = (file.read_bytes() for file in files)
    assert one == two
    assert len(one) < 60_000
    with Image.open(files[0]) as image:
        assert (image.format, image.mode) == ("PNG", "P")
        image.load()
        assert not image.info.get("Software")
        assert 50 < min(image.size) <= max(image.size) < 1200
        assert image.convert("L").getextrema()[0] < 128  # something was drawn
        assert image.convert("L").getextrema()[1] == 255  # on white


def test_a_wrong_answer_shows(tmp_path: Path) -> None:
    red = tuple(int(pictures.RED[at : at + 2], 16) for at in (1, 3, 5))
    found = []
    for answer in ("4", "5"):
        pictures.digits(tmp_path / "digits.png", IMAGES[:1], ["4"], {"int8": [answer]}, "")
        with Image.open(tmp_path / "digits.png") as image:
            pixels = np.asarray(image.convert("RGB")).astype(int)
        found.append(bool((np.abs(pixels - red).max(axis=2) < 40).any()))
    assert found == [False, True]


def test_answers_of_0_percent_are_not_listed(tmp_path: Path) -> None:
    drawn = []
    for given in ([("boxer", 99.96), ("cat", 0.04)], [("boxer", 99.96)], [("boxer", 99.96), ("cat", 0.05)]):
        pictures.answers(tmp_path / "answers.png", PHOTO[np.newaxis], [given], "")
        drawn.append((tmp_path / "answers.png").read_bytes())
    assert drawn[0] == drawn[1] != drawn[2]


def test_input_and_output_stand_side_by_side(tmp_path: Path) -> None:
    """The input is left, the tinted picture right of it, at the same height, and the legend's colours beside both."""
    red, green = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40, 3), np.uint8)
    red[..., 0], green[..., 1] = 255, 255
    segments(tmp_path / "x.png", [Segments(red, green, [("cat", (0, 0, 255))])], "output")
    with Image.open(tmp_path / "x.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    places = []
    for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255)):
        rows, columns = np.nonzero((np.abs(pixels - colour) < 20).all(axis=2))
        assert rows.size, colour
        places.append((columns.min(), columns.max(), rows.min(), rows.max()))
    left, right, legend = places
    assert left[1] < right[0] < right[1] < legend[0]
    assert left[2:] == right[2:]
