"""What a step on a cluster costs the machine that types doit: CPU of doit and of its link, per step.

docker/run pytest -m bench -s tests/cluster/test_cost.py
"""

from __future__ import annotations

import resource
import shutil

import pytest

from tests.cluster.conftest import git
from tests.support.checkouts import Checkout, ran
from tests.support.clusters import Machines

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

#: Groups like the demo, of two models each: one step more or less of a few would be lost in what a build costs.
COPIES = 5


def add_copies(checkout: Checkout) -> list[str]:
    """Add groups that are the demo under other names; the names of their models."""
    recipes = checkout.root / "recipes"
    for number in range(COPIES):
        folder = shutil.copytree(recipes / "demo", recipes / f"copy{number}")
        recipe = folder / "recipe.toml"
        recipe.write_text(recipe.read_text().replace("demo_", f"copy{number}_"))
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "Copies of the demo")
    return [f"copy{number}_{kind}" for number in range(COPIES) for kind in ("nearest", "bilinear")]


def test_the_coordinators_cpu_for_each_step(cluster: Machines, coordinator: Checkout) -> None:
    copies = add_copies(coordinator)
    for name in ("one", "two"):
        cluster.start_worker(name, cluster.clone(coordinator, name))

    def build(*words: str) -> tuple[float, int]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = coordinator.doit("-n", "4", *words, env=cluster.env(), timeout=1200)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, done.stdout + done.stderr
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, len(ran(done))

    new, _ = build("demo_nearest")  # the code of every kind of step is examined: once in a checkout
    first, one = build("demo_bilinear:train")
    rest, more = build(*copies)
    print(f"\n{new:.2f} s of CPU in a new checkout; {first:.2f} s for one step, with starting doit and its link")
    print(f"{1000 * (rest - first) / (more - one):.0f} ms for each more step, of {more} (goal: 50)")
