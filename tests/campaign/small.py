"""A small demo, built once for an area, that each case copies and harms; and how to judge what doit made of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.campaign.case import Outcome
from tests.support.checkouts import FAILED, Checkout, clean_env, copy_project, make_small

__all__ = ["MODEL", "build_small", "check_whole", "copy_small", "judge", "run_doit"]

MODEL = "demo_nearest"


def build_small(folder: Path) -> Checkout:
    """One model, built; look, do not touch."""
    checkout = make_small(copy_project(folder / "zoo"))
    done = run_doit(checkout, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return checkout


def copy_small(built: Checkout) -> Checkout:
    """A copy of it for one case, in its temporary folder."""
    root = Path(tempfile.mkdtemp(prefix="zoo")) / "zoo"
    shutil.copytree(built.root, root, symlinks=True)
    return Checkout(root)


def run_doit(
    checkout: Checkout, *words: str, before: str = "", env: dict[str, str] | None = None, timeout: float = 55
) -> subprocess.CompletedProcess[str]:
    """Run doit in it, after the shell commands ``before``, which see and change mounts of their own alone."""
    command = [sys.executable, "-m", "doit", *(words or (MODEL,))]
    if before:
        script = f'set -e\n{before}\nexec "$@"'
        command = ["unshare", "-m", "--propagation", "private", "bash", "-c", script, "bash", *command]
    return subprocess.run(
        command, cwd=checkout.root, env={**clean_env(), **(env or {})}, capture_output=True, text=True, timeout=timeout,
        errors="replace",
    )  # fmt: skip


def judge(done: subprocess.CompletedProcess[str], *words: str) -> Outcome:
    """What doit said of itself: right, a clear error that has one of the words, or a defect."""
    said = done.stdout + done.stderr
    print(said)
    if "Traceback" in said or "Error: " in said or done.returncode < 0:
        return Outcome.TRACEBACK
    if done.returncode == 0:
        return Outcome.RIGHT
    told = "error: " in said and any(word in said for word in words or ("  -> ",))
    return Outcome.CLEAR if told and done.returncode in (*FAILED, 9) else Outcome.WRONG


def check_whole(checkout: Checkout, good: dict[str, str]) -> Outcome | None:
    """LOST where an artifact is not one that a whole build made; else None."""
    found = checkout.hashes("artifacts/*/*")
    strange = {name for name, digest in found.items() if good.get(name) != digest}
    left = [file.name for file in (checkout.root / "artifacts").glob(".*")]
    gone = good.keys() - found.keys()
    if strange or left or gone:
        print(f"strange {strange}, left {left}, gone {gone}")
        return Outcome.LOST
    return None
