"""The index of hashes: a file that looks unchanged is not read again, and `doit --check` and releases read all."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from pathlib import Path

import pytest

from tests.support.checkouts import NOTHING, ROOT, Checkout, copy_project
from tests.support.shared import make_once
from tests.support.zoos import make_zoo
from utils import hashes, paths
from utils.front import index

MODEL = "pair0000_nearest"
INT8 = f"artifacts/{MODEL}/{MODEL}_int8.tflite"


@pytest.fixture(scope="module")
def zoo_once(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Two models that are up to date, and the index of a doit that began when all files were old enough for it."""

    def make(folder: Path) -> None:
        made = make_zoo(copy_project(folder / "zoo"), 2)
        time.sleep(2.1)
        assert NOTHING in made.doit().stdout

    return Checkout(make_once(tmp_path_factory, "indexed", make) / "zoo")


@pytest.fixture
def zoo(zoo_once: Checkout, tmp_path: Path) -> Checkout:
    """The same in a folder of its own, with an index of its own: a copy has other inodes."""
    shutil.copytree(zoo_once.root, tmp_path / "zoo")
    made = Checkout(tmp_path / "zoo")
    relabel(made)
    return made


def lines(zoo: Checkout) -> dict[str, str]:
    """The lines of the index by the file that they are about."""
    head, *found = (zoo.root / "build/hashes.txt").read_text().splitlines()
    assert head == "nxp-model-zoo hashes 1"
    return {line.split(" ", 5)[5]: line for line in found}


def relabel(zoo: Checkout, digests: dict[str, str] | None = None) -> None:
    """Write the index anew, as if its files had been read as they look now; ``digests``: other hashes for some."""
    text = "nxp-model-zoo hashes 1\n"
    for name, line in lines(zoo).items():
        digest = (digests or {}).get(name, line.partition(" ")[0])
        stat = (zoo.root / name).stat()
        text += f"{digest} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino} {name}\n"
    (zoo.root / "build/hashes.txt").write_text(text)


def flip(file: Path) -> None:
    """Change a byte, in place: as a disk that fails, and nobody told of it."""
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)


def states(zoo: Checkout) -> dict[str, str]:
    return dict(re.findall(r"^  (pair\w+) +(built|stale|missing) ", zoo.doit("list").stdout, re.MULTILINE))


def test_the_index_has_each_file_that_steps_read_and_write(zoo_once: Checkout) -> None:
    found = lines(zoo_once)
    assert {INT8, f"build/{MODEL}/model.weights.h5", "docker/requirements.txt"} <= found.keys()
    assert all((zoo_once.root / name).is_file() for name in found)
    assert list(found) == sorted(found)


def test_what_the_index_says_of_a_file_is_believed(zoo: Checkout) -> None:
    assert set(states(zoo).values()) == {"built"}
    relabel(zoo, {INT8: "0" * 64})
    assert states(zoo) == {MODEL: "stale", "pair0000_bilinear": "built"}
    done = zoo.doit("info", f"{MODEL}:card")
    assert re.search(r"^  state +would run$", done.stdout, re.MULTILINE)


def test_a_step_reads_for_itself(zoo: Checkout) -> None:
    """A wrong index starts a step, and changes nothing that one makes."""
    relabel(zoo, {INT8: "0" * 64})
    done = zoo.doit("-v", "2")
    assert done.returncode == 0, done.stderr
    assert f"{MODEL}:card is up to date" in done.stdout


def test_check_reads_every_file_and_corrects_the_index(zoo: Checkout) -> None:
    right = lines(zoo)
    relabel(zoo, {INT8: "0" * 64})
    assert lines(zoo)[INT8] != right[INT8]
    time.sleep(2.1)
    assert NOTHING in zoo.doit("--check", MODEL).stdout
    assert right.items() <= lines(zoo).items()  # those of the other model are kept
    assert set(states(zoo).values()) == {"built"}


def test_an_edit_is_seen_whatever_time_it_gives_the_file(zoo: Checkout) -> None:
    file = zoo.root / INT8
    times = file.stat()
    flip(file)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert states(zoo)[MODEL] == "stale"


@pytest.mark.parametrize("words", [("--check", MODEL), (MODEL, "--check"), ("matrix", "shard=1/1", "--check")])
def test_check_may_stand_before_and_behind(zoo: Checkout, words: tuple[str, ...]) -> None:
    relabel(zoo, {INT8: "0" * 64})
    done = zoo.run(sys.executable, "-m", "utils.front", *words)
    assert NOTHING in done.stdout, done.stderr


def test_damage_that_no_stat_shows_is_found_by_check_and_by_a_release(zoo: Checkout) -> None:
    flip(zoo.root / INT8)
    relabel(zoo)  # as if the disk had done it
    assert states(zoo)[MODEL] == "built"
    assert NOTHING in zoo.doit().stdout
    code = "from utils.release import lock; from utils.recipe.load import find_recipe"
    code += f"; print(lock.current(find_recipe({MODEL!r})))"
    assert zoo.run(sys.executable, "-c", code).stdout == "False\n"
    done = zoo.run(sys.executable, "-m", "utils.front", "--check")
    assert "1 step of 1 model to run" in done.stdout
    assert f"FAILED {MODEL}:card" in done.stdout  # a real one would mend it; this model has no card to draw


_DAMAGED = {
    "empty": b"",
    "zeros": b"\0" * 99,
    "another format": b"nxp-model-zoo hashes 2\n",
    "deep": b"[" * 50_000,
    "no UTF-8": b"\xff\n" * 99,
    "a folder": None,
}


@pytest.mark.parametrize("content", _DAMAGED.values(), ids=_DAMAGED)
def test_a_damaged_index_costs_time_alone(zoo: Checkout, content: bytes | None) -> None:
    file = zoo.root / "build/hashes.txt"
    before = {*file.read_bytes().splitlines()}
    file.unlink()
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    done = zoo.doit()
    assert NOTHING in done.stdout
    assert "Traceback" not in done.stderr + done.stdout
    time.sleep(2.1)
    assert NOTHING in zoo.doit().stdout
    assert content is None or before <= {*file.read_bytes().splitlines()}


@pytest.mark.parametrize(
    "line",
    ["{0}", "{0} 1 2 3 4", "{0} 1 2 3 x name", "{0} -1 2 3 4 name", "{0} 1 2 3 " + "9" * 5000 + " name"],
    ids=["a hash", "no name", "no number", "below zero", "huge"],
)
def test_a_damaged_line_is_passed_over(zoo: Checkout, line: str) -> None:
    file = zoo.root / "build/hashes.txt"
    file.write_text(f"{file.read_text()}{line.format('0' * 64)}\n")
    done = zoo.doit()
    assert NOTHING in done.stdout
    assert not done.stderr


# The rule about young files


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's root, and a process that knows nothing yet."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    monkeypatch.setattr(hashes, "known", {})
    monkeypatch.setattr(index, "_begun", [])
    (tmp_path / "build").mkdir()
    (tmp_path / "file").write_text("one")
    return tmp_path


def kept(home: Path) -> list[str]:
    file = home / "build/hashes.txt"
    return [line.split(" ", 5)[5] for line in file.read_text().splitlines()[1:]] if file.exists() else []


@pytest.mark.parametrize(("age_s", "names"), [(0, []), (1.9, []), (2.1, ["file"]), (-60, [])])
def test_a_file_that_changed_just_before_it_was_read_is_read_once_more(
    home: Path, monkeypatch: pytest.MonkeyPatch, age_s: float, names: list[str]
) -> None:
    """It may have changed again within the same tick of a clock, which may have gone ahead of ours, too."""
    changed_ns = (home / "file").stat().st_ctime_ns
    monkeypatch.setattr(index, "_STARTED_NS", changed_ns + int(age_s * 1e9))
    index.begin()
    hashes.sha256(home / "file")
    index.save()
    assert kept(home) == names


def test_files_that_are_gone_are_forgotten_and_others_stay(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_STARTED_NS", time.time_ns() + 10**10)
    for name in ("gone", "asked for", "new"):
        (home / name).write_text(name)
    index.begin()
    for name in ("gone", "file", "asked for"):
        hashes.sha256(home / name)
    index.save()
    assert kept(home) == ["asked for", "file", "gone"]
    hashes.known.clear()
    index.begin()
    (home / "gone").unlink()
    (home / "file").write_text("two, and longer")
    for name in ("file", "new"):
        hashes.sha256(home / name)
    index.save()
    assert kept(home) == ["asked for", "file", "new"]
    assert (home / "build/hashes.txt").read_text().count(" 15 ") == 1


def test_what_two_processes_read_is_kept_of_both(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_STARTED_NS", time.time_ns() + 10**10)
    (home / "other").write_text("other")
    index.begin()
    hashes.sha256(home / "file")
    code = (
        "import sys; from pathlib import Path; from utils import hashes, paths; from utils.front import index\n"
        "paths.ROOT = Path(sys.argv[1]); paths.BUILD = paths.ROOT / 'build'; index._STARTED_NS += 10**10\n"
        "index.begin(); hashes.sha256(paths.ROOT / 'other'); index.save()"
    )
    assert Checkout(ROOT).run(sys.executable, "-c", code, str(home)).returncode == 0
    index.save()
    assert kept(home) == ["file", "other"]


def test_a_name_that_breaks_lines_is_read_each_time(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_STARTED_NS", time.time_ns() + 10**10)
    index.begin()
    for name in ("a\nb", "a\udcffb"):
        file = Path(f"{home}/{name}")
        file.write_text(name.encode(errors="replace").decode())
        hashes.sha256(file)
    index.save()
    assert kept(home) == []


def test_without_a_command_that_decides_nothing_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_STARTED_NS", time.time_ns() + 10**10)
    hashes.sha256(home / "file")
    index.save()
    assert kept(home) == []


def test_without_a_folder_for_it_nothing_is_made(home: Path) -> None:
    (home / "build").rmdir()
    index.begin()
    hashes.sha256(home / "file")
    index.save()
    assert not (home / "build").exists()
