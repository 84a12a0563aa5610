"""Vela, the real one, on small models: what it makes, what it says, and what becomes of it when things go wrong.

The default version is where docker/run or the image set it up; tests of others are skipped where those are not.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT, Checkout
from tests.support.clusters import is_alive, wait_until
from tests.support.velas import require_vela
from utils import files, paths, tflite
from utils.bundle import npu_folder
from utils.errors import BuildError, DataError, GateError
from utils.npu import bsp, vela, vela_output
from utils.npu.bsp import Bsp

DEFAULT = bsp.find_default_bsp()
OTHERS = [bsp.find_bsp(name) for name in ("LF6.1.36_2.1.0", "LF6.6.36_2.1.0", "LF6.18.20_2.0.0")]
ALL = pytest.mark.parametrize("release", [DEFAULT, *OTHERS], ids=lambda release: f"vela-{release.vela}")


@pytest.fixture
def with_vela(built: Checkout) -> Checkout:
    """The small demo, built, and Vela where docker/run has it."""
    require_vela(DEFAULT)
    folder = paths.BUILD / "vela"
    if folder.is_dir():
        (built.root / "build/vela").symlink_to(folder)
    return built


MEASURED = """
[[measured]]
board = "i.MX 93"
accelerator = "NPU"
variant = "int8"
ms = 0.02
bsp = "LF6.1.36_2.1.0"
command = "benchmark_model --graph=x.tflite"
source = "a test"
"""

# One run


#: Runs a program in Vela's place, as a step does it.
RUN = """
import sys
from pathlib import Path
from utils.npu import vela
vela._run([sys.argv[1]], Path(sys.argv[2]), "4.3.0", 60.0)
"""


@pytest.mark.heavy
def test_it_ends_with_a_step_that_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "vela"
    program.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 60\n")
    program.chmod(0o755)
    step = subprocess.Popen([sys.executable, "-c", RUN, program, tmp_path], cwd=ROOT)
    wait_until((tmp_path / "pid").exists)
    step.kill()
    step.wait()
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not is_alive(pid), 10, "Vela outlived the step")


@ALL
@pytest.mark.parametrize("kind", ["nearest", "bilinear"])
def test_both_upsamplings_run_on_the_npu(built_once: Checkout, tmp_path: Path, release: Bsp, kind: str) -> None:
    require_vela(release)
    model = built_once.root / f"artifacts/demo_{kind}/demo_{kind}_int8.tflite"
    done = vela.compile_model(model, release, tmp_path / "out.tflite")
    graph = tflite.read(model)
    assert {name: counts["npu"] for name, counts in done.placement.items()} == graph.count()
    assert done.cpu == ()
    assert tflite.read(tmp_path / "out.tflite").count() == {vela_output.CUSTOM: 1}
    summary = done.summary
    assert summary.vela == release.vela
    assert 0.02 < summary.ms < 0.4
    assert summary.inferences_per_second == pytest.approx(1000 / summary.ms)
    assert summary.cycles == pytest.approx(summary.ms / 1000 * summary.clock_hz, abs=1)
    assert 0 < summary.sram_kib <= 384
    assert 2_000_000 < summary.macs < 3_000_000
    assert sum(layer.macs for layer in done.layers) == pytest.approx(summary.macs, rel=0.02)
    assert {layer.target for layer in done.layers} == {"NPU"}
    assert any("Conv" in layer.npu_operator and layer.cycles and layer.sram_bytes for layer in done.layers)
    assert [file.name for file in tmp_path.iterdir()] == ["out.tflite"]


@ALL
def test_twice_the_same_bytes(peculiar: Path, tmp_path: Path, release: Bsp) -> None:
    require_vela(release)
    made = []
    for name in ("one", "another folder"):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "out.tflite"
        made.append((vela.compile_model(peculiar / "float_io.tflite", release, file), file.read_bytes()))
    assert made[0] == made[1]


@ALL
def test_operators_on_the_cpu_with_the_reason(peculiar: Path, tmp_path: Path, release: Bsp) -> None:
    require_vela(release)
    done = vela.compile_model(peculiar / "float_io.tflite", release, tmp_path / "out.tflite")
    assert done.placement["QUANTIZE"] == done.placement["DEQUANTIZE"] == {"npu": 0, "cpu": 1}
    assert done.placement["CONV_2D"] == {"npu": 1, "cpu": 0}
    assert [(entry.operator, entry.output) for entry in done.cpu] == [
        ("QUANTIZE", "tfl.quantize"), ("DEQUANTIZE", "answer"),
    ]  # fmt: skip
    assert re.search(r"missing quantization parameters: image|unsupported DataType Float32", done.cpu[0].reason)
    # Two pieces on the NPU, one between them on the CPU.
    done = vela.compile_model(peculiar / "unplaceable.tflite", release, tmp_path / "out.tflite")
    assert done.placement["SPACE_TO_DEPTH"] == done.placement["DEPTH_TO_SPACE"] == {"npu": 0, "cpu": 1}
    assert {entry.reason for entry in done.cpu} <= {"this Vela has no such NPU operator", "Unsupported opType"}
    assert tflite.read(tmp_path / "out.tflite").count()[vela_output.CUSTOM] == 2
    # A reason of several lines.
    done = vela.compile_model(peculiar / "triple.tflite", release, tmp_path / "out.tflite")
    assert re.search(r"2x/4x/8x .*; Op has|scale-factor=3", done.cpu[0].reason)


def test_dense_layers_per_channel_are_what_old_velas_leave(peculiar: Path, tmp_path: Path) -> None:
    old = bsp.find_bsp("LF6.6.36_2.1.0")
    for release, on_cpu in ((DEFAULT, 0), (old, 1)):
        require_vela(release)
        done = vela.compile_model(peculiar / "dense_per_channel.tflite", release, tmp_path / "out.tflite")
        assert done.placement["FULLY_CONNECTED"]["cpu"] == on_cpu
    assert "Per-axis quantization is only supported for" in done.cpu[0].reason


def test_flags_of_the_npu_s_share_of_sram() -> None:
    assert vela.flags("3.12.0")[-3] == "Dedicated_Sram"
    assert vela.flags("4.1.0")[-3] == vela.flags("5.0.0")[-3] == "Dedicated_Sram_384KB"
    for wanted in ("3.12.0", "4.3.0"):
        assert vela.flags(wanted)[:2] == ("--accelerator-config", "ethos-u65-256")


# What goes wrong


def test_input_that_is_refused(peculiar: Path, tmp_path: Path) -> None:
    require_vela(DEFAULT)
    out = tmp_path / "out.tflite"
    with pytest.raises(DataError, match=r"float32\.tflite: has no quantised operator\n  -> give the int8 variant"):
        vela.compile_model(peculiar / "float32.tflite", DEFAULT, out)
    (tmp_path / "text.tflite").write_text("no model at all")
    with pytest.raises(DataError, match=r"text\.tflite: not a TFLite file"):
        vela.compile_model(tmp_path / "text.tflite", DEFAULT, out)
    vela.compile_model(peculiar / "plain.tflite", DEFAULT, tmp_path / "compiled.tflite")
    with pytest.raises(DataError, match=r"compiled\.tflite: is already compiled by Vela\n  -> give the model"):
        vela.compile_model(tmp_path / "compiled.tflite", DEFAULT, out)
    assert not out.exists()


@ALL
def test_a_crash_shows_vela_s_last_lines_and_leaves_nothing(peculiar: Path, tmp_path: Path, release: Bsp) -> None:
    """A chain of 500 operators is too deep for Vela's recursion up to 4.x; 5.0 compiles it."""
    require_vela(release)
    if release.vela.startswith("5."):
        vela.compile_model(peculiar / "deep.tflite", release, tmp_path / "out.tflite")
        return
    with pytest.raises(BuildError) as caught:
        vela.compile_model(peculiar / "deep.tflite", release, tmp_path / "out.tflite")
    message = str(caught.value)
    assert f"Vela {release.vela} failed with exit code 1; its last lines:\n" in message
    assert "RecursionError" in message
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_end_is_ended(peculiar: Path, tmp_path: Path) -> None:
    require_vela(DEFAULT)
    with pytest.raises(BuildError, match=r"Vela 4\.3\.0 took longer than 0\.05 s; "):
        vela.compile_model(peculiar / "plain.tflite", DEFAULT, tmp_path / "out.tflite", timeout_s=0.05)
    assert list(tmp_path.iterdir()) == []


def test_a_version_that_is_not_here_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vela, "_folders", lambda: [tmp_path])
    with pytest.raises(
        BuildError, match=r"Vela 3\.12\.0, which belongs to LF6\.6\.36_2\.1\.0, is not installed\n  -> ZOO_VELA"
    ):
        vela.find_vela(bsp.find_bsp("LF6.6.36_2.1.0"))
    # Half made: no package in it.
    (tmp_path / "4.3.0/bin").mkdir(parents=True)
    (tmp_path / "4.3.0/bin/vela").touch()
    assert vela.installed() == {}
    (tmp_path / "4.3.0/lib/python3.11/site-packages/ethos_u_vela-4.3.0.dist-info").mkdir(parents=True)
    assert vela.installed() == {"4.3.0": tmp_path / "4.3.0/bin/vela"}
    with pytest.raises(BuildError, match=r"installed are 4\.3\.0, for LF6\.12\.34_2\.1\.0\n  -> write docker"):
        vela.find_vela(bsp.find_bsp("LF6.12.20_2.0.0"))


def test_require_npu(peculiar: Path, tmp_path: Path) -> None:
    require_vela(DEFAULT)
    records = []
    for name in ("plain", "float_io"):
        done = vela.compile_model(peculiar / f"{name}.tflite", DEFAULT, tmp_path / "out.tflite")
        found = vela.describe_run(DEFAULT, peculiar / f"{name}.tflite", tmp_path / "out.tflite", done)
        records.append(tmp_path / f"{name}.json")
        records[-1].write_text(files.dump_json(found))
    vela.require_npu(records[:1])
    with pytest.raises(
        GateError, match=r"2 operators stay on the CPU:\n  float_io\.tflite, LF6\.12\.34_2\.1\.0: QUANTIZE"
    ):
        vela.require_npu(records)


# The step, by doit


def run(checkout: Checkout, *words: str) -> str:
    done = checkout.doit(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_doit_vela(with_vela: Checkout) -> None:
    root = with_vela.root
    shutil.rmtree(root / "artifacts/demo_bilinear")
    before = with_vela.hashes("artifacts/demo_nearest/*.*")
    said = run(with_vela, "vela")
    assert "vela: demo_bilinear is not built yet: doit demo_bilinear\n" in said
    assert "16 of 16 operators on the NPU" in said
    assert "2 steps run" in said  # nothing is built for it
    assert not (root / "artifacts/demo_bilinear").exists()
    folder = root / "artifacts/demo_nearest/imx93"
    assert {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()} == {
        "README.md", "SHA256SUMS", f"{DEFAULT.name}/vela.json", f"{DEFAULT.name}/demo_nearest_int8_vela.tflite",
    }  # fmt: skip
    found = json.loads((folder / DEFAULT.name / "vela.json").read_text())
    assert found["input"]["sha256"] == before["artifacts/demo_nearest/demo_nearest_int8.tflite"]
    assert found["output"]["sha256"] == files.sha256(folder / DEFAULT.name / found["output"]["file"])
    assert found["operators"] == {"total": 16, "npu": 16, "cpu": 0}
    assert with_vela.hashes("artifacts/demo_nearest/*.*") == before
    for where in (folder, folder.parent):
        done = with_vela.run("sh", "-c", f"cd '{where}' && sha256sum -c --quiet SHA256SUMS")
        assert done.returncode == 0, done.stderr
        assert files.sums_hold(where)

    assert "nothing to do" in run(with_vela, "vela:demo_nearest")
    first = with_vela.hashes("artifacts/demo_nearest/imx93/**/*.*")
    # Damage is noticed and mended, in what one BSP has and in what all share.
    for name in ("README.md", f"{DEFAULT.name}/demo_nearest_int8_vela.tflite"):
        (folder / name).write_bytes(b"damaged")
        assert "done: 1 step run" in run(with_vela, "vela:demo_nearest")
        assert with_vela.hashes("artifacts/demo_nearest/imx93/**/*.*") == first

    # A new card of the same model keeps what was compiled.
    with_vela.change("recipes/demo/recipe.toml", 'limitations = """', 'limitations = """Changed. ')
    assert "1 step run" in run(with_vela, "demo_nearest:card")
    assert "Changed." in (folder.parent / "README.md").read_text()
    assert with_vela.hashes("artifacts/demo_nearest/imx93/**/*.*") == first
    assert files.sums_hold(folder.parent)
    assert "nothing to do" in run(with_vela, "vela:demo_nearest")

    # Another file: it is compiled again, and what was made of the old one is gone.
    (folder / "LF6.6.36_2.1.0").mkdir()
    shutil.copy(folder / DEFAULT.name / "vela.json", folder / "LF6.6.36_2.1.0")
    shutil.copy(root / "build/demo_bilinear/demo_bilinear_int8.tflite", folder.parent / "demo_nearest_int8.tflite")
    run(with_vela, "vela:demo_nearest")
    assert {entry.name for entry in folder.iterdir()} == {"README.md", "SHA256SUMS", DEFAULT.name}
    # The card brings the real one back, and does not keep what was made of the other.
    run(with_vela, "demo_nearest:card")
    assert not folder.exists()
    run(with_vela, "vela:demo_nearest")

    # What other BSPs have stays when one is cleaned, and the page and the sums speak of it alone.
    shutil.copytree(folder / DEFAULT.name, folder / "LF6.6.36_2.1.0")
    done = with_vela.doit("clean", "vela:demo_nearest")
    assert f"remove what was compiled for {DEFAULT.name}" in done.stdout
    assert "bound method" not in done.stdout
    assert {entry.name for entry in folder.iterdir()} == {"README.md", "SHA256SUMS", "LF6.6.36_2.1.0"}
    assert files.sums_hold(folder)
    with_vela.doit("clean", "vela:demo_nearest", "bsp=LF6.6.36_2.1.0")
    assert not folder.exists()


def test_estimates_beside_what_was_published(with_vela: Checkout) -> None:
    """The card shows the published numbers; the page sets the estimate beside them and says whose is whose."""
    with (with_vela.root / "recipes/demo/recipe.toml").open("a") as file:
        file.write(MEASURED)
    run(with_vela, "demo_nearest:card")
    folder = with_vela.root / "artifacts/demo_nearest"
    card = (folder / "README.md").read_text()
    assert "| i.MX 93 | NPU | int8 | 0.02 | LF6.1.36_2.1.0 | `benchmark_model --graph=x.tflite` | a test |" in card
    assert "This project measured none of them." in card
    run(with_vela, "vela:demo_nearest")
    page = (folder / "imx93/README.md").read_text()
    row = re.search(r"\| \S+ ms, Vela 4\.3\.0, (\S+) \| 0\.02 ms \| i\.MX 93 NPU, (.*) \| (\S+) \|", page)
    assert row
    assert row.groups()[:2] == (DEFAULT.name, "LF6.1.36_2.1.0 (Vela 3.8.0); a test")
    found = json.loads((folder / f"imx93/{DEFAULT.name}/vela.json").read_text())
    assert float(row[3]) == pytest.approx(found["summary"]["ms"] / 0.02, abs=0.01)
    assert "The published number comes from another BSP" in page


def test_several_bsps_side_by_side(with_vela: Checkout) -> None:
    other = next((release for release in OTHERS if release.vela in vela.installed()), None)
    if other is None:
        require_vela(OTHERS[1])
    assert other
    run(with_vela, "vela:demo_bilinear", f"bsp={DEFAULT.name},{other.name}")
    folder = with_vela.root / "artifacts/demo_bilinear/imx93"
    made = [json.loads((folder / name / "vela.json").read_text()) for name in (DEFAULT.name, other.name)]
    assert [run["summary"]["vela"] for run in made] == [DEFAULT.vela, other.vela]
    assert len({run["input"]["sha256"] for run in made}) == 1
    page = (folder / "README.md").read_text()
    assert all(f"| {release.name}{'' if release.confirmed else ' (inferred)'} | {release.vela} |" in page
               for release in (DEFAULT, other))  # fmt: skip
    assert files.sums_hold(folder)
    assert "nothing to do" in run(with_vela, "vela:demo_bilinear")
    assert "nothing to do" in run(with_vela, "vela:demo_bilinear", f"bsp={other.name}")


def test_doit_vela_with_an_operator_that_stays_behind(with_vela: Checkout, peculiar: Path) -> None:
    shutil.copy(peculiar / "unplaceable.tflite", with_vela.root / "artifacts/demo_nearest/demo_nearest_int8.tflite")
    said = run(with_vela, "vela:demo_nearest")
    assert "2 of 4 operators on the NPU" in said
    assert re.search(r"on the CPU: SPACE_TO_DEPTH '.*': this Vela has no such NPU operator", said)
    assert "nothing to do" in run(with_vela, "vela:demo_nearest")
    for words in (["vela:demo_nearest", "--require-npu"], ["vela", "--require-npu"]):
        done = with_vela.doit(*words)
        assert done.returncode == 1, done.stdout
        assert f"FAILED {words[0]}: 2 operators stay on the CPU:\n  demo_nearest_int8.tflite, " in done.stdout
        assert "'" in done.stdout
    assert "FAILED" not in run(with_vela, "vela:demo_bilinear", "--require-npu")


def test_doit_vela_and_mistakes(with_vela: Checkout, peculiar: Path) -> None:
    done = with_vela.doit("vela", "bsp=LF6.12.34")
    assert done.returncode != 0
    assert "error: no BSP is called 'LF6.12.34' (did you mean 'LF6.12.34_2.1.0'?)\n  -> use one of " in done.stderr
    assert "Traceback" not in done.stderr
    done = with_vela.doit("vela:mnist_nearest")
    assert done.returncode == 1
    assert "there is no artifacts/mnist_nearest/mnist_nearest_int8.tflite: doit mnist_nearest makes it" in done.stdout
    done = with_vela.doit("vela:demo_nearest", "bsp=LF6.12.20_2.0.0")
    assert done.returncode == 1
    assert "Vela 4.2.0, which belongs to LF6.12.20_2.0.0, is not installed; installed are" in done.stderr
    artifact = with_vela.root / "artifacts/demo_nearest/demo_nearest_int8.tflite"
    for name, says in (("float32", "has no quantised operator"), ("deep", "RecursionError")):
        shutil.copy(peculiar / f"{name}.tflite", artifact)
        done = with_vela.doit("vela:demo_nearest")
        assert done.returncode == 1, done.stdout
        assert says in done.stderr
        assert 'Traceback (most recent call last):\n  File "<frozen' not in done.stderr
        assert not (artifact.parent / "imx93").exists()
    assert not list((with_vela.root / "build/demo_nearest/records").glob(".vela*"))


# The page


def estimate(name: str, ms: float) -> dict[str, object]:
    return {"bsp": {"name": name}, "summary": {"ms": ms, "vela": bsp.find_bsp(name).vela}}


@pytest.mark.parametrize(
    ("estimates", "found"),
    [
        ([0.048], []),
        ([0.048, 0.048, 0.197], [("5.0.0", 4.1)]),
        ([0.041, 0.043, 0.069], [("5.0.0", 1.6)]),
        ([3.94, 4.26, 5.29], []),
        ([0.183, 0.048, 0.048], [("3.12.0", 3.8)]),
        ([0.1, 0.2, 0.1], [("4.3.0", 2.0)]),
        ([0.1, 0.2, 0.2], []),
    ],
)
def test_a_version_that_does_a_model_harm_is_pointed_out(
    estimates: list[float], found: list[tuple[str, float]]
) -> None:
    names = ["LF6.6.36_2.1.0", "LF6.12.34_2.1.0", "LF6.18.20_2.0.0"]
    runs = [estimate(name, ms) for name, ms in zip(names, estimates, strict=False)]
    marked = npu_folder._marked(runs)
    assert [(entry["run"]["summary"]["vela"], round(entry["times"], 1)) for entry in marked] == found
