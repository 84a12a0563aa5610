"""The report: every rule has a graph that it is about and one that it is not, and Vela itself agrees."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkouts import Checkout
from tests.support.velas import require_vela
from utils import tflite
from utils.errors import DataError
from utils.npu import bsp, compat, vela
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
    return graph(f"RESIZE_{kind}", tensor(), tensor((1, side, side, 4)), **options)


def dense(scales: int) -> Graph:
    return graph("FULLY_CONNECTED", tensor((1, 4)), tensor((5, 4), scales=scales, data=20), tensor((1, 5)))


#: Integers in, floats out: boxes and scores.
DETECTION = graph("TFLite_Detection_PostProcess", tensor((1, 16, 4)), tensor((1, 5, 4), dtype="FLOAT32"))

NEAREST, BILINEAR = "NEAREST_NEIGHBOR", "BILINEAR"

#: Rule -> accelerator, BSP, a graph that it is about, one that it is not.
CASES: dict[str, tuple[str, bsp.Bsp, Graph, Graph]] = {
    "vx-nearest-half-pixel": (
        "vx", DEFAULT, resize(NEAREST, 2, halfPixelCenters=True), resize(NEAREST, 2, halfPixelCenters=False),
    ),
    "dense-per-channel-runtime": ("cpu", OLD_RUNTIME, dense(5), dense(1)),
    "dense-per-channel-vela": ("ethos_u", bsp.find_bsp("LF6.6.36_2.1.0"), dense(5), dense(1)),
    "float-io": (
        "ethos_u", DEFAULT, graph("QUANTIZE", tensor(dtype="FLOAT32"), tensor()), graph("QUANTIZE", tensor(), tensor()),
    ),
    "float-operator": (
        "ethos_u", DEFAULT, graph("TANH", tensor(dtype="FLOAT32"), tensor(dtype="FLOAT32")),
        graph("TANH", tensor(), tensor()),
    ),
    "bilinear-half-pixel-factor": (
        "ethos_u", DEFAULT, resize(BILINEAR, 4, halfPixelCenters=True), resize(BILINEAR, 2, halfPixelCenters=True),
    ),
    "resize-factor": ("ethos_u", DEFAULT, resize(NEAREST, 3), resize(NEAREST, 8)),
    "dynamic-shape": ("vx", DEFAULT, graph("TANH", tensor(dynamic=True), tensor()), graph("TANH", tensor(), tensor())),
    "ethos-u-type": (
        "ethos_u", DEFAULT, graph("RESHAPE", tensor(dtype="BOOL"), tensor(dtype="BOOL")),
        graph("ADD", tensor(dtype="INT32"), tensor(dtype="INT32"), tensor(dtype="INT32")),
    ),
    "vx-type": (
        "vx", DEFAULT, graph("TANH", tensor(dtype="INT16"), tensor(dtype="INT16")), graph("TANH", tensor(), tensor()),
    ),
    "ethos-u-batch": (
        "ethos_u", DEFAULT, graph("MAX_POOL_2D", tensor((4, 8, 8, 4)), tensor((4, 4, 4, 4))),
        graph("MAX_POOL_2D", tensor(), tensor((1, 4, 4, 4))),
    ),
    "ethos-u-rank": (
        "ethos_u", DEFAULT, graph("TANH", tensor((1, 1, 8, 8, 4)), tensor((1, 1, 8, 8, 4))),
        graph("TANH", tensor(), tensor()),
    ),
    "flex-operator": ("cpu", DEFAULT, graph("FlexErf", tensor(), tensor()), graph("TANH", tensor(), tensor())),
    "detector-postprocess": (
        "ethos_u", DEFAULT, DETECTION, graph("TANH", tensor(), tensor()),
    ),
    "custom-operator": (
        "cpu", DEFAULT, graph("MyOperator", tensor(), tensor()), DETECTION,
    ),
}  # fmt: skip


def ids(found: Graph, accelerator: str, release: bsp.Bsp) -> set[str]:
    return {finding.id for finding in compat.examine(found, accelerator, release)[1]}


def test_every_rule_has_its_case_and_every_condition_its_rule() -> None:
    assert [rule.id for rule in compat.load_rules()] == list(CASES)
    assert {rule.when for rule in compat.load_rules()} == set(compat.CONDITIONS)
    for rule in compat.load_rules():
        assert all((rule.what, rule.evidence, rule.remedy)), rule.id
        assert set(rule.accelerators) <= set(compat.TARGETS)
        assert set(rule.operators) <= set(compat.load_operators()), rule.id


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_finds_its_graph_and_no_other(rule: str) -> None:
    accelerator, release, about, other = CASES[rule]
    assert rule in ids(about, accelerator, release)
    assert rule not in ids(other, accelerator, release)
    for elsewhere in set(compat.TARGETS) - set(next(r for r in compat.load_rules() if r.id == rule).accelerators):
        assert rule not in ids(about, elsewhere, release)


@pytest.mark.parametrize(
    ("rule", "release"),
    [
        ("dense-per-channel-runtime", DEFAULT),
        ("dense-per-channel-vela", bsp.find_bsp("LF6.12.3_1.0.0")),
        ("ethos-u-batch", bsp.find_bsp("LF6.18.20_2.0.0")),
    ],
)
def test_a_rule_ends_with_a_version(rule: str, release: bsp.Bsp) -> None:
    accelerator, _, about, _ = CASES[rule]
    assert rule not in ids(about, accelerator, release)


def test_upsampling_to_the_same_size_or_from_one_pixel_has_no_finding() -> None:
    assert compat.examine(resize(BILINEAR, 1, halfPixelCenters=False), "ethos_u", DEFAULT) == (1, ())
    one = graph("RESIZE_BILINEAR", tensor((1, 1, 1, 4)), tensor((1, 65, 65, 4)), halfPixelCenters=True)
    assert compat.examine(one, "ethos_u", DEFAULT) == (1, ())
    corners = graph("RESIZE_BILINEAR", tensor((1, 65, 65, 4)), tensor((1, 513, 513, 4)), alignCorners=True)
    assert compat.examine(corners, "ethos_u", DEFAULT) == (1, ())


def test_the_post_processing_of_a_detector_runs_on_every_cpu() -> None:
    """It is a custom operator, but one that every runtime has: on an accelerator that is all there is to say."""
    assert compat.examine(DETECTION, "cpu", OLD_RUNTIME) == (1, ())
    for accelerator in ("vx", "ethos_u"):
        placed, findings = compat.examine(DETECTION, accelerator, DEFAULT)
        assert (placed, [finding.id for finding in findings]) == (0, ["detector-postprocess"])
        assert findings[0].severity == "yellow"


def test_an_old_runtime_does_not_know_a_new_operator_version() -> None:
    """By our table, though the file itself asks for 1.5.0 only; and by the file where the table knows nothing."""
    new = graph("CONV_2D", tensor(), tensor((4, 3, 3, 4), data=144), tensor(), version=6)
    assert compat.required_runtime(new) == ("2.9.0", [])
    release = bsp.Bsp("LF0", "3.12.0", "2.8.0", "", True, "", "made up")
    assert ids(new, "cpu", release) == {"runtime-too-old"}
    assert ids(new, "cpu", DEFAULT) == set()
    unknown = graph("CONV_2D", tensor(), tensor((4, 3, 3, 4), data=144), tensor(), version=99)
    assert compat.required_runtime(unknown) == ("1.5.0", ["CONV_2D version 99"])
    silent = Graph(*(*vars(unknown).values(),)[:-1], min_runtime="")
    assert ids(silent, "cpu", DEFAULT) == {"version-unknown"}


def test_an_operator_that_the_accelerator_does_not_take() -> None:
    placed, found = compat.examine(graph("SPACE_TO_DEPTH", tensor(), tensor((1, 4, 4, 16))), "ethos_u", DEFAULT)
    assert placed == 0
    assert [(finding.id, finding.operators) for finding in found] == [("not-on-the-accelerator", {"SPACE_TO_DEPTH": 1})]


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


@pytest.mark.parametrize("release", ["LF6.1.36_2.1.0", "LF6.6.36_2.1.0", DEFAULT.name, "LF6.18.20_2.0.0"])
def test_vela_places_operators_as_the_report_predicts(peculiar: Path, tmp_path: Path, release: str) -> None:
    """Operator for operator, on models made to be difficult."""
    chosen = bsp.find_bsp(release)
    require_vela(chosen)
    for name in ("plain", "float_io", "dense_per_channel", "unplaceable", "triple", "nearest", "dynamic", "dilated"):
        file = peculiar / f"{name}.tflite"
        done = vela.compile_model(file, chosen, tmp_path / "out.tflite")
        placed, findings = compat.examine(tflite.read(file), "ethos_u", chosen)
        said: dict[str, int] = {}
        for finding in findings:
            if finding.id != "dynamic-shape":
                said |= {key: max(count, said.get(key, 0)) for key, count in finding.operators.items()}
        assert said == {key: counts["cpu"] for key, counts in done.placement.items() if counts["cpu"]}, name
        assert placed == sum(counts["npu"] for counts in done.placement.values()), name


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
