"""Where the time of a program goes: one line a program, each second in one phase."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.checkouts import ROOT, Checkout, clean_env

PROGRAM = """
import time
from utils import timing
timing.begin("one")
def count():
    with timing.phase("inner"):
        time.sleep(0.2)
        yield
        time.sleep(0.1)
with timing.phase("outer"):
    time.sleep(0.1)
    for _ in count():
        with timing.phase(timing.START):
            time.sleep(0.3)
"""


def run(file: Path | None) -> str:
    env = clean_env() | {"PYTHONPATH": str(ROOT)} | ({"ZOO_TIMES": str(file)} if file else {})
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_each_second_counts_in_the_innermost_phase(tmp_path: Path) -> None:
    run(tmp_path / "times")
    (line,) = (tmp_path / "times").read_text().splitlines()
    told = json.loads(line)
    assert told["program"] == "one"
    wall = {phase: seconds for phase, (seconds, _) in told["phases"].items()}
    assert wall["inner"] >= 0.3, "asleep before and after what it gave"
    assert wall["outer"] >= 0.1
    assert wall["start"] >= 0.3
    assert wall["outer"] < wall["start"], "what lies inside it is not its own"
    assert all(cpu < seconds for seconds, cpu in told["phases"].values()), "it slept"


def test_nothing_is_written_unasked_and_a_full_disk_stops_nothing(tmp_path: Path) -> None:
    assert run(None) == ""
    assert run(Path("/dev/full")) == ""
    assert run(tmp_path / "no" / "folder") == ""


def test_doit_and_every_step_tell(small: Checkout, tmp_path: Path) -> None:
    file = tmp_path / "times"
    done = small.doit("demo_nearest:train", env={"ZOO_TIMES": str(file)})
    assert done.returncode == 0, done.stdout + done.stderr
    told = {line["program"]: line["phases"] for line in map(json.loads, file.read_text().splitlines())}
    assert set(told) == {"warm parent", "demo_nearest:train", "doit"}
    assert told["demo_nearest:train"].keys() == {"start", "read", "train", "records"}
    assert told["doit"].keys() == {"start"}
    assert told["warm parent"]["start"][1] > 0.5, "TensorFlow is imported there"
