"""Models that are loaded, from upstream's file to the bundle, with a server on the loopback as upstream."""

from __future__ import annotations

import fcntl
import functools
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import pretrained
from tests.support.checkouts import FAILED, MIRROR, Checkout, copy_project, read_until
from tests.support.delegates import CC, SOURCE
from tests.support.pretrained import ENV, Loaded
from tests.support.real import FROM_MIRROR, Zoo, build, build_real
from tests.support.servers import Server
from utils import environment, example
from utils.errors import GateError
from utils.graph import layout
from utils.recipe.load import find_recipe
from utils.steps import evaluate

NOTHING = "nothing to do"


def bundle(checkout: Checkout, model: str) -> Path:
    return checkout.root / "artifacts" / model


def read(checkout: Checkout, model: str, name: str = "manifest.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bundle(checkout, model) / name).read_text())
    return found


def card(checkout: Checkout, model: str) -> str:
    return (bundle(checkout, model) / "README.md").read_text()


@pytest.mark.slow
def test_a_list_that_changes_while_a_step_waits_starts_it_anew(loaded: Checkout) -> None:
    """Labels decide the accuracy: a record must never name a list other than the one that was measured on."""
    file = loaded.root / "recipes/lists/colours_evaluation.csv"
    records = loaded.root / "build/colours/records"
    (records / "evaluate.json").unlink()
    with (records / "evaluate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build = loaded.start("colours:evaluate")
        read_until(build, "waits: another doit runs this step")
        head, first, *rest = file.read_text().splitlines()
        assert first.endswith(",0")
        file.write_text("\n".join([head, f"{first[:-1]}1", *rest]) + "\n")
    said, _ = build.communicate(timeout=120)
    assert build.returncode == 0, said
    measured = json.loads((loaded.root / "build/colours/evaluation.json").read_text())
    correct = {variant: result["correct"] for variant, result in measured["variants"].items()}
    before = {
        variant: result["correct"] for variant, result in read(loaded, "colours")["evaluation"]["variants"].items()
    }
    assert correct == {variant: count - 1 for variant, count in before.items()}, said


@pytest.mark.parametrize("model", pretrained.MODELS)
def test_every_bundle_matches_its_checksums(loaded_once: Loaded, model: str) -> None:
    home = bundle(loaded_once.checkout, model)
    assert subprocess.run(["sha256sum", "-c", "--quiet", "--strict", "SHA256SUMS"], cwd=home).returncode == 0
    summed = {line.split("  ")[1] for line in (home / "SHA256SUMS").read_text().splitlines()}
    there = {file.relative_to(home).as_posix() for file in home.rglob("*") if file.is_file()}
    assert summed == there - {"SHA256SUMS"}
    for part in card(loaded_once.checkout, model).split("](")[1:]:  # what the card shows is there
        name = part.partition(")")[0]
        assert name.startswith("http") or (home / name).is_file(), name
    assert (home / layout.figure("result")).is_file()
    facts = read(loaded_once.checkout, model)
    hashes = loaded_once.checkout.hashes(f"artifacts/{model}/*.tflite")
    for variant, result in facts["evaluation"]["variants"].items():
        assert result["sha256"] == hashes[f"artifacts/{model}/{model}_{variant}.tflite"]
    assert {entry["check"]["verdict"] for entry in facts["validation"]["models"]} == {"PASS"}
    names = {file.name for file in home.iterdir()}
    assert not names & set(loaded_once.pictures), "an image of a list is in the bundle"
    assert read(loaded_once.checkout, model, "model.json")["samples"] is None


def test_a_second_run_builds_nothing_and_sends_no_request(loaded_once: Loaded) -> None:
    before = len(loaded_once.server.requests)
    done = loaded_once.checkout.doit(*pretrained.MODELS, env=ENV)
    assert done.returncode == 0
    assert NOTHING in done.stdout
    assert len(loaded_once.server.requests) == before


def test_each_file_is_fetched_once(loaded_once: Loaded) -> None:
    asked = loaded_once.asked
    assert {path: asked.count(path) for path in loaded_once.files} == dict.fromkeys(loaded_once.files, 1)


def answers(file: Path, images: list[np.ndarray]) -> list[np.ndarray]:
    """What LiteRT alone gives for float32 inputs, real values."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    (entry,), (exit_,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for image in images:
        value = image
        if entry["dtype"] == np.int8:
            scale, zero = entry["quantization"]
            value = np.clip(np.round(image / np.float32(scale)) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(entry["index"], value)
        interpreter.invoke()
        raw = interpreter.get_tensor(exit_["index"])
        if raw.dtype == np.int8:
            scale, zero = exit_["quantization"]
            raw = (raw.astype(np.float32) - zero) * np.float32(scale)
        found.append(raw[0])
    return found


def test_a_classifier(loaded_once: Loaded) -> None:
    """Accuracy, parity and the example pictures; the published weights arrive in the file."""
    facts = read(loaded_once.checkout, "colours")
    variants = facts["evaluation"]["variants"]
    assert facts["evaluation"]["count"] == 30
    for variant in ("float32", "int8"):
        assert variants[variant]["accuracy"] >= 90
        assert np.sum(variants[variant]["confusion"]) == 30
        assert len(variants[variant]["wrong"]) == 30 - variants[variant]["correct"]
    assert variants["int8"]["agreement"] >= 90
    assert 0 < variants["int8"]["mean_error"] < 0.05
    assert "agreement" not in variants["float32"]
    assert facts["parity"]["inputs"] == 2
    assert facts["parity"]["max_error"] <= facts["parity"]["allowed"] == 1e-4
    for entry in facts["validation"]["models"]:
        assert entry["check"]["inputs"] == 4  # the pictures and their mirror images
    report = run_example(loaded_once.checkout, "colours", "example_input.jpg", "example_1.jpg")
    for entry in report["models"]:
        assert [found["top"][0]["label"] for found in entry["predictions"]] == ["red", "blue"]
    text = card(loaded_once.checkout, "colours")
    assert "30 images listed in colours_evaluation.csv" in text
    assert "12 images listed in colours_calibration.csv" in text
    assert "This is a sample. 30 images" in text
    assert "99.9 % on everything" in text
    assert "(figures/result.png)" in text
    assert "digits.png" not in text
    assert "| Parameters | 251 |" in text
    assert "User-supplied weights" not in text


def run_example(checkout: Checkout, model: str, *inputs: str, top: int = 5) -> dict[str, Any]:
    command = [sys.executable, "example.py", "--json", "-n", "1", "-t", "1", "--top", str(top), "-i", *inputs]
    done = subprocess.run(command, cwd=bundle(checkout, model), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_one_preprocessing(loaded_once: Loaded, tmp_path: Path) -> None:
    """Calibration, evaluation and example.py give the graph the same tensor for the same image.

    The model gives its input back. What example.py prints is the tensor; its largest value is what the evaluation must
    have answered; the range over the calibration images is what the converter must have seen.
    """
    checkout = loaded_once.checkout
    for name in (*loaded_once.lists["colours_calibration"], *loaded_once.lists["colours_evaluation"]):
        (tmp_path / name).write_bytes(loaded_once.pictures[name])

    def tensors(names: list[str]) -> np.ndarray:
        report = run_example(checkout, "same", *(str(tmp_path / name) for name in names), top=10_000)
        (entry,) = (entry for entry in report["models"] if entry["variant"] == "float32")
        values = [{line["label"]: line["score"] for line in found["top"]} for found in entry["predictions"]]
        return np.asarray([[of[f"v{number}"] for number in range(len(of))] for of in values], np.float32)

    evaluated = tensors(loaded_once.lists["colours_evaluation"])
    assert evaluated.shape == (30, pretrained.EDGE * pretrained.EDGE * 3)
    wrong = read(checkout, "same")["evaluation"]["variants"]["float32"]["wrong"]
    assert {number: int(found.argmax()) for number, found in enumerate(evaluated)} == {
        number: wrong.get(str(number), number % 3) for number in range(30)
    }
    assert len(set(wrong.values())) > 10
    # by hand: the largest centred square, bicubic, (pixel - mean) / std
    for name, tensor in zip(loaded_once.lists["colours_evaluation"], evaluated, strict=True):
        image = Image.open(io.BytesIO(loaded_once.pictures[name])).convert("RGB")
        side = min(image.size)
        left, upper = (image.width - side) / 2, (image.height - side) / 2
        small = image.resize((pretrained.EDGE,) * 2, Image.Resampling.BICUBIC, (left, upper, left + side, upper + side))
        wanted = (np.asarray(small, np.float32) - [2.0, 1.0, 0.0]) / [255.0, 300.0, 400.0]
        np.testing.assert_allclose(tensor, wanted.ravel(), atol=1e-6)
    seen = tensors(loaded_once.lists["colours_calibration"][:11])  # calibration.count
    model = example.Model(str(bundle(checkout, "same") / "same_int8.tflite"), example.load_runtime(), 1)
    scale, zero_point = model.inputs[0]["quantization"]
    low, high = min(float(seen.min()), 0.0), max(float(seen.max()), 0.0)
    assert scale == pytest.approx((high - low) / 255, rel=1e-5)
    assert zero_point == round(-128 - low / scale)
    everything = tensors(loaded_once.lists["colours_calibration"])
    assert (everything.min(), everything.max()) != (seen.min(), seen.max()) or len(everything) > len(seen)


def test_an_unpinned_source_is_in_manifest_and_card(loaded_once: Loaded) -> None:
    digest = pretrained.sha256(loaded_once.files["/same.h5"])
    facts = read(loaded_once.checkout, "same")["sources"]
    assert facts["weights"]["sha256"] == digest
    assert facts["weights"]["pinned"] is False
    assert facts["dot"]["pinned"] is True
    lines = card(loaded_once.checkout, "same").splitlines()
    (line,) = (line for line in lines if "same.h5" in line)
    assert f"sha256 `{digest}` (unpinned: recorded at the first download)" in line
    assert [line for line in lines if "unpinned" in line] == [line]
    recorded = json.loads((loaded_once.checkout.root / "build/cache/unpinned.json").read_text())
    assert digest in json.dumps(recorded)
    assert read(loaded_once.checkout, "colours")["sources"]["weights"]["pinned"] is False  # an md5 pins no release


def test_a_segmentation(loaded_once: Loaded) -> None:
    """The published file as it is, an int8 one made from it, and mIoU that is computed here once more."""
    checkout = loaded_once.checkout
    home = bundle(checkout, "segments")
    assert (home / "segments_int8_float_io.tflite").read_bytes() == loaded_once.files["/segments.tflite"]
    facts = read(checkout, "segments")["evaluation"]
    assert (facts["metric"], facts["count"]) == ("miou", 6)
    for variant in ("int8_float_io", "int8"):
        hits, unions = np.zeros(4), np.zeros(4)
        for number in range(6):
            image = Image.open(io.BytesIO(loaded_once.pictures[f"s{number}.jpg"]))
            small = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR), np.float32)
            (scores,) = answers(home / f"segments_{variant}.tflite", [(small[np.newaxis] - 127.5) / np.float32(127.5)])
            classes = Image.fromarray(scores.argmax(-1).astype(np.uint8)).resize(image.size, Image.Resampling.NEAREST)
            truth = np.asarray(Image.open(io.BytesIO(loaded_once.pictures[f"s{number}.png"])))
            for one, other in zip(np.asarray(classes).ravel(), truth.ravel(), strict=True):
                if other != 255:
                    hits[one] += one == other
                    unions[one] += 1
                    unions[other] += one != other
        wanted = 100 * hits / unions
        result = facts["variants"][variant]
        assert {int(key) for key in result["iou"]} == {0, 1, 2, 3}
        np.testing.assert_allclose([result["iou"][str(number)] for number in range(4)], wanted, atol=1e-3)
        assert result["accuracy"] == pytest.approx(wanted.mean(), abs=1e-3)
        assert 50 < result["accuracy"] < 100
    assert facts["variants"]["int8"]["agreement"] == 100
    text = card(checkout, "segments")
    assert "Intersection over union of each class in the sample" in text
    assert "`segments_int8_float_io.tflite` is the published file, byte for byte" in text
    assert "![Input and output of the int8 model](figures/result.png)" in text
    with np.load(home / "golden_int8.npz") as golden:
        assert golden["output"].shape == (2, 1, 4, 4, 4)


def test_the_overlay_in_the_card(loaded_once: Loaded, tmp_path: Path) -> None:
    """The card's picture has the legend of the overlay that example.py draws: PASCAL's colours, mixed with grey."""
    home = bundle(loaded_once.checkout, "segments")
    command = [sys.executable, "example.py", "-m", "segments_int8.tflite", "-i", "example_input.JPEG"]
    done = subprocess.run([*command, "-o", str(tmp_path)], cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    drawn, shown, view = (
        np.asarray(Image.open(io.BytesIO(file.read_bytes())).convert("RGB")).astype(int)
        for file in (
            tmp_path / "example_input_overlay.png",
            home / layout.figure("result"),
            home / "inputs/example_input.JPEG",
        )
    )
    legend = drawn[:, view.shape[1] :].reshape(-1, 3)
    mixed = [(128, 51, 51), (51, 128, 51), (128, 128, 51)]
    listed = [colour for colour in mixed if (legend == colour).all(axis=1).any()]
    assert len(listed) >= 2
    for colour in listed:
        assert (shown == colour).all(axis=2).any()


# --- what goes wrong


def test_a_wrong_hash_in_a_list(loaded: Checkout, loaded_once: Loaded) -> None:
    file = loaded_once.lists["colours_evaluation"][3]
    right = pretrained.sha256(loaded_once.pictures[file])
    loaded.change("recipes/lists/colours_evaluation.csv", right, "7" * 64)
    done = loaded.doit("colours", env=ENV)
    assert done.returncode in FAILED
    assert "FAILED colours:download: exit code 4" in done.stdout
    for said in (file, "7" * 64, right[:12], f"{loaded_once.server.base}/images/{file}"):
        assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_if_one_model_fails_the_others_still_build(loaded: Checkout, loaded_once: Loaded) -> None:
    """Two sources of one model are gone: both are named with their addresses, the other models are made."""
    gone = f"{loaded_once.server.base}/gone"
    loaded.change("recipes/colours/recipe.toml", f"{loaded_once.server.base}/colours.h5", f"{gone}/colours.h5")
    loaded.change("recipes/colours/recipe.toml", f"{loaded_once.server.base}/red.jpg", f"{gone}/red.jpg")
    subprocess.run(["rm", "-r", "build/cache", "artifacts/segments"], cwd=loaded.root, check=True)
    done = loaded.doit("colours", "segments", env=ENV)
    assert done.returncode in FAILED
    for said in ("colours.h5", f"{gone}/colours.h5", "red.jpg", f"{gone}/red.jpg", "404"):
        assert said in done.stderr, said
    assert "FAILED colours:download: " in done.stdout
    assert "Traceback" not in done.stderr + done.stdout
    assert loaded.hashes("artifacts/segments/*") == loaded_once.checkout.hashes("artifacts/segments/*")
    offline = loaded.doit("colours", env={**ENV, "ZOO_OFFLINE": "1"})
    assert offline.returncode in FAILED
    listed = (loaded.root / "build/missing.txt").read_text()
    for name in ("colours.h5", "red.jpg"):
        assert f"{name} of colours is missing" in offline.stderr
        assert listed.count(f"{gone}/{name}#") == 1
    assert len(listed.splitlines()) == 2


@pytest.mark.slow
def test_a_truncated_weights_file(loaded: Checkout, loaded_once: Loaded) -> None:
    cut = loaded_once.files["/colours.h5"][:3000]
    url = loaded_once.server.on("/cut.h5", pretrained.full(cut))
    text = (loaded.root / "recipes/colours/recipe.toml").read_text()
    head, _, rest = text.partition("[sources.weights]")
    table, _, tail = rest.partition("\n\n")
    assert "md5" in table
    (loaded.root / "recipes/colours/recipe.toml").write_text(
        head + pretrained.source("weights", "cut.h5", url, cut) + tail
    )
    done = loaded.doit("colours", env=ENV)
    assert done.returncode in FAILED
    assert "error: colours:load: cut.h5: the file is damaged" in done.stderr
    assert "Traceback" not in done.stderr
    assert "FAILED colours:load: exit code 5" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("parameters = 251", "parameters = 252", "the network has parameters: 251, expected 252"),
        ("macs = 42360", "macs = [1, 10]", "macs: 42,360, expected 1 to 10"),
        ('label = "blue" }', 'label = "red" }', "inputs/example_1.jpg gives 'blue', not 'red'"),
        ("float32 = 0.001", "float32 = 0.001\nconversion = 0.0", "is allowed"),
    ],
)
def test_a_result_that_differs_from_the_expected_one_fails(loaded: Checkout, old: str, new: str, said: str) -> None:
    loaded.change("recipes/colours/recipe.toml", old, new)
    before = loaded.hashes("artifacts/colours/*")
    done = loaded.doit("colours", env=ENV)
    assert done.returncode in FAILED, done.stdout
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert loaded.hashes("artifacts/colours/*") == before


def test_the_gate_of_a_loaded_model() -> None:
    """All that is outside is said at once; the first variant agrees with itself."""
    found = find_recipe("mobilenet_v2")
    within = {"float32": {"accuracy": 86.0}, "int8": {"accuracy": 85.5, "agreement": 97.0}}
    evaluate._gate(found, within)
    with pytest.raises(GateError) as caught:
        evaluate._gate(found, {"float32": {"accuracy": 86.0}, "int8": {"accuracy": 84.0, "agreement": 96.9}})
    for said in (
        "int8: 84.00 %, 1.00 points below 85.0 %",
        "int8 loses 2.00 points against float32, 1.50 more than 0.5",
        "int8 agrees with float32 on 96.90 %, at least 97.0",
    ):
        assert said in str(caught.value)


def test_a_prediction_that_differs_from_the_expected_one_fails(loaded: Checkout) -> None:
    """Of a segmentation: the class with most pixels, and its share."""
    text = (loaded.root / "recipes/segments/recipe.toml").read_text()
    label = text.partition('source = "view", label = "')[2].partition('"')[0]
    loaded.change("recipes/segments/recipe.toml", "share = [5.0, 60.0]", "share = [90.0, 95.0]")
    done = loaded.doit("segments", env=ENV)
    assert f"% '{label}', 90 to 95 % are right" in done.stderr
    other = next(name for name in pretrained.COLOURS if name != label)
    loaded.change("recipes/segments/recipe.toml", f'label = "{label}", share = [90.0, 95.0]', f'label = "{other}"')
    done = loaded.doit("segments", env=ENV)
    assert done.returncode in FAILED
    assert f"not {other!r}" in done.stderr


# --- the zoo's own recipes


@pytest.fixture(scope="session")
def upstream_files(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """A function: what upstream publishes of a model, with random weights, made once."""

    @functools.cache
    def make(model: str, *more: str) -> bytes:
        folder = tmp_path_factory.mktemp(model)
        command = [sys.executable, "-m", "tests.support.networks", model, str(folder), *more]
        done = subprocess.run(command, cwd=pretrained.ROOT, capture_output=True, text=True, env=environment.pinned())
        assert done.returncode == 0, done.stderr[-3000:]
        return (folder / pretrained.UPSTREAM[model][0]).read_bytes()

    return make


@pytest.fixture(scope="session")
def zoo(
    tmp_path_factory: pytest.TempPathFactory, upstream: Server, upstream_files: Callable[..., bytes]
) -> Callable[[str, int], Zoo]:
    """A function: a model of the zoo, built on what the tests publish, in the n-th folder; each once."""

    @functools.cache
    def make(model: str, turn: int = 0) -> Zoo:
        checkout = copy_project(tmp_path_factory.mktemp(f"{model}_{turn}") / "zoo")
        pretrained.localise(checkout, upstream, model, upstream_files(model))
        return build(checkout, model, env=ENV)

    return make


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mnasnet", "resnet50"])
def test_a_model_of_the_zoo(zoo: Callable[..., Zoo], model: str) -> None:
    """The zoo's recipe as it is, with its shapes, preprocessing and expectations, on weights that are random."""
    built = zoo(model).checkout
    home = bundle(built, model)
    assert subprocess.run(["sha256sum", "-c", "--quiet", "--strict", "SHA256SUMS"], cwd=home).returncode == 0
    facts = read(built, model)
    assert facts["parity"]["max_error"] <= facts["parity"]["allowed"]
    assert facts["evaluation"]["count"] == 6
    assert facts["sources"][pretrained.UPSTREAM[model][1]]["pinned"] is False
    assert "(unpinned: recorded at the first download)" in card(built, model)
    for entry in run_example(built, model, "example_input.jpg", "example_1.jpg")["models"]:
        assert entry["predictions"][0]["top"][0]["label"] == "boxer"
    spec = read(built, model, "model.json")["input"]
    assert spec["mean"] == ([0.0] * 3 if model == "mnasnet" else [127.5] * 3)  # MNasNet's is inside the graph


@pytest.mark.slow
def test_the_same_bytes_in_two_folders(zoo: Callable[..., Zoo]) -> None:
    one, other = (zoo("mnasnet", turn).checkout.hashes() for turn in (0, 1))
    assert len(one) == 2
    assert one == other


@pytest.mark.slow
def test_peak_memory_of_resnet50(zoo: Callable[..., Zoo]) -> None:
    assert zoo("resnet50").peak < 2.0e9


@pytest.mark.slow
def test_a_saved_model_without_the_signature(
    project: Checkout, upstream: Server, upstream_files: Callable[..., bytes]
) -> None:
    pretrained.localise(project, upstream, "mnasnet", upstream_files("mnasnet", "predict"))
    done = project.doit("mnasnet", env=ENV)
    assert done.returncode in FAILED
    assert "mnasnet-a1-075.tgz: no signature 'classify' (it has predict)\n  -> correct load.signature" in done.stderr
    assert "Traceback" not in done.stderr
    assert "FAILED mnasnet:load: exit code 6" in done.stdout
    assert not (project.root / "artifacts/mnasnet").exists()


@pytest.mark.slow
def test_user_supplied_weights_in_a_saved_model_folder(
    project: Checkout, upstream: Server, upstream_files: Callable[..., bytes], tmp_path: Path
) -> None:
    """The folder that the archive holds, without the archive."""
    archive = upstream_files("mnasnet")
    pretrained.localise(project, upstream, "mnasnet", archive)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(tmp_path / "mine", filter="data")
    done = project.doit("mnasnet:load", f"weights={tmp_path}/mine/mnasnet-a1-075", env=ENV)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "from mnasnet-a1-075" in done.stdout


@pytest.mark.slow
def test_a_truncated_h5_file(project: Checkout, upstream: Server, upstream_files: Callable[..., bytes]) -> None:
    data = upstream_files("resnet50")
    pretrained.localise(project, upstream, "resnet50", data[: len(data) // 2])
    done = project.doit("resnet50", env=ENV)
    assert done.returncode in FAILED
    name = pretrained.UPSTREAM["resnet50"][0]
    assert f"error: resnet50:load: {name}: the file is damaged" in done.stderr
    assert "Traceback" not in done.stderr
    assert "FAILED resnet50:load: exit code 5" in done.stdout


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Zoo]:
    """A function: a model built on the real sources of the mirror, in the n-th folder; each once."""

    @functools.cache
    def make(turn: int, *arguments: str) -> Zoo:
        if turn == 0:
            return build_real(tmp_path_factory, *arguments)
        checkout = copy_project(tmp_path_factory.mktemp(f"{arguments[0]}_{turn}") / "zoo")
        return build(checkout, *arguments, env=FROM_MIRROR)

    return make


OWN = MIRROR.parent / "weights" / "mobilenet_v2_dequantised.h5"


@pytest.mark.slow
@pytest.mark.usefixtures("mirror")
def test_mobilenet_v2_with_user_supplied_weights(real: Callable[..., Zoo]) -> None:
    if not OWN.is_file():
        pytest.skip("no weights for MobileNetV2 beside the mirror")
    one = real(1, "mobilenet_v2", f"weights={OWN}").checkout
    assert len(one.hashes()) == 2
    result = read(one, "mobilenet_v2")["evaluation"]
    assert result["count"] == 300
    float32, int8 = result["variants"]["float32"], result["variants"]["int8"]
    assert float32["accuracy"] - int8["accuracy"] <= 0.5
    assert int8["agreement"] >= 97
    for entry in run_example(one, "mobilenet_v2", "example_input.jpg")["models"]:
        assert entry["predictions"][0]["top"][0]["label"] == "boxer"
    text = card(one, "mobilenet_v2")
    assert f"These are not the published ones: `{OWN.name}`" in text
    assert "71.8 % top-1" in text
    assert "This is a sample. 300 images" in text
    assert "200 images listed in imagenet_sample_calibration.csv" in text
    assert "75.2" not in text


@pytest.mark.slow
def test_deeplabv3_from_the_mirror(mirror: Path, real: Callable[..., Zoo]) -> None:
    one, other = (real(turn, "deeplabv3").checkout for turn in (0, 1))
    assert one.hashes() == other.hashes()
    home = bundle(one, "deeplabv3")
    published = read(one, "deeplabv3")["sources"]["model"]["sha256"]
    assert one.hashes()["artifacts/deeplabv3/deeplabv3_int8_float_io.tflite"] == published
    assert (home / "deeplabv3_int8_float_io.tflite").read_bytes() == (mirror / published).read_bytes()
    result = read(one, "deeplabv3")["evaluation"]["variants"]
    assert result["int8"]["accuracy"] == result["int8_float_io"]["accuracy"]
    assert result["int8"]["agreement"] == 100
    report = run_example(one, "deeplabv3", "example_input.jpg", top=21)
    assert len(report["models"]) == 2
    for entry in report["models"]:
        shares = {line["label"]: line["share"] for line in entry["predictions"][0]["classes"]}
        assert 19 <= shares["cat"] <= 21


@pytest.mark.slow
def test_ssd_mobilenet_v1_from_the_mirror(mirror: Path, real: Callable[..., Zoo], tmp_path: Path) -> None:
    """The published file, byte for byte, the same bundle in two folders, and its scores from a delegate."""
    one, other = (real(turn, "ssd_mobilenet_v1").checkout for turn in (0, 1))
    assert one.hashes("artifacts/*/**/*") == other.hashes("artifacts/*/**/*")
    home = bundle(one, "ssd_mobilenet_v1")
    published = read(one, "ssd_mobilenet_v1")["sources"]["model"]["sha256"]
    assert (home / "ssd_mobilenet_v1_uint8.tflite").read_bytes() == (mirror / published).read_bytes()
    result = read(one, "ssd_mobilenet_v1")["evaluation"]["variants"]["uint8"]
    assert (round(result["accuracy"], 1), round(result["ap50"], 1), result["objects"]) == (22.1, 35.1, 898)
    (entry,) = run_example(one, "ssd_mobilenet_v1", "example_input.jpg")["models"]
    (cat,) = entry["predictions"][0]["objects"]
    assert cat["label"] == "cat"
    assert cat["score"] == pytest.approx(0.82, abs=0.1)
    check_delegates(home, "logistic", tmp_path)


def check_delegates(home: Path, take: str, folder: Path) -> None:
    """The models of a bundle with a delegate that takes one operator, and computes it right or wrong."""
    if CC is None:
        pytest.skip("no C compiler here to build the delegate with")
    library = folder / "libtest_delegate.so"
    subprocess.run([CC, "-std=c11", "-O2", "-fPIC", "-shared", "-o", str(library), str(SOURCE), "-lm"], check=True)
    for mode, code, verdict in (
        ("correct", 0, "PASS"),
        ("fixed", 4, "FIXED_OUTPUT"),
        ("wrong", 4, "MISMATCH"),
        ("invoke", 5, None),
    ):
        options = ["--delegate-option", f"take={take}", "--delegate-option", f"mode={mode}"]
        command = [sys.executable, "example.py", "--json", "-n", "1", "-d", str(library), *options]
        done = subprocess.run(command, cwd=home, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        for entry in json.loads(done.stdout)["models"]:
            if verdict:
                assert (entry["nodes"]["delegated"], entry["check"]["verdict"]) == (1, verdict)


@pytest.mark.slow
@pytest.mark.usefixtures("mirror")
@pytest.mark.parametrize(
    ("model", "count", "least", "most_bytes"),
    [("person_presence", 128, 87.5, 333_288), ("keyword_spotting", 616, 93.0, 53_936)],
)
def test_mlperf_tiny_from_the_mirror(
    model: str, count: int, least: float, most_bytes: int, real: Callable[..., Zoo], tmp_path: Path
) -> None:
    """The same bundle in two folders, int8 no worse and no larger than MLPerf Tiny's file on the same inputs."""
    one, other = (real(turn, model).checkout for turn in (0, 1))
    assert one.hashes("artifacts/*/**/*") == other.hashes("artifacts/*/**/*")
    home = bundle(one, model)
    result = read(one, model)["evaluation"]
    float32, int8 = result["variants"]["float32"], result["variants"]["int8"]
    assert result["count"] == count
    assert int8["accuracy"] >= least
    assert float32["accuracy"] - int8["accuracy"] <= 1
    assert int8["agreement"] >= 97
    assert (home / f"{model}_int8.tflite").stat().st_size <= most_bytes
    check_delegates(home, "softmax", tmp_path)
