"""Recipes: the real ones load; each broken one is refused with its file, its key and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT
from utils import paths
from utils.errors import RecipeError
from utils.recipe.load import find_recipe, forget_recipes, load_recipes

DEMO, MNIST = "demo/recipe.toml", "mnist/recipe.toml"
KERAS, SAVED, TFLITE, SPOTTER = (
    f"{name}/recipe.toml" for name in ("mobilenet_v2", "mnasnet", "deeplabv3", "keyword_spotting")
)
GATE = "float32 = 90\nint8 = 90\nloss = 1.0\n[model.demo_nearest.expected"


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the recipes that a test may break."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(paths, "RECIPES", tmp_path / "recipes")
    forget_recipes()
    yield tmp_path / "recipes"
    forget_recipes()


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, f"{old!r} is not in {file}"
    file.write_text(text.replace(old, new))


def refused() -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipes()
    return str(caught.value)


@pytest.mark.parametrize("file", sorted((ROOT / "recipes").glob("*/recipe.toml")), ids=lambda file: file.parent.name)
def test_every_recipe_loads(file: Path) -> None:
    mine = [found for found in load_recipes().values() if found.folder == file.parent.name]
    assert mine
    for found in mine:
        assert found.code_file is None or found.code_file.is_file()
        assert found.where == f"recipes/{file.parent.name}/recipe.toml"
        assert all(found.rows(key) for key in found.datasets if found.list_file(key))
        assert "\n" not in found.summary
        assert set(found.part("name", "expected.parameters")) == {"name", "expected.parameters"}


def test_models_of_one_file_share_what_stands_above_them() -> None:
    found = load_recipes()
    assert list(found) == sorted(found)
    one, other = found["demo_nearest"], found["demo_bilinear"]
    assert one.train == other.train
    assert one.expected.parameters == other.expected.parameters
    assert one.expected.operators != other.expected.operators
    assert one.parameters == {"upsampling": "nearest"}


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        # keys that are none
        (DEMO, "epochs = 4", "epoch = 4", "train.epoch: unknown key (did you mean 'epochs'?)"),
        (DEMO, "epochs = 4", "epoch = 4", "train.epochs: is missing"),
        (DEMO, "examples = 10", "exmaples = 10", "exmaples: unknown key (did you mean 'examples'?)"),
        (DEMO, "examples = 10", "examples = 10\nxyzzy = 1", "xyzzy: unknown key\n"),
        (DEMO, "count = 8000", "cuont = 8000", "datasets.train.cuont: unknown key (did you mean 'count'?)"),
        (MNIST, 'images = "train', 'imagse = "train', "datasets.train.imagse: unknown key (did you mean 'images'?)"),
        (DEMO, "board =", "borad =", "[model.demo_nearest] targets.0.borad: unknown key (did you mean 'board'?)"),
        (MNIST, "licence = ", "license = ", "sources.test_labels.license: unknown key (did you mean 'licence'?)"),
        (DEMO, GATE, "los = 1\n" + GATE, "evaluation.gate.los: unknown key (did you mean 'loss'?)"),
        (DEMO, 'group = "demo"', 'name = "x"', "unknown key 'name'"),
        # values of a wrong type or out of range
        (DEMO, "epochs = 4", 'epochs = "5"', 'train.epochs: input should be a valid integer (this is "5")'),
        (DEMO, "epochs = 4", "epochs = true", "train.epochs: input should be a valid integer (this is true)"),
        (DEMO, "epochs = 4", "epochs = 0", "train.epochs: input should be greater than 0 (this is 0)"),
        (DEMO, "std = [255.0]", "std = [nan]", "input.std.0: input should be a finite number"),
        (DEMO, 'summary = "the', 'summary = 2020-01-01 # "', "summary: input should be a valid string"),
        (DEMO, "seed = 2", "seed = -2", "datasets.test.seed: input should be greater than or equal to 0"),
        (DEMO, 'upsampling = "nearest"', "upsampling = true", "parameters.upsampling: should be a string or a number"),
        (DEMO, 'resize = "bilinear"', 'resize = "cubic"', "input.resize: input should be 'nearest', 'bilinear'"),
        (
            DEMO,
            'int8"]',
            'int9"]',
            "variants.1: input should be 'float32', 'int8', 'int8_float_io' or",
        ),
        (DEMO, '"float32", "int8"]', '"int8", "int8"]', "variants: the same one twice"),
        (DEMO, "format = 1", "format = 2", "format: input should be 1 (this is 2)"),
        (MNIST, 'sha256 = "440f', 'sha256 = "440g', "sources.train_images.sha256: '440gcabf"),
        (MNIST, 'sha256 = "440f', 'sha256 = "0440f', "does not fit ^[0-9a-f]{64}$"),
        (MNIST, 'sha256 = "440f', 'sha256 = "440F', "sources.train_images.sha256: '440Fcabf"),
        (MNIST, '"https://storage', '"ftp://storage', "sources.test_images.urls.0: 'ftp://storage"),
        (MNIST, 'file = "t10k-labels', 'file = "../t10k-labels', "sources.test_labels.file: '../t10k"),
        (DEMO, "[model.demo_nearest]", "[model.Demo]\n[model.demo_nearest]", "[model.Demo] name: 'Demo' does not fit"),
        (DEMO, 'summary = "', 'summary = "\\u001b[2J', 'summary: "\\x1b[2Jthe demo\'s nearest model" does not fit'),
        (DEMO, 'title = "', 'title = "\\n', "title: '\\nDrawn digits"),
        # what is missing
        (DEMO, 'licence = "MIT"\n', "", "licence: is missing"),
        (DEMO, 'kind = "drawn"\ncount = 8000', "count = 8000", "datasets.train: kind is missing"),
        (DEMO, 'kind = "drawn"\ncount = 8000', 'kind = "x"\ncount = 8000', "datasets.train: input tag 'x'"),
        (DEMO, "model.py", "none.py", "recipe.toml: code: '../mnist/none.py' cannot be read: No such file"),
        # what does not fit together
        (DEMO, 'dataset = "test"', 'dataset = "tset"', "evaluation.dataset: no [datasets.tset] (did you mean 'test'?)"),
        (MNIST, '"train_images"', '"train_image"', "datasets.train.images: no [sources.train_image] (did you mean"),
        (DEMO, 'dataset = "test"', 'dataset = "train"', "evaluation.dataset: the evaluation set must not be trained"),
        (DEMO, "seed = 2", "seed = 1", "evaluation.dataset: the evaluation set must not be trained"),
        (MNIST, 'images = "test_', 'images = "train_', "evaluation.dataset: the evaluation set must not be trained"),
        (DEMO, '"8", "9"]', '"8"]', "labels: 9 labels for 10 outputs"),
        (DEMO, "mean = [0.0]", "mean = [0.0, 1.0]", "input.mean: colour 'gray' has 1 channel(s), this has 2"),
        (DEMO, "shape = [1, 28", "shape = [2, 28", "input.shape: the batch (first number) is 1 on a board"),
        # names
        (DEMO, "model.demo_nearest", "model.mnist_nearest", "two recipes have the name 'mnist_nearest': recipes/demo"),
        (DEMO, "model.demo_nearest", "model.vela", "'vela' is the name of a task"),
        (DEMO, "model.demo_nearest", "model.clean", "'clean' is the name of a task, or of a command of doit"),
        # files
        (DEMO, "epochs = 4", "epochs = ", "not valid TOML: Invalid value (at line 3"),
    ],
)
def test_broken(recipes: Path, file: str, old: str, new: str, said: str) -> None:
    change(recipes / file, old, new)
    message = refused()
    assert said in message
    assert f"recipes/{Path(file).parent}" in message
    assert "  -> " in message


LOAD = '[load]\nkind = "keras"\nsource = "weights"\n'
BOXER = 'examples = [{ source = "boxer", label = "boxer" }'
SPEC = "[train]\ndataset = 'calibration'\nepochs = 1\nbatch_size = 1\nlearning_rate = 1.0\nwarmup_steps = 0\n"
TRAIN = SPEC + "label_smoothing = 0.0\nseed = 1\n"
BOTH = '"../lists/imagenet_sample_'
CALIBRATION = '[calibration]\ndataset = "evaluation"\ncount = 1\n'
VOC = 'file = "../lists/voc_sample.csv"'


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        # trained or loaded
        (KERAS, LOAD, LOAD + TRAIN, "load: give [train] or [load], and not both"),
        (KERAS, LOAD, "", "load: give [train] or [load]"),
        (KERAS, LOAD, '[load]\nkind = "karas"\nsource = "weights"\n', "load: input tag 'karas' found"),
        (KERAS, LOAD, '[load]\nsource = "weights"\n', "load: kind is missing"),
        (KERAS, LOAD, '[load]\nkind = "keras"\nsuorce = "x"\n', "load.suorce: unknown key (did you mean 'source'?)"),
        (KERAS, LOAD, '[load]\nkind = "keras"\nsuorce = "x"\n', "  load.source: is missing"),
        (KERAS, LOAD, LOAD + 'signature = "x"\n', "load.signature: unknown key"),
        (SAVED, 'signature = "classify"\n', "", "load.signature: is missing"),
        # the file that builds the network
        (KERAS, 'code = "model.py"\n', "", "code: names the file that builds the network; a SavedModel or"),
        (DEMO, 'code = "../mnist/model.py"\n', "", "code: names the file that builds the network"),
        (SAVED, "format = 1\n", 'format = 1\ncode = "../resnet50/model.py"\n', "code: names the file that builds"),
        (TFLITE, "format = 1\n", 'format = 1\ncode = "../resnet50/model.py"\n', "code: names the file that builds"),
        # how it is trained
        (DEMO, "label_smoothing = 0.05\n", "label_smoothing = 0.05\nshift = 101\n", "train.shift: "),
        # a SavedModel in an archive, or of single files
        (SAVED, 'source = "model"\n', "", "load.source: give source or [load.files], and not both"),
        (
            SPOTTER,
            "[load.files]\n",
            'source = "graph"\n[load.files]\n',
            "load.source: give source or [load.files], and",
        ),
        (SPOTTER, '"saved_model.pb" = "graph"\n', "", "load.files: saved_model.pb is missing"),
        (SPOTTER, '"saved_model.pb" = "graph"', '"saved_model.pb" = "grap"', "load.files: no [sources.grap] (did you"),
        (SPOTTER, '"variables/variables.index"', '"../variables.index"', "'../variables.index'"),
        (SPOTTER, '"variables/variables.index"', '"/variables.index"', "'/variables.index'"),
        # how a recording becomes the input
        (SPOTTER, 'kind = "audio"\n', 'kind = "adio"\n', "input: input tag 'adio' found"),
        (SPOTTER, 'kind = "audio"\n', 'kind = "audio"\nresize = "nearest"\n', "input.resize: unknown key"),
        (SPOTTER, "hop_ms = 20.0", "hop_ms = 20.01", "input.hop_ms: is 320.16 samples, not a whole number of them"),
        (
            SPOTTER,
            "window_ms = 30.0",
            "window_ms = 1001.0",
            "input.window_ms: is 16016 samples, longer than a recording",
        ),
        (SPOTTER, "hop_ms = 20.0", "hop_ms = 10.0", "input.shape: holds 490 numbers, not 98 windows of 10"),
        (SPOTTER, "high_hz = 4000.0", "high_hz = 9000.0", "input.high_hz: above low_hz and at most 8000, half of rate"),
        (SPOTTER, "coefficients = 10", "coefficients = 41", "input.coefficients: at most 40, the number of bands"),
        (SPOTTER, 'task = "audio"', 'task = "classification"', "input.kind: classification takes 'image'"),
        (
            SPOTTER,
            "commands_evaluation",
            "commands_calibration",
            "but calibration has 157 of its inputs, down/adebe223",
        ),
        # names of sources
        (
            KERAS,
            LOAD,
            LOAD.replace("weights", "weigths"),
            "load.source: no [sources.weigths] (did you mean",
        ),
        (KERAS, '"class_index"', '"class_idx"', "labels: no [sources.class_idx] (did you mean 'class_index'?)"),
        (KERAS, BOXER, BOXER.replace('"boxer",', '"bxer",'), "examples.0.source: no [sources.bxer] (did you mean"),
        # one value or a list: said of the kind that is there
        (KERAS, BOXER, BOXER.replace("label", "lable"), "examples.0.lable: unknown key (did you mean 'label'?)"),
        (KERAS, BOXER, "examples = [] #", "examples: list should have at least 1 item"),
        (DEMO, "examples = 10", "examples = 0", "examples: input should be greater than 0 (this is 0)"),
        (DEMO, "examples = 10", "examples = true", "examples: input should be a valid integer (this is true)"),
        (KERAS, 'labels = "class_index"', "labels = 3", "labels: input should be a valid string (this is 3)"),
        (KERAS, 'labels = "class_index"', 'labels = ["a"]', "labels: list should have at least 2 items"),
        (KERAS, "parameters = 3538984", 'parameters = "3"', "expected.parameters: input should be a valid integer"),
        (SAVED, "[2800000, 3000000]", "[2800000]", "expected.parameters: list should have at least 2 items"),
        (SAVED, "[2800000, 3000000]", '[2800000, "x"]', "expected.parameters.1: input should be a valid integer"),
        # image lists
        (KERAS, f"{BOTH}evaluation", f"{BOTH}calibration", "but calibration has 200 of its inputs, n01629819_European"),
        (
            TFLITE,
            "[evaluation]\n",
            '[calibration]\ndataset = "evaluation"\ncount = 1\n[evaluation]\n',
            "2007_004189.jpg",
        ),
        (KERAS, f"{BOTH}evaluation.csv", '"../lists/none.csv', "recipes/lists/none.csv: the list cannot be read"),
        (KERAS, "{file}", "file", "datasets.calibration.urls.0: 'https://raw"),
        (
            KERAS,
            "[datasets.evaluation]\n",
            "[datasets.evaluation]\nredistribute = true\n",
            "redistribute: input should be",
        ),
        # what is measured and held
        (KERAS, "int8 = 85.0\n", "", "evaluation.gate.int8: is missing"),
        (TFLITE, "int8_float_io = 54.0\n", "", "evaluation.gate.int8_float_io: is missing"),
        (KERAS, '"top1"', '"miou"', "evaluation.metric: 'miou' does not measure classification"),
        (TFLITE, '"miou"', '"top1"', "evaluation.metric: 'top1' does not measure segmentation"),
        (KERAS, f'file = {BOTH}evaluation.csv"', VOC, "evaluation.dataset: classification is measured with labels"),
        (TFLITE, VOC, f'file = {BOTH}evaluation.csv"', "evaluation.dataset: segmentation is measured with masks"),
        (TFLITE, '"stretch"', '"crop"', "input.fit: a segmentation is measured on whole images"),
        (KERAS, '[calibration]\ndataset = "calibration"\ncount = 200\n', "", "calibration: is missing: int8 ranges"),
        # what cannot be made
        (KERAS, '"int8"]', '"int8", "int8_float_io"]', "evaluation.gate.int8_float_io: is missing"),
        (SAVED, "int8 = 80.0\n", "int8 = 80.0\nint8_float_io = 1.0\n", ""),
        (TFLITE, '["int8_float_io", "int8"]', '["int8", "int8_float_io"]', "variants: the first is the published file"),
        # example pictures
        (TFLITE, '"dog" }', '"dgo" }', "examples.1.label: no such label (did you mean 'dog'?)"),
        (
            KERAS,
            'label = "boxer" }',
            'label = "boxer", share = [1.0, 2.0] }',
            "examples.0.share: needs a label, and a task that answers once a pixel",
        ),
    ],
)
def test_broken_where_a_model_is_loaded(recipes: Path, file: str, old: str, new: str, said: str) -> None:
    if not said:  # a gate for what is not made is not wrong by itself, the variant is
        change(recipes / file, '"int8"]', '"int8", "int8_float_io"]')
        said = "variants: int8_float_io is only for a published TFLite file"
    change(recipes / file, old, new)
    message = refused()
    assert said in message
    assert "recipes/" in message
    assert "  -> " in message
    assert "constrained" not in message
    assert "list[" not in message


def test_a_list_counts_by_content(recipes: Path) -> None:
    """An image that stands in both lists under two names is the same image; the message names it."""
    lists = recipes / "lists"
    row = (lists / "imagenet_sample_evaluation.csv").read_text().splitlines()[7]
    with (lists / "imagenet_sample_calibration.csv").open("a") as file:
        file.write(row.replace(row.split(",")[0], "another_name.JPEG") + "\n")
    message = refused()
    said = f"but calibration has 1 of its inputs, {row.split(',')[0]} first"
    assert message.count(said) == 3  # of every model that reads the list


def test_everything_at_once(recipes: Path) -> None:
    """Several keys of one file, keys that do not fit together, and a second file."""
    for old, new in (
        ("epochs = 4", 'epochs = "4"'),
        ("fit =", "fits ="),
        ("[1, 10]", "[1]"),
        ("loss = 1.0", "loss = 101"),
    ):
        change(recipes / DEMO, old, new)
    for old, new in (('"8", "9"]', '"8"]'), ('dataset = "test"', 'dataset = "tset"'), ('"test_labels"', '"labels"')):
        change(recipes / MNIST, old, new)
    message = refused()
    for said in ("train.epochs:", "input.fits:", "input.fit:", "output.shape:", "evaluation.gate.loss:"):
        assert message.count(said) == 1, said  # and what the two models share is said once
    for said in (
        "labels: 9 labels",
        "evaluation.dataset: no [datasets.tset]",
        "datasets.test.labels: no [sources.labels]",
    ):
        assert said in message
    assert "6 things to correct" not in message
    assert "5 things to correct" in message
    assert "3 things to correct" in message


@pytest.mark.parametrize("content", [b"\xff\xfe", b"model = 1", b"[model]", b"", b"format = 1"])
def test_a_file_that_is_no_recipe(recipes: Path, content: bytes) -> None:
    (recipes / "extra").mkdir()
    (recipes / "extra/recipe.toml").write_bytes(content)
    assert "recipes/extra/recipe.toml" in refused()


def test_a_new_folder_is_a_new_model(recipes: Path) -> None:
    """A file without [model.*] describes one model, named as its folder."""
    shared = (recipes / DEMO).read_text().split("[model.")[0]
    (recipes / "extra").mkdir()
    facts = 'title = "t"\nsummary = "s"\nparameters = { upsampling = "nearest" }\n'
    tables = "[evaluation.gate]\nfloat32 = 0\nint8 = 0\nloss = 100\n[expected.operators]\nCONV_2D = 7\n"
    (recipes / "extra/recipe.toml").write_text(shared.replace("format = 1", "format = 1\n" + facts) + tables)
    found = load_recipes()["extra"]
    assert (found.name, found.folder, found.title) == ("extra", "extra", "t")


def test_find_suggests() -> None:
    with pytest.raises(RecipeError, match="no recipe for 'mnist_nearst' \\(did you mean 'mnist_nearest'\\?\\)"):
        find_recipe("mnist_nearst")


def test_a_measurement_names_a_known_bsp(recipes: Path) -> None:
    row = '[[measured]]\nboard = "i.MX 93"\naccelerator = "NPU"\nvariant = "int8"\nms = 3.46\nbsp = "BSP"\n'
    row += 'command = "benchmark_model"\nsource = "a card"\n'
    text = (recipes / DEMO).read_text()
    (recipes / DEMO).write_text(text + row.replace("BSP", "LF6.1.36_2.1.0"))
    assert load_recipes()["demo_nearest"].measured[0].ms == 3.46
    forget_recipes()
    (recipes / DEMO).write_text(text + row.replace("BSP", "LF6.1.36"))
    said = refused()
    assert "measured.0.bsp: no BSP is called 'LF6.1.36' (did you mean 'LF6.1.36_2.1.0'?)" in said


AUDIO = """
[input]
kind = "audio"
name = "features"
shape = [1, 49, 10, 1]
rate = 16000
samples = 16000
window_ms = 30.0
hop_ms = 20.0
bands = 40
low_hz = 20.0
high_hz = 4000.0
coefficients = 10
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", "input.kind: segmentation takes 'image'"),
        ("rate = 16000\n", "", "input.rate: is missing"),
        ("rate =", "rait =", "input.rait: unknown key (did you mean 'rate'?)"),
        ("high_hz = 4000.0", "high_hz = 9000.0", "input.high_hz: above low_hz and at most 8000, half of rate"),
        ("low_hz = 20.0", "low_hz = 4000.0", "input.high_hz: above low_hz"),
        ("coefficients = 10", "coefficients = 41", "input.coefficients: at most 40, the number of bands"),
        ("shape = [1,", "shape = [2,", "input.shape: the batch (first number) is 1 on a board"),
        ('"audio"', '"audoi"', "input: input tag 'audoi' found"),
        ("[1, 49, 10, 1]", "[1]", "input.shape: list should have at least 2 items"),
    ],
)
def test_an_input_is_an_image_or_audio(recipes: Path, old: str, new: str, said: str) -> None:
    text = (recipes / TFLITE).read_text()
    begin, end = text.index("[input]"), text.index("[output]")
    (recipes / TFLITE).write_text(text[:begin] + AUDIO.replace(old, new) + text[end:])
    assert said in refused()


BOXES = "".join(
    f'[[output]]\nname = "{name}"\nshape = {shape}\nkind = "{name}"\n'
    for name, shape in (("boxes", [1, 10, 4]), ("classes", [1, 10]), ("scores", [1, 10]), ("count", [1]))
)


@pytest.mark.parametrize(
    ("file", "output", "said"),
    [
        (
            TFLITE,
            BOXES,
            "output: segmentation has 1 output(s), logits or probabilities; this has boxes, classes, scores",
        ),
        (KERAS, BOXES, "output: classification has 1 output(s)"),
        (KERAS, '[output]\nname = "x"\nshape = [1000]\nkind = "logits"\n', "output.shape: at least 2 numbers"),
        (KERAS, '[[output]]\nname = "x"\nshape = [1000]\nkind = "logits"\n', "output.0.shape: at least 2 numbers"),
        (
            KERAS,
            '[[output]]\nname = "x"\nshpe = [1, 1000]\nkind = "logits"\n',
            "output.0.shpe: unknown key (did you mean",
        ),
        (KERAS, "output = 3\n", "output: "),
    ],
)
def test_outputs_are_those_of_the_task(recipes: Path, file: str, output: str, said: str) -> None:
    text = (recipes / file).read_text()
    begin = text.index("[output]")
    end = text.index("\n\n", begin) + 2
    whole = text[:begin] + text[end:]
    (recipes / file).write_text(
        whole.replace("format = 1\n", f"format = 1\n{output}") if "output =" in output else whole + output
    )
    assert said in refused()


def test_one_output_may_stand_in_a_list(recipes: Path) -> None:
    before = load_recipes()["deeplabv3"]
    change(recipes / TFLITE, "[output]\n", "[[output]]\n")
    after = load_recipes()["deeplabv3"]
    assert before.outputs == after.outputs
    assert (after.classes, len(after.labels)) == (21, 21)
