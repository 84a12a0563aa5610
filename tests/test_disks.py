"""Full, read-only and limited disks: a StorageError, what was there before stays, and nothing half-made is left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT, clean_env
from tests.support.step_caches import Machine, serving_steps

pytestmark = pytest.mark.slow

#: A step that writes ``argv[3]`` bytes with a library that speaks of a full disk in words of its own.
STEP = """
import sys, tempfile
from pathlib import Path
from utils import paths, program
from utils.graph import record

paths.ROOT = Path(sys.argv[1])
mark, target, size = paths.ROOT / "records/step.json", paths.ROOT / "made", int(sys.argv[2])
program.prepare()
try:
    with record.locked(mark), record.writing(mark, "key", (target,)) as outputs:
        try:
            with tempfile.TemporaryFile() as stream:
                stream.write(bytes(size))
            outputs.new(target).write_bytes(bytes(size))
        except OSError as error:
            raise RuntimeError("H5Dwrite failed") from error
except BaseException as error:
    program.end(error, "step")
print(target.stat().st_size)
"""

#: A folder that is put in the place of another on another file system.
MOVE = """
import sys
from pathlib import Path
from utils import files, program

try:
    files.replace_folder(Path(sys.argv[1]) / "new", Path(sys.argv[1]) / "disk/final")
except BaseException as error:
    program.end(error, "step")
"""


#: A machine that takes the result of a step from a step cache.
RESTORE = """
import sys
from pathlib import Path
from tests.support.step_caches import LOCK, make_step
from utils import environment, paths
from utils.shared.restore import Cache
from utils.shared.settings import Settings

home = Path(sys.argv[1])
paths.ROOT, paths.BUILD, paths.ARTIFACTS = home, home / "build", home / "artifacts"
environment.promised_lock = lambda: LOCK
(home / "build/tiny").mkdir(parents=True)
(home / "build/tiny/input").write_bytes(b"input")
found = Cache(Settings(sys.argv[2]), lambda text: print(text, file=sys.stderr)).restore(make_step(home))
print("restored" if found else "to be run")
"""

#: Runs the code, shows what is there then, and ends as it did.
_LISTED = '"$@"; code=$?; find disk; exit $code'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder, a full tmpfs in it where the test may mount one."""
    (tmp_path / "disk").mkdir()
    return tmp_path


def mounted(home: Path, options: str, code: str, *words: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run code with a tmpfs of its own at ``home/disk``; the test is skipped where nothing can be mounted."""
    if os.geteuid() or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("needs root with the right to mount")
    script = f"mount -t tmpfs -o {options} tmpfs {home}/disk || exit 1\n{before}\n{_LISTED}"
    return shell(home, script, code, *words, wrap=["unshare", "-m"])


def shell(
    home: Path, script: str, code: str, *words: str, wrap: list[str] | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run shell commands in a folder, in which ``"$@"`` runs the code."""
    command = [*(wrap or []), "bash", "-c", f"cd {home}\n{script}", "bash", sys.executable, "-c", code, *words]
    return subprocess.run(
        command, env={**clean_env(), "PYTHONPATH": str(ROOT), **env}, capture_output=True, text=True, timeout=60
    )


def check_refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    assert done.returncode == 9, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert any(words in done.stderr for words in said), done.stderr
    assert "  -> " in done.stderr
    assert "made" not in done.stdout
    assert "/.step." not in done.stdout


@pytest.mark.parametrize("options", ["size=64k", "size=4k", "size=64k,nr_inodes=2", "size=64k,nr_inodes=3", "ro"])
def test_a_step_on_a_bad_disk(home: Path, options: str) -> None:
    check_refused(mounted(home, options, STEP, f"{home}/disk", "300000"), "no space left", "is read-only")


def test_a_step_on_a_disk_with_room(home: Path) -> None:
    done = mounted(home, "size=4m", STEP, f"{home}/disk", "300000")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("300000\n")


@pytest.mark.parametrize("options", ["size=200k", "size=64k,nr_inodes=12", "size=8m"])
def test_a_step_that_is_restored_to_a_full_disk(
    home: Path, options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is run instead, which fails in the words of a step; nothing of it is left."""
    machine = Machine(tmp_path / "machine", monkeypatch)
    with serving_steps() as server:
        machine.store(server, machine.step(), (bytes(1_000_000), b"{}", b""))
        monkeypatch.undo()
        done = mounted(home, options, RESTORE, f"{home}/disk", server.base)
    assert done.returncode == 0, done.stderr
    said, *there = done.stdout.split("\n")
    files = {Path(name).name for name in there if Path(name).suffix != ".lock"}
    if options == "size=8m":
        assert (said, done.stderr) == ("restored", "")
        assert {"weights", "history.json", "train.json", "train.restored"} <= files
    else:
        assert said == "to be run"
        assert "tiny:train is not restored, and runs here: " in done.stderr
        assert "no space left on the disk" in done.stderr
        assert not {name for name in files if name.startswith((".train", "train", "weights", "history"))}


@pytest.mark.parametrize("options", ["size=64k", "size=4k", "size=2m,nr_inodes=3"])
def test_a_bundle_that_does_not_fit_on_its_disk(home: Path, options: str) -> None:
    """artifacts/ on a file system of its own: the folder is copied to it, and the old one stays until then."""
    (home / "new/imx93").mkdir(parents=True)
    for name in ("a", "b", "imx93/c"):
        (home / "new" / name).write_bytes(bytes(100_000))
    before = "mkdir disk/final; echo old > disk/final/old" if "nr_inodes" not in options else ""
    done = mounted(home, options, MOVE, str(home), before=before)
    check_refused(done, "no space left")
    assert done.stdout.split() == (["disk", "disk/final", "disk/final/old"] if before else ["disk"])


@pytest.mark.parametrize("blocks", [1, 100, 293])
def test_a_limit_on_the_size_of_files(home: Path, blocks: int) -> None:
    done = shell(home, f'ulimit -f {blocks}; "$@"; code=$?; find .; exit $code', STEP, str(home), "300000")
    if blocks == 293:  # 1,024 bytes each
        assert done.returncode == 0, done.stderr
    else:
        check_refused(done, "larger than this process may write")


@pytest.mark.parametrize("kind", ["missing", "full"])
def test_a_temporary_folder_that_cannot_be_written_is_not_used(home: Path, kind: str) -> None:
    if kind == "missing":
        done = shell(home, '"$@"', STEP, str(home), "300000", TMPDIR="/none")
    else:
        before = f"export TMPDIR={home}/disk; mkdir {home}/own; echo > disk/full"
        done = mounted(home, "size=4k,nr_inodes=2", STEP, f"{home}/own", "300000", before=before)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("300000\n")


def test_a_home_that_cannot_be_written_is_not_used(home: Path) -> None:
    """Matplotlib would leave a folder to take away at the end, when the step's own is gone."""
    draw = STEP.replace("stream.write(bytes(size))", "import matplotlib.pyplot")
    done = shell(home, '"$@"', draw, str(home), "300", HOME="/dev/null")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("kind", ["file", "circle", "long"])
def test_something_else_where_a_folder_belongs(home: Path, kind: str) -> None:
    place = home / ("x" * 300 if kind == "long" else "place")
    if kind == "file":
        place.write_text("no folder")
    elif kind == "circle":
        place.symlink_to(place)
    check_refused(shell(home, '"$@"', STEP, str(place), "10"), "cannot be read or written: ")
