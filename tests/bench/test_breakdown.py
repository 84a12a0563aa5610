"""Where the time of a build goes: seconds and CPU seconds by phase, for three builds from download to bundle.

ZOO_MIRROR=/path/to/mirror docker/run pytest -m bench -s tests/bench/test_breakdown.py

ZOO_BREAKDOWN=FILE.csv adds the rows there, as those of ZOO_BREAKDOWN_AS; docs/pictures/draw_breakdown.py draws them.
"""

from __future__ import annotations

import csv
import json
import os
import time
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.checkouts import Checkout

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

#: What a step does; ``start``: imports, once those of TensorFlow, and what a program reads before it works.
STEPS = ("download", "load", "train", "convert", "calibrate", "evaluate", "validate", "card")
PHASES = ("start", "read", *STEPS, "records", "doit")
WEIGHTS = Path("weights/mobilenet_v2_dequantised.h5")
BUILDS = {"demo": ["demo"], "MNIST pair": ["mnist_nearest", "mnist_bilinear"], "mobilenet_v2": ["mobilenet_v2"]}


@pytest.mark.parametrize("build", BUILDS)
def test_where_the_time_goes(project: Checkout, mirror: Path, tmp_path: Path, build: str) -> None:
    words, lines = BUILDS[build], tmp_path / "times"
    if build == "mobilenet_v2":
        words = [*words, f"weights={(mirror.parent / WEIGHTS).resolve()}"]
    begin = time.monotonic()
    done = project.doit("-n", "2", *words, env={"ZOO_MIRROR": str(mirror), "ZOO_TIMES": str(lines)}, timeout=3000)
    whole = time.monotonic() - begin
    assert done.returncode == 0, done.stdout + done.stderr
    spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for line in lines.read_text().splitlines():
        told = json.loads(line)
        for phase, (wall, cpu) in told["phases"].items():
            assert phase in PHASES, line
            entry = spent["doit" if told["program"] == "doit" else phase]
            entry[0] += wall
            entry[1] += cpu
    spent["doit"][0] = 0.0  # it waits for the others
    used = sum(cpu for _, cpu in spent.values())
    print(f"\n{build}: {whole:.1f} s, {used:.1f} CPU s on {os.cpu_count()} cores")
    for phase in PHASES:
        if phase in spent:
            print(f"  {phase:10} {spent[phase][0]:7.1f} s {spent[phase][1]:7.1f} CPU s")
    _keep(build, whole, spent)


def _keep(build: str, whole: float, spent: dict[str, list[float]]) -> None:
    """Add the rows to the file that the picture is drawn from, where one is named."""
    if not os.environ.get("ZOO_BREAKDOWN"):
        return
    file, name = Path(os.environ["ZOO_BREAKDOWN"]), os.environ["ZOO_BREAKDOWN_AS"]
    new = not file.is_file()
    with file.open("a", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        if new:
            rows.writerow(["when", "build", "phase", "seconds", "cpu_seconds"])
        rows.writerow([name, build, "whole", f"{whole:.1f}", f"{sum(cpu for _, cpu in spent.values()):.1f}"])
        rows.writerows(
            [name, build, phase, f"{spent[phase][0]:.1f}", f"{spent[phase][1]:.1f}"]
            for phase in PHASES
            if phase in spent
        )
