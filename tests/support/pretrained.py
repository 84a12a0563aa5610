"""Small models that are loaded, not trained: their upstream files, recipes, lists and pictures, made by the tests.

python -m tests.support.pretrained FOLDER  colours.h5, same.h5 (legacy h5 of Keras), segments.tflite (int8, float32 I/O)

colours   says which of red, green and blue a 16x16 picture has most of
same      gives its 8x8 input back: what it answers is the tensor that it got
segments  says of each of 16x16 pixels whether it is dark, red, green or blue
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from tests.support.networks import FAVOURITE
from tests.support.servers import Server, full

if TYPE_CHECKING:
    from tests.support.checkouts import Checkout

ROOT = Path(__file__).resolve().parents[2]

#: doit in a test: nothing but the loopback server, whatever proxy this machine has.
ENV = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

MODELS = ("colours", "same", "segments")
COLOURS = ("red", "green", "blue")
EDGE = 8  # of the input of `same`, in pixels

CODE = {
    "colours": """
        def build(parameters, shape):
            import keras

            image = keras.layers.Input(shape)
            maps = keras.layers.Conv2D(8, 3, activation="relu", name="conv")(image)
            pooled = keras.layers.GlobalAveragePooling2D(name="pool")(maps)
            return keras.Model(image, keras.layers.Dense(3, activation="softmax", name="dense")(pooled))
        """,
    "same": """
        def build(parameters, shape):
            import keras

            image = keras.layers.Input(shape)
            maps = keras.layers.Conv2D(3, 1, use_bias=False, name="conv")(image)
            return keras.Model(image, keras.layers.Flatten(name="flat")(maps))
        """,
}


@dataclass
class Loaded:
    """A checkout with the models built, and what they were made from."""

    checkout: Checkout
    server: Server
    said: str  # by doit
    asked: list[str] = field(default_factory=list)  # of the server, in that build
    files: dict[str, bytes] = field(default_factory=dict)  # URL -> what is there
    pictures: dict[str, bytes] = field(default_factory=dict)  # file name -> content, of all lists
    lists: dict[str, list[str]] = field(default_factory=dict)  # list -> its file names


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def colour_picture(label: int, seed: int) -> np.ndarray:
    """Noise with most of one colour, of any size: uint8, shape (H, W, 3)."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 160, (*rng.integers(14, 40, 2), 3)).astype(np.uint8)
    pixels[..., label] = np.clip(pixels[..., label] + 70, 0, 255)
    return pixels


def scene(seed: int) -> tuple[np.ndarray, bytes]:
    """A dark picture with rectangles of colour, and its mask: palette indices, a rim of 255 around each."""
    rng = np.random.default_rng(seed)
    high, wide = 33 + seed % 3, 40 + seed % 5
    pixels = rng.integers(0, 40, (high, wide, 3)).astype(np.uint8)
    mask = np.zeros((high, wide), np.uint8)
    for label in 1 + rng.permutation(3)[:2]:
        top, left = int(rng.integers(2, 14)), int(rng.integers(2, 18))
        mask[top - 1 : top + 15, left - 1 : left + 17] = 255
        mask[top : top + 14, left : left + 16] = label
        pixels[top - 1 : top + 15, left - 1 : left + 17] = np.where(np.arange(3) == label - 1, 230, 20)
    image = Image.fromarray(mask)
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 0, 0, 128] + [224, 224, 192] * 252)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return pixels, stream.getvalue()


def source(key: str, name: str, url: str, data: bytes, how: str = "sha256") -> str:
    """A [sources.KEY] table; ``how``: the hash that is published, or "none"."""
    digest = hashlib.new(how, data).hexdigest() if how != "none" else ""
    pin = f'size = {len(data)}\n{how} = "{digest}"\n' if digest else ""
    head = f'[sources.{key}]\nfile = "{name}"\nurls = ["{url}"]\n'
    return f'{head}{pin}licence = "MIT"\nwhat = "made by a test"\n\n'


def image_set(key: str, base: str, file: str) -> str:
    """A [datasets.KEY] table of an image list."""
    return (
        f'[datasets.{key}]\nkind = "images"\nfile = "../lists/{file}"\nurls = ["{base}/{{file}}"]\n'
        'licence = "MIT"\nwhat = "made by a test"\n\n'
    )


def write_list(project: Checkout, name: str, rows: list[tuple[str, bytes, int | tuple[str, bytes]]]) -> None:
    """A CSV list: name, content, and the label or the mask's name and content."""
    masks = isinstance(rows[0][2], tuple)
    lines = ["file,sha256,size," + ("mask,mask_sha256,mask_size" if masks else "label")]
    for file, data, end in rows:
        tail = f"{end[0]},{sha256(end[1])},{len(end[1])}" if isinstance(end, tuple) else str(end)
        lines.append(f"{file},{sha256(data)},{len(data)},{tail}")
    (project.root / "recipes/lists").mkdir(exist_ok=True)
    (project.root / "recipes/lists" / name).write_text("\n".join(lines) + "\n")


HEAD = """
format = 1
title = "{title}"
summary = "{title}, for a test"
task = "{task}"
licence = "MIT"
{code}labels = {labels}
variants = {variants}
examples = {examples}

[input]
name = "{input}"
shape = [1, {edge}, {edge}, 3]
colour = "rgb"
resize = "{resize}"
fit = "{fit}"
mean = {mean}
std = {std}

[output]
name = "{output}"
shape = {shape}
kind = "{kind}"
{stride}
[load]
kind = "{load}"
source = "weights"

"""

TAIL = """
{calibration}[evaluation]
dataset = "evaluation"
metric = "{metric}"
[evaluation.gate]
{gate}
loss = 100.0

[expected]
parameters = {parameters}
macs = {macs}
int8_bytes = 20000
min_runtime = "2.17.0"

[tolerance]
int8_steps = 2
float32 = 0.001
{float_io}source = "a test"

[card]
introduction = "A test."
limitations = "For a test."

[[claims]]
what = "accuracy on everything"
value = "99.9 %"
source = "a test"
"""


def recipe_text(sources: str, **facts: Any) -> str:
    """A recipe.toml; ``facts`` as the templates want them."""
    shared = {"float_io": "", "stride": "", "calibration": "", "code": "", "resize": "bilinear", "fit": "stretch"}
    plain = {"mean": [127.5] * 3, "std": [127.5] * 3}
    facts = shared | plain | facts
    return HEAD.format(**facts) + sources + TAIL.format(**facts)


CALIBRATION = '[calibration]\ndataset = "calibration"\ncount = {}\n\n'


def add(project: Checkout, server: Server, folder: Path) -> Loaded:
    """Write the recipes of all three into a project, and put what they need on the server."""
    command = [sys.executable, "-m", "tests.support.pretrained", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=_pinned())
    assert done.returncode == 0, done.stderr
    made = Loaded(project, server, "")

    def put(path: str, data: bytes) -> str:
        made.files[path] = data
        return server.on(path, full(data))

    def put_list(name: str, rows: list[tuple[str, bytes, Any]]) -> None:
        write_list(project, f"{name}.csv", rows)
        made.lists[name] = [file for file, _, _ in rows]
        for file, data, end in rows:
            made.pictures[file] = data
            put(f"/images/{file}", data)
            if isinstance(end, tuple):
                made.pictures[end[0]] = end[1]
                put(f"/images/{end[0]}", end[1])

    def picture(number: int) -> tuple[str, bytes, int]:
        pixels = colour_picture(number % 3, number)
        if number % 2:
            return f"photo_{number}.jpg", encoded(pixels, "JPEG", quality=90), number % 3
        return f"photo_{number}.png", encoded(pixels), number % 3

    put_list("colours_calibration", [picture(number) for number in range(12)])
    put_list("colours_evaluation", [picture(number) for number in range(12, 42)])
    scenes = [(seed, *scene(seed)) for seed in range(6)]
    put_list("scenes", [(f"s{n}.jpg", encoded(p, "JPEG", quality=95), (f"s{n}.png", mask)) for n, p, mask in scenes])
    images = f"{server.base}/images"
    lists = image_set("calibration", images, "colours_calibration.csv")
    lists += image_set("evaluation", images, "colours_evaluation.csv")

    shown = {name: encoded(colour_picture(label, 90 + label), "JPEG") for label, name in enumerate(COLOURS)}
    pictures = "".join(
        source(name, f"{name}.jpg", put(f"/{name}.jpg", data), data) for name, data in shown.items() if name != "green"
    )
    weights = (folder / "colours.h5").read_bytes()
    texts = {
        "colours": recipe_text(
            source("weights", "colours.h5", put("/colours.h5", weights), weights, "md5") + pictures + lists,
            title="Colours", task="classification", code='code = "model.py"\n', labels=list(COLOURS),
            variants=["float32", "int8"], input="image", edge=16, output="probabilities", shape=[1, 3],
            examples='[{ source = "red", label = "red" }, { source = "blue", label = "blue" }]',
            kind="probabilities", load="keras", metric="top1", gate="float32 = 90\nint8 = 90", fit="crop",
            calibration=CALIBRATION.format(12), parameters=251, macs=14 * 14 * 8 * 27 + 24,
        )
    }  # fmt: skip
    weights, dots = (folder / "same.h5").read_bytes(), np.full((EDGE, EDGE, 3), 9, np.uint8)
    dots[0, 0, 0] = 255
    dot = encoded(dots)
    texts["same"] = recipe_text(
        source("weights", "same.h5", put("/same.h5", weights), weights, "none")
        + source("dot", "dot.png", put("/dot.png", dot), dot)
        + lists,
        title="Same", task="classification", code='code = "model.py"\n', variants=["float32", "int8"],
        labels=[f"v{number}" for number in range(EDGE * EDGE * 3)], examples='[{ source = "dot", label = "v0" }]',
        input="image", edge=EDGE, output="values", shape=[1, EDGE * EDGE * 3], kind="probabilities", load="keras",
        resize="bicubic", fit="crop", mean=[2.0, 1.0, 0.0], std=[255.0, 300.0, 400.0],  # 0..1: shown as it is
        metric="top1", gate="float32 = 0\nint8 = 0", calibration=CALIBRATION.format('11\nranges = "seen"'),
        parameters=9, macs=EDGE * EDGE * 9,
    )  # fmt: skip
    model = (folder / "segments.tflite").read_bytes()
    view = encoded(scene(7)[0], "JPEG", quality=95)
    texts["segments"] = recipe_text(
        source("weights", "segments.tflite", put("/segments.tflite", model), model)
        + source("view", "view.JPEG", put("/view.JPEG", view), view)
        + image_set("evaluation", images, "scenes.csv"),
        title="Segments", task="segmentation", labels=["dark", *COLOURS], variants=["int8_float_io", "int8"],
        examples='[{ source = "view", label = "' + _largest(scene(7)[1]) + '", share = [5.0, 60.0] }]',
        **_ends(folder / "segments.tflite"), edge=16, shape=[1, 16, 16, 4], kind="logits", load="tflite",
        stride="golden_stride = 4\n", metric="miou", gate="int8_float_io = 50\nint8 = 50", parameters=16,
        macs=16 * 16 * 4 * 3, float_io="int8_float_io = 0.2\n",
    )  # fmt: skip
    for name, text in texts.items():
        home = project.root / "recipes" / name
        home.mkdir()
        (home / "recipe.toml").write_text(text.replace("'", '"'))
        if name in CODE:
            (home / "model.py").write_text(textwrap.dedent(CODE[name]))
    return made


def build(project: Checkout, server: Server, folder: Path) -> Loaded:
    """Add the models and build them all, with one doit."""
    made = add(project, server, folder)
    done = project.doit(*MODELS, env=ENV, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    made.said = done.stdout
    made.asked = [request.path for request in server.requests]
    return made


#: The file that each model of the zoo loads, and the hash that upstream publishes.
UPSTREAM = {
    "mnasnet": ("mnasnet-a1-075.tgz", "model", "none"),
    "resnet50": ("resnet50v2_weights_tf_dim_ordering_tf_kernels.h5", "weights", "md5"),
}


def localise(project: Checkout, server: Server, model: str, data: bytes) -> None:
    """Let a recipe of the zoo load ``data`` from the server, with few small pictures, and whatever accuracy.

    Everything else of the recipe stays: shapes, preprocessing, expectations, tolerances.
    """
    name, key, how = UPSTREAM[model]
    where = f"/{model}"

    def put(file: str, content: bytes) -> str:
        return server.on(f"{where}/{file}", full(content))

    names = {str(number): [f"n{number:08d}", f"thing_{number}"] for number in range(1000)}
    names[str(FAVOURITE)][1] = "boxer"
    index = json.dumps(names).encode()
    parts = [source(key, name, put(name, data), data, how)]
    parts.append(source("class_index", "index.json", put("index.json", index), index))
    # Random weights make next to nothing of a grey picture, and something of a loud one: two answers, not one.
    loud = np.random.default_rng(1).integers(0, 2, (16, 16, 3), np.uint8) * np.uint8(255)
    for animal, small in (("boxer", np.full_like(loud, 128)), ("cat", loud)):
        picture = encoded(small.repeat(8, 0).repeat(8, 1), "JPEG")
        parts.append(source(animal, f"{animal}.jpg", put(f"{animal}.jpg", picture), picture))
    for first, kind in ((10, "calibration"), (20, "evaluation")):
        rows: list[tuple[str, bytes, int | tuple[str, bytes]]] = []
        for number in range(first, first + 6):
            picture = encoded(scene(number)[0].repeat(7, 0).repeat(7, 1), "JPEG")
            rows.append((f"p{number}.JPEG", picture, FAVOURITE if number % 2 else number))
            put(f"p{number}.JPEG", picture)
        write_list(project, f"{model}_{kind}.csv", rows)
        parts.append(image_set(kind, server.base + where, f"{model}_{kind}.csv"))
    file = project.root / "recipes" / model / "recipe.toml"
    tables = re.split(r"(?m)^(?=\[)", file.read_text())
    kept = [table for table in tables if not table.startswith(("[sources.", "[datasets."))]
    text = "".join([kept[0], *parts, *kept[1:]])
    text = text.replace("count = 200", "count = 6")
    gate = "[evaluation.gate]\nfloat32 = 0.0\nint8 = 0.0\nloss = 100.0\n\n"
    file.write_text(re.sub(r"\[evaluation\.gate\][^\[]*", gate, text))


def _pinned() -> dict[str, str]:
    from utils import environment

    return environment.pinned()


def _largest(mask: bytes) -> str:
    """The label with most pixels beside the background."""
    with Image.open(io.BytesIO(mask)) as image:
        counts = np.bincount(np.asarray(image).ravel(), minlength=4)[1:4]
    return COLOURS[int(counts.argmax())]


def _ends(file: Path) -> dict[str, str]:
    """The names of a TFLite file's input and output tensors."""
    from utils import tflite

    graph = tflite.read(file)
    return {"input": graph.tensors[graph.inputs[0]].name, "output": graph.tensors[graph.outputs[0]].name}


def write_weights(folder: Path) -> None:
    """colours.h5 and same.h5, with weights that do what the names say."""
    import keras

    from tests.support.networks import write_legacy

    def model(name: str, shape: tuple[int, int, int]) -> Any:
        space: dict[str, Any] = {}
        exec(textwrap.dedent(CODE[name]), space)
        return space["build"]({}, shape)

    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    colours = model("colours", (16, 16, 3))
    kernel = rng.normal(size=(3, 3, 3, 8), scale=0.02).astype(np.float32)
    kernel[1, 1, range(3), range(3)] += 1
    colours.get_layer("conv").set_weights([kernel, np.ones(8, np.float32)])
    dense = rng.normal(size=(8, 3), scale=0.02).astype(np.float32)
    dense[range(3), range(3)] += 6
    colours.get_layer("dense").set_weights([dense, np.zeros(3, np.float32)])
    write_legacy(colours, folder / "colours.h5")
    same = model("same", (EDGE, EDGE, 3))
    same.get_layer("conv").set_weights([np.eye(3, dtype=np.float32).reshape(1, 1, 3, 3)])
    write_legacy(same, folder / "same.h5")


def write_segments(folder: Path) -> None:
    """segments.tflite: one 1x1 convolution, quantised by TensorFlow, float32 input and output."""
    import tensorflow as tf

    weights = np.zeros((1, 1, 3, 4), np.float32)
    weights[0, 0, range(3), range(1, 4)] = 4
    module = tf.Module()
    spec = tf.TensorSpec([1, 16, 16, 3], tf.float32, name="image")
    bias = tf.constant([0.5, 0.0, 0.0, 0.0])
    module.serve = tf.function(lambda image: tf.nn.conv2d(image, weights, 1, "SAME") + bias, input_signature=[spec])
    tf.saved_model.save(module, str(folder / "segments"), signatures={"serving_default": module.serve})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "segments"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]

    def images() -> Any:
        for seed in range(10):
            yield [np.random.default_rng(seed).uniform(-1, 1, (1, 16, 16, 3)).astype(np.float32)]

    converter.representative_dataset = images
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    (folder / "segments.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    write_weights(Path(sys.argv[1]))
    write_segments(Path(sys.argv[1]))
