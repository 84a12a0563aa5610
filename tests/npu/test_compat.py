"""The report: every rule has a graph that it is about and one that it is not, and Vela itself agrees."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkouts import Checkout
from tests.support.corpus import GRAPHS
from tests.support.velas import require_vela
from utils import tflite
from utils.errors import DataError
from utils.npu import bsp, compat, conditions, rules, vela
from utils.tflite import Graph, Operator, Tensor

DEFAULT = bsp.find_default_bsp()
OLD_RUNTIME = bsp.Bsp("LF0", "3.12.0", "2.7.0", "", True, "", "made up: no BSP in the list is so old")


def tensor(shape: tuple[int, ...] = (1, 8, 8, 4), dtype: str = "INT8", scales: int = 1, **more: Any) -> Tensor:
    return Tensor("t", shape, dtype, (0.1,) * scales, (0,) * scales, more.pop("data", 0), **more)


def graph(name: str, *tensors: Tensor, version: int = 1, **options: Any) -> Graph:
    """One operator; the last tensor is what it writes."""
    last = len(tensors) - 1
    operator = Operator(name, version, tuple(range(last)), (last,), options)
    return Graph(tensors, (operator,), (0,), (last,), {}, "1.5.0")


def resize(kind: str, factor: float, **options: Any) -> Graph:
    side = int(8 * factor)
    size = tensor((2,), "INT32", scales=0, data=8, values=(side, side))
    return graph(f"RESIZE_{kind}", tensor(), size, tensor((1, side, side, 4)), **options)


#: Rule -> the graphs of the corpus that it is about, and one that it is not.
CASES: dict[str, tuple[str, str]] = {
    "vx-nearest-half-pixel": ("nearest half pixel to 16", "nearest to 16"),
    "dense-per-channel-runtime": ("dense per channel", "dense"),
    "dense-per-channel-vela": ("dense per channel", "dense"),
    "float-io": ("float ends", "requantise"),
    "float-operator": ("float alone", "conv 3x3 relu"),
    "dynamic-shape": ("dynamic batch", "conv 3x3 relu"),
    "ethos-u-type": ("quantise int32", "add of quantised int32"),
    "ethos-u-type-5": ("quantise int32", "add of int32"),
    "ethos-u-unquantised": ("add of int32", "add of quantised int32"),
    "ethos-u-unquantised-5": ("tanh without scales", "tanh"),
    "ethos-u-per-channel": ("prelu per channel", "prelu"),
    "ethos-u-asymmetric-weights": ("conv with asymmetric int8 weights", "conv 3x3 relu"),
    "ethos-u-weights-type": ("dense int4", "dense"),
    "ethos-u-weights-computed": ("conv with computed weights", "conv 3x3 relu"),
    "ethos-u-product-type": ("batch matmul of int16", "batch matmul"),
    "ethos-u-bias": ("dense of a wide bias", "dense"),
    "ethos-u-extremes": ("maximum of differing scales", "maximum"),
    "ethos-u-mixed-types": ("leaky relu int8 to int16", "leaky_relu"),
    "ethos-u-mixed-types-5": ("leaky relu int8 to int16", "leaky_relu"),
    "ethos-u-softmax-type": ("softmax int8 to int16", "softmax"),
    "ethos-u-sum-types": ("add int8 to uint8", "add"),
    "ethos-u-sum-types-5": ("add int8 to uint8", "add"),
    "ethos-u-activation": ("add of quantised int32, relu", "add relu"),
    "ethos-u-8-bit": ("hard_swish int16", "hard_swish"),
    "ethos-u-signed": ("exp uint8", "exp"),
    "ethos-u-rsqrt": ("rsqrt int16", "rsqrt"),
    "ethos-u-logarithm": ("log uint8", "log"),
    "ethos-u-scalar": ("prelu with one slope", "prelu"),
    "ethos-u-size": ("tanh of 70000 columns", "tanh"),
    "ethos-u-rank": ("reshape to five dimensions", "reshape"),
    "ethos-u-batch": ("conv batch 4", "conv 3x3 relu"),
    "ethos-u-batch-mean": ("mean of a batch of 2", "mean of height and width"),
    "ethos-u-dilation": ("batch to space alone", "dilation of batches"),
    "ethos-u-broadcast": ("add of a row and a column", "add"),
    "ethos-u-dense-shape": ("dense of a vector", "dense"),
    "ethos-u-stride": ("conv stride 4, padded", "conv stride 3"),
    "ethos-u-stride-5": ("depthwise stride 4", "conv stride 4"),
    "ethos-u-kernel": ("conv dilated 40", "conv dilated 2"),
    "ethos-u-pool": ("average pool 9, padded", "average pool 8, padded"),
    "ethos-u-pool-5": ("average pool 9, padded", "average pool 8, padded"),
    "ethos-u-depth-multiplier": ("depthwise multiplier 2", "depthwise multiplier 8 of one channel"),
    "ethos-u-transpose-conv": ("transposed conv 3", "transposed conv 2"),
    "ethos-u-transpose-conv-5": ("transposed conv 2, cropped", "transposed conv 2, valid"),
    "bilinear-half-pixel-factor": ("bilinear half pixel to 32", "bilinear half pixel to 16"),
    "resize-factor": ("bilinear of a row to 1x16", "nearest to 64"),
    "resize-factor-4": ("nearest to 24", "bilinear of a row to 1x16"),
    "resize-factor-5": ("nearest to 16x8", "nearest to 32"),
    "resize-size": ("resize to a computed size", "nearest to 16"),
    "ethos-u-arg-max": ("arg max of 128", "arg max of 127"),
    "ethos-u-mean": ("mean of depth", "mean of width"),
    "ethos-u-mean-5": ("mean of depth", "mean of width"),
    "ethos-u-params": ("slice with computed ends", "slice"),
    "ethos-u-strided-slice": ("strided slice with an ellipsis", "strided slice by 2"),
    "ethos-u-strided-slice-5": ("strided slice of channels by 2", "strided slice by 2"),
    "ethos-u-pad": ("pad depth", "pad"),
    "ethos-u-pad-4": ("mirror pad depth", "pad depth"),
    "ethos-u-pad-5": ("pad by computed numbers", "pad batch"),
    "ethos-u-transpose": ("transpose [0, 1, 3, 2]", "transpose [0, 2, 1, 3]"),
    "ethos-u-transpose-5": ("transpose [3, 0, 1, 2] of 160000", "transpose [3, 0, 1, 2]"),
    "ethos-u-reshape": ("reshape of another scale", "reshape"),
    "ethos-u-reshape-5": ("reshape of another scale", "reshape"),
    "ethos-u-softmax": ("softmax of 70000 rows", "softmax"),
    "ethos-u-lstm": ("lstm with peepholes", "lstm"),
    "ethos-u-reverse": ("reverse", "tanh"),
    "vx-type": ("conv int16", "conv 3x3 relu"),
    "vx-hybrid": ("dynamic range conv", "conv 3x3 relu"),
    "vx-grouped-batch": ("conv in groups, batch 2", "conv in groups"),
    "vx-strided-slice": ("strided slice with a new axis", "strided slice"),
    "vx-slice": ("slice with computed ends", "slice"),
    "vx-resize-size": ("resize to a computed size", "nearest to 16"),
    "vx-batch-matmul": ("batch matmul, both transposed", "batch matmul"),
    "vx-rank": ("tanh of 70000 columns", "tanh"),
    "vx-reshape": ("reshape to a computed shape", "reshape"),
    "vx-batch-space": ("space to batch of three dimensions", "dilation of batches"),
    "vx-select": ("select of int8", "tanh"),
    "vx-reduce": ("mean over computed axes", "mean of width"),
    "vx-requantise": ("quantise int32", "requantise"),
    "vx-lstm": ("a float lstm", "lstm"),
    "vx-squared-difference": ("squared difference int8 to int32", "squared difference"),
    "flex-operator": ("an operator of TensorFlow", "tanh"),
    "detector-postprocess": ("detector with post-processing", "tanh"),
    "custom-operator": ("custom operator", "detector with post-processing"),
    "control-flow": ("a condition", "tanh"),
    "edge-tpu": ("compiled for the Edge TPU", "custom operator"),
    "runtime-int4": ("dense int4", "dense"),
    "runtime-blocks": ("dense of int4 in blocks", "dense int4"),
    "runtime-blocks-untested": ("dense of int4 in blocks", "dense int4"),
    "runtime-int16-bias": ("depthwise int16 with an int32 bias", "depthwise"),
    "runtime-axis": ("depthwise whose bias has the axis of its weights", "depthwise"),
    "unwritten": ("add of int4 in blocks that nothing writes", "dense of int4 in blocks"),
}

#: No BSP in the list is so old; and one of each compiler core.
RELEASES = [OLD_RUNTIME, DEFAULT, bsp.find_bsp("LF6.18.20_2.0.0")]

NEAREST, BILINEAR = "NEAREST_NEIGHBOR", "BILINEAR"


def made(name: str) -> Graph:
    return tflite.parse(GRAPHS[name](), name)


#: Integers in, floats out: boxes and scores.
DETECTION = graph("TFLite_Detection_PostProcess", tensor((1, 16, 4)), tensor((1, 5, 4), dtype="FLOAT32"))


def ids(found: Graph, accelerator: str, release: bsp.Bsp) -> set[str]:
    return {finding.id for finding in compat.examine(found, accelerator, release).findings}


def examined(found: Graph, accelerator: str, release: bsp.Bsp) -> tuple[int, list[str]]:
    result = compat.examine(found, accelerator, release)
    return result.placed, [finding.id for finding in result.findings]


def test_every_rule_has_its_case_and_every_condition_its_rule() -> None:
    found = rules.load_rules()
    assert {rule.id for rule in found} == set(CASES)
    assert len(found) == len(CASES)
    assert {rule.when for rule in found} == set(conditions.CONDITIONS)
    for rule in found:
        assert all((rule.what, rule.evidence, rule.remedy)), rule.id
        assert set(rule.accelerators) <= set(compat.TARGETS)
        assert set(rule.operators) <= set(rules.load_operators()), rule.id


@pytest.mark.parametrize("name", CASES)
def test_a_rule_finds_its_graph_and_no_other(name: str) -> None:
    rule = next(rule for rule in rules.load_rules() if rule.id == name)
    about, other = map(made, CASES[name])
    for accelerator in compat.TARGETS:
        release = next((release for release in RELEASES if rule.holds_for(accelerator, release)), None)
        if release is None:
            assert accelerator not in rule.accelerators
            assert not any(name in ids(about, accelerator, release) for release in RELEASES)
            continue
        assert name in ids(about, accelerator, release)
        assert name not in ids(other, accelerator, release)


@pytest.mark.parametrize("name", [rule.id for rule in rules.load_rules() if rule.vela_min or rule.vela_max])
def test_a_rule_holds_for_its_versions_alone(name: str) -> None:
    rule = next(rule for rule in rules.load_rules() if rule.id == name)
    held = [release.vela for release in bsp.load_bsps().values() if rule.holds_for("ethos_u", release)]
    assert held
    assert all(not rule.vela_max or version.split(".")[0] <= rule.vela_max.split(".")[0] for version in held)
    assert all(not rule.vela_min or version.split(".")[0] >= rule.vela_min.split(".")[0] for version in held)
    about = made(CASES[name][0])
    for release in bsp.load_bsps().values():
        assert (name in ids(about, "ethos_u", release)) == (release.vela in held)


def test_upsampling_to_the_same_size_or_from_one_pixel_has_no_finding() -> None:
    assert examined(resize(BILINEAR, 1, halfPixelCenters=False), "ethos_u", DEFAULT) == (1, [])
    for before, after, options in ((1, 65, {"halfPixelCenters": True}), (65, 513, {"alignCorners": True})):
        size = tensor((2,), "INT32", scales=0, data=8, values=(after, after))
        shapes = [tensor((1, side, side, 4)) for side in (before, after)]
        assert examined(graph("RESIZE_BILINEAR", shapes[0], size, shapes[1], **options), "ethos_u", DEFAULT) == (1, [])


def test_the_post_processing_of_a_detector_runs_on_every_cpu() -> None:
    """It is a custom operator, but one that every runtime has: on an accelerator that is all there is to say."""
    assert examined(DETECTION, "cpu", OLD_RUNTIME) == (1, [])
    for accelerator in ("vx", "ethos_u"):
        assert examined(DETECTION, accelerator, DEFAULT) == (0, ["detector-postprocess"])
        assert compat.examine(DETECTION, accelerator, DEFAULT).findings[0].severity == "yellow"


def test_an_old_runtime_does_not_know_a_new_operator_version() -> None:
    """By our table, though the file itself asks for 1.5.0 only; and by the file where the table knows nothing."""
    new = graph("CONV_2D", tensor(), tensor((4, 3, 3, 4), data=144), tensor(), version=6)
    assert compat.required_runtime(new) == ("2.9.0", [])
    release = bsp.Bsp("LF0", "3.12.0", "2.8.0", "", True, "", "made up")
    assert ids(new, "cpu", release) == {"runtime-too-old"}
    assert ids(new, "cpu", DEFAULT) == set()
    unknown = graph("CONV_2D", tensor(), tensor((4, 3, 3, 4), data=144), tensor(), version=99)
    assert compat.required_runtime(unknown) == ("1.5.0", ["CONV_2D version 99"])
    silent = replace(unknown, min_runtime="")
    assert ids(silent, "cpu", DEFAULT) == {"version-unknown"}


def test_an_operator_that_the_accelerator_does_not_take() -> None:
    found = compat.examine(graph("SPACE_TO_DEPTH", tensor(), tensor((1, 4, 4, 16))), "ethos_u", DEFAULT)
    assert found.placed == 0
    assert [(finding.id, finding.operators) for finding in found.findings] == [
        ("not-on-the-accelerator", {"SPACE_TO_DEPTH": 1})
    ]


def verdicts(file: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for entry in compat.as_json(file)["targets"]:
        found.setdefault(entry["accelerator"], set()).add(entry["verdict"])
    return found


def test_verdicts_of_nearest_and_bilinear_upsampling(built_once: Checkout) -> None:
    folder = built_once.root / "artifacts"
    nearest, bilinear = (folder / f"demo_{kind}/demo_{kind}_int8.tflite" for kind in ("nearest", "bilinear"))
    assert verdicts(nearest) == {"vx": {"red"}, "ethos_u": {"green"}, "cpu": {"green"}}
    assert verdicts(bilinear) == {"vx": {"green"}, "ethos_u": {"green"}, "cpu": {"green"}}


def test_neighbours_that_agree_are_one_verdict(peculiar: Path) -> None:
    found = [v for v in compat.report(tflite.read(peculiar / "dense_per_channel.tflite")) if v.accelerator == "ethos_u"]
    assert [(v.verdict, v.placed, v.total) for v in found] == [("yellow", 2, 3), ("green", 3, 3)]
    assert found[0].span == "LF5.15.52_2.1.0 to LF6.6.36_2.1.0"
    assert [name for v in found for name in v.bsps] == list(bsp.load_bsps())


def test_a_compiled_file_is_refused(peculiar: Path, tmp_path: Path) -> None:
    require_vela(DEFAULT)
    vela.compile_model(peculiar / "plain.tflite", DEFAULT, tmp_path / "out.tflite")
    with pytest.raises(DataError, match=r"out\.tflite: is compiled by Vela"):
        compat.as_text(tmp_path / "out.tflite")


def test_card_and_bundle_contain_the_report(built_once: Checkout) -> None:
    bundle = built_once.root / "artifacts/demo_nearest"
    found = json.loads((bundle / "compat.json").read_text())
    model = next(iter(built_once.hashes("artifacts/demo_nearest/*_int8.tflite").values()))
    assert found["sha256"] == model
    card = (bundle / "README.md").read_text()
    assert "| i.MX 8M Plus, NPU through the VX delegate | every BSP | **red** | 13 of 16 operators |" in card
    assert "(3 x RESIZE_NEAREST_NEIGHBOR, `vx-nearest-half-pixel`): upsample bilinearly" in card


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["demo_nearest"], 0, "RED    i.MX 8M Plus, NPU through the VX delegate; every BSP"),
        (["demo_nearest", "--bsp", "LF6.6.36_2.1.0"], 0, "GREEN  i.MX 93, NPU through Ethos-U (Vela); LF6.6.36_2.1.0"),
        (["demo_nearest", "--json"], 0, '"needs_tflite": "2.3.0"'),
        (["artifacts/demo_nearest/demo_nearest_float32.tflite"], 0, "[float-operator] 7 x CONV_2D"),
        (["demo_nearest", "--bsp", "LF6"], 6, "no BSP is called 'LF6'"),
        (["mnist_nearest"], 6, "there is no artifacts/mnist_nearest/mnist_nearest_int8.tflite"),
        (["no.tflite"], 6, "there is no file no.tflite"),
        (["nonesuch"], 3, "there is no recipe for 'nonesuch'"),
        (["README.tflite"], 5, "README.tflite: not a TFLite file"),
    ],
)
def test_exit_codes_and_output_of_the_compat_step(built: Checkout, words: list[str], code: int, says: str) -> None:
    (built.root / "README.tflite").write_text("no model at all")
    done = built.run(sys.executable, "-m", "utils.steps.compat", *words)
    assert done.returncode == code, done.stdout + done.stderr
    assert says in done.stdout + done.stderr
    if "--json" in words:
        assert json.loads(done.stdout)["targets"]


def test_doit_compat(built: Checkout) -> None:
    done = built.doit("compat:demo_bilinear", "bsp=LF6.6.36_2.1.0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("GREEN") == 3
