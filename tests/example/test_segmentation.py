"""Class maps and overlays of segmentation models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.examples import (
    refused,
    run,
)
from utils import example


def test_the_palette_of_pascal() -> None:
    colours = [tuple(colour) for colour in example.palette(21).tolist()]
    assert colours[0] == (0, 0, 0)
    assert colours[8] == (64, 0, 0)  # cat
    assert colours[15] == (192, 128, 128)  # person
    assert colours[20] == (0, 64, 128)  # tv/monitor
    assert len({tuple(colour) for colour in example.palette(256).tolist()}) == 256


def test_class_map_and_shares() -> None:
    scores = np.zeros((1, 4, 5, 3), np.int8)
    scores[0, :2, :, 2] = 1
    classes = example.class_map(scores)
    assert classes.tolist() == [[2] * 5] * 2 + [[0] * 5] * 2
    assert (example.class_map(scores[0]) == classes).all()
    classes[3] = -1
    assert example.shares(classes, ["none", "left", "up"]) == [("up", 50.0), ("none", 25.0)]


def test_overlay() -> None:
    pixels = np.full((40, 60, 3), 200, np.uint8)
    classes = np.zeros((40, 60), np.int64)
    classes[:, 30:] = 2
    classes[:5] = 255
    image = example.overlay(pixels, classes, ["background", "plane", "bicycle"])
    drawn = np.asarray(image)
    assert image.mode == "RGB"
    assert image.width > 60
    assert image.height >= 40
    assert drawn[0, 0].tolist() == [200, 200, 200]  # no class: bare
    assert drawn[20, 10].tolist() == [200, 200, 200]  # background stays clear
    assert drawn[20, 40].tolist() == [80, 157, 80]  # 0.6 of the colour, 0.4 of the grey
    assert drawn[20, 30].tolist() == [0, 128, 0]  # its outline
    legend = {tuple(colour) for colour in drawn[:, 60:].reshape(-1, 3).tolist()}
    assert {(0, 0, 0), (51, 128, 51), (255, 255, 255)} <= legend
    assert not {(128, 0, 0), (128, 51, 51)} & legend  # no plane is there


def test_the_legend_has_the_hues_of_the_overlay() -> None:
    """What tells a class's pixels apart is its colour: the picture beneath adds grey, and nothing else."""
    pixels = np.random.default_rng(3).integers(0, 256, (60, 60, 3), np.uint8)
    classes = np.repeat(np.arange(6), 10)[:, np.newaxis].repeat(60, 1)
    labels = ["background", "aeroplane", "bicycle", "bird", "boat", "bottle"]
    picture, lines = example.tint(pixels, classes, labels), dict(example.legend(classes, labels))
    assert (picture[:10] == pixels[:10]).all()
    assert lines["background 16.7 %"] == (255, 255, 255)
    for number, label in enumerate(labels[1:], 1):
        inside = picture[10 * number + 2 : 10 * number + 8].astype(int).reshape(-1, 3)
        swatch = np.asarray(lines[f"{label} 16.7 %"])
        greys = inside - swatch  # a grey has the same red, green and blue
        assert np.ptp(greys, axis=1).max() <= 1
        assert greys.min() < -20 < 20 < greys.max()  # the picture shines through


def test_classes_of_0_percent_are_not_in_the_legend() -> None:
    classes = np.zeros((100, 100), np.int64)
    classes[0, :4] = 1
    assert [text for text, _ in example.legend(classes, ["background", "cat"])] == ["background 100.0 %"]
    classes[0, :5] = 1  # 0.05 %
    assert len(example.legend(classes, ["background", "cat"])) == 2


def test_segmentation(segmentation: Path, tmp_path: Path) -> None:
    report = json.loads(run(segmentation, "--json", "--check", "-i", "wide.png").stdout)
    for entry, tolerance in zip(report["models"], (0.001, 0.2), strict=True):
        check = entry["check"]
        assert (check["verdict"], check["inputs"], check["tolerance"]) == ("PASS", 3, tolerance)
        assert check["top1_agreement"] > 0.9
        (prediction,) = entry["predictions"]
        assert prediction == {"input": "wide.png", "overlay": None, "classes": [
            {"label": "red", "share": 50.0}, {"label": "none", "share": 25.0}, {"label": "blue", "share": 25.0}
        ]}  # fmt: skip
    out = tmp_path / "out"
    done = run(segmentation, "-m", "seg_float32.tflite", "--top", "1", "-i", "wide.png", "-o", str(out))
    assert done.returncode == 0, done.stderr
    assert "    red                   50.0 % of the pixels\n    -> " in done.stdout
    drawn = np.asarray(Image.open(out / "wide_overlay.png"))
    assert drawn[5, 5].tolist() == [0, 0, 0]  # left of what the graph sees
    assert drawn[50, 20].tolist() == [0, 0, 0]
    assert drawn[10, 45].tolist() == [107, 30, 30]
    assert drawn[50, 75].tolist() == [88, 88, 12]  # palette(4)[3] is olive
    assert drawn[50, 100].tolist() == [0, 0, 0]


def test_segmentation_of_an_array(segmentation: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "green.npy", np.tile(np.uint8([0, 255, 0]), (20, 20, 1)))
    arguments = ["-m", "seg_float32.tflite", "-i", str(tmp_path / "green.npy"), "-o", str(tmp_path), "--json"]
    (prediction,) = json.loads(run(segmentation, *arguments).stdout)["models"][0]["predictions"]
    assert prediction["classes"] == [{"label": "green", "share": 100.0}]
    assert Image.open(prediction["overlay"]).getpixel((3, 3)) == (60, 137, 60)


def test_overlays_that_cannot_be_written(segmentation: Path, whole: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    one = ("-m", "seg_float32.tflite", "-i", "wide.png")
    assert "wide_overlay.png cannot be written: " in refused(segmentation, *one, "-o", str(tmp_path / "file"))
    assert "would overwrite another" in refused(segmentation, *one, "wide.png", "-o", str(tmp_path))
    assert "would overwrite another" in refused(segmentation, "-i", "wide.png", "-o", str(tmp_path))
    assert "-o/--output draws answers over pictures" in refused(whole, "-i", "example_input.png", "-o", str(tmp_path))
    assert not list(tmp_path.glob("*.png"))
