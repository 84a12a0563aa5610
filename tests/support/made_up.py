"""A kind of task that is none of the zoo's: it counts the dots on a tile, with two outputs and a text file a picture.

It is what a contributor adds: a package in utils/tasks/, a class in a section of example.py, a row of the schema, and a
recipe folder. The model is put together by hand and published as it is, so that no TensorFlow runs.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from PIL import Image

from tests.support import handmade
from tests.support.checkouts import Checkout

KIND, MODEL = "dots", "tiles"

#: The files of the package, by name.
PACKAGE = {
    "__init__.py": '''
"""Count the dots on a tile."""

from __future__ import annotations

from utils.tasks import Task
from utils.tasks.reported import Closed, Number, Text


class Prediction(Closed):
    """How many dots there are, and how bright they are together."""

    input: Text
    dots: Text
    light: Number


TASK = Task(
    metric="exact counts",
    one="a tile",
    many="tiles",
    files="tiles",
    answers="Counts",
    agreement="Count agreement",
    hub="image-to-text",
    hub_metric=("exact_match", "Exact counts (%)"),
    prediction=Prediction,
    figures=lambda recipe: {"light": frozenset({"examples"})},
)
''',
    "measure.py": '''
"""Measure counts."""

from __future__ import annotations

import numpy as np

from utils.errors import DataError
from utils.tasks.counting import Likeness


def read_truth(recipe, source, file, tile):
    """Read the dots of a tile: a line each."""
    lines = file.read_text().splitlines()
    if len(lines) >= recipe.classes:
        raise DataError(f"{len(lines)} dots", where=source.name, hint="list another file")
    return len(lines)


class Measure:
    """Counts the tiles whose dots are counted right."""

    def __init__(self, recipe):
        self.right, self.count, self.light = 0, 0, []

    def add(self, index, truth, outputs, first):
        """Count one tile."""
        self.count += 1
        self.right += int(outputs[0].argmax()) == truth
        self.light.append(float(outputs[1].mean()))

    def result(self):
        """Counts that are right in %, and the mean light."""
        return {"accuracy": round(100 * self.right / self.count, 4), "light": round(float(np.mean(self.light)), 3)}
''',
    "answers.py": '''
"""Check the counts of the example tiles."""

from __future__ import annotations


class Answers:
    """What example.py must say of the example tiles."""

    def __init__(self, recipe, labels):
        self.examples = recipe.examples

    def golden_inputs(self, inputs):
        """The tiles, and each turned upside down."""
        import numpy as np

        return np.concatenate([inputs, inputs[:, ::-1]])

    def asked(self, files):
        """All of them."""
        return files

    def differences(self, entry, evaluation, golden, *, with_own_weights):
        """Compare counts with the recipe."""
        pairs = zip(entry["predictions"], self.examples, strict=True)
        return [f"{found['input']}: {found['dots']}" for found, wanted in pairs if found["dots"] != wanted.label]
''',
    "figures.py": '''
"""Draw the example tiles."""

from __future__ import annotations

from pathlib import Path

from utils.tasks import pictures


class Figures:
    """Draws the tiles, and their light."""

    template = Path(__file__).with_name("card.md.j2")

    def __init__(self, scene):
        self.scene = scene

    def draw(self):
        """Draw ``result`` and ``light``."""
        scene = self.scene
        model = scene.open(scene.model(scene.recipe.variants[-1]))
        tensors = scene.tensors(scene.shown.inputs)
        found = [model.real(model.run_all(model.quantise(tensor[None]))) for tensor in tensors]
        given = [[(scene.labels[int(counts.argmax())], 100 * float(counts.max()))] for counts, _ in found]
        pictures.answers(scene.figure("result"), scene.shown.inputs, given, "dots")
        pictures.answers(scene.figure("light"), scene.shown.inputs, [[("light", 50.0)]] * len(given), "light")
''',
    "card.md.j2": """
{% extends "card" %}
{% block result %}
The bar says how many dots the model counts.
{% endblock %}
{% block accuracy %}
The tiles have a light of {{ variants[last].light }}; {{ facts.evaluation.count }} {{ task.many }} were measured.

{% endblock %}
""",
}

#: Its section of example.py.
SECTION = '''
# --- dots: how many dots are on a tile -----------------------------------------------------------------------------


@kind_of_task
class Dots(ImageTask):
    """How many dots are on a tile. In "predictions": "dots", a label, and "light", a number."""

    name = "dots"
    thing = "tile"

    @staticmethod
    def agreement(check):
        """The counts that are those of the golden tensors."""
        return "the counts agree on %.0f %%" % (100 * check["top1_agreement"])

    def judge(self, outputs, golden, tolerance, body=None, delegate="cpu"):
        """The counts decide; the light only has to be near."""
        check = judge(outputs[0], golden[0], tolerance, body, delegate)
        far = float(np.abs(outputs[1] - golden[1]).max())
        if far > 0.5 and check["verdict"] == "PASS":
            check.update(verdict="MISMATCH", max_error=far, remedy="the light is off")
        return check

    def answer(self, path, outputs, labels, options, mark=""):
        """The count, and the light."""
        return {"dots": labels[int(outputs[0].argmax())], "light": float(outputs[1].mean())}

    def show(self, prediction, cpu):
        """One line."""
        print("    %s dots, light %.2f" % (as_text(prediction["dots"]), prediction["light"]))


'''

RECIPE = """\
format = 1
title = "Tiles"
summary = "counts dots"
task = "dots"
licence = "MIT"
labels = ["none", "one", "two", "three", "four"]
variants = ["float32"]
examples = [{ source = "first", label = "FIRST" }, { source = "second", label = "SECOND" }]

[input]
name = "image"
shape = [1, 8, 8, 3]
colour = "rgb"
resize = "bilinear"
fit = "stretch"
mean = [127.5, 127.5, 127.5]
std = [127.5, 127.5, 127.5]

# In the other order than in the file: outputs are found by name.
[[output]]
name = "answer"
shape = [1, 5]
kind = "probabilities"
[[output]]
name = "scores"
shape = [1, 5]
kind = "scores"

[load]
kind = "tflite"
source = "model"

[datasets.evaluation]
kind = "images"
file = "tiles.csv"
urls = ["https://example.invalid/tiles/{file}"]
truth_urls = ["https://example.invalid/dots/{file}"]
licence = "MIT"
what = "a tile"

[evaluation]
dataset = "evaluation"
metric = "ap"
[evaluation.gate]
float32 = 100
loss = 0

[expected]
parameters = PARAMETERS
macs = MACS
int8_bytes = 100000
min_runtime = "2.3.0"

[tolerance]
int8_steps = 1
float32 = 0.0001
source = "Made up."

[card]
introduction = "It counts."
limitations = "It is made up."
"""

SOURCE = """
[sources.{key}]
file = "{file}"
urls = ["https://example.invalid/{file}"]
size = {size}
sha256 = "{sha256}"
licence = "MIT"
what = "{key}"
"""


def publish(mirror: Path, data: bytes) -> dict[str, Any]:
    """Put a file where the build fetches it from; its size and sha256."""
    mirror.mkdir(exist_ok=True)
    sha256 = hashlib.sha256(data).hexdigest()
    (mirror / sha256).write_bytes(data)
    return {"size": len(data), "sha256": sha256}


def tile(number: int) -> tuple[bytes, Any]:
    """A PNG, and its pixels, uint8, shape (8, 8, 3)."""
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue(), pixels


def network() -> bytes:
    """The network of ``handmade`` with two outputs, the one before the softmax first."""
    model = handmade.network()
    graph = model.subgraphs[0]
    names = [tensor.name for tensor in graph.tensors]
    graph.outputs = [names.index(b"scores"), names.index(b"answer")]
    assert isinstance(model, schema.ModelT)
    return handmade.pack(model)


def add_kind(project: Checkout) -> None:
    """What is there once for every model of the kind."""
    home = project.root / "utils/tasks" / KIND
    home.mkdir()
    for name, text in PACKAGE.items():
        (home / name).write_text(text.lstrip())
    project.change("utils/example.py", "\n# --- what is known of a model", SECTION + "# --- what is known of a model")
    project.change("utils/recipe/schema.py", 'Literal["classification", ', f'Literal["classification", "{KIND}", ')
    outputs = 'outputs=(frozenset({"probabilities"}), frozenset({"scores"}))'
    row = f'    "{KIND}": Kind("ap", "boxes", {outputs}, needs_files=True),\n'
    project.change("utils/recipe/schema.py", '    "classification": Kind(', row + '    "classification": Kind(')


def add_model(project: Checkout, mirror: Path, name: str = MODEL) -> None:
    """A model of it: one folder."""
    from utils import example, tflite

    home = project.root / "recipes" / name
    home.mkdir()
    file = home / "model.tflite"
    file.write_bytes(network())
    graph, model = tflite.read(file), example.Model(str(file), example.load_runtime(), reference=True)
    model.bind("image", "answer")
    labels = ["none", "one", "two", "three", "four"]
    counts: list[int] = []
    lines = ["file,sha256,size,boxes,boxes_sha256,boxes_size"]
    for number in range(6):
        data, pixels = tile(number)
        counts.append(int(model.run(((pixels[None].astype(np.float32) - 127.5) / 127.5).astype(np.float32)).argmax()))
        told = f"{number}\n".encode() * counts[-1]
        pinned, boxes = publish(mirror, data), publish(mirror, told)
        lines.append(f"{number}.png,{pinned['sha256']},{pinned['size']},{number}.txt,{boxes['sha256']},{boxes['size']}")
    (home / "tiles.csv").write_text("\n".join(lines) + "\n")
    text = RECIPE.replace("PARAMETERS", str(graph.parameters())).replace("MACS", str(graph.macs()))
    text = text.replace("FIRST", labels[counts[0]]).replace("SECOND", labels[counts[1]])
    text += SOURCE.format(key="model", file="tiles.tflite", **publish(mirror, network()))
    for key, number in (("first", 0), ("second", 1)):
        text += SOURCE.format(key=key, file=f"{key}.png", **publish(mirror, tile(number)[0]))
    (home / "recipe.toml").write_text(text)
    file.unlink()
