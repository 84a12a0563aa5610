"""Steps that are forked from a parent with TensorFlow in memory."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pytest

from tests.support.checkouts import ROOT, Checkout, clean_env, ran
from utils import environment
from utils.front import running

pytestmark = pytest.mark.heavy  # it imports TensorFlow

PROBE = "tests.support.warm_probe"


class Told(NamedTuple):
    """What a program said, and how it ended."""

    out: str
    err: str
    events: str
    code: int


@contextlib.contextmanager
def started(word: str, *, warm: bool = True) -> Iterator[tuple[running.Process, list[BinaryIO]]]:
    """The program, and the read ends of its stdout, stderr and events."""
    pipes = [os.pipe() for _ in range(3)]
    command = [sys.executable, "-m", PROBE, word]
    with contextlib.ExitStack() as stack:
        heads = [stack.enter_context(os.fdopen(head, "rb", buffering=0)) for head, _ in pipes]
        process = running.start(command, environment.pinned(), *(tail for _, tail in pipes), warm=warm)
        for _, tail in pipes:
            os.close(tail)
        yield process, heads


def run(word: str, *, warm: bool = True) -> Told:
    with started(word, warm=warm) as (process, heads):
        return Told(*(head.read().decode() for head in heads), process.wait())


def test_it_is_given_what_a_new_process_is_given() -> None:
    forked, new = run("tell"), run("tell", warm=False)
    assert forked.out.startswith("True []")
    assert new.out.startswith("False []")
    assert forked.out.removeprefix("True") == new.out.removeprefix("False")
    assert forked[1:] == new[1:] == ("é\n", "event", 7)


@pytest.mark.parametrize("warm", [True, False])
def test_tensorflow_leaves_the_pins_as_they_are(*, warm: bool) -> None:
    assert run("pinned", warm=warm).out == "True\n"


@pytest.mark.parametrize("warm", [True, False])
def test_how_it_ends(*, warm: bool) -> None:
    bug = run("raise", warm=warm)
    assert bug.code == 1
    assert bug.err.endswith("ValueError: a bug\n")
    assert run("die", warm=warm).code == -signal.SIGKILL


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_gone(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    return True


def parent_of(pid: int) -> int:
    return int(re.findall(r"^PPid:\t(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[0])


def test_it_runs_until_it_ends_or_whoever_waits_for_it() -> None:
    with started("stay") as (process, (out, *_)):
        step = int(out.read(100))
        assert process.poll() is None
        os.kill(parent_of(step), signal.SIGKILL)
        assert process.wait() == process.poll() == -signal.SIGKILL
    wait_until(lambda: is_gone(step))


def test_without_the_parent_it_is_a_process_like_any_other() -> None:
    with started("stay") as (process, (out, *_)):
        step = int(out.read(100))
        os.kill(parent_of(parent_of(step)), signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    wait_until(lambda: is_gone(step))
    assert run("tell").out.startswith("False []")
    running._parent = running._WarmParent()  # the next test has one again
    assert run("tell").out.startswith("True []")


def test_a_doit_that_is_killed_while_tensorflow_is_imported_leaves_nothing() -> None:
    code = f"""
import os
from utils.front import running
print(os.getpid(), flush=True)
running.start(["", "-m", "{PROBE}", "stay"], {{}}, 1, 2, 1, warm=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=clean_env(), stdout=subprocess.PIPE)
    with process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(lambda: children.read_text().strip() != "")
        parent = int(children.read_text())
        process.kill()
    wait_until(lambda: is_gone(parent))


@pytest.mark.slow
def test_a_build_imports_tensorflow_once(small: Checkout) -> None:
    code = small.root / "recipes/mnist/model.py"
    code.write_text(f"""{code.read_text()}

import os
import re

with open("build/parents", "a") as file:
    waits = os.getppid()
    file.write(re.search(r"PPid:\\t([0-9]+)", open(f"/proc/{{waits}}/status").read())[1] + "\\n")
""")
    done = small.doit("-n", "2", "demo_nearest")
    assert done.returncode == 0, done.stderr
    assert {"demo_nearest:train", "demo_nearest:float32", "demo_nearest:int8"} <= ran(done)
    parents = (small.root / "build/parents").read_text().split()
    assert len(parents) >= 3  # a step may build the network more than once
    assert len(set(parents)) == 1
    wait_until(lambda: is_gone(int(parents[0])))
