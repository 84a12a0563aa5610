"""Kills at random moments, of doit and of all its steps, and several doits at once: no half-made artifact is left."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.campaign import small
from tests.campaign.case import Case, Outcome
from tests.support.checkouts import Checkout, clean_env

#: What is taken away before, so that there is something to build; most of it in seconds.
_WORK = {
    "card": f"artifacts/{small.MODEL}/README.md",
    "bundle": f"artifacts/{small.MODEL}/SHA256SUMS",
    "evaluate": f"build/{small.MODEL}/evaluation.json",
    "validate": f"build/{small.MODEL}/validation.json",
    "record": f"build/{small.MODEL}/records/card.json",
    "int8": f"build/{small.MODEL}/{small.MODEL}_int8.tflite",
}


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Without end; the small model that they copy is built before the first one runs."""
    built = small.build_small(folder)
    good = built.hashes("artifacts/*/*")
    while True:
        work = rng.choice(sorted(_WORK))
        doits, whole = rng.choice([1, 1, 2, 3]), rng.random() < 0.5
        moments = [rng.uniform(0.05, 8) for _ in range(rng.choice([1, 1, 2]))]
        edit = rng.random() < 0.3
        what = f"{doits} doits, killed after {', '.join(f'{moment:.2f}' for moment in moments)} s; to do: {work}"
        what += "; steps too" * whole + "; the card's code changes meanwhile" * edit
        yield Case("kills", what, functools.partial(_run, built, good, work, doits, moments, whole, edit))


def _run(
    built: Checkout, good: dict[str, str], work: str, doits: int, moments: list[float], whole: bool, edit: bool
) -> Outcome:
    checkout = small.copy_small(built)
    (checkout.root / _WORK[work]).unlink()
    page = checkout.root / "utils/steps/card.md.j2"
    text = page.read_text()
    for moment in moments:
        running = [_start(checkout) for _ in range(doits)]
        with contextlib.suppress(subprocess.TimeoutExpired):
            running[0].wait(moment)
        if edit:
            page.write_text(text.replace("## Introduction", "## What it is"))
        for build in running:
            if whole:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(build.pid, signal.SIGKILL)
            build.kill()
            build.wait()
        if edit:
            page.write_text(text)
        if not _all_whole(checkout):
            return Outcome.LOST
    last = [_start(checkout) for _ in range(doits)]
    try:
        codes = [build.wait(60) for build in last]
    except subprocess.TimeoutExpired:
        print("a doit after the kill does not end")
        return Outcome.HANG
    if any(codes):
        print("a doit after the kill failed")
        return Outcome.WRONG
    left = [*checkout.root.glob("build/*/records/.*"), *checkout.root.glob("artifacts/.*")]
    if left:
        print(f"left behind: {left}")
        return Outcome.WRONG
    return small.check_whole(checkout, good) or Outcome.RIGHT


def _start(checkout: Checkout) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "doit", small.MODEL]
    return subprocess.Popen(command, cwd=checkout.root, env=clean_env(), start_new_session=True)


def _all_whole(checkout: Checkout) -> bool:
    """Whether a bundle that has check sums is what they say; what the case itself took away may be missing."""
    bundle = checkout.root / "artifacts" / small.MODEL
    if not (bundle / "SHA256SUMS").is_file():
        return True
    done = subprocess.run(
        ["sha256sum", "-c", "--quiet", "--strict", "--ignore-missing", "SHA256SUMS"], cwd=bundle, check=False
    )
    return done.returncode == 0
