"""Releases and publishes, killed at every request to the system or run at once: nothing is lost, nothing half there."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from tests.support.kept import NEW, OLD, fill, made, push, put, tags, tree
from tests.support.kills import at_every_moment, fork
from utils import files
from utils.errors import ReleaseError
from utils.release import pack, publish

pytestmark = pytest.mark.slow


@pytest.fixture(params=["in one move", "in two moves"])
def _moves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # a kill takes nothing from the kernel
    if request.param == "in two moves":  # a file system that cannot exchange
        monkeypatch.setattr(files, "_exchange", lambda _one, _other: False)


@pytest.mark.usefixtures("_moves")
def test_a_forced_release_that_is_killed_loses_no_release(tmp_path: Path) -> None:
    """The next release, of another version, finds the old one or the new one, and takes away only what is dead."""
    top = tmp_path / "release"

    def prepare() -> None:
        shutil.rmtree(top, ignore_errors=True)
        fill(top / "9.0.0", OLD)

    seen = []
    for _ in at_every_moment(prepare, partial(put, top / "9.0.0", NEW)):
        put(top / "1.0.0", OLD)
        assert sorted(entry.name for entry in top.iterdir()) == ["1.0.0", "9.0.0"]
        assert tree(top / "1.0.0") == OLD
        seen.append(tree(top / "9.0.0"))
    assert len(seen) > 20
    assert seen == sorted(seen, key=lambda found: found == NEW)  # the old one up to a moment, from there the new one
    assert {"old", "new"} == {found.get("more", "old") for found in seen}


@pytest.mark.usefixtures("_moves")
def test_a_release_that_stands_aside_is_there_for_the_same_version(tmp_path: Path) -> None:
    for _ in at_every_moment(
        lambda: (shutil.rmtree(tmp_path / "9.0.0", ignore_errors=True), fill(tmp_path / "9.0.0", OLD)),
        partial(put, tmp_path / "9.0.0", NEW),
    ):
        with pytest.raises(ReleaseError, match="this release exists"):
            pack.put_release(tmp_path / "9.0.0", partial(fill, content=NEW), force=False)
        assert tree(tmp_path / "9.0.0") in (OLD, NEW)


@pytest.mark.usefixtures("_moves")
def test_a_publish_to_a_folder_that_is_killed_is_repeated(tmp_path: Path) -> None:
    release, to = tmp_path / "1.0.0", tmp_path / "to"
    fill(release, NEW)
    send = partial(publish._to_folder, to, release, {"version": "1.0.0"}, False, {})
    for _ in at_every_moment(partial(shutil.rmtree, to, ignore_errors=True), send):
        assert not (to / "1.0.0").exists() or tree(to / "1.0.0") == NEW
        send()
        assert tree(to) == {f"1.0.0/{name}": text for name, text in NEW.items()}


def test_a_publish_to_a_layout_that_is_killed_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    before, after = made("0.9.0").digest, made("1.0.0").digest
    layout = tmp_path / "layout"

    def prepare() -> None:
        shutil.rmtree(layout, ignore_errors=True)
        push(layout, "0.9.0")

    for _ in at_every_moment(prepare, partial(push, layout, "1.0.0")):
        found = tags(layout)
        assert found["0.9.0"] == before
        assert found.get("1.0.0", after) == after
        assert found["latest"] in (before, after)
        push(layout, "1.0.0")
        assert tags(layout) == {"0.9.0": before, "1.0.0": after, "latest": after}
        assert not [file.name for file in layout.rglob("*") if file.name.endswith(".new")]


@pytest.mark.usefixtures("_moves")
@pytest.mark.parametrize("seed", range(3))
def test_releases_and_publishes_at_once_some_of_them_killed(tmp_path: Path, seed: int) -> None:
    """Those that are not killed end well, whatever happens beside them."""
    rng = random.Random(seed)
    top, layout = tmp_path / "release", tmp_path / "layout"
    fill(top / "9.0.0", OLD)

    def work(number: int) -> None:
        version = f"{number % 3}.0.0"
        for _ in range(3):
            put(top / version, OLD if number % 2 else NEW)
            put(top / "9.0.0", NEW)
            push(layout, version)

    running = [fork(partial(work, number)) for number in range(6)]
    victims = rng.sample(running, 3)
    for victim in victims:
        time.sleep(rng.uniform(0, 0.05))
        os.kill(victim, signal.SIGKILL)
    codes = {pid: os.waitpid(pid, 0)[1] for pid in running}
    assert {codes[pid] for pid in running if pid not in victims} == {0}
    put(top / "3.0.0", NEW)
    push(layout, "3.0.0")
    assert {entry.name for entry in top.iterdir()} <= {f"{number}.0.0" for number in (0, 1, 2, 3, 9)}
    assert all(tree(folder) in (OLD, NEW) for folder in top.iterdir())
    assert (top / "9.0.0").is_dir()
    found = tags(layout)
    assert found["latest"] == found["3.0.0"]
    assert {f"{running.index(pid) % 3}.0.0" for pid in running if pid not in victims} <= found.keys()
