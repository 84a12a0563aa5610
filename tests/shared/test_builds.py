"""Whole builds that another checkout has made: nothing runs, and everything is equal to the last file."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkouts import NOTHING, Checkout, copy_project, make_small, ran
from tests.support.releases import Keys, commit, make_keys
from tests.support.shared_builds import push_all, require_promise
from tests.support.step_caches import USER, StepServer, serving_steps
from utils.shared.trust import Signer

MODELS = ("demo_nearest", "demo_bilinear")


@pytest.fixture(scope="module")
def shared(built_once: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[StepServer, Keys]]:
    """A step cache that has every step of the small demo, signed; look, do not touch."""
    require_promise()
    keys = make_keys(tmp_path_factory.mktemp("keys"))
    source = tmp_path_factory.mktemp("source") / "zoo"
    shutil.copytree(built_once.root, source, symlinks=True)
    with serving_steps() as server:
        push_all(Checkout(source), writing(server, keys), *MODELS)
        yield server, keys


def writing(server: StepServer, keys: Keys) -> dict[str, str]:
    return {
        "ZOO_STEPS": server.base.replace("://", f"://{USER}@"), "ZOO_STEPS_WRITE": "1",
        "ZOO_STEPS_KEY": str(keys.private), "ZOO_STEPS_PUBKEY": str(keys.public),
    }  # fmt: skip


def reading(shared: tuple[StepServer, Keys]) -> dict[str, str]:
    return {"ZOO_STEPS": shared[0].base, "ZOO_STEPS_PUBKEY": str(shared[1].public)}


def content(checkout: Checkout) -> dict[str, str]:
    """The hash of every file of the bundles, of the files between, and of the records of the steps."""
    found: dict[str, str] = {}
    for name in MODELS:
        for place in ("artifacts", "build"):
            for file in sorted((checkout.root / place / name).rglob("*")):
                if file.is_file() and file.suffix not in (".lock", ".log", ".restored"):
                    found[file.relative_to(checkout.root).as_posix()] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


@pytest.fixture
def restored(shared: tuple[StepServer, Keys], tmp_path: Path) -> Checkout:
    """A checkout in another folder whose demo came from the step cache."""
    checkout = make_small(copy_project(tmp_path / "elsewhere/zoo"))
    done = checkout.doit("demo", env=reading(shared))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stderr
    count = len(ran(done))
    assert re.search(rf"^done: 0 steps run, {count} restored, 0 up to date, \d+ s$", done.stdout, re.MULTILINE)
    assert f"signed by {Signer(shared[1].private).fingerprint[:16]}" in done.stdout
    return checkout


def test_a_second_checkout_runs_no_step(restored: Checkout, built_once: Checkout) -> None:
    assert content(restored) == content(built_once)
    done = restored.doit("demo")
    assert NOTHING in done.stdout
    info = restored.doit("info", "demo_nearest:train")
    assert "restored" in info.stdout
    bundle = restored.root / "artifacts/demo_nearest"
    assert restored.run("sh", "-c", f"cd '{bundle}' && sha256sum -c --quiet SHA256SUMS").returncode == 0


def test_a_damaged_bundle_is_restored_as_a_whole(
    restored: Checkout, built_once: Checkout, shared: tuple[StepServer, Keys]
) -> None:
    (restored.root / "artifacts/demo_nearest/README.md").write_text("damaged")
    shutil.rmtree(restored.root / "artifacts/demo_bilinear")
    (restored.root / "artifacts/demo_nearest/stray").touch()
    done = restored.doit("demo", env=reading(shared))
    assert ran(done) == {"demo_nearest:card", "demo_bilinear:card"}
    assert "0 steps run, 2 restored" in done.stdout
    assert content(restored) == content(built_once)


def test_a_stranger_s_key_builds_here(shared: tuple[StepServer, Keys], tmp_path: Path, restored: Checkout) -> None:
    """One step runs, with the reason; its result is that of the other machine, so that the next ones have their key."""
    other = make_keys(tmp_path / "other")
    (restored.root / "build/demo_nearest/evaluation.json").unlink()
    done = restored.doit("demo_nearest:evaluate", env={**reading(shared), "ZOO_STEPS_PUBKEY": str(other.public)})
    assert done.returncode == 0, done.stderr
    assert "warning: demo_nearest:evaluate is not restored, and runs here: " in done.stderr
    assert "which is not trusted" in done.stderr
    assert "done: 1 step run, " in done.stdout


def test_settings_that_contradict_each_other_are_refused(small: Checkout) -> None:
    done = small.doit("list", env={"ZOO_STEPS_WRITE": "1"})
    assert done.returncode == 2
    assert "error: ZOO_STEPS: ZOO_STEPS_WRITE is set, but no step cache is named" in done.stderr
    assert "Traceback" not in done.stderr


def test_steps_check(shared: tuple[StepServer, Keys], small: Checkout) -> None:
    done = small.doit("steps:check", env=reading(shared))
    assert done.returncode == 0, done.stderr
    assert "ok    it can be read" in done.stdout
    done = small.doit("steps:check")
    assert done.returncode != 0
    assert "error: steps:check: ZOO_STEPS: no step cache is named" in done.stderr


# What is promised of a bundle that was not built here


@pytest.fixture
def locked(restored: Checkout) -> Checkout:
    """The restored demo, committed, and locked because the user said so."""
    commit(restored)
    refused = restored.doit("lock", "models=demo_nearest")
    assert refused.returncode != 0
    assert "demo_nearest: was not built here: the step cache had train, float32" in refused.stderr
    assert not (restored.root / "artifacts.lock").exists()
    done = restored.doit("lock", "restored=1")
    assert done.returncode == 0, done.stderr
    commit(restored)
    return restored


def test_a_release_says_what_was_restored(locked: Checkout, shared: tuple[StepServer, Keys]) -> None:
    words = ("release", "version=1.0.0", f"models={','.join(MODELS)}")
    done = locked.doit(*words)
    assert done.returncode != 0
    assert "demo_nearest: was not built here, the step cache had train, " in done.stderr
    done = locked.doit(*words, "restored=1")
    assert done.returncode == 0, done.stderr
    file = locked.root / "release/1.0.0/provenance/demo_nearest_int8.tflite.json"
    steps = json.loads(file.read_text())["predicate"]["runDetails"]["byproducts"]
    assert [step["name"] for step in steps][:2] == ["step train", "step float32"]
    signer = Signer(shared[1].private).fingerprint
    assert all(step["annotations"] == {"made": "restored", "signer": signer} for step in steps)
    done = locked.doit("release:check", "path=release/1.0.0")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_verify_reads_the_cache_only_when_told_and_asks_no_cluster(
    locked: Checkout, shared: tuple[StepServer, Keys]
) -> None:
    server, _ = shared
    asked = len(server.asked)
    done = locked.doit("verify", "models=demo_nearest", "restored=1", env=reading(shared))
    assert done.returncode == 0, done.stderr
    assert "demo_nearest_int8.tflite: identical" in done.stdout
    assert re.search(r"(\d+) of \1 steps were restored from the step cache: \1 signed by [0-9a-f]{64}", done.stdout)
    assert "not shown: that this checkout's code makes these bytes" in done.stdout
    assert len(server.asked) > asked
    asked = len(server.asked)
    done = locked.doit("verify", "models=demo_nearest", env=reading(shared) | {"ZOO_ENGINE": "tcp://127.0.0.1:9"})
    assert done.returncode == 0, done.stderr
    assert "were restored" not in done.stdout
    assert len(server.asked) == asked
