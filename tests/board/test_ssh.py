"""Boards over SSH, against a real sshd on loopback; every trouble is made for real."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.boards import MODEL, Sshd, measure
from tests.support.checkouts import Checkout
from tests.support.delegates import CC, SOURCE

NEEDS_SSH = pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed")

#: BoardError and ValidationError of utils/errors.py.
BOARD, WRONG = 12, 8


def report_of(checkout: Checkout, target: str, model: str = MODEL) -> dict[str, Any]:
    file = checkout.root / "artifacts" / model / "board" / f"{target.replace(':', '_')}.json"
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def env_of(sshd: Sshd, **more: str) -> dict[str, str]:
    return {"ZOO_SSH_OPTIONS": sshd.options, **more}


def refused(done: subprocess.CompletedProcess[str], what: str, hint: str) -> None:
    """One error of two lines, no traceback, nothing kept."""
    assert done.returncode == BOARD, done.stdout + done.stderr
    assert what in done.stderr
    assert hint in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2, done.stderr


def seal(bundle: Path) -> None:
    """Make SHA256SUMS true again after a change."""
    names = [line.split("  ")[1] for line in (bundle / "SHA256SUMS").read_text().splitlines()]
    names += [file.name for file in bundle.iterdir() if file.is_file() and file.name not in {*names, "SHA256SUMS"}]
    sums = [f"{hashlib.sha256((bundle / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (bundle / "SHA256SUMS").write_text("".join(sums))


def test_from_nothing_to_a_report_and_again(built: Checkout, sshd: Sshd) -> None:
    libraries = sshd.folder / "lib"
    libraries.mkdir()
    (libraries / "libtim-vx.so").write_bytes(b"a library of the BSP")
    sshd.is_python(f'LD_LIBRARY_PATH={libraries} exec {sys.executable} "$@"')
    begin = time.monotonic()
    done = built.doit(f"board:{MODEL}", f"target={sshd.target}", env=env_of(sshd))
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - begin < 60
    bundle, board = built.root / "artifacts" / MODEL, sshd.home / "nxp-model-zoo" / MODEL
    assert f"board {MODEL} {sshd.target}: int8: PASS on cpu, ai_edge_litert" in done.stdout
    for name in ("example.py", "model.json", f"{MODEL}_int8.tflite", "golden_float32.npz"):
        assert (board / name).read_bytes() == (bundle / name).read_bytes()
    assert not (board / "README.md").exists()  # the card changes with each measurement, and nobody reads it there
    assert list((board / ".parts").iterdir()) == []

    report = report_of(built, sshd.target)
    assert report["bsp"]["kernel"] == os.uname().release
    os_release = Path("/etc/os-release")
    assert not os_release.exists() or report["bsp"]["os"]["ID"] in os_release.read_text()
    assert report["bsp"]["delegates"] == {
        str(libraries / "libtim-vx.so"): hashlib.sha256(b"a library of the BSP").hexdigest()
    }
    assert not report["emulated"]
    for entry in report["report"]["models"]:
        assert report["files"][entry["file"]] == hashlib.sha256((bundle / entry["file"]).read_bytes()).hexdigest()
        assert entry["check"]["verdict"] == "PASS"

    card = (bundle / "README.md").read_text()
    assert "## On boards" in card
    assert card.count(f"| {sshd.target}, ") == 2
    assert f"`{libraries / 'libtim-vx.so'}` " in card
    assert subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=bundle).returncode == 0

    done = built.doit(f"board:{MODEL}", f"target={sshd.target}", env=env_of(sshd))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing to copy: the board has all" in done.stdout
    assert "copied" not in done.stdout

    # A build knows of it: nothing to do but the card, which is as it should be; and a new card keeps it.
    done = built.doit("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train" not in done.stdout
    (bundle / "README.md").unlink()
    assert built.doit(MODEL).returncode == 0
    assert (bundle / "README.md").read_text().count(f"| {sshd.target}, ") == 2
    assert report_of(built, sshd.target)["bsp"] == report["bsp"]


@pytest.mark.slow
def test_only_what_changed_is_copied(built: Checkout, sshd: Sshd) -> None:
    assert measure(built, sshd.target, env_of(sshd)).returncode == 0
    (sshd.home / "nxp-model-zoo" / MODEL / f"{MODEL}_int8.tflite").write_bytes(b"damaged")
    (sshd.home / "nxp-model-zoo" / MODEL / "labels.txt").unlink()
    done = measure(built, sshd.target, env_of(sshd))
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": copied 2 of " in done.stdout


@pytest.mark.slow
def test_an_alias_and_a_folder_of_ones_own(built: Checkout, sshd: Sshd) -> None:
    config = sshd.folder / "client"
    config.write_text(
        f"Host my-board\n  HostName 127.0.0.1\n  Port {sshd.port}\n  IdentityFile {sshd.folder}/user\n"
        f"  UserKnownHostsFile {sshd.folder}/known\n"
    )
    env = {"ZOO_SSH_OPTIONS": f"-F {config}", "ZOO_BOARD_FOLDER": "~/a place 'apart"}
    done = measure(built, "my-board", env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (sshd.home / "a place 'apart" / MODEL / "example.py").is_file()
    assert report_of(built, "my-board")["target"] == "my-board"


@pytest.mark.slow
def test_a_talkative_login(built: Checkout, sshd: Sshd) -> None:
    with (sshd.folder / "board").open("r+") as file:
        script = file.read().replace("#!/bin/sh\n", "#!/bin/sh\necho 'Welcome to {board} 7'\n")
        file.seek(0)
        file.write(script)
    done = measure(built, sshd.target, env_of(sshd))
    assert done.returncode == 0, done.stdout + done.stderr
    assert report_of(built, sshd.target)["report"]["models"]


@pytest.mark.slow
def test_a_dropped_connection_goes_on(built: Checkout, sshd: Sshd) -> None:
    large = np.random.default_rng(0).bytes(80_000_000)
    (built.root / "artifacts" / MODEL / "zz.bin").write_bytes(large)
    seal(built.root / "artifacts" / MODEL)
    part = sshd.home / "nxp-model-zoo" / MODEL / ".parts" / hashlib.sha256(large).hexdigest()
    killed = []

    def kill_half_way() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not killed:
            if part.is_file() and part.stat().st_size > len(large) // 10:
                for pid in sshd.sessions():
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
            time.sleep(0.002)

    killer = threading.Thread(target=kill_half_way)
    killer.start()
    done = measure(built, sshd.target, env_of(sshd))
    killer.join()
    assert killed
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the connection was lost" in done.stdout
    assert "resumes: " in done.stdout
    assert "copied 1 of " in done.stdout
    assert (sshd.home / "nxp-model-zoo" / MODEL / "zz.bin").read_bytes() == large


@pytest.mark.slow
def test_a_board_that_stays_away_ends_the_run(built: Checkout, sshd: Sshd) -> None:
    """It dies while example.py runs, and does not come back."""
    script = (sshd.folder / "board").read_text()
    stop = f"case $SSH_ORIGINAL_COMMAND in *example.py*) kill -9 {sshd.process.pid} $PPID;; esac"
    sshd.board(script.replace("#!/bin/sh\n", f"{stop}\n"))
    begin = time.monotonic()
    done = measure(built, sshd.target, env_of(sshd))
    refused(done, f"{sshd.target}: the connection was lost (", "the next run resumes")
    assert done.stdout.count("; again in ") == 5
    assert time.monotonic() - begin < 90


@pytest.mark.slow
def test_several_boards_side_by_side(built: Checkout, start_sshd: Callable[[], Sshd]) -> None:
    first, second, broken = start_sshd(), start_sshd(), start_sshd()
    broken.python.unlink()
    known = "".join((board.folder / "known").read_text() for board in (first, second, broken))
    users = "".join((board.folder / "user.pub").read_text() for board in (first, second, broken))
    (first.folder / "known").write_text(known)
    for board in (first, second, broken):
        (board.folder / "authorized").write_text(users)
    done = measure(built, f"{first.target},{broken.target},{second.target}", env_of(first))
    assert done.returncode == BOARD, done.stdout + done.stderr
    assert f"{broken.target}: python3 is not installed on the board" in done.stderr
    for board in (first, second):
        assert report_of(built, board.target)["report"]["models"]
    card = (built.root / "artifacts" / MODEL / "README.md").read_text()
    assert card.count(f"| {first.target}, ") == card.count(f"| {second.target}, ") == 2
    assert broken.target not in card


@pytest.mark.slow
def test_two_models_on_one_board_wait_for_each_other(built: Checkout, sshd: Sshd) -> None:
    marks = sshd.folder / "marks"
    marks.mkdir()
    script = (sshd.folder / "board").read_text()
    body = script.removeprefix("#!/bin/sh\n").replace("exec ", "")
    sshd.board(f"mkdir {marks}/busy || touch {marks}/both\n({body})\ncode=$?\nrmdir {marks}/busy; exit $code")
    done = built.doit("-n", "2", "board", f"target={sshd.target}", env=env_of(sshd))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASS on cpu") == 4
    assert not (marks / "both").exists()


@pytest.mark.slow
def test_a_wrong_answer_is_kept_and_shown(built: Checkout, sshd: Sshd) -> None:
    bundle = built.root / "artifacts" / MODEL
    with np.load(bundle / "golden_int8.npz") as golden:
        arrays = dict(golden)
    arrays["output"] = np.bitwise_not(arrays["output"])  # the golden tensors of no model
    np.savez(bundle / "golden_int8.npz", **arrays)
    seal(bundle)
    done = measure(built, sshd.target, env_of(sshd))
    assert done.returncode == WRONG, done.stdout + done.stderr
    models = {entry["variant"]: entry for entry in report_of(built, sshd.target)["report"]["models"]}
    assert models["float32"]["check"]["verdict"] == "PASS"
    verdict = models["int8"]["check"]["verdict"]
    assert verdict in ("MISMATCH", "FIXED_OUTPUT")  # the small demo has learnt so little that either may be said
    assert f"{sshd.target}: {MODEL}_int8.tflite on cpu: {verdict}: " in done.stderr
    assert f"**{verdict}**" in (bundle / "README.md").read_text()


# Troubles on the way


def test_an_unknown_host_key(built: Checkout, sshd: Sshd) -> None:
    (sshd.folder / "known").write_text("")
    refused(measure(built, sshd.target, env_of(sshd)), "the host key is unknown", "once, and compare")
    assert (sshd.folder / "known").read_text() == ""


def test_another_host_key(built: Checkout, sshd: Sshd) -> None:
    other = (sshd.folder / "user.pub").read_text()
    (sshd.folder / "known").write_text(f"[127.0.0.1]:{sshd.port} {other}")
    done = measure(built, sshd.target, env_of(sshd))
    refused(done, "the host key has changed", f"`ssh-keygen -R '[127.0.0.1]:{sshd.port}'`")


@pytest.mark.parametrize("wrong", ["key", "user"])
def test_not_let_in(built: Checkout, sshd: Sshd, wrong: str) -> None:
    """The server offers passwords too: nothing may wait for one."""
    target = sshd.target
    if wrong == "key":
        (sshd.folder / "authorized").write_text("")
    else:
        target = f"nobody-such@127.0.0.1:{sshd.port}"
    begin = time.monotonic()
    done = measure(built, target, env_of(sshd))
    refused(done, "the board refused this user and key; passwords are never asked for", "ssh-copy-id")
    assert time.monotonic() - begin < 20


def test_nothing_listens(built: Checkout, sshd: Sshd) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        refused(
            measure(built, f"127.0.0.1:{free.getsockname()[1]}", env_of(sshd)),
            "nothing listens on this port",
            "HOST:PORT",
        )


@pytest.mark.slow
def test_a_host_that_says_nothing(built: Checkout, sshd: Sshd) -> None:
    begin = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = measure(built, f"127.0.0.1:{silent.getsockname()[1]}", env_of(sshd))
    refused(done, "it cannot be reached", "check the board's power")
    assert time.monotonic() - begin < 30


def test_no_such_name(built: Checkout, sshd: Sshd) -> None:
    refused(measure(built, "board.invalid", env_of(sshd)), "the host name is unknown", "~/.ssh/config")


@NEEDS_SSH
@pytest.mark.parametrize("options", ["-o NoSuch=yes", "-F /no/such/file"])
def test_settings_that_ssh_does_not_know(built: Checkout, options: str) -> None:
    refused(measure(built, "127.0.0.1", {"ZOO_SSH_OPTIONS": options}), "ssh does not understand", "ZOO_SSH_OPTIONS")


@pytest.mark.parametrize(
    "target", ["-oProxyCommand=touch${IFS}x", "a b", "root@", "host:0", "host:99999", "a@b@c", "", ","]
)
def test_no_target(built_once: Checkout, target: str) -> None:
    done = measure(built_once, target, {})
    assert done.returncode == BOARD
    assert "is not a target" in done.stderr or "no board is named" in done.stderr
    assert "target=[USER@]HOST[:PORT]" in done.stderr or "target=root@HOST[:PORT]" in done.stderr


def test_no_ssh_here(built: Checkout, tmp_path: Path) -> None:
    done = built.run(sys.executable, "-m", "utils.board", "prepare", "root@board", env={"PATH": str(tmp_path)})
    refused(done, "ssh is not installed", "apt-get install openssh-client")


# Troubles on the board


def test_no_python(built: Checkout, sshd: Sshd) -> None:
    sshd.python.unlink()
    refused(measure(built, sshd.target, env_of(sshd)), "python3 is not installed on the board", "install it")


def test_no_numpy(built: Checkout, sshd: Sshd) -> None:
    sshd.is_python(f'exec {sys._base_executable} -I -S "$@"')  # type: ignore[attr-defined]
    refused(measure(built, sshd.target, env_of(sshd)), f"{sshd.target}: numpy is not installed", "pip install numpy")


def test_no_runtime(built: Checkout, sshd: Sshd) -> None:
    packages = sshd.folder / "packages"
    packages.mkdir()
    installed = Path(np.__file__).parent.parent
    for name in ("numpy", "numpy.libs"):
        if (installed / name).exists():
            (packages / name).symlink_to(installed / name)
    sshd.is_python(f'PYTHONPATH={packages} exec {sys._base_executable} -S "$@"')  # type: ignore[attr-defined]
    refused(measure(built, sshd.target, env_of(sshd)), "no TFLite runtime is installed", "tflite_runtime")


def test_a_python_that_fails(built: Checkout, sshd: Sshd) -> None:
    sshd.is_python("echo 'python3: libz.so.1: cannot open shared object file' >&2; exit 1")
    done = measure(built, sshd.target, env_of(sshd))
    refused(done, "Python on the board failed: python3: libz.so.1", "3.8 or newer")


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A small file system of its own."""
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder]).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize(("options", "why"), [("size=100k", "MB needed, "), ("nr_inodes=5", "the disk is full")])
def test_a_full_board(built: Checkout, sshd: Sshd, options: str, why: str) -> None:
    with mounted(sshd.home, options):
        done = measure(built, sshd.target, env_of(sshd))
        refused(done, "the board is full: ", "ZOO_BOARD_FOLDER=")
        assert why in done.stderr


@pytest.mark.slow
def test_a_board_that_fills_up_while_copying(built: Checkout, sshd: Sshd) -> None:
    """What was free when it was asked may be gone: the part that arrived stays, and the next run goes on."""
    bundle, size = built.root / "artifacts" / MODEL, 20_000_000
    (bundle / "zz.bin").write_bytes(np.random.default_rng(0).bytes(size))
    seal(bundle)
    with mounted(sshd.home, "size=30m"):
        ballast = sshd.home / "ballast"
        fill = f"head -c 15000000 /dev/zero >{ballast}"
        script = (sshd.folder / "board").read_text()
        at = f"PATH=/usr/bin:/bin; case $SSH_ORIGINAL_COMMAND in *receive*) {fill};; esac"
        sshd.board(script.replace("#!/bin/sh\n", f"{at}\n"))
        refused(measure(built, sshd.target, env_of(sshd)), "the board is full: ", "ZOO_BOARD_FOLDER=")
        ballast.unlink()
        sshd.board(script.removeprefix("#!/bin/sh\n"))
        done = measure(built, sshd.target, env_of(sshd))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "resumes: " in done.stdout


def test_a_read_only_board(built: Checkout, sshd: Sshd) -> None:
    with mounted(sshd.home, "ro"):
        refused(measure(built, sshd.target, env_of(sshd)), "on the board is read-only", "ZOO_BOARD_FOLDER=/var/lib")


def test_a_file_where_the_folder_should_be(built: Checkout, sshd: Sshd) -> None:
    (sshd.home / "nxp-model-zoo").write_text("mine")
    refused(measure(built, sshd.target, env_of(sshd)), "is not a folder", "ZOO_BOARD_FOLDER=/var/lib")


# Bundles


@NEEDS_SSH
def test_no_bundle_and_a_damaged_one(built: Checkout) -> None:
    env = {"ZOO_SSH_OPTIONS": "-F /dev/null"}
    shutil.rmtree(built.root / "artifacts" / "demo_bilinear")
    done = built.doit("board:demo_bilinear", "target=root@board.invalid", env=env)
    assert done.returncode != 0
    assert "there is no complete bundle" in done.stderr
    assert "doit demo_bilinear builds it" in done.stderr
    with (built.root / "artifacts" / MODEL / "labels.txt").open("a") as file:
        file.write("one more\n")
    done = built.doit("board", "target=root@board.invalid", env=env)
    missing = next(line for line in done.stdout.splitlines() if line.startswith("board: not built, so not run: "))
    assert "demo_bilinear" in missing
    assert MODEL not in missing
    assert "labels.txt changed after the build" in done.stderr
    assert not (built.root / "artifacts" / "demo_bilinear").exists()


def test_no_bundles_at_all(project: Checkout) -> None:
    done = project.doit("board", "target=root@board.invalid")
    assert done.returncode != 0
    assert "there is no bundle" in done.stderr


# An NPU


@pytest.mark.slow
@pytest.mark.skipif(CC is None, reason="no C compiler here to build the delegate with")
def test_the_board_s_own_npu_is_used(built: Checkout, sshd: Sshd) -> None:
    """Its delegate is found without a word; the report and the card say which library, by its hash, computed what."""
    file = sshd.folder / "lib" / "libvx_delegate.so"
    file.parent.mkdir()
    subprocess.run([str(CC), "-std=c11", "-O2", "-fPIC", "-shared", "-o", file, SOURCE, "-lm"], check=True)
    sshd.is_python(f'LD_LIBRARY_PATH={file.parent} exec {sys.executable} "$@"')
    done = measure(built, sshd.target, env_of(sshd))
    seen = report_of(built, sshd.target)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert seen["bsp"]["delegates"] == {str(file): digest}
    assert seen["report"]["delegate"]["sha256"] == digest
    assert {entry["delegate"] for entry in seen["report"]["models"]} == {"vx"}
    assert done.returncode == 0, done.stdout + done.stderr
    assert "int8: PASS on vx, " in done.stdout
    card = (built.root / "artifacts" / MODEL / "README.md").read_text()
    assert "| int8 | vx | **PASS** |" in card
    assert f"`{file}` {digest[:16]}" in card
