"""Records: what counts as a change, what counts as damage, and that a broken-off step leaves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT
from utils import files, paths
from utils.errors import StorageError
from utils.graph import record


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's root of its own, with a folder of records."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    (tmp_path / "records").mkdir()
    return tmp_path


def write(file: Path, text: str) -> Path:
    """Write as an editor does, to a new file: the cache of hashes knows files by inode, time and size."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(text)
    new.replace(file)
    return file


def step(home: Path, text: str = "made", key: str = "key") -> tuple[Path, tuple[Path, ...]]:
    """Run a step that writes two files."""
    mark, targets = home / "records/train.json", (home / "out/a", home / "b")
    with record.locked(mark), record.writing(mark, key, targets) as outputs:
        for target in targets:
            outputs.new(target).write_text(text)
    return mark, targets


def test_key_follows_content_not_time(home: Path) -> None:
    file = write(home / "file", "one")
    first = record.key_of({"a": 1}, (file,))
    os.utime(file, (1, 1))
    assert record.key_of({"a": 1}, (file,)) == first
    write(file, "two")
    second = record.key_of({"a": 1}, (file,))
    write(file, "one")
    assert first == record.key_of({"a": 1}, (file,)) != second
    assert record.key_of({"a": 2}, (file,)) != first
    assert record.key_of({"a": 1}, ()) != first
    other = write(home / "other", "one")
    assert record.key_of({"a": 1}, (other,)) != first  # the name counts
    assert record.key_of({"b": 1, "a": 2}, (file, other)) == record.key_of({"a": 2, "b": 1}, (other, file))


def test_a_finished_step(home: Path) -> None:
    mark, targets = step(home)
    assert [file.read_text() for file in targets] == ["made", "made"]
    assert record.intact(mark, targets)
    assert record.is_current(mark, "key", targets)
    assert not record.is_current(mark, "another key", targets)
    assert sorted(file.name for file in mark.parent.iterdir()) == ["train.json", "train.lock"]
    assert json.loads(mark.read_text())["writes"]["out/a"] == files.describe_file(targets[0])


@pytest.mark.parametrize(
    "damage", ["flipped", "longer", "missing", "folder", "extra", "fewer", "no record", "text", "old"]
)
def test_damage_is_noticed(home: Path, damage: str) -> None:
    mark, targets = step(home)
    if damage in {"flipped", "longer"}:
        write(targets[1], {"flipped": "mads", "longer": "made!"}[damage])
    elif damage in {"missing", "folder"}:
        targets[1].unlink()
        if damage == "folder":
            targets[1].mkdir()
    elif damage in {"extra", "fewer"}:
        targets = (*targets, write(home / "c", "made")) if damage == "extra" else targets[:1]
    elif damage == "no record":
        mark.unlink()
    else:
        mark.write_text({"text": "[1]", "old": mark.read_text().replace('"format": 1', '"format": 0')}[damage])
    assert not record.intact(mark, targets)
    assert not record.is_current(mark, "key", targets)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_broken_step_leaves_nothing(home: Path, error: type[BaseException]) -> None:
    """No file of its own; what was there before stays, and counts for the inputs that it was made from."""
    mark, targets = step(home, "old")

    def work() -> None:
        with record.locked(mark), record.writing(mark, "new", targets) as outputs:
            outputs.new(targets[0]).write_text("half")
            raise error

    with pytest.raises(error):
        work()
    assert [file.read_text() for file in targets] == ["old", "old"]
    assert record.is_current(mark, "key", targets)
    assert not record.is_current(mark, "new", targets)
    assert sorted(file.name for file in mark.parent.iterdir()) == ["train.json", "train.lock"]


def test_the_record_is_gone_before_a_target_is_touched(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark, targets = step(home, "old")

    def killed(_: record.Outputs) -> None:
        assert not mark.exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(record.Outputs, "move", killed)
    with pytest.raises(KeyboardInterrupt), record.locked(mark), record.writing(mark, "new", targets) as outputs:
        outputs.new(targets[0]).write_text("new")
    assert not record.is_current(mark, "key", targets)


def test_who_waits_says_so(home: Path) -> None:
    mark, said = home / "records/train.json", []

    def wait() -> None:
        with record.locked(mark, lambda: said.append("waits")):
            said.append("goes on")

    with record.locked(mark):
        other = threading.Thread(target=wait)
        other.start()
        while not said:
            time.sleep(0.01)
        assert said == ["waits"]
    other.join(timeout=10)
    assert said == ["waits", "goes on"]


def test_a_file_that_was_promised_and_not_written(home: Path) -> None:
    mark, targets = home / "records/train.json", (home / "a", home / "b")

    def work() -> None:
        with record.locked(mark), record.writing(mark, "key", targets) as outputs:
            outputs.new(targets[0]).write_text("a")
            outputs.new(targets[1])

    with pytest.raises(FileNotFoundError):
        work()
    assert not mark.exists()


def test_what_a_killed_step_left_is_swept(home: Path) -> None:
    """Its own folders and no other step's."""
    stale, other = home / "records/.train.abc", home / "records/.train2.abc"
    for folder in (stale, other):
        folder.mkdir()
        (folder / "half").write_text("half")
    step(home)
    assert not stale.exists()
    assert other.exists()


def test_what_another_run_is_writing_stays(home: Path) -> None:
    """Where a file system has no locks, two runs of one step may be at work."""
    with files.staging(home / "records", ".train.") as other:
        step(home)
        assert other.folder.is_dir()


def test_one_process_at_a_time(home: Path) -> None:
    """A second process waits; when the first is killed, the kernel lets it in."""
    mark = home / "records/train.json"
    code = (
        "import sys, time; from pathlib import Path; from utils.graph import record\n"
        "with record.locked(Path(sys.argv[1])): print('in', flush=True); time.sleep(float(sys.argv[2]))\n"
    )

    def enter(seconds: str) -> subprocess.Popen[str]:
        root = ROOT
        command = [sys.executable, "-c", code, str(mark), seconds]
        return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)

    with enter("60") as first:
        assert first.stdout
        assert first.stdout.readline() == "in\n"
        with enter("0") as second:
            with pytest.raises(subprocess.TimeoutExpired):
                second.wait(0.7)
            first.kill()
            assert second.communicate(timeout=10)[0] == "in\n"


def test_a_folder_that_cannot_be_made(home: Path) -> None:
    (home / "file").write_text("not a folder")
    with pytest.raises(StorageError), record.locked(home / "file/records/train.json"):
        pass


def test_json_is_stable() -> None:
    assert files.dump_json({"b": 1, "a": "ü"}) == '{\n  "a": "ü",\n  "b": 1\n}\n'
