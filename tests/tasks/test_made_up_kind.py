"""A kind of task that the zoo does not have needs its own package, its class and its row; its next model one folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support import made_up
from tests.support.checkouts import NOTHING, Checkout, clean_env, copy_project


def files(root: Path) -> dict[str, bytes]:
    """What git would keep."""
    found = [file for name in ("utils", "recipes") for file in (root / name).rglob("*")]
    return {
        file.relative_to(root).as_posix(): file.read_bytes()
        for file in found
        if file.is_file() and "__pycache__" not in file.parts
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, Path]:
    """A checkout with the kind and a model of it, built."""
    folder = tmp_path_factory.mktemp("made up")
    project, mirror = copy_project(folder / "zoo"), folder / "mirror"
    made_up.add_kind(project)
    made_up.add_model(project, mirror)
    done = project.doit(made_up.MODEL, env={"ZOO_MIRROR": str(mirror), "ZOO_OFFLINE": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    return project, mirror


@pytest.mark.heavy
def test_a_new_kind_of_task_needs_its_own_files_alone(made: tuple[Checkout, Path], tmp_path: Path) -> None:
    """No step, no module of another room and no other kind knows of it; the schema and example.py have its entry."""
    before, after = files(copy_project(tmp_path / "zoo").root), files(made[0].root)
    changed = {name for name in after if before.get(name) != after[name]}
    own = {f"utils/tasks/{made_up.KIND}/{name}" for name in made_up.PACKAGE}
    model = {f"recipes/{made_up.MODEL}/{name}" for name in ("recipe.toml", "tiles.csv")}
    assert changed == own | model | {"utils/recipe/schema.py", "utils/example.py"}


@pytest.mark.heavy
def test_the_next_model_of_a_kind_is_a_folder(made: tuple[Checkout, Path]) -> None:
    project, mirror = made
    before = files(project.root)
    made_up.add_model(project, mirror, "more_tiles")
    done = project.doit("more_tiles", env={"ZOO_MIRROR": str(mirror), "ZOO_OFFLINE": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name.split("/")[1] for name in files(project.root).keys() - before.keys()} == {"more_tiles"}
    assert all(files(project.root)[name] == content for name, content in before.items())
    assert (project.root / "artifacts/more_tiles/more_tiles_float32.tflite").is_file()


@pytest.mark.heavy
def test_every_step_asks_it(made: tuple[Checkout, Path]) -> None:
    """Measured, validated, drawn, and described in its own words."""
    project, _ = made
    bundle = project.root / "artifacts" / made_up.MODEL
    manifest = json.loads((bundle / "manifest.json").read_text())
    result = manifest["evaluation"]["variants"]["float32"]
    assert (result["accuracy"], manifest["evaluation"]["count"]) == (100.0, 6)
    assert "light" in result
    (entry,) = manifest["validation"]["models"]
    assert (entry["task"], entry["check"]["verdict"], entry["check"]["inputs"]) == (made_up.KIND, "PASS", 4)
    card = (bundle / "README.md").read_text()
    for words in (
        "100.00 % exact counts on 6 tiles",
        "The bar says how many dots the model counts.",
        f"The tiles have a light of {result['light']}; 6 tiles were measured.",
        "| Variant | Verdict | Golden inputs | Count agreement |",
        "| Output | `answer`, probabilities [1, 5]; `scores`, scores [1, 5]; `labels.txt` names the classes |",
        "million multiply-accumulates a tile (",
        "`-i` also takes your own tiles.",
        "6 tiles listed in tiles.csv",
    ):
        assert words in card
    assert {file.name for file in (bundle / "figures").iterdir()} == {"result.png", "light.png"}
    listed, told = project.doit("list").stdout, project.doit("info", made_up.MODEL).stdout
    assert "tiles" in listed
    assert "100.00 % (exact counts on 6 tiles)" in told
    assert "1x5, 1x5" in told


@pytest.mark.heavy
def test_the_bundle_knows_it_too(made: tuple[Checkout, Path]) -> None:
    """Several outputs: in the order of the recipe, whatever their order in the file."""
    bundle = made[0].root / "artifacts" / made_up.MODEL
    facts = json.loads((bundle / "model.json").read_text())
    assert [output["name"] for output in facts["output"]] == ["answer", "scores"]
    with np.load(bundle / "golden_float32.npz") as golden:
        assert {key: golden[key].shape for key in golden} == {
            "input": (4, 1, 8, 8, 3), "output_0": (4, 1, 5), "output_1": (4, 1, 5)
        }  # fmt: skip
        np.testing.assert_allclose(golden["output_0"].sum(-1), 1, atol=1e-5)
    said = run(bundle, "-i", "inputs", "--check")
    assert "PASS: 4 inputs, the counts agree on 100 %" in said
    assert " dots, light " in said
    assert "there is no tile in the folder figs" in run(bundle, "-i", "figs", code=2)
    report = json.loads(run(bundle, "-i", "inputs", "--json"))["models"][0]
    assert report["task"] == made_up.KIND
    assert set(report["predictions"][0]) == {"input", "dots", "light"}


@pytest.mark.heavy
def test_its_own_verdict_decides(made: tuple[Checkout, Path], tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "bundle"
    shutil.copytree(made[0].root / "artifacts" / made_up.MODEL, folder)
    with np.load(folder / "golden_float32.npz") as golden:
        arrays = {key: golden[key] for key in golden}
    np.savez(folder / "golden_float32.npz", **arrays | {"output_1": arrays["output_1"] + 1})
    said = run(folder, code=4)
    assert "MISMATCH" in said
    assert "the light is off" in said
    np.savez(folder / "golden_float32.npz", **{key: arrays[key] for key in ("input", "output_0")})
    assert "golden_float32.npz is damaged" in run(folder, code=2)


@pytest.mark.heavy
def test_a_report_of_a_board_is_checked_by_its_kind(made: tuple[Checkout, Path]) -> None:
    """Its answers are stored; others are refused."""
    code = (
        "import json, sys\n"
        "from utils.bundle.board_report import parse_report\n"
        "print(parse_report(sys.stdin.read(), 'board').models[0].predictions)\n"
    )
    bundle = made[0].root / "artifacts" / made_up.MODEL
    report = run(bundle, "-i", "inputs", "--json")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=made[0].root, env=clean_env(), input=report, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "'light'" in done.stdout
    for old, new in (('"light"', '"heavy"'), ('"task": "dots"', '"task": "classification"')):
        assert old in report
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=made[0].root, env=clean_env(),
            input=report.replace(old, new), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode
        assert "predictions" in done.stderr


@pytest.mark.slow
@pytest.mark.heavy
def test_only_its_own_models_depend_on_it(made: tuple[Checkout, Path]) -> None:
    """An edit of how it measures runs its evaluation again, and nothing of a model of another kind."""
    project, mirror = made
    offline = {"ZOO_MIRROR": str(mirror), "ZOO_OFFLINE": "1"}
    assert NOTHING in project.doit(made_up.MODEL, env=offline).stdout
    code = (
        "import json\nfrom utils.graph import plan\nfrom utils.recipe.load import load_recipes\n"
        "print(json.dumps({f'{name}:{step.name}': step.code_digests() for name, found in load_recipes().items()"
        " for step in plan.steps_of(found)}))"
    )

    def digests() -> dict[str, list[str]]:
        found: dict[str, list[str]] = json.loads(project.run(sys.executable, "-c", code).stdout)
        return found

    def stale_after(file: str, old: str, new: str) -> set[str]:
        before = digests()
        project.change(file, old, new)
        after = digests()
        project.change(file, new, old)
        return {step for step, found in after.items() if found != before[step] and "more_tiles" not in step}

    home = f"utils/tasks/{made_up.KIND}"
    assert stale_after(f"{home}/measure.py", "self.count += 1", "self.count += 2") == {f"{made_up.MODEL}:evaluate"}
    assert stale_after(f"{home}/answers.py", "return files", "return files[:1]") == {f"{made_up.MODEL}:validate"}
    assert stale_after(f"{home}/card.md.j2", "The bar says", "A bar says") == {f"{made_up.MODEL}:card"}


def run(bundle: Path, *arguments: str, code: int = 0) -> str:
    """Run its example.py in the bundle; what it says."""
    (bundle / "figs").mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "example.py", "-d", "cpu", "-n", "1", *arguments],
        cwd=bundle, env=clean_env(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr + done.stdout
