"""What drawing a build's progress costs, as a share of a core.

docker/run pytest -m bench -s tests/bench/test_display.py
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.checkouts import ROOT, clean_env

pytestmark = pytest.mark.bench


def test_the_share_of_a_core() -> None:
    """Four running steps tell about themselves all the time, for 10 s."""
    code = """
import io, os, time
from utils.terminal import Row, Screen
class Tty(io.StringIO):
    def isatty(self): return True
    encoding = "utf-8"
os.environ["TERM"] = "xterm"
screen = Screen(Tty())
screen.footer = lambda: "step 4 of 24, about 2 min left, 0:10 so far"
for n in range(4):
    screen.begin(Row(f"model_{n}:train", 60.0))
time.sleep(1)  # to import what draws
begin, cpu = time.monotonic(), time.process_time()
while time.monotonic() - begin < 10:
    time.sleep(0.25)
    for n in range(4):
        screen.progress(f"model_{n}:train", 0.5, "epoch 3/4, loss 0.3664")
share = (time.process_time() - cpu) / (time.monotonic() - begin)
screen.close()
print(share)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean_env(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    print(f"share of a core: {100 * float(done.stdout):.2f} %")
