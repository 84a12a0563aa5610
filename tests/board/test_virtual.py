"""The virtual board: bundles on aarch64, under qemu-user; alone, and as the board behind a real sshd."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.boards import MODEL, Sshd, measure
from tests.support.checkouts import ROOT, Checkout
from utils.board import Bundle
from utils.board.virtual import Virtual

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(1200)]

#: How the kernel knows a program for aarch64, as Debian's qemu-user-static tells it.
ELF = (
    rb":qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    rb":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:F"
)


def env_of(root: Path, **more: str) -> dict[str, str]:
    return {"ZOO_BOARD_ROOT": str(root), **more}


def in_root(root: Path, bundle: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a Python script says in there."""
    monkeypatch.setenv("ZOO_BOARD_ROOT", str(root))
    seen = Virtual()._run(Bundle(MODEL, bundle, {}), ["-c", script])
    assert seen.code == 0, seen.err
    return seen.out


def test_every_bundle_validates(built: Checkout, board_root: Path) -> None:
    done = built.doit("board", "target=virtual", env=env_of(board_root), timeout=1000)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASS on cpu, tflite_runtime 2.14.0") == 4
    for model in (MODEL, "demo_bilinear"):
        bundle = built.root / "artifacts" / model
        seen = json.loads((bundle / "board" / "virtual.json").read_text())
        assert seen["bsp"]["machine"] == "aarch64"
        assert seen["bsp"]["python"].startswith("3.11.")
        assert seen["bsp"]["os"]["VERSION_CODENAME"] == "bookworm"
        assert seen["emulated"]
        assert 0 < seen["memory"]["peak"] <= seen["memory"]["limit"] == 512 << 20
        card = (bundle / "README.md").read_text()
        assert card.count("| virtual, ") == 2
        assert "aarch64, emulated | tflite_runtime 2.14.0 | int8 | cpu | **PASS** | - | - |" in card


def test_the_same_numbers_as_here(built_once: Checkout, board_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The golden tensors are the reference; the picture has to give the same answers with the same scores too."""
    monkeypatch.setenv("ZOO_BOARD_ROOT", str(board_root))
    bundle = built_once.root / "artifacts" / MODEL
    asked = ["example.py", "-i", "example_input.png", "--json", "-n", "1"]
    here = json.loads(subprocess.run([sys.executable, *asked], cwd=bundle, capture_output=True, check=True).stdout)
    there = json.loads(Virtual()._run(Bundle(MODEL, bundle, {}), asked).out)
    for ours, theirs in zip(here["models"], there["models"], strict=True):
        first, second = (entry["predictions"][0]["top"] for entry in (ours, theirs))
        assert first[0]["label"] == second[0]["label"]
        for one, other in zip(first, second, strict=True):
            assert abs(one["score"] - other["score"]) <= (0.001 if ours["variant"] == "float32" else 0.02)


def test_it_is_as_bare_as_a_board(built_once: Checkout, board_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = """
import json, os, socket, tempfile
def fails(action):
    try:
        action()
    except OSError as error:
        return error.strerror
print(json.dumps({
    "uid": os.getuid(),
    "root": [fails(lambda: open(f"{place}/x", "w")) for place in ("", "/etc", "/usr/lib", "/run", "/run/bundle")],
    "tmp": fails(lambda: tempfile.TemporaryFile("w").write("x")),
    "network": fails(lambda: socket.create_connection(("192.0.2.1", 80), timeout=3)),
    "interfaces": [name for _, name in socket.if_nameindex()],
    "env": sorted(os.environ),
}))
"""
    found = json.loads(in_root(board_root, built_once.root / "artifacts" / MODEL, script, monkeypatch))
    assert found["uid"] == 1000
    assert set(found["root"]) == {"Read-only file system"}
    assert found["tmp"] is None
    assert found["network"] == "Network is unreachable"
    assert found["interfaces"] == ["lo"]
    assert set(found["env"]) <= {"LC_ALL", "PATH", "PWD"}


def test_too_much_memory(tmp_path: Path, board_root: Path) -> None:
    """In a process of its own: what a child is said to have taken begins with what its parent has."""
    (tmp_path / "example.py").write_text("x = b'x' * (600 << 20)\n")
    code = f"""
from pathlib import Path
from utils.board import Bundle
from utils.board.virtual import Virtual
Virtual().measure(Bundle({MODEL!r}, Path({str(tmp_path)!r}), {{}}), print)
"""
    env = {**os.environ, **env_of(board_root)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
    assert re.search(r"6\d\d MB of memory at peak, 512 MB are allowed", done.stderr), done.stderr


def test_what_is_missing_here_is_named(tmp_path: Path) -> None:
    """One line that tells what to install, or who has to make it."""
    prepare = [sys.executable, "-c", "from utils.board.virtual import Virtual; Virtual().prepare(print)"]
    env = {**os.environ, "PATH": str(tmp_path), "ZOO_BOARD_ROOT": str(tmp_path / "none")}
    done = subprocess.run(prepare, cwd=ROOT, env=env, capture_output=True, text=True)
    assert "bubblewrap, qemu-user-static, debootstrap is not installed" in done.stderr
    assert "apt-get install bubblewrap qemu-user-static debootstrap" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_user_without_rights(built: Checkout, board_root: Path, tmp_path: Path) -> None:
    """Who is not root cannot make the root, but can use it; and a bundle needs no build/ beside it."""
    shutil.rmtree(built.root / "build" / MODEL)
    for folder in (built.root, *built.root.parents):
        if folder == Path("/tmp"):
            break
        folder.chmod(0o755)
    subprocess.run(["chown", "-R", "1234:1234", built.root], check=True)
    user = ["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups", sys.executable, "-m", "utils.board"]
    env = env_of(tmp_path / "none", HOME=str(built.root))
    done = built.run(*user, "prepare", "virtual", env=env)
    if "Permission denied" in done.stderr:
        pytest.skip("this Python is root's alone")
    assert "virtual: only root can make the board's root" in done.stderr
    assert f"sudo docker/make-board {tmp_path}/none" in done.stderr
    done = built.run(*user, "run", "virtual", MODEL, env=env_of(board_root, HOME=str(built.root)))
    if "user namespaces" in done.stderr:
        pytest.skip("no user namespaces for users here")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"the card shows it after the next `doit {MODEL}`" in done.stdout
    assert (built.root / "artifacts" / MODEL / "board" / "virtual.json").is_file()


def test_a_damaged_root_is_one_line(built: Checkout, board_root: Path, tmp_path: Path) -> None:
    (tmp_path / "root" / "etc").mkdir(parents=True)
    shutil.copy(board_root / "etc" / "zoo-board", tmp_path / "root" / "etc")
    done = measure(built, "virtual", env_of(tmp_path / "root"))
    assert done.returncode == 12
    assert "virtual: the root cannot be entered: bwrap: " in done.stderr
    assert "docker/make-board" in done.stderr


def test_make_board_spares_what_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for words, complaint in (([str(tmp_path)], "no virtual board"), ([], "usage"), (["--image", "x"], "no more words")):
        done = subprocess.run([ROOT / "docker" / "make-board", *words], capture_output=True, text=True)
        assert done.returncode != 0
        assert complaint in done.stderr
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.fixture
def virtual_sshd(sshd: Sshd, board_root: Path) -> Sshd:
    """A board behind sshd that is the virtual one: its shell, its Python, its disk."""
    inside = sshd.folder / "inside"
    (sshd.folder / "mount").mkdir()
    (sshd.folder / "elf").write_bytes(ELF)
    inside.write_text(
        f"set -e\nmount -t binfmt_misc none /proc/sys/fs/binfmt_misc\n"
        f"cat {sshd.folder}/elf >/proc/sys/fs/binfmt_misc/register\n"
        f"mount --bind {board_root} {sshd.folder}/mount\nmount -o remount,ro,bind {sshd.folder}/mount\n"
        f"cd {sshd.folder}/mount\nmount --bind {sshd.home} home\nmount -t proc none proc\n"
        'exec chroot . /usr/bin/env -i HOME=/home PATH=/usr/bin:/bin sh -c "cd && $1"\n'
    )
    enter = f"exec unshare --user --map-root-user --mount --net --pid --fork --kill-child sh {inside}"
    sshd.board(f'{enter} "$SSH_ORIGINAL_COMMAND"')
    done = subprocess.run([*enter.split()[1:], "uname -m"], capture_output=True, text=True)
    if done.stdout != "aarch64\n":
        pytest.skip(f"needs a kernel whose user namespaces have binfmt_misc (Linux 6.7): {done.stderr.strip()}")
    return sshd


def test_the_virtual_board_over_ssh(built: Checkout, virtual_sshd: Sshd) -> None:
    env = {"ZOO_SSH_OPTIONS": virtual_sshd.options}
    begin = time.monotonic()
    done = measure(built, virtual_sshd.target, env)
    print(f"from nothing to the report: {time.monotonic() - begin:.1f} s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "int8: PASS on cpu, tflite_runtime 2.14.0" in done.stdout
    seen = json.loads(next((built.root / "artifacts" / MODEL / "board").glob("*.json")).read_text())
    assert seen["bsp"]["machine"] == "aarch64"
    assert (virtual_sshd.home / "nxp-model-zoo" / MODEL / "example.py").is_file()
    done = measure(built, virtual_sshd.target, env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing to copy: the board has all" in done.stdout


def test_a_read_only_virtual_board_over_ssh(built: Checkout, virtual_sshd: Sshd) -> None:
    env = {"ZOO_SSH_OPTIONS": virtual_sshd.options, "ZOO_BOARD_FOLDER": "/opt/zoo"}
    done = measure(built, virtual_sshd.target, env)
    assert done.returncode == 12
    assert "on the board is read-only" in done.stderr
