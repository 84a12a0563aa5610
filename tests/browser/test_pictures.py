"""Pictures in a browser: the same tensors as example.py makes, answers, the camera, and what is no picture."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import handmade, pretrained, sites
from utils import example

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]

#: A JPEG decoder may round otherwise than Pillow's: by this much in one value, and by so much on average.
JPEG_WORST, JPEG_MEAN = 8, 0.5

FIT = """async ([name, data, input]) => {
  const { decode, fit, normalise } = await import(new URL("pixels.js", location.origin + "/").href);
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  const fitted = fit(await decode(new Blob([bytes]), name), input);
  return [Array.from(fitted), Array.from(normalise(fitted, input))];
}"""


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def picture(width: int, height: int, *, smooth: bool = False, mode: str = "RGB") -> Image.Image:
    """Noise, or noise without fine detail, as photographs are."""
    rng = np.random.default_rng(width * 1000 + height)
    small = (max(1, height // 8), max(1, width // 8)) if smooth else (height, width)
    values = rng.integers(0, 256, (*small, {"RGB": 3, "RGBA": 4}[mode]), np.uint8)
    if mode == "RGBA":  # a canvas keeps colours of whole and of absent pixels only
        values[..., 3] = rng.choice([0, 255], small)
    return Image.fromarray(values, mode).resize((width, height), Image.Resampling.BICUBIC if smooth else 0)


def spec_of(colour: str, resize: str, fit: str, size: tuple[int, int] = (24, 31)) -> dict[str, Any]:
    count = {"gray": 1, "rgb": 3}[colour]
    return {
        "shape": [1, *size, count], "colour": colour, "resize": resize, "fit": fit,
        "mean": [123.675, 116.28, 103.53][:count], "std": [58.395, 57.12, 57.375][:count],
    }  # fmt: skip


def fitted(page: Any, data: bytes, spec: dict[str, Any]) -> tuple[Any, Any]:
    """Pixels and tensor that the browser makes of a file."""
    pixels, tensor = page.evaluate(FIT, ["picture", base64.b64encode(data).decode(), spec])
    shape = spec["shape"][1:]
    return np.reshape(pixels, shape), np.reshape(np.asarray(tensor, np.float32), shape)


@pytest.mark.parametrize("resize", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("fit", ["stretch", "crop"])
def test_pixels_are_those_of_example_py_to_the_last_bit(hand: str, visit: Visit, resize: str, fit: str) -> None:
    page = visit(hand, "models/hand.html").page
    cases = [(96, 61, "RGB"), (31, 24, "RGB"), (20, 90, "RGB"), (90, 20, "RGB"), (7, 5, "RGB"), (64, 64, "RGBA")]
    cases += [(40, 60, "RGB"), (52, 80, "RGB"), (33, 26, "RGB"), (29, 26, "RGB"), (77, 59, "RGB"), (32, 27, "RGB")]
    for width, height, mode in cases:
        image = picture(width, height, mode=mode)
        for kind in ("PNG", "BMP") if mode == "RGB" else ("PNG",):
            for colour in ("rgb", "gray"):
                spec = spec_of(colour, resize, fit)
                want = example.fit_image(image, spec)
                pixels, tensor = fitted(page, encoded(image, kind), spec)
                np.testing.assert_array_equal(pixels, want, err_msg=f"{width} x {height} {kind} {colour}")
                np.testing.assert_array_equal(tensor, example.normalise(want, spec))


def test_photographs_differ_by_the_decoder_alone(hand: str, visit: Visit) -> None:
    """JPEG and WebP: within the bound that docs/reference/try.md states."""
    page = visit(hand, "models/hand.html").page
    image = picture(640, 480, smooth=True)
    spec = spec_of("rgb", "bilinear", "crop", (224, 224))
    for kind, options in (("JPEG", {"quality": 90}), ("JPEG", {"quality": 75, "subsampling": 2}), ("WEBP", {})):
        data = encoded(image, kind, **options)
        want = example.fit_image(Image.open(io.BytesIO(data)), spec).astype(int)
        errors = np.abs(fitted(page, data, spec)[0] - want)
        assert errors.max() <= JPEG_WORST
        assert errors.mean() <= JPEG_MEAN


def test_a_picture_that_lies_on_its_side_is_turned(hand: str, visit: Visit, tmp_path: Path) -> None:
    page = visit(hand, "models/hand.html").page
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    (tmp_path / "side.png").write_bytes(encoded(picture(60, 40), "PNG", exif=exif))
    spec = spec_of("rgb", "bilinear", "stretch")
    want = example.read_image(str(tmp_path / "side.png"), spec)
    np.testing.assert_array_equal(fitted(page, (tmp_path / "side.png").read_bytes(), spec)[0], want)


def give(watched: Any, name: str, data: bytes) -> None:
    """Choose a file of the visitor's."""
    watched.page.set_input_files("#try-file", {"name": name, "mimeType": "application/octet-stream", "buffer": data})


def test_a_file_is_answered_as_example_py_answers_it(hand: str, visit: Visit, tmp_path: Path) -> None:
    bundle = handmade.make_bundle(tmp_path / "bundle")
    watched = visit(hand, "models/hand.html")
    watched.start()
    image = picture(40, 30)
    give(watched, "mine.png", encoded(image, "PNG"))
    watched.wait_for_answers(1)
    facts = example.Bundle(str(bundle)).facts
    tensor = example.normalise(example.fit_image(image, facts["input"])[None], facts["input"])
    for variant in ("float32", "int8"):
        model = example.Model(str(bundle / f"hand_{variant}.tflite"), example.load_runtime(), 1)
        scores = model.dequantise(model.run(model.quantise(tensor))).reshape(-1)
        assert watched.answers()[f"hand, {variant}"] == handmade.LABELS[int(scores.argmax())]
        said = watched.page.locator(f'[data-competitor="hand, {variant}"] .try-said').inner_text()
        assert abs(float(said.split()[1]) - 100 * float(scores.max())) < 0.5


def test_golden_tensors_of_a_bundle_pass(hand: str, visit: Visit) -> None:
    watched = visit(hand, "models/hand.html")
    watched.start()
    watched.page.click("text=Run the golden inputs")
    watched.page.wait_for_selector(".try-golden li:nth-child(2)")
    lines = watched.page.query_selector_all(".try-golden li")
    assert [line.get_attribute("data-verdict") for line in lines] == ["PASS", "PASS"]


def test_wrong_golden_tensors_do_not_pass(hand: str, visit: Visit) -> None:
    watched = visit(hand, "models/hand.html")
    zeros = bytes(6 * 5 * 4)
    watched.page.route("**/float32_golden_outputs.bin", lambda route: route.fulfill(body=zeros))
    watched.start()
    watched.page.click("text=Run the golden inputs")
    watched.page.wait_for_selector(".try-golden li:nth-child(2)")
    lines = watched.page.query_selector_all(".try-golden li")
    assert [line.get_attribute("data-verdict") for line in lines] == ["MISMATCH", "PASS"]


def test_a_dropped_picture_and_an_example(hand: str, visit: Visit) -> None:
    watched = visit(hand, "models/hand.html")
    watched.start()
    data = base64.b64encode(encoded(picture(40, 30), "PNG")).decode()
    drop = """(data) => {
      const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0)), dropped = new DataTransfer();
      dropped.items.add(new File([bytes], "dropped.png"));
      const event = new DragEvent("drop", { dataTransfer: dropped, bubbles: true });
      document.querySelector(".try-drop").dispatchEvent(event);
    }"""
    watched.page.evaluate(drop, data)
    watched.wait_for_answers(1)
    watched.page.click("[aria-label=Examples] button")
    watched.wait_for_answers(2)
    assert set(watched.answers().values()) <= set(handmade.LABELS)


def test_the_camera(hand: str, visit: Visit) -> None:
    watched = visit(hand, "models/hand.html", permissions=["camera"])
    watched.start()
    watched.page.click("text=Use the camera")
    watched.page.wait_for_function("document.querySelector('#try video')?.videoWidth > 0")
    watched.page.click("text=Take the picture")
    watched.wait_for_answers(1)
    assert watched.page.query_selector("#try video") is None
    assert watched.page.is_visible("text=Use the camera")


def huge_png() -> bytes:
    """100 megapixels in 12 kB."""
    return encoded(Image.new("1", (10_000, 10_000)), "PNG")


REFUSED = [
    (
        "notes.txt",
        b"To whom it may concern\n" * 40,
        "notes.txt is not a picture: give a JPEG, PNG, BMP, GIF or WebP file.",
    ),
    ("empty.png", b"", "empty.png is not a picture"),
    ("huge.png", huge_png(), "huge.png has 100 megapixels, and the page takes 67: make it smaller."),
    ("cut.png", encoded(picture(64, 64), "PNG")[:500], "cut.png cannot be read: it is damaged"),
    ("cut.jpg", b"\xff\xd8\xff\xe0\x00", "cut.jpg is not a picture"),
    ("flat.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\0\0\0\0\x10", "flat.png is not a picture"),
    ("page.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "page.svg is not a picture"),
]


@pytest.mark.parametrize(("name", "data", "said"), REFUSED, ids=[name for name, _, _ in REFUSED])
def test_what_is_no_picture_gets_a_sentence(hand: str, visit: Visit, name: str, data: bytes, said: str) -> None:
    watched = visit(hand, "models/hand.html")
    watched.start()
    give(watched, name, data)
    assert watched.alert().startswith(said)
    give(watched, "mine.png", encoded(picture(40, 30), "PNG"))  # and the page goes on
    watched.wait_for_answers(1)
    assert watched.page.inner_text(".try-alert") == ""


def test_a_browser_without_simd_gets_a_sentence(hand: str, visit: Visit) -> None:
    watched = visit(hand, "models/hand.html", script="WebAssembly.validate = () => false;")
    watched.start("failed")
    assert watched.alert().startswith("This browser has no WebAssembly SIMD")
    assert not any(url.endswith((".wasm", ".tflite")) for url in watched.requests)


def test_a_damaged_model_gets_a_sentence(hand: str, visit: Visit) -> None:
    watched = visit(hand, "models/hand.html")
    watched.page.route("**/float32.tflite", lambda route: route.fulfill(body=b"no model"))
    watched.start("failed")
    assert watched.alert() == "models/hand/try/float32.tflite is damaged: its SHA-256 is not that of the page."


def test_a_model_that_is_gone_gets_a_sentence(hand: str, visit: Visit) -> None:
    watched = visit(hand, "models/hand.html")
    watched.page.route("**/int8.tflite", lambda route: route.fulfill(status=404))
    watched.start("failed")
    assert watched.alert() == "models/hand/try/int8.tflite is not on the server (404): the site is not whole."
    assert all("404" in error or "int8.tflite" in error for error in watched.errors)
    watched.errors.clear()


def test_hostile_labels_are_text(visit: Visit, tmp_path: Path) -> None:
    bundle = handmade.make_bundle(tmp_path / "bundle")
    labels = ['<img src=x onerror="window.ran=1">', "<script>window.ran=1</script>", "&lt;", "\u202eabc", "'\"`"]
    (bundle / "labels.txt").write_text("\n".join(labels) + "\n")
    with sites.served(sites.write_trials({"hand": bundle}, tmp_path / "site")) as base:
        watched = visit(base, "models/hand.html")
        watched.start()
        give(watched, "mine.png", encoded(picture(40, 30), "PNG"))
        watched.wait_for_answers(1)
        shown = watched.page.locator(".try-answer >> nth=0").locator("th").all_text_contents()
        assert sorted(shown) == sorted(labels)
        assert watched.page.evaluate("window.ran") is None


@pytest.fixture(scope="module")
def segments(loaded_once: pretrained.Loaded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a site with a small segmentation model."""
    bundle = loaded_once.checkout.root / "artifacts/segments"
    with sites.served(sites.write_trials({"segments": bundle}, tmp_path_factory.mktemp("segments"))) as base:
        yield base


def test_segmentation_tints_what_it_finds(segments: str, visit: Visit) -> None:
    """Half the picture is red, half is dark."""
    watched = visit(segments, "models/segments.html")
    watched.start()
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, 32:] = (255, 0, 0)
    give(watched, "half.png", encoded(Image.fromarray(pixels), "PNG"))
    watched.wait_for_answers(1)
    box = watched.page.query_selector(".try-answer")
    assert "red" in box.get_attribute("data-classes").split(",")
    assert "% of the pixels" in box.inner_text()
    watched.page.click("text=Run the golden inputs")
    watched.page.wait_for_selector(".try-golden li")
    assert watched.page.get_attribute(".try-golden li", "data-verdict") == "PASS"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "words", "found"), [("deeplabv3", (), "cat"), ("mobilenet_v2", ("weights",), "boxer")]
)
def test_models_of_the_zoo_from_the_mirror(
    model: str, words: tuple[str, ...], found: str, mirror: Path, visit: Visit, tmp_path: Path
) -> None:
    from tests.support.checkouts import copy_project

    own = mirror.parent / "weights" / "mobilenet_v2_dequantised.h5"
    if words and not own.is_file():
        pytest.skip("no weights for MobileNetV2 beside the mirror")
    checkout = copy_project(tmp_path / "zoo")
    env = {"ZOO_MIRROR": str(mirror), "ZOO_OFFLINE": "1"}
    done = checkout.doit(model, *[f"{word}={own}" for word in words], env=env, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    bundle = checkout.root / "artifacts" / model
    with sites.served(sites.write_trials({model: bundle}, tmp_path / "site")) as base:
        watched = visit(base, f"models/{model}.html")
        watched.start()
        (file,) = (bundle / "inputs").glob("example_input.*")
        give(watched, file.name, file.read_bytes())
        watched.wait_for_answers(1)
        for box in watched.page.query_selector_all(".try-answer"):
            said = box.get_attribute("data-classes") or box.get_attribute("data-answer")
            assert found in said.split(",")
            notes = box.inner_text()
            assert "ms in this browser, on no board" in notes
            is_copy = box.get_attribute("data-competitor").endswith("int8")
            assert ("QUANTIZE and DEQUANTIZE put back" in notes) == is_copy
    shutil.rmtree(checkout.root)
