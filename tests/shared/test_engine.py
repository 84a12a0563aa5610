"""The engine's client: what it asks, and what becomes of the answers. The link is a program of the test's own, in the
place of Dask: it runs each command here, or answers as it is told."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from utils.errors import EngineError
from utils.shared import engine
from utils.shared.cluster import Cluster
from utils.shared.engine import Engine
from utils.shared.order import Answer, Order
from utils.shared.restore import Cache
from utils.shared.settings import Settings

KEY = "0" * 64
ORDER = Order(format=1, model="m", step="train", key=KEY, facts={}, code={}, inputs={})

#: Speaks as utils/shared/link.py does; ``answer(asked)`` gives the lines for a line.
LINK = """
import json, os, sys
log = open({log!r}, "a", buffering=1)
def tell(**line):
    print(json.dumps(line), flush=True)
def done(asked, **answer):
    tell(id=asked["id"], kind="done", code=0, err="", out=json.dumps(dict(format=1, **answer)))
log.write(sys.stdin.readline())
{begin}
for line in sys.stdin:
    log.write(line)
    asked = json.loads(line)
    {act}
"""


class Fake:
    """A client whose link is a program of ours."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.said = folder, list[str]()
        self._monkeypatch = monkeypatch

    def make(self, act: str, begin: str = 'tell(kind="ready")') -> Engine:
        program = self.folder / "link.py"
        program.write_text(LINK.format(log=str(self.folder / "log"), begin=begin, act=act))
        python = self.folder / "bin/python"
        python.parent.mkdir(exist_ok=True)
        python.write_text(f'#!/bin/sh\nexec {sys.executable} {program} "$@"\n')
        python.chmod(0o755)
        self._monkeypatch.setattr(engine, "find_engine_folder", lambda: self.folder)
        cache = Cache(Settings(), self.said.append)
        return Engine(Cluster("tcp://127.0.0.1:1", "127.0.0.1", 1, None), cache, self.said.append)

    @property
    def asked(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(tmp_path, monkeypatch)


def lost(act: Callable[[], object]) -> str:
    with pytest.raises(EngineError) as caught:
        act()
    return str(caught.value)


DONE = 'done(asked, worker="w", outcome="done", said="ok")'


def test_only_strings_travel(fake: Fake) -> None:
    answer = fake.make(DONE).carry_out(ORDER)
    assert answer == Answer(worker="w", outcome="done", said="ok")
    first, asked = fake.asked
    assert first == {"address": "tcp://127.0.0.1:1", "certificate": []}
    assert asked["command"] == ["python", "-m", "utils.shared.carry_out"]
    assert Order.model_validate_json(asked["input"]) == ORDER


def test_answers_find_who_asked_in_any_order(fake: Fake) -> None:
    # All are answered when the third has come, the last one first.
    act = """
    waiting = globals().setdefault("waiting", [])
    waiting.append(asked)
    if len(waiting) == 3:
        for one in reversed(waiting):
            done(one, worker="w", outcome="done", said=json.loads(one["input"])["step"])
"""
    made = fake.make(act)
    said: dict[str, str] = {}

    def ask(step: str) -> None:
        said[step] = made.carry_out(ORDER.model_copy(update={"step": step})).said

    threads = [threading.Thread(target=ask, args=(step,)) for step in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert said == {"a": "a", "b": "b", "c": "c"}


REFUSES_FIRST = """
    if "old" in asked["avoid"]:
        done(asked, worker="new", outcome="done")
    else:
        done(asked, worker="old", outcome="refused", differs=["the commit: 1 there, 2 here"])
"""


def test_a_worker_that_refuses_is_named_once_and_avoided(fake: Fake) -> None:
    made = fake.make(REFUSES_FIRST)
    assert made.carry_out(ORDER).worker == "new"
    assert made.carry_out(ORDER).worker == "new"
    assert [one["avoid"] for one in fake.asked[1:]] == [[], ["old"], ["old"]]
    assert len(fake.said) == 1
    assert "the worker old has another checkout" in fake.said[0]
    assert "the commit: 1 there, 2 here" in fake.said[0]


def test_a_program_that_a_signal_ended_is_tried_again(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker is being stopped: Ctrl-C and batch systems end the worker and all below it."""
    monkeypatch.setattr(engine, "_PAUSE_S", 0.0)
    act = """
    globals()["count"] = globals().get("count", 0) + 1
    if count <= {ended}:
        tell(id=asked["id"], kind="done", code=-15, out="", err="")
    else:
        done(asked, worker="w", outcome="done")
"""
    assert fake.make(act.format(ended=3)).carry_out(ORDER).worker == "w"
    assert len(fake.asked) == 1 + 4
    (fake.folder / "log").unlink()
    assert "ended with exit code -15" in lost(lambda: fake.make(act.format(ended=99)).carry_out(ORDER))
    assert len(fake.asked) == 1 + 4


def test_a_worker_under_two_names_ends_the_step(fake: Fake) -> None:
    """The scheduler cannot leave it out: asking on would never end."""
    made = fake.make('done(asked, worker="other", outcome="refused", differs=["the commit: 1 there, 2 here"])')
    assert "a worker says that it is other; the scheduler has another name for it" in lost(
        lambda: made.carry_out(ORDER)
    )
    assert [one["avoid"] for one in fake.asked[1:]] == [[], ["other"]]


def test_a_link_that_ended_unheard_is_ended_without_a_word() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE, text=True)
    assert process.stdin
    process.wait()
    process.stdin.write("a line")
    with pytest.raises(BrokenPipeError):
        process.stdin.flush()
    engine._end(process)
    assert process.stdin.closed


def test_when_all_refuse_the_error_names_them(fake: Fake) -> None:
    act = """
    if asked["avoid"]:
        tell(id=asked["id"], kind="nobody")
    else:
        done(asked, worker="old", outcome="refused", differs=["docker/requirements.txt: 1 there, 2 here"])
"""
    said = lost(lambda: fake.make(act).carry_out(ORDER))
    assert "every worker has another checkout" in said
    assert "old:" in said
    assert "docker/requirements.txt: 1 there, 2 here" in said


def test_a_scheduler_that_is_not_there_fails_every_step_at_once(fake: Fake) -> None:
    made = fake.make(DONE, begin='tell(kind="lost", why="OSError: timed out")')
    for _ in range(2):
        assert "the scheduler cannot be reached: OSError: timed out" in lost(lambda: made.carry_out(ORDER))


@pytest.mark.parametrize("act", ['tell(kind="lost", why="gone")', "os._exit(1)"])
def test_a_scheduler_that_goes_away_fails_all_that_wait(fake: Fake, act: str) -> None:
    act = f"""
    globals()["count"] = globals().get("count", 0) + 1
    if count == 2:
        {act}
"""
    made, said = fake.make(act), list[str]()
    threads = [threading.Thread(target=lambda: said.append(lost(lambda: made.carry_out(ORDER)))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(said) == 2
    assert all("the scheduler cannot be reached" in one for one in said)


def test_waiting_for_a_worker_is_said(fake: Fake) -> None:
    fake.make(f'tell(kind="waits"); {DONE}').carry_out(ORDER)
    assert fake.said == ["tcp://127.0.0.1:1 has no worker: waiting for one (`doit worker` starts it)"]


@pytest.mark.parametrize(
    ("act", "says"),
    [
        ('tell(id=asked["id"], kind="failed", why="Killed\\x1b[2J")', "no worker could run it: Killed\\x1b"),
        ('tell(id=asked["id"], kind="done", code=1, out="", err="a\\nlast")', "ended with exit code 1: last"),
        ('tell(id=asked["id"], kind="done", code=0, out="[]", err="")', "should be an object"),
        ('tell(id=asked["id"], kind="done", code=0, out="x", err="")', "is not JSON"),
        ('done(asked, worker="w", outcome="maybe")', "outcome"),
        ('done(asked, worker="w", outcome="done", writes={"a": {"size": -1, "sha256": "x"}})', "writes"),
    ],
)  # fmt: skip
def test_a_bad_answer_is_one_clear_error(fake: Fake, act: str, says: str) -> None:
    made = fake.make(act)
    assert says in lost(lambda: made.carry_out(ORDER))
