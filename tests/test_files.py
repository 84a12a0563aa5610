"""Files and folders that appear whole: while others read and write them, and after a kill."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT, read_until
from utils import files
from utils.errors import StorageError
from utils.graph import record
from utils.sources import cache


def tree(folder: Path) -> dict[str, str]:
    return {f.relative_to(folder).as_posix(): f.read_text() for f in sorted(folder.rglob("*")) if f.is_file()}


def make(folder: Path, text: str) -> Path:
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/file").write_text(text)
    return folder


HERE = "print('ready', flush=True); time.sleep(60)"


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Another process that runs ``code``; it says "ready" when it is where it should be killed or waited for."""
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys, time\nfrom pathlib import Path\nfrom utils import files\n{code}",
         *map(str, arguments)],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


## Check sums


def test_sums_are_those_of_sha256sum(tmp_path: Path) -> None:
    make(tmp_path / "x", "text")
    (tmp_path / "x/two words").write_text("more")
    (tmp_path / "x" / files.SUMS).write_text(files.make_sums(tmp_path / "x"))
    subprocess.run(["sha256sum", "--quiet", "--strict", "-c", files.SUMS], cwd=tmp_path / "x", check=True)
    assert list(files.parse_sums(files.make_sums(tmp_path / "x"))) == ["sub/file", "two words"]
    assert files.sums_hold(tmp_path / "x")
    (tmp_path / "x/sub/file").write_text("Text")
    assert not files.sums_hold(tmp_path / "x")


@pytest.mark.parametrize(
    "line",
    [
        "", "x", f"{'a' * 63}  name", f"{'A' * 64}  name", f"{'a' * 64} name", "a" * 64,
        *(f"{'a' * 64}  {name}" for name in ("../x", "a/../x", "/etc/passwd", "./x", "a//b", "a\\b", "a\x1bb", "..")),
    ],
)  # fmt: skip
def test_a_malformed_line_of_sums(tmp_path: Path, line: str) -> None:
    good = f"{'b' * 64}  good"
    with pytest.raises(ValueError, match="SHA256SUMS has a malformed line"):
        files.parse_sums(f"{good}\n{line}\n")
    assert files.parse_sums(f"{good}\n{line}\n", skip_malformed=True) == {"good": "b" * 64}
    (tmp_path / files.SUMS).write_text(f"{line}\n")
    assert not files.sums_hold(tmp_path)


## Files


def test_a_file_is_written_whole_or_not(tmp_path: Path) -> None:
    file = tmp_path / "file"
    files.write_whole(file, "old, and longer")
    assert file.stat().st_mode & 0o777 == 0o666 & ~_umask()
    files.write_whole(file, b"new")
    with contextlib.suppress(ZeroDivisionError), files.writing_whole(file) as stream:
        stream.write(b"half")
        raise ZeroDivisionError
    assert tree(tmp_path) == {"file": "new"}


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_what_a_killed_writer_left_is_taken_over(tmp_path: Path) -> None:
    code = f"with files.writing_whole(Path(sys.argv[1])) as s: s.write(b'x' * 99999); {HERE}"
    writer = start(code, tmp_path / "file")
    read_until(writer, "ready")
    kill(writer)
    assert [file.name for file in tmp_path.iterdir()] == [".file.new"]
    files.write_whole(tmp_path / "file", "whole")
    assert tree(tmp_path) == {"file": "whole"}


@pytest.mark.slow
def test_many_writers_of_one_file_take_turns(tmp_path: Path) -> None:
    code = "for n in range(150): files.write_whole(Path(sys.argv[1]), sys.argv[2] * 50_000)"
    running = [start(code, tmp_path / "file", letter) for letter in "abc"]
    seen = set()
    while any(process.poll() is None for process in running):
        if (tmp_path / "file").exists():
            text = (tmp_path / "file").read_text()
            assert len(text) == 50_000
            assert len(set(text)) == 1
            seen.add(text[0])
    for process in running:
        assert process.communicate()[0] == ""
        assert process.returncode == 0
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    assert seen


## Folders


@pytest.fixture(params=["in one move", "in two moves"])
def _moves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "in two moves":  # a file system that cannot exchange
        monkeypatch.setattr(files, "_exchange", lambda _one, _other: False)


@pytest.mark.usefixtures("_moves")
@pytest.mark.parametrize("before", ["nothing", "folder", "link", "dangling link", "aside"])
def test_a_folder_is_replaced(tmp_path: Path, before: str) -> None:
    final = tmp_path / "top" / "final"
    if before == "folder":
        make(final, "old")
    elif before in ("link", "dangling link"):
        final.parent.mkdir()
        final.symlink_to(make(tmp_path / "elsewhere", "other") if before == "link" else tmp_path / "nowhere")
    elif before == "aside":  # a process was killed between two moves
        make(tmp_path / "top/.final.old", "old")
    files.replace_folder(make(tmp_path / "new", "new"), final)
    assert tree(tmp_path / "top") == {"final/sub/file": "new"}
    assert not final.is_symlink()
    assert [entry.name for entry in final.parent.iterdir()] == ["final"]
    if before == "link":
        assert tree(tmp_path / "elsewhere") == {"sub/file": "other"}


@pytest.mark.usefixtures("_moves")
def test_a_folder_that_cannot_be_moved_leaves_the_old_one(tmp_path: Path) -> None:
    final = make(tmp_path / "final", "old")
    with pytest.raises(FileNotFoundError):
        files.replace_folder(tmp_path / "nowhere", final)
    assert tree(tmp_path) == {"final/sub/file": "old"}


def test_one_move_leaves_no_moment_without_the_folder(tmp_path: Path) -> None:
    """Killed at any system call that moves, there is the old folder or the new one under its name."""
    final = make(tmp_path / "final", "old")
    code = (
        "for n in range(300):\n"
        "    new = Path(sys.argv[1]) / 'new'; new.mkdir(); (new / 'file').write_text(str(n))\n"
        "    files.replace_folder(new, Path(sys.argv[1]) / 'final')"
    )
    process = start(code, tmp_path)
    looked = missing = 0
    while process.poll() is None:
        looked += 1
        missing += not final.exists()
    assert process.communicate()[0] == ""
    assert looked > 100
    assert missing == 0


def test_what_stands_aside_comes_back(tmp_path: Path) -> None:
    make(tmp_path / ".final.old", "old")
    files.restore_folder(tmp_path / "final")
    files.restore_folder(tmp_path / "final")
    assert tree(tmp_path) == {"final/sub/file": "old"}
    make(tmp_path / ".final.old", "older")
    files.restore_folder(tmp_path / "final")
    assert tree(tmp_path) == {"final/sub/file": "old"}


def test_a_folder_from_another_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = not subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk)], capture_output=True).returncode
    if not mounted:  # what the kernel says of a move between two
        move = Path.rename

        def rename(self: Path, target: Path) -> Path:
            if self.parent == tmp_path:
                raise OSError(errno.EXDEV, "another file system")
            return move(self, target)

        monkeypatch.setattr(Path, "rename", rename)
    try:
        for text in ("one", "two"):
            if not mounted and text == "two":
                break
            files.replace_folder(make(tmp_path / "new", text), disk / "final")
            assert tree(disk) == {"final/sub/file": text}
            assert [entry.name for entry in disk.iterdir()] == ["final"]
            subprocess.run(["rm", "-r", str(tmp_path / "new")], check=True)
    finally:
        if mounted:
            subprocess.run(["umount", str(disk)], check=True)


STAGE = f"with files.staging(Path(sys.argv[1]), '.new.') as s: (s.folder / 'file').write_text('x'); {HERE}"


def test_staging_of_the_living_stays_and_of_the_dead_goes(tmp_path: Path) -> None:
    living, dead = start(STAGE, tmp_path), start(STAGE, tmp_path)
    try:
        read_until(living, "ready")
        read_until(dead, "ready")
        assert len(list(tmp_path.iterdir())) == 2
        kill(dead)
        with files.staging(tmp_path, ".new.") as ours:
            others = [entry for entry in tmp_path.iterdir() if entry != ours.folder]
            assert len(others) == 1
            assert (others[0] / "file").read_text() == "x"
            ours.keep = True
        assert ours.folder.is_dir()
    finally:
        kill(living)
    with files.staging(tmp_path, ".new.") as last:
        assert list(tmp_path.iterdir()) == [last.folder]
    assert not list(tmp_path.iterdir())


def test_a_child_keeps_the_staging_of_its_dead_parent(tmp_path: Path) -> None:
    code = (
        "import subprocess\nwith files.staging(Path(sys.argv[1]), 'work.') as s:\n"
        "    nothing = subprocess.DEVNULL\n"
        "    child = subprocess.Popen(['sleep', '60'], pass_fds=(s.lock,), stdout=nothing, stderr=nothing)\n"
        "    print('ready', child.pid, flush=True); time.sleep(60)"
    )
    parent = start(code, tmp_path)
    assert parent.stdout is not None
    child = int(parent.stdout.readline().split()[1])
    kill(parent)
    kept = list(tmp_path.iterdir())
    try:
        with files.staging(tmp_path, "work."):
            assert kept[0].is_dir()
    finally:
        os.kill(child, 9)
    stat = Path(f"/proc/{child}/stat")
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # gone: its files are closed, as a zombie's are
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
    with files.staging(tmp_path, "work."):
        assert not kept[0].exists()


def test_many_stage_at_once(tmp_path: Path) -> None:
    """Nobody takes away what another has just made: each finds its own file again, every time."""
    code = (
        "for n in range(200):\n"
        "    with files.staging(Path(sys.argv[1]), '.new.') as s:\n"
        "        (s.folder / 'file').write_text(str(n)); assert (s.folder / 'file').read_text() == str(n)"
    )
    running = [start(code, tmp_path) for _ in range(4)]
    assert [(process.communicate()[0], process.returncode) for process in running] == [("", 0)] * 4
    assert not list(tmp_path.iterdir())


def test_a_locked_folder_is_waited_for(tmp_path: Path) -> None:
    code = "with files.locked_folder(Path(sys.argv[1]), lambda: print('waits', flush=True)): print('in', flush=True)"
    with files.locked_folder(tmp_path):
        other = start(code, tmp_path)
        read_until(other, "waits")
        assert other.poll() is None
    assert other.communicate(timeout=30)[0] == "in\n"


## File systems whose locks fail


def fail_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let flock answer as on a file system without locks, or on one that fails: none of them is at hand."""

    def flock(_descriptor: object, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EBADF])
def test_without_locks_the_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    fail_locks(monkeypatch, number)
    done = []
    with files.locked_folder(tmp_path, pytest.fail), record.locked(tmp_path / "records/train.json", pytest.fail):
        done.append("folder and step")
    with cache.lock_key("key", pytest.fail):
        done.append("source")
    files.write_whole(tmp_path / "file", "whole")
    (tmp_path / ".new.other").mkdir()
    with files.staging(tmp_path, ".new.") as ours:
        assert ours.folder.is_dir()
    assert done == ["folder and step", "source"]
    assert (tmp_path / "file").read_text() == "whole"
    assert (tmp_path / ".new.other").is_dir()  # nobody knows whether its process is dead


def test_locks_that_fail_are_told_without_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    fail_locks(monkeypatch, errno.EIO)
    for lock in (
        files.locked_folder(tmp_path),
        record.locked(tmp_path / "records/train.json"),
        cache.lock_key("key", pytest.fail),
        files.staging(tmp_path, ".new."),
        files.writing_whole(tmp_path / "file"),
    ):
        with pytest.raises(StorageError, match=f"{tmp_path}.*: Input/output error"), lock:
            pass


def test_sums_are_sorted_by_name_as_text(tmp_path: Path) -> None:
    for name in ("a/b.txt", "a.txt", "a-b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert list(files.parse_sums(files.make_sums(tmp_path))) == ["a-b.txt", "a.txt", "a/b.txt"]
