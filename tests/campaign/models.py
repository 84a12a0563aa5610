"""Hostile model files, images, arrays and bundles, given to example.py as a program and to the report on a file.

``python -m tests.campaign.models [COUNT] [SEED]`` tries COUNT of them and counts how they came out.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.campaign.case import Case, Outcome
from tests.support import handmade, hostile_models
from tests.support.checkouts import clean_env
from utils.errors import ZooError
from utils.npu import compat

#: Seconds for one run of example.py; a model may take 5 of them a step.
TIMEOUT_S = 55

MODEL = "hand_int8.tflite"


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """An endless stream; the same seed makes the same cases."""
    whole = handmade.make_bundle(folder / "whole")
    makers = [_bytes, _structure, _structure, _image, _array, _facts, _labels, _member, _not_as_said]
    number = 0
    while True:
        number += 1
        yield from rng.choice(makers)(random.Random(rng.random()), whole, folder / f"case{number}")


def _example(place: Path, *arguments: str, right: bool = True) -> Outcome:
    """Run it there; ``right`` is whether exit code 0 may be."""
    command = [sys.executable, "example.py", "-n", "1", "-t", "1", "--timeout", "5", *arguments]
    try:
        done = subprocess.run(command, cwd=place, env=clean_env(), capture_output=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return Outcome.HANG
    finally:
        shutil.rmtree(place, ignore_errors=True)
    said = (done.stdout + done.stderr).decode(errors="replace")
    if done.returncode < 0 or "Traceback" in said:
        return Outcome.TRACEBACK
    if any(char in said for char in "\x1b\x07\x9b\u202e\u2066\r"):
        return Outcome.WRONG
    if done.returncode == 0:
        return Outcome.RIGHT if right else Outcome.WRONG
    told = "example.py: " in said or "  -> " in said
    return Outcome.CLEAR if 2 <= done.returncode <= 7 and told else Outcome.WRONG


def _compat(file: Path) -> Outcome:
    try:
        said = compat.as_text(file)
        compat.as_json(file)
        return Outcome.RIGHT if all(line.isprintable() for line in said.splitlines()) else Outcome.WRONG
    except ZooError as error:
        return Outcome.CLEAR if all(line.isprintable() for line in str(error).splitlines()) else Outcome.WRONG
    except Exception:
        return Outcome.TRACEBACK
    finally:
        shutil.rmtree(file.parent, ignore_errors=True)


def _model(what: str, data: bytes, whole: Path, place: Path) -> Iterator[Case]:
    """The bytes as a bare file for example.py, and for the report."""

    def write(name: str) -> Path:
        (place / name).mkdir(parents=True)
        shutil.copy(whole / "example.py", place / name)
        (place / name / "x.tflite").write_bytes(data)
        return place / name

    yield Case("models", f"example.py: {what}", lambda: _example(write("a"), "-m", "x.tflite"))
    yield Case("models", f"compat: {what}", lambda: _compat(write("b") / "x.tflite"))


def _bytes(rng: random.Random, whole: Path, place: Path) -> Iterator[Case]:
    data = hostile_models.flipped(handmade.pack(handmade.network(whole_numbers=rng.random() < 0.5)), rng)
    yield from _model("a model file with changed bytes", data, whole, place)


def _spoilt(rng: random.Random) -> tuple[str, bytes]:
    """A valid flatbuffer with wrong content; another one where the content cannot even be written."""
    while True:
        what = rng.choice(list(hostile_models.EDITS))
        try:
            edit = hostile_models.EDITS[what]
            data = handmade.changed(lambda model: edit(model, rng), whole_numbers=rng.random() < 0.5)  # noqa: B023  # called at once
            return what, data
        except Exception:  # struct.error, TypeError, AttributeError: a number that no field holds
            continue


def _structure(rng: random.Random, whole: Path, place: Path) -> Iterator[Case]:
    what, data = _spoilt(rng)
    yield from _model(f"a model file with {what} spoilt", data, whole, place)


def _copy(whole: Path, place: Path) -> Path:
    shutil.copytree(whole, place)
    return place


def _spoil(what: str, spoil: Callable[[Path], Any], whole: Path, place: Path, *arguments: str) -> Iterator[Case]:
    """A bundle with something spoilt in it."""

    def run() -> Outcome:
        _copy(whole, place)
        spoil(place)
        return _example(place, *arguments)

    yield Case("models", what, run)


def _image(rng: random.Random, whole: Path, place: Path) -> Iterator[Case]:
    kind = rng.choice(["png", "jpeg", "gif", "bmp", "tiff", "ppm", "webp", "npy"])
    mode = rng.choice(["RGB", "L", "P", "RGBA", "CMYK", "I;16", "1", "LA", "F", "I"])
    size = rng.choice([(8, 8), (1, 1), (1, 3000), (3000, 1), (64, 48)])
    stream, seed = io.BytesIO(), rng.randrange(2**32)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    if kind == "npy":
        dtype = rng.choice(["u1", "f4", "f8", "i8", "c8", "U3", ">i2", "?", "M8[s]"])
        shape = rng.choice([(8, 8, 3), (1, 8, 8, 3), (8, 8), (0,), ()])
        np.save(stream, np.zeros(shape, dtype) if rng.random() < 0.5 else pixels)
    else:
        try:
            picture = Image.fromarray(pixels)
            picture = Image.new(mode, size) if mode == "I;16" else picture.convert(mode)
            more = {"save_all": True, "append_images": [picture] * 3} if kind == "gif" else {}
            exif = Image.Exif()
            exif[0x0112], exif[0x010E] = rng.choice([0, 3, 6, 99]), "x" * rng.choice([0, 9, 60000])
            picture.save(stream, kind, **more, **({"exif": exif} if kind in ("jpeg", "png", "webp") else {}))
        except (OSError, ValueError, KeyError):  # a format that does not hold this mode
            Image.fromarray(pixels).save(stream, "png")
    data = stream.getvalue()
    if rng.random() < 0.6:
        data = hostile_models.flipped(data.ljust(20, b"\0"), rng)
    if rng.random() < 0.2:
        data = data[: rng.randrange(len(data) + 1)]
    name = f"x.{rng.choice([kind, kind, 'png', 'npy'])}"
    yield from _spoil(
        f"an image: {kind}, {mode}, {size}", lambda where: (where / name).write_bytes(data), whole, place,
        "-m", MODEL, "-i", name,
    )  # fmt: skip


def _array(rng: random.Random, whole: Path, place: Path) -> Iterator[Case]:
    file = rng.choice(["golden_int8.npz", "golden_float32.npz", "samples.npz"])
    with np.load(whole / file) as found:
        arrays = dict(found)
    key = rng.choice(list(arrays))
    change = rng.choice(["bytes", "type", "shape", "names", "lengths", "pickle", "values"])
    if change == "type":
        kind = rng.choice(["f8", "i8", "U4", "?", "c8", ">f4", "f2"])
        arrays[key] = np.zeros(arrays[key].shape, kind)
    elif change == "shape":
        shape = arrays[key].shape
        arrays[key] = np.zeros(rng.choice([(), (0,), shape[:-1], (*shape, 2), (1,) * 12, shape[::-1]]), np.int8)
    elif change == "names":
        arrays = {rng.choice(["other", "a/b", "../x", "input"]): value for value in arrays.values()}
    elif change == "lengths":
        arrays[key] = arrays[key][: rng.randrange(3)]
    elif change == "pickle":
        arrays[key] = np.array([{"a": 1}] * 6, object)
    elif change == "values":
        arrays[key] = np.full(arrays[key].shape, rng.choice([np.nan, np.inf, -1e38, 0]), np.float32)
    stream = io.BytesIO()
    rng.choice([np.savez, np.savez_compressed])(stream, **arrays)
    data = hostile_models.flipped(stream.getvalue(), rng) if change == "bytes" else stream.getvalue()
    yield from _spoil(
        f"{file}: {change} of {key}",
        lambda where: (where / file).write_bytes(data),
        whole,
        place,
        "--samples",
        "--check",
    )


def _walk(value: Any, rng: random.Random) -> Any:
    """The JSON value with one of its parts replaced, taken out or wrapped."""
    inside = isinstance(value, dict | list) and len(value) > 0
    if inside and rng.random() < 0.85:
        key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if rng.random() < 0.15:
            del value[key]
        else:
            value[key] = _walk(value[key], rng)
        return value
    return rng.choice([
        None, True, -1, 0, 7, 2**40, 1e300, "", "\x1b[2J", "../../etc/passwd", "\0", "x" * 9999, [], {}, [value],
        {"a": value}, "1", [None], -0.5, "labels.txt", "/dev/zero",
    ])  # fmt: skip


def _facts(rng: random.Random, whole: Path, place: Path) -> Iterator[Case]:
    facts = json.loads((whole / "model.json").read_text())
    for _ in range(rng.choice([1, 1, 2, 5])):
        facts = _walk(facts, rng)
    text = json.dumps(facts)
    data = text.encode(rng.choice(["utf-8"] * 6 + ["utf-16", "utf-8-sig"]))
    if rng.random() < 0.2:
        data = hostile_models.flipped(data.ljust(20), rng)
    arguments = rng.choice([(), ("--samples", "-i", "image.png"), ("-m", MODEL, "--json")])
    yield from _spoil("model.json", lambda where: (where / "model.json").write_bytes(data), whole, place, *arguments)


def _labels(rng: random.Random, whole: Path, place: Path) -> Iterator[Case]:
    good = "\n".join(handmade.LABELS)
    texts = [text.decode(errors="replace").replace("\n", " ") for text in hostile_models.TEXTS]
    odd = "\n".join(rng.choice(texts).replace("\r", " ") or "-" for _ in range(5))
    data = rng.choice([
        odd.encode(), odd.encode(), good.encode("utf-16"), b"", b"\xff\n" * 5, b"\0\n" * 5, b"x" * (1 << 22),
        b"\n" * 10**6, b"a\xe2\x80\xa8b\nc\nd\ne",
    ])  # fmt: skip
    yield from _spoil(
        "labels.txt", lambda where: (where / "labels.txt").write_bytes(data), whole, place,
        "-m", MODEL, "-i", "image.png", *rng.choice([(), ("--json",)]),
    )  # fmt: skip


def _member(rng: random.Random, whole: Path, place: Path) -> Iterator[Case]:
    """A member that is missing, a folder, a link, a pipe, another member, or unreadable as what it is."""
    file = rng.choice(["model.json", "labels.txt", "golden_int8.npz", "samples.npz", MODEL, "image.png", "vela.json"])
    other = rng.choice(["labels.txt", "hand_float32.tflite", "samples.npz", "image.png"])
    kind = rng.choice(["missing", "folder", "zero", "loop", "pipe", "other", "empty", "dangling"])

    def spoil(where: Path) -> None:
        path = where / file
        path.unlink(missing_ok=True)
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "other":
            shutil.copy(whole / other, path)
        elif kind == "empty":
            path.write_bytes(b"")
        elif kind != "missing":
            path.symlink_to({"zero": "/dev/zero", "loop": path.name, "dangling": "nowhere"}[kind])

    yield from _spoil(f"{file}: {kind}", spoil, whole, place, "--samples", "--check", "-i", "image.png")


def _not_as_said(rng: random.Random, whole: Path, place: Path) -> Iterator[Case]:
    """A model file that is not what model.json says: it must never be taken for it."""
    what, data = _spoilt(rng)

    def run() -> Outcome:
        _copy(whole, place)
        if data in [file.read_bytes() for file in place.glob("*.tflite")]:  # the edit changed nothing
            return Outcome.RIGHT
        (place / MODEL).write_bytes(data)
        return _example(place, "-m", MODEL, right=False)

    yield Case("models", f"a bundle's model file with {what} spoilt", run)


def main() -> None:
    """Try them, and count."""
    import tempfile

    count, seed = (int(word) for word in (*sys.argv[1:], *("300", "1")[len(sys.argv) - 1 :]))
    came: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        stream = cases(random.Random(seed), Path(folder))
        for number in range(count):
            case = next(stream)
            outcome = case.run()
            came[outcome.value] += 1
            if outcome not in (Outcome.RIGHT, Outcome.CLEAR):
                print(f"{number}: {case.what}: {outcome.value}", flush=True)
    print(f"seed {seed}, {count} cases: " + ", ".join(f"{number} {word}" for word, number in came.items()))


if __name__ == "__main__":
    main()
