"""The task graph on a small demo: what is rebuilt and what is not, and what a user's mistake looks like."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support.checkouts import FAILED, NOTHING, Checkout, clean_env, ran, read_until

MODELS = ("demo_nearest", "demo_bilinear")


def test_every_bundle_matches_its_checksums(built_once: Checkout) -> None:
    for model in MODELS:
        bundle = built_once.root / "artifacts" / model
        assert subprocess.run(["sha256sum", "-c", "--quiet", "--strict", "SHA256SUMS"], cwd=bundle).returncode == 0
        summed = {line.split("  ")[1] for line in (bundle / "SHA256SUMS").read_text().splitlines()}
        there = {file.relative_to(bundle).as_posix() for file in bundle.rglob("*") if file.is_file()}
        assert summed == there - {"SHA256SUMS"}
        assert not [file for file in (built_once.root / "artifacts").iterdir() if file.name.startswith(".")]


def test_the_manifest_ties_numbers_to_hashes(built_once: Checkout) -> None:
    for model in MODELS:
        bundle = built_once.root / "artifacts" / model
        manifest = json.loads((bundle / "manifest.json").read_text())
        hashes = built_once.hashes(f"artifacts/{model}/*.tflite")
        for variant, result in manifest["evaluation"]["variants"].items():
            assert result["sha256"] == hashes[f"artifacts/{model}/{model}_{variant}.tflite"]
        assert manifest["environment"]["tools"]["tensorflow"]
        text = json.dumps(manifest) + (bundle / "README.md").read_text()
        assert str(built_once.root) not in text  # nothing of this host
        assert {entry["check"]["verdict"] for entry in manifest["validation"]["models"]} == {"PASS"}


def test_the_card_warns_of_the_nearest_model_alone(built_once: Checkout) -> None:
    warning = "Do not deploy on i.MX 8M Plus"
    assert warning in (built_once.root / "artifacts/demo_nearest/README.md").read_text()
    assert warning not in (built_once.root / "artifacts/demo_bilinear/README.md").read_text()


def test_a_second_run_does_nothing_and_imports_no_tensorflow(built: Checkout) -> None:
    done = built.run(sys.executable, "-X", "importtime", "-m", "doit", "demo")
    assert done.returncode == 0
    assert NOTHING in done.stdout
    assert not ran(done)
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "doit" in imported
    assert not imported & {"tensorflow", "keras", "numpy", "requests", "matplotlib", "ai_edge_litert"}


def test_the_records_alone_tell_what_is_up_to_date(built: Checkout) -> None:
    """They know files by content: `built` is a copy, in another place and time."""
    done = built.doit("demo")
    assert done.returncode == 0, done.stderr
    assert NOTHING in done.stdout
    assert not list(built.root.rglob("*doit.db*"))


def test_clean_removes_artifacts_and_keeps_other_files(built: Checkout) -> None:
    done = built.doit("clean", "demo_nearest")
    assert done.returncode == 0, done.stderr
    assert not (built.root / "artifacts/demo_nearest").exists()
    assert not list((built.root / "build/demo_nearest").glob("*.tflite"))
    assert (built.root / "artifacts/demo_bilinear/SHA256SUMS").is_file()
    listed = built.doit("list", "--all", "--status", "demo_nearest").stdout
    assert "R demo_nearest:train" in listed


@pytest.mark.slow
def test_touching_one_models_epochs_rebuilds_that_model_alone(built: Checkout) -> None:
    built.change(
        "recipes/demo/recipe.toml",
        "[model.demo_bilinear]\n",
        "[model.demo_bilinear]\ntrain = { epochs = 2 }\n",
    )  # fmt: skip
    before = built.hashes()
    done = built.doit("demo")
    assert done.returncode == 0, done.stderr
    assert {name.split(":")[0] for name in ran(done)} == {"demo_bilinear"}
    after = built.hashes()
    assert {name for name in after if after[name] != before[name]} == {name for name in after if "bilinear" in name}


@pytest.mark.slow
def test_changing_the_cards_template_writes_cards_only(built: Checkout) -> None:
    built.change("utils/steps/card.md.j2", "## Introduction", "## What it is")
    done = built.doit("demo")
    assert done.returncode == 0, done.stderr
    assert ran(done) == {"demo_nearest:card", "demo_bilinear:card"}
    assert "## What it is" in (built.root / "artifacts/demo_nearest/README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "steps"),
    [
        ("artifacts/demo_nearest/demo_nearest_int8.tflite", {"demo_nearest:card"}),
        ("build/demo_nearest/demo_nearest_int8.tflite", {"demo_nearest:int8"}),
        ("artifacts/demo_bilinear/README.md", {"demo_bilinear:card"}),
    ],
)
def test_a_flipped_byte_is_detected_and_rebuilt(built: Checkout, file: str, steps: set[str]) -> None:
    path, before = built.root / file, built.hashes("*/*/*.tflite")
    good, times = path.read_bytes(), path.stat()
    path.write_bytes(good[:1000] + bytes([good[1000] ^ 1]) + good[1001:])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # same size, same time: only the content tells
    done = built.doit("demo")
    assert done.returncode == 0, done.stderr
    assert ran(done) == steps
    assert path.read_bytes() == good
    assert built.hashes("*/*/*.tflite") == before
    assert NOTHING in built.doit("demo").stdout


@pytest.mark.slow
def test_a_killed_build_of_a_reverted_change_leaves_no_trace(built: Checkout) -> None:
    """Half of the steps are of the newer recipe then."""
    before = built.hashes("artifacts/*/*")
    built.change("recipes/demo/recipe.toml", "epochs = 4", "epochs = 2")
    build = built.start("demo_nearest")
    read_until(build, "float32 ... ")
    build.kill()
    build.communicate()
    built.change("recipes/demo/recipe.toml", "epochs = 2", "epochs = 4")
    done = built.doit("demo")
    assert done.returncode == 0, done.stderr
    assert built.hashes("artifacts/*/*") == before


@pytest.mark.slow
def test_an_edit_while_a_step_runs_is_not_forgotten(built: Checkout) -> None:
    built.change("utils/steps/card.md.j2", "## Introduction", "## What it is")
    build = built.start("demo_nearest")
    read_until(build, ":card ... ")
    while not list((built.root / "build/demo_nearest/records").glob(".card.*")):
        assert build.poll() is None
        time.sleep(0.002)  # once its staging folder is there, the step has taken its key
    built.change("utils/tasks/pictures.py", "DPI = 110", "DPI = 100")
    build.communicate(timeout=60)
    assert ran(built.doit("demo_nearest")) == {"demo_nearest:card"}
    assert NOTHING in built.doit("demo_nearest").stdout


@pytest.mark.slow
def test_code_that_changes_while_a_step_waits_starts_it_anew(built: Checkout) -> None:
    """A waiting process has the old code in its memory; what it makes must not count as made by the new."""
    records = built.root / "build/demo_nearest/records"
    built.change("utils/steps/card.md.j2", "## Introduction", "## What it is")
    log = (records / "card.log").read_bytes()
    picture = built.root / "artifacts/demo_nearest/figures/digits.png"
    with Image.open(picture) as drawn:
        width = drawn.width
    with (records / "card.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build = built.start("demo_nearest:card")
        read_until(build, "waits: another doit runs this step")
        assert (records / "card.log").read_bytes() == log  # it belongs to the step that runs
        built.change("utils/tasks/pictures.py", "DPI = 110", "DPI = 100")
    said, _ = build.communicate(timeout=120)
    assert build.returncode == 0, said
    assert "starts anew" in said
    with Image.open(picture) as drawn:
        assert drawn.width < width
    assert NOTHING in built.doit("demo_nearest").stdout


def test_a_failure_after_starting_anew_is_told(built: Checkout) -> None:
    built.change("utils/steps/card.md.j2", "## Introduction", "## What it is")
    with (built.root / "build/demo_nearest/records/card.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build = built.start("demo_nearest:card")
        read_until(build, "waits: another doit runs this step")
        built.change("utils/tasks/pictures.py", "DPI = 110", "DPI = 110 / 0")
    said, _ = build.communicate(timeout=120)
    assert build.returncode == 1
    assert "ZeroDivisionError" in said


@pytest.mark.slow
def test_a_bundle_drops_files_that_the_recipe_no_longer_names(built: Checkout) -> None:
    built.change("recipes/demo/recipe.toml", "examples = 10", "examples = 4")
    (built.root / "build/demo_nearest/bundle/__pycache__").mkdir()
    done = built.doit("demo_nearest")
    assert done.returncode == 0, done.stderr
    bundle = built.root / "artifacts/demo_nearest"
    assert sorted(file.name for file in bundle.glob("inputs/*.png")) == [
        "example_1.png", "example_2.png", "example_3.png", "example_input.png"
    ]  # fmt: skip
    assert "example_4" not in (bundle / "SHA256SUMS").read_text()


def test_a_new_model_is_one_folder(built: Checkout) -> None:
    folder = built.root / "recipes/mine"
    shutil.copytree(built.root / "recipes/demo", folder)
    text = (folder / "recipe.toml").read_text().replace("demo_", "mine_").replace('group = "demo"', 'group = "zoo"')
    (folder / "recipe.toml").write_text(text)
    listed = built.doit("list").stdout
    assert "mine_nearest" in listed
    assert "mine_bilinear" in listed
    assert NOTHING in built.doit("demo").stdout


def test_an_accuracy_below_the_gate_fails_and_says_by_how_much(built: Checkout) -> None:
    built.change("recipes/demo/recipe.toml", "int8 = 0\n", "int8 = 100\n")
    done = built.doit("demo_nearest")
    assert done.returncode in FAILED
    assert "evaluation.gate" in done.stderr
    assert "points below 100.0 %" in done.stderr
    assert "Traceback" not in done.stderr
    assert "FAILED demo_nearest:evaluate: exit code 7" in done.stdout


@pytest.mark.slow
def test_a_graph_that_is_not_the_expected_one_fails(built: Checkout) -> None:
    built.change("recipes/demo/recipe.toml", "RESIZE_NEAREST_NEIGHBOR = 3", "RESIZE_NEAREST_NEIGHBOR = 2")
    done = built.doit("demo_nearest:float32")
    assert done.returncode in FAILED
    assert "expected.operators" in done.stderr or "operators:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ['upsamplng = "nearest"', 'upsampling = "nearst"'])
def test_a_parameter_that_the_network_does_not_know_is_a_clear_error(built: Checkout, parameters: str) -> None:
    built.change(
        "recipes/demo/recipe.toml", 'parameters = { upsampling = "nearest" }', f"parameters = {{ {parameters} }}"
    )
    done = built.doit("demo_nearest:train")
    assert done.returncode in FAILED
    assert "build() fails" in done.stderr
    assert "parameters in recipes/demo/recipe.toml" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def build(parameters, shape:\n", "recipes/mnist/model.py, line 1: is not Python: '(' was never closed"),
        ("import no_such_package\n", "cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"),
    ],
)
def test_code_of_a_recipe_that_cannot_run_is_a_clear_error(built: Checkout, code: str, said: str) -> None:
    (built.root / "recipes/mnist/model.py").write_text(code)
    done = built.doit("demo_nearest")
    assert done.returncode in FAILED
    assert said in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert built.doit("list", "--all", "--status").returncode == 0


@pytest.mark.parametrize("kind", ["damaged", "folder", "link to itself", "of a live doit"])
def test_a_database_of_an_older_version_is_left_alone(built: Checkout, kind: str) -> None:
    """No doit keeps one now: there is nothing to damage, and nothing that another doit could hold."""
    database = built.root / "build/doit.db"
    with contextlib.closing(sqlite3.connect(database)) as live:
        live.execute("create table doit (task_id text not null primary key, task_data json)")
        live.execute("begin exclusive")
        if kind != "of a live doit":
            database.unlink()
        if kind == "damaged":
            database.write_bytes(b"SQLite format 3\0" + b"no database" * 100)
        elif kind == "folder":
            database.mkdir()
        elif kind == "link to itself":
            database.symlink_to(database)
        before = database.lstat()
        done = built.doit("demo")
        assert done.returncode == 0, done.stderr
        assert NOTHING in done.stdout
        assert database.lstat() == before


@pytest.mark.slow
@pytest.mark.parametrize("content", ["[1]", '{"format": 1}', '{"format": 1, "key": 7, "writes": [3]}', "[" * 50_000])
def test_damaged_records_and_digests_cost_one_look(built: Checkout, content: str) -> None:
    (built.root / "build/demo_nearest/records/card.json").write_text(content)
    for file in (built.root / "build/code-digests").iterdir():
        file.write_text(content)
    (built.root / "build/hashes.txt").write_text(content)
    done = built.doit("demo")
    assert done.returncode == 0, done.stderr
    assert ran(done) == {"demo_nearest:card"}
    assert "Traceback" not in done.stdout + done.stderr


def test_an_unknown_task_is_refused(built: Checkout) -> None:
    done = built.doit("demo_nearst")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr + done.stdout


def test_a_lock_that_differs_from_the_environment_is_refused(built: Checkout, tmp_path: Path) -> None:
    """Packages that the lock does not name must not make artifacts."""
    code = "import pathlib, sys; sys.prefix = sys.argv[1]; from utils import environment; environment.require_lock()"
    (tmp_path / "zoo-lock.sha256").write_text("0" * 64 + "\n")
    done = built.run(sys.executable, "-c", code, str(tmp_path))
    assert "built from other locked requirements" in done.stderr


@pytest.fixture
def read_only(built: Checkout, request: pytest.FixtureRequest) -> Iterator[Checkout]:
    """A folder of the checkout cannot be written: by its mode, or for root, whom modes do not bind, by its mount."""
    folder = built.root / request.param
    if os.geteuid() != 0:
        folder.chmod(0o555)
        yield built
        folder.chmod(0o755)
        return
    bind = ["mount", "--bind", str(folder), str(folder)]
    if subprocess.run(bind, capture_output=True).returncode:
        pytest.skip("root without the right to mount: nothing can be made read-only")
    subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
    yield built
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("read_only", ["build", "artifacts", "."], indirect=True)
def test_a_read_only_folder_is_no_matter_where_there_is_nothing_to_do(read_only: Checkout) -> None:
    done = read_only.doit("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert NOTHING in done.stdout
    assert not done.stderr


@pytest.mark.parametrize("read_only", ["artifacts"], indirect=True)
def test_read_only_artifacts_are_a_clear_error(read_only: Checkout) -> None:
    project = read_only
    project.change("utils/steps/card.md.j2", "## Introduction", "## What it is")
    before = project.hashes("artifacts/*/*")
    done = project.doit("demo_nearest")
    assert done.returncode in FAILED, done.stdout + done.stderr
    assert "read-only" in done.stderr or "no permission to write" in done.stderr
    assert "artifacts" in done.stderr
    assert "Traceback" not in done.stderr
    assert project.hashes("artifacts/*/*") == before


def test_artifacts_may_be_a_mount_of_its_own(built: Checkout) -> None:
    artifacts = built.root / "artifacts"
    if subprocess.run(["mount", "--bind", str(artifacts), str(artifacts)], capture_output=True).returncode:
        pytest.skip("no right to mount")
    try:
        built.change("utils/steps/card.md.j2", "## Introduction", "## What it is")
        done = built.doit("demo_nearest")
        assert done.returncode == 0, done.stderr
        assert "## What it is" in (artifacts / "demo_nearest/README.md").read_text()
        assert sorted(file.name for file in artifacts.iterdir()) == sorted(MODELS)
    finally:
        subprocess.run(["umount", str(artifacts)], check=True)


@pytest.mark.slow
def test_a_limit_on_the_size_of_files_ends_training_in_one_message(built: Checkout) -> None:
    """HDF5 shows a traceback for each block that it cannot write, and crashes at its end."""
    (built.root / "build/demo_nearest/model.weights.h5").unlink()
    done = built.run("sh", "-c", f"ulimit -f 1; exec {sys.executable} -m doit demo_nearest")
    assert done.returncode in FAILED
    said = done.stdout + done.stderr
    assert "larger than this process may write" in said
    assert "Traceback" not in said
    assert built.doit("demo_nearest").returncode == 0


def test_a_full_disk_is_a_clear_error_and_leaves_nothing_half_made(built: Checkout, tmp_path: Path) -> None:
    """The checkout on a tmpfs of a size that the next card does not fit into."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a tmpfs")
    try:
        shutil.copytree(built.root, disk / "zoo")
        there = Checkout(disk / "zoo")
        assert there.doit("demo_nearest").returncode == 0
        there.change("utils/steps/card.md.j2", "## Introduction", "## What it is")
        free = shutil.disk_usage(disk).free
        (disk / "ballast").write_bytes(bytes(max(free - 100_000, 0)))
        before = there.hashes("artifacts/*/*")
        done = there.doit("demo_nearest")
        assert done.returncode in FAILED
        assert "no space left on the disk" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        assert there.hashes("artifacts/*/*") == before
        (disk / "ballast").unlink()
        assert there.doit("demo_nearest").returncode == 0
        assert there.hashes("artifacts/*/*.tflite") == {
            name: value for name, value in before.items() if name.endswith(".tflite")
        }
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_environment_is_pinned_even_when_a_step_is_run_by_hand(built: Checkout) -> None:
    (built.root / "build/demo_nearest/records/float32.json").unlink()
    before = built.hashes("build/*/*.tflite")
    env = {**clean_env(), "TF_ENABLE_ONEDNN_OPTS": "0", "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-m", "utils.steps.convert", "demo_nearest", "float32"],
        cwd=built.root, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert built.hashes("build/*/*.tflite") == before
