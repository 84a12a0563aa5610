"""Models of the zoo on the real sources of the mirror, each built once a run; and what a build takes."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.checkouts import MIRROR, Checkout, copy_project
from tests.support.shared import make_once

__all__ = ["FROM_MIRROR", "Zoo", "build", "build_real"]

#: Variables of a build on the files of the mirror.
FROM_MIRROR = {"ZOO_MIRROR": str(MIRROR.resolve()), "ZOO_OFFLINE": "1"}


@dataclass
class Zoo:
    """A checkout in which models are built, and what that took."""

    checkout: Checkout
    seconds: float  # wall
    user: float  # seconds of CPU
    peak: int  # bytes of the largest process


MEASURED = """
import json, resource, subprocess, sys, time
begin = time.monotonic()
done = subprocess.run([sys.executable, "-m", "doit", *sys.argv[1:]])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([time.monotonic() - begin, used.ru_utime, used.ru_maxrss * 1024]))
sys.exit(done.returncode)
"""


def build(checkout: Checkout, *arguments: str, env: dict[str, str]) -> Zoo:
    """Build what doit's arguments name."""
    done = checkout.run(sys.executable, "-c", MEASURED, *arguments, env=env, timeout=1800)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    zoo = Zoo(checkout, *json.loads(done.stdout.splitlines()[-1]))
    took = f"{zoo.seconds:.0f} s, {zoo.user:.0f} s of CPU, largest process {zoo.peak / 1e9:.2f} GB"
    print(f"\n{' '.join(arguments)}: {took}")  # shown with -s
    return zoo


def build_real(factory: pytest.TempPathFactory, *models: str) -> Zoo:
    """Models in one checkout, from the files of the mirror: look, do not touch. All workers of a run share it."""
    if not MIRROR.is_dir():
        pytest.skip("no mirror beside the checkout: the real sources are not here")

    def make(folder: Path) -> None:
        zoo = build(copy_project(folder / "zoo"), *models, env=FROM_MIRROR)
        (folder / "took.json").write_text(json.dumps([zoo.seconds, zoo.user, zoo.peak]))

    folder = make_once(factory, f"real-{'-'.join(sorted(models))}", make)
    return Zoo(Checkout(folder / "zoo"), *json.loads((folder / "took.json").read_text()))
