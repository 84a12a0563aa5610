"""From an image to the graph's tensor: one implementation, right for images of every size and mode."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.checkouts import Checkout
from utils import example, paths
from utils.model import datasets, preprocess
from utils.recipe.datasets import DrawnSet
from utils.recipe.load import find_recipe
from utils.recipe.tables import Calibration
from utils.recipe.tensors import ImageInput
from utils.steps import convert

SPEC: dict[str, Any] = {"shape": [1, 2, 2, 3], "colour": "rgb", "resize": "nearest", "fit": "stretch"}
GRAY: dict[str, Any] = {**SPEC, "shape": [1, 2, 2, 1], "colour": "gray"}
LINES: dict[str, Any] = {**SPEC, "shape": [1, 2, 2, 1], "colour": "gray", "fit": "crop"}


def test_one_tensor_everywhere(tmp_path: Path) -> None:
    """Calibration, evaluation and example.py give the graph the same values for the same image."""
    found = find_recipe("demo_nearest")
    small = {"train": DrawnSet(kind="drawn", count=120, seed=1)}
    calibration = Calibration(dataset="train", count=110)
    found = found.model_copy(update={"datasets": small, "calibration": calibration})
    images = datasets.load(found, found.calibration.dataset).inputs
    calibrated = np.concatenate(list(convert._inputs(found, convert._calibration(found))))
    assert len(calibrated) == found.calibration.count
    spec = preprocess.spec_of(found.input)
    for index in (0, 7, 100):
        Image.fromarray(images[index, ..., 0]).save(tmp_path / "image.png")
        pixels = example.read_image(str(tmp_path / "image.png"), spec)
        np.testing.assert_array_equal(pixels, images[index])
        np.testing.assert_array_equal(preprocess.read(tmp_path / "image.png", found.input), pixels)
        np.testing.assert_array_equal(example.normalise(pixels, spec), calibrated[index])
        np.testing.assert_array_equal(preprocess.tensor_of(images[[index]], found.input)[0], calibrated[index])
    assert calibrated.dtype == np.float32
    assert calibrated.min() == 0
    assert calibrated.max() == 1


def test_the_bundle_sees_what_was_evaluated(built_once: Checkout) -> None:
    """The golden inputs are what example.py makes of the bundle's own pictures, for every variant."""
    bundle = built_once.root / "artifacts/demo_bilinear"
    facts = json.loads((bundle / "model.json").read_text())
    spec, runtime = facts["input"], example.load_runtime()
    with np.load(bundle / "samples.npz") as samples:
        np.testing.assert_array_equal(samples["images"], datasets.draw(_test_set()).inputs[:100])
    for variant, entry in facts["variants"].items():
        model = example.Model(str(bundle / entry["file"]), runtime, threads=1)
        with np.load(bundle / f"golden_{variant}.npz") as golden:
            assert golden["input"].dtype == {"float32": np.float32, "int8": np.int8}[variant]
            for index, tensor in enumerate(golden["input"]):
                name = f"example_{index or 'input'}.png"
                pixels = example.read_image(str(bundle / example.INPUTS / name), spec)
                np.testing.assert_array_equal(model.quantise(example.normalise(pixels, spec)[np.newaxis]), tensor)


def _test_set() -> DrawnSet:
    return DrawnSet(kind="drawn", count=200, seed=2)


RGB = np.asarray([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [200, 100, 50]]], np.uint8)
LUMA = np.asarray(Image.fromarray(RGB).convert("L"))


def _image(mode: str) -> Image.Image:
    """RGB in another mode."""
    if mode.startswith("P"):
        image = Image.fromarray(RGB).quantize(4)
        if mode == "P with transparency":
            image.info["transparency"] = int(np.asarray(image)[0, 0])
        return image
    if mode == "RGBA":
        alpha = np.asarray([[255, 255], [255, 0]], np.uint8)
        return Image.fromarray(np.dstack([RGB, alpha]))
    return Image.fromarray(RGB).convert(mode)


@pytest.mark.parametrize(
    ("mode", "black"),
    [("RGB", None), ("RGBA", (1, 1)), ("P", None), ("P with transparency", (0, 0)), ("CMYK", None)],
)
def test_modes(tmp_path: Path, mode: str, black: tuple[int, int] | None) -> None:
    """Every mode ends as the same colours; what is transparent is black."""
    file = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    _image(mode).save(file)
    wanted = RGB.copy()
    if black:
        wanted[black] = 0
    with Image.open(file) as image:
        assert image.mode == mode.partition(" ")[0]
    np.testing.assert_array_equal(example.read_image(str(file), SPEC), wanted)
    gray = example.read_image(str(file), GRAY)
    luma = np.where(wanted.any(axis=2), LUMA, 0)[..., np.newaxis]
    np.testing.assert_array_equal(gray, luma)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "I", "F"])
def test_gray_modes(tmp_path: Path, mode: str) -> None:
    """One channel of 1, 8, 16 or 32 bits: scaled by value, never cut off at 255."""
    gray = np.asarray([[0, 255], [128, 64]], np.uint8)
    if mode in {"I;16", "I"}:
        image = Image.fromarray(gray.astype(np.uint16) * 257 if mode == "I;16" else gray.astype(np.int32) * 257)
    else:
        image = Image.fromarray(gray).convert(mode, dither=Image.Dither.NONE)
    file = tmp_path / ("image.tif" if mode in {"I", "F"} else "image.png")
    image.save(file)
    with Image.open(file) as image:
        assert image.mode == mode
    wanted = np.where(gray >= 128, 255, 0) if mode == "1" else gray
    np.testing.assert_array_equal(example.read_image(str(file), GRAY)[..., 0], wanted)
    np.testing.assert_array_equal(example.read_image(str(file), SPEC), np.repeat(wanted[..., np.newaxis], 3, axis=2))


def test_dark_16_bits_stay_dark(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), 255, np.uint16)).save(tmp_path / "dark.png")
    assert example.read_image(str(tmp_path / "dark.png"), GRAY).max() == 1


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_orientation(tmp_path: Path, orientation: int) -> None:
    """A camera that was turned says so in EXIF; the picture is turned upright."""
    upright = Image.fromarray(np.asarray([[0, 80], [160, 240]], np.uint8))
    turns = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    stored = upright.transpose(turns[orientation]) if turns[orientation] is not None else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "image.png", exif=exif)
    np.testing.assert_array_equal(example.read_image(str(tmp_path / "image.png"), GRAY)[..., 0], [[0, 80], [160, 240]])


def test_stretch_and_crop(tmp_path: Path) -> None:
    """Stretch keeps everything, crop the centre; three stripes of 2x2 tell."""
    stripes = np.repeat(np.asarray([[10, 100, 200]], np.uint8), 2, axis=1).repeat(2, axis=0)  # 2 high, 6 wide
    for name, pixels in (("wide", stripes), ("tall", stripes.T)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        assert (example.read_image(str(tmp_path / f"{name}.png"), LINES) == 100).all()
        stretched = example.read_image(str(tmp_path / f"{name}.png"), GRAY)[..., 0]
        np.testing.assert_array_equal(stretched, [[10, 200]] * 2 if name == "wide" else [[10, 10], [200, 200]])


def test_crop_of_every_size() -> None:
    """Rounding must not put the part outside the image, whatever the size."""
    spec = {**LINES, "shape": [1, 224, 224, 1]}
    for width in (*range(1, 60), 98, 196, 392, 395):
        for size in ((width, width + 3), (width + 3, width)):
            assert (example.fit_image(Image.new("L", size, 7), spec) == 7).all()


@pytest.mark.parametrize("resize", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (1000, 700)])
def test_any_size(size: tuple[int, int], resize: str) -> None:
    for fit in ("stretch", "crop"):
        spec = {"shape": [1, 28, 30, 3], "colour": "rgb", "resize": resize, "fit": fit}
        pixels = example.fit_image(Image.new("RGB", size, (1, 2, 3)), spec)
        assert pixels.dtype == np.uint8
        assert pixels.shape == (28, 30, 3)
        assert (pixels == (1, 2, 3)).all()


def test_resize_is_the_recipes(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40), np.uint8))
    kinds = ["nearest", "bilinear", "bicubic", "lanczos"]
    noise.save(tmp_path / "noise.png")
    specs = [{**GRAY, "shape": [1, 9, 9, 1], "resize": kind} for kind in kinds]
    made = [example.read_image(str(tmp_path / "noise.png"), spec).tobytes() for spec in specs]
    wanted = [noise.resize((9, 9), getattr(Image.Resampling, kind.upper())).tobytes() for kind in kinds]
    assert made == wanted
    assert len(set(made)) == 4


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (np.arange(4, dtype=np.uint8), [0, 1, 2, 3]),
        (np.arange(4, dtype=np.int64).reshape(1, 2, 2, 1), [0, 1, 2, 3]),
        (np.asarray([-5, 0.6, 254.6, 1000], np.float32), [0, 1, 255, 255]),
    ],
)
def test_npy(tmp_path: Path, array: np.ndarray, wanted: list[int]) -> None:
    np.save(tmp_path / "pixels.npy", array)
    pixels = example.read_image(str(tmp_path / "pixels.npy"), GRAY)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (2, 2, 1)
    assert pixels.ravel().tolist() == wanted


@pytest.mark.filterwarnings("ignore")  # numpy only warns of the imaginary part; a board would not notice
@pytest.mark.parametrize(
    "array",
    [np.zeros(5), np.full(4, np.nan), np.full(4, "x"), np.full(4, 1j), np.full(4, None)],
    ids=["size", "nan", "text", "complex", "object"],
)
def test_wrong_npy(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "pixels.npy", array)
    with pytest.raises(example.Problem, match=r"cannot be read.*\n  -> give pixel values 0..255 of shape \(2, 2, 1\)"):
        example.read_image(str(tmp_path / "pixels.npy"), GRAY)


@pytest.mark.parametrize("content", [b"", b"no array", b"PK\x03\x04 half an archive", b"\x93NUMPY\x01\x00"])
def test_damaged_npy(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pixels.npy").write_bytes(content)
    with pytest.raises(example.Problem, match="cannot be read"):
        example.read_image(str(tmp_path / "pixels.npy"), GRAY)


def test_npy_needs_no_pillow(tmp_path: Path) -> None:
    np.save(tmp_path / "pixels.npy", np.arange(4, dtype=np.uint8))
    code = (
        "import json, sys; sys.modules['PIL'] = None; sys.path.insert(0, sys.argv[1]); import example\n"
        "spec = json.loads(sys.argv[2])\n"
        "print(example.read_image('pixels.npy', spec).ravel().tolist())\n"
        "try: example.read_image('example.png', spec)\n"
        "except example.Problem as problem: print(problem)\n"
    )
    (tmp_path / "example.png").write_bytes(b"any")
    command = [sys.executable, "-c", code, str(paths.UTILS), json.dumps(GRAY)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "[0, 1, 2, 3]",
        "Pillow is not installed, so example.png cannot be read",
        "  -> pip install pillow, or give an .npy file of pixels",
    ]


def test_normalise_is_per_channel() -> None:
    facts = {"shape": [1, 1, 1, 3], "mean": [0.0, 127.5, 100.0], "std": [255.0, 127.5, 50.0]}
    entry = ImageInput(name="image", colour="rgb", resize="bilinear", fit="crop", **facts)
    tensor = preprocess.tensor_of(np.asarray([[[[255, 0, 150]]]], np.uint8), entry)
    assert tensor.dtype == np.float32
    assert tensor.ravel().tolist() == [1, -1, 1]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
def test_quantise_clips_and_never_wraps(dtype: Any) -> None:
    limits = np.iinfo(dtype)
    found = example.quantise(np.asarray([-1e9, 1e9, -np.inf, np.inf], np.float32), 0.5, 0, dtype)
    assert found.dtype == dtype
    assert found.tolist() == [limits.min, limits.max] * 2


def test_quantise_rounds() -> None:
    values = np.asarray([0.0, 0.24, 0.26, -0.24, -0.26, 1.0], np.float32)
    assert example.quantise(values, 0.5, 3, np.int8).tolist() == [3, 3, 4, 3, 2, 5]


@pytest.mark.parametrize(("scale", "zero_point"), [(1 / 255, -128), (2 / 255, 0), (0.0173, 11)])
def test_quantise_round_trip(scale: float, zero_point: int) -> None:
    """Every integer comes back; every real number in range within half a step."""
    integers = np.arange(-128, 128).astype(np.int8)
    real = example.dequantise(integers, scale, zero_point)
    assert real.dtype == np.float32
    np.testing.assert_array_equal(example.quantise(real, scale, zero_point, np.int8), integers)
    values = np.linspace(real.min(), real.max(), 1001, dtype=np.float32)
    back = example.dequantise(example.quantise(values, scale, zero_point, np.int8), scale, zero_point)
    assert np.abs(back - values).max() <= scale / 2 * 1.001
