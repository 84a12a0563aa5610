"""A real scheduler and real workers over mutual TLS, each in its own checkout, with a real step cache."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.cluster.conftest import Cache, git
from tests.support.checkouts import Checkout, clean_env, ran, read_until
from tests.support.clusters import Machines, descendants, find_port, is_alive, make_tls, wait_until
from tests.support.step_caches import USER, serving_steps
from tests.support.velas import require_vela
from utils import files, paths
from utils.npu import vela
from utils.npu.bsp import find_default_bsp

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

#: Exit code of doit where the scheduler is gone, or no worker takes a step.
ENGINE = 13


def records(checkout: Checkout) -> set[str]:
    """The steps that ran to their end in a checkout."""
    return {f"{file.parts[-3]}:{file.stem}" for file in checkout.root.glob("build/*/records/*.json")}


def build(checkout: Checkout, env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return checkout.doit("-n", "4", *(words or ("demo",)), env=env, timeout=600)


def test_two_workers_build_the_demo(cluster: Machines, coordinator: Checkout, built_once: Checkout) -> None:
    workers = [cluster.clone(coordinator, name) for name in ("one", "two")]
    for name, checkout in zip(("one", "two"), workers, strict=True):
        cluster.start_worker(name, checkout)
    done = build(coordinator, cluster.env())
    assert done.returncode == 0, done.stdout + done.stderr
    assert coordinator.hashes("artifacts/**/*") == built_once.hashes("artifacts/**/*")
    first, second = map(records, workers)
    assert first
    assert second
    assert first | second == records(coordinator) == ran(done)
    assert not coordinator.doit("demo", env=cluster.env()).stdout.count("to run")  # as after a build of its own
    assert re.search(r"\[.*\] demo_nearest:train +[0-9.]+ s  on (one|two): ", done.stdout)


def test_a_worker_that_is_killed_in_mid_step_leaves_nothing_and_the_build_ends(
    cluster: Machines, coordinator: Checkout, built_once: Checkout
) -> None:
    for name in ("one", "two"):
        cluster.start_worker(name, cluster.clone(coordinator, name))
    doit = subprocess.Popen(
        [sys.executable, "-m", "doit", "-n", "4", "demo"], cwd=coordinator.root, env={**clean_env(), **cluster.env()},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    busy: dict[str, dict[int, str]] = {}

    def trains() -> bool:
        busy.update({name: descendants(cluster.running[name].pid) for name in ("one", "two")})
        return any("utils.steps.train" in words for found in busy.values() for words in found.values())

    wait_until(trains, why="no worker trains")
    victim = next(name for name, found in busy.items() if any("utils.steps.train" in words for words in found.values()))
    cluster.end(victim)
    wait_until(lambda: not any(map(is_alive, busy[victim])), 10, "a process outlived its worker")
    said, _ = doit.communicate(timeout=600)
    assert doit.returncode == 0, said
    assert coordinator.hashes("artifacts/**/*") == built_once.hashes("artifacts/**/*")


def change_code(checkout: Checkout) -> str:
    checkout.change("utils/steps/train.py", "def work(", "CHANGED = 1\n\n\ndef work(")
    return r"utils/steps/train.py: [0-9a-f]{12} there, [0-9a-f]{12} here"


def change_lock(checkout: Checkout) -> str:
    with (checkout.root / "docker/requirements.txt").open("a") as file:
        file.write("# another\n")
    return r"docker/requirements.txt: [0-9a-f]{12} there, [0-9a-f]{12} here"


def change_commit(checkout: Checkout) -> str:
    git(checkout, "commit", "-q", "--allow-empty", "-m", "Another")
    return r"the commit: [0-9a-f]{12} there, [0-9a-f]{12} here"


def change_recipe(checkout: Checkout) -> str:
    checkout.change("recipes/demo/recipe.toml", "warmup_steps = 60", "warmup_steps = 61")
    return r"the recipe: [0-9a-f]{12} there, [0-9a-f]{12} here"


@pytest.mark.parametrize("change", [change_code, change_lock, change_commit, change_recipe])
def test_a_worker_with_another_checkout_is_refused_by_name(
    cluster: Machines, coordinator: Checkout, change: object
) -> None:
    worker = cluster.clone(coordinator, "odd")
    assert callable(change)
    cluster.start_worker("odd", worker)
    differs = change(worker)
    done = build(coordinator, cluster.env(), "demo_nearest:train")
    assert done.returncode == ENGINE, done.stdout + done.stderr
    assert "the worker odd has another checkout, and gets no step:" in done.stdout
    assert re.search(differs, done.stdout), done.stdout
    assert "every worker has another checkout" in done.stdout
    assert records(worker) == set()

    # One that fits gets all of them.
    cluster.start_worker("even", cluster.clone(coordinator, "even"))
    done = build(coordinator, cluster.env(), "demo_nearest:train")
    assert done.returncode == 0, done.stdout + done.stderr
    assert records(worker) == set()
    assert "demo_nearest:train" in records(coordinator)


def test_a_worker_from_another_lock_does_not_start(cluster: Machines, coordinator: Checkout) -> None:
    worker = cluster.clone(coordinator, "odd")
    change_lock(worker)
    done = worker.doit("worker", env=cluster.env("worker"))
    assert done.returncode != 0
    assert "built from other locked requirements than the checkout's" in done.stderr


def test_a_stranger_is_refused(cluster: Machines, coordinator: Checkout, tmp_path: Path) -> None:
    other = make_tls(tmp_path / "other", "coordinator", "worker")
    cluster.start_worker("one", cluster.clone(coordinator, "one"))

    with serving_steps() as server:  # one that wants no certificate
        steps = {"ZOO_STEPS": server.base.replace("://", f"://{USER}@")}
        done = build(coordinator, cluster.env(tls=other) | steps, "demo_nearest:train")
    assert done.returncode == ENGINE, done.stdout
    assert "the scheduler cannot be reached" in done.stdout

    stranger = cluster.clone(coordinator, "stranger")
    words = ("utils.shared.worker", "worker", "--steps=1", "--name=stranger")
    cluster.start("stranger", stranger, *words, env=cluster.env("worker", tls=other))
    wait_until(lambda: "handshake" in cluster.log("scheduler").lower(), why=cluster.log("scheduler"))
    assert "Registered to" not in cluster.log("stranger")
    assert "stranger" not in cluster.log("scheduler")


def test_plain_tcp_does_not_reach_a_scheduler_with_tls(cluster: Machines, coordinator: Checkout) -> None:
    env = cluster.env() | {"ZOO_ENGINE": f"tcp://127.0.0.1:{cluster.port}"}
    done = build(coordinator, env, "demo_nearest:train")
    assert done.returncode == ENGINE, done.stdout
    assert "the scheduler cannot be reached" in done.stdout


def test_a_cache_that_goes_away_leaves_local_builds(
    cluster: Machines, coordinator: Checkout, cache: Cache, built_once: Checkout
) -> None:
    cluster.start_worker("one", cluster.clone(coordinator, "one"))
    doit = coordinator.start("-n", "1", "demo_nearest", env=cluster.env())
    read_until(doit, "demo_nearest:float32 ...")  # the training came from the worker
    cache.stop()
    said, _ = doit.communicate(timeout=600)
    assert doit.returncode == 0, said
    assert said.count("; steps run here from now on") == 1, said
    pattern = "artifacts/demo_nearest/**/*"
    assert coordinator.hashes(pattern) == built_once.hashes(pattern)


def test_a_scheduler_that_goes_away_ends_the_build_with_its_own_code(cluster: Machines, coordinator: Checkout) -> None:
    cluster.start_worker("one", cluster.clone(coordinator, "one"))
    doit = coordinator.start("-n", "2", "demo", env=cluster.env())
    worker = cluster.running["one"].pid
    wait_until(lambda: any("utils.steps.train" in words for words in descendants(worker).values()))
    cluster.end("scheduler")
    said, _ = doit.communicate(timeout=120)
    assert doit.returncode == ENGINE, said
    assert "the scheduler cannot be reached" in said
    assert "finished steps are kept" in said
    assert "Traceback" not in said


def test_without_a_worker_doit_says_so_and_waits_for_one(cluster: Machines, coordinator: Checkout) -> None:
    doit = coordinator.start("demo_nearest:train", env=cluster.env())
    read_until(doit, "has no worker: waiting for one")
    cluster.start_worker("late", cluster.clone(coordinator, "late"))
    said, _ = doit.communicate(timeout=300)
    assert doit.returncode == 0, said


def test_a_step_that_fails_on_a_worker_fails_with_its_own_message(cluster: Machines, coordinator: Checkout) -> None:
    coordinator.change("recipes/demo/recipe.toml", "float32 = 0\n", "float32 = 99.99\n")
    git(coordinator, "commit", "-q", "-a", "-m", "A gate that nothing passes")
    cluster.start_worker("one", cluster.clone(coordinator, "one"))
    done = build(coordinator, cluster.env(), "demo_nearest")
    assert done.returncode in (1, 2), done.stdout
    assert re.search(r"FAILED demo_nearest:evaluate: exit code 7", done.stdout), done.stdout
    assert "99.99" in done.stdout + done.stderr


def test_ctrl_c_ends_doit_and_its_link(cluster: Machines, coordinator: Checkout) -> None:
    cluster.start_worker("one", cluster.clone(coordinator, "one"))
    doit = coordinator.start("demo_nearest:train", env=cluster.env())
    worker = cluster.running["one"].pid
    wait_until(lambda: any("utils.steps.train" in words for words in descendants(worker).values()))
    below = descendants(doit.pid)
    assert any("utils.shared.link" in words for words in below.values())
    os.killpg(doit.pid, signal.SIGINT)
    said, _ = doit.communicate(timeout=30)
    assert "interrupted: finished steps are kept" in said
    assert "Traceback" not in said
    wait_until(lambda: not any(map(is_alive, below)), 10, "something outlived doit")


@pytest.mark.parametrize("has_vela", [True, False])
def test_what_is_compiled_on_a_worker_gets_into_the_bundle(
    cluster: Machines, coordinator: Checkout, built_once: Checkout, *, has_vela: bool
) -> None:
    """A worker without this Vela leaves the step to doit's machine, and gets other ones."""
    default = find_default_bsp()
    require_vela(default)
    shutil.copytree(built_once.root / "artifacts", coordinator.root / "artifacts")
    worker = cluster.clone(coordinator, "one")
    if vela.installed()[default.vela].is_relative_to(paths.BUILD):
        for checkout in [coordinator, *([worker] if has_vela else [])]:
            (checkout.root / "build/vela").symlink_to(paths.BUILD / "vela")
    elif not has_vela:
        pytest.skip("every checkout of this machine has this Vela")
    cluster.start_worker("one", worker)
    done = coordinator.doit("vela:demo_nearest", env=cluster.env())
    assert done.returncode == 0, done.stdout + done.stderr
    assert records(worker) == ({f"demo_nearest:vela-{default.name}"} if has_vela else set())
    lacks = f"runs here: the worker one says: it lacks Vela {default.vela}"
    assert (lacks in done.stdout) != has_vela
    assert ("runs here" in done.stdout) != has_vela
    assert "has another checkout" not in done.stdout
    assert files.sums_hold(coordinator.root / "artifacts/demo_nearest/imx93")


def test_the_dashboard_shows_what_runs(cluster: Machines, coordinator: Checkout) -> None:
    cluster.end("scheduler")
    port = find_port()
    cluster.start_scheduler(coordinator, f"--dashboard=127.0.0.1:{port}")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=30) as page:
        assert page.status == 200
        assert b"Dask" in page.read()


def test_plain_tcp_on_this_machine_needs_no_certificate(cluster: Machines, coordinator: Checkout) -> None:
    port = find_port()
    env = cluster.env() | {"ZOO_ENGINE": f"tcp://127.0.0.1:{port}"}
    words = ("utils.shared.worker", "scheduler", f"--dashboard=127.0.0.1:{find_port()}")
    cluster.start("plain", coordinator, *words, env=env)
    cluster.wait_for("plain", "Scheduler at:")
    cluster.start_worker("one", cluster.clone(coordinator, "one"), env=env)
    done = build(coordinator, env, "demo_nearest:train")
    assert done.returncode == 0, done.stdout + done.stderr
