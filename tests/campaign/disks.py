"""Full, read-only and inode-less disks, file size limits, useless TMPDIRs and homes; needs root, for the mounts."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.campaign import small
from tests.campaign.case import Case, Outcome
from tests.support.checkouts import NOTHING, Checkout

#: What has to run, and what makes it so: nothing, the card alone, the conversion to int8 and all after it, training.
_WORK: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "card": (f"artifacts/{small.MODEL}/README.md",),
    "evaluate": (f"build/{small.MODEL}/evaluation.json",),
    "validate": (f"build/{small.MODEL}/validation.json",),
    "int8": (f"build/{small.MODEL}/{small.MODEL}_int8.tflite",),
    "train": (f"build/{small.MODEL}/model.weights.h5",),
}

#: The checkout may itself be below /tmp.
_NO_TMP = "mount --bind . /mnt\nmount -t tmpfs -o ro tmpfs /tmp\ncd /mnt"

_FULL = "mount -t tmpfs -o size={size},nr_inodes={inodes} tmpfs {place}"


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Without end; the small model that they copy is built before the first one runs."""
    built = small.build_small(folder)
    good = built.hashes("artifacts/*/*")
    while True:
        work = rng.choice(sorted(_WORK))
        what, before, env = _harm(rng)
        yield Case("disks", f"{what}; to do: {work}", functools.partial(_run, built, good, work, before, env))


def _harm(rng: random.Random) -> tuple[str, str, dict[str, str]]:
    """One kind of bad disk: what it is, the shell commands that make it, and variables."""
    size, inodes = rng.choice(["4k", "64k", "300k", "1m", "3m"]), rng.choice([2, 5, 12, 30, 10_000])
    records, place = f"build/{small.MODEL}/records", rng.choice(["artifacts", "build", f"build/{small.MODEL}"])
    kinds: list[Callable[[], tuple[str, str, dict[str, str]]]] = [
        lambda: (f"artifacts/ on a disk of {size}, {inodes} inodes", _own_disk("artifacts", size, inodes), {}),
        lambda: (f"build/ on a disk with {size} free", _own_disk("build", size, inodes, roomy=True), {}),
        lambda: (f"{place} read-only", _read_only(place), {}),
        lambda: ("the checkout read-only", _read_only("."), {}),
        lambda: ("the records read-only", _read_only(records), {}),
        lambda: ("code-digests/ cannot be written", _read_only("build/code-digests"), {}),
        lambda: ("TMPDIR on a full disk", "mkdir t\n" + _FULL.format(size="4k", inodes=2, place="t"), {"TMPDIR": "t"}),
        lambda: ("TMPDIR is missing and /tmp read-only", _NO_TMP, {"TMPDIR": "/none"}),
        lambda: ("HOME read-only", "mkdir h\n" + _read_only("h"), {"HOME": "h"}),
        lambda: ("HOME missing", "", {"HOME": "/none/at/all"}),
        lambda: (f"ulimit -f {(limit := rng.choice([0, 1, 2, 8, 20, 33, 60, 95, 200]))}", f"ulimit -f {limit}", {}),
        lambda: (f"ulimit -n {(limit := rng.choice([12, 20, 40, 64]))}", f"ulimit -n {limit}", {}),
        lambda: ("a full /dev/shm", _FULL.format(size="4k", inodes=2, place="/dev/shm"), {}),
    ]  # fmt: skip
    return rng.choice(kinds)()


def _own_disk(place: str, size: str, inodes: int, *, roomy: bool = False) -> str:
    """Commands that put a folder's contents on a disk of its own, which they may fill or not.

    A roomy one has ``size`` free beside what is on it.
    """
    if roomy:
        used = f"$(du -sk {place} | cut -f 1)"
        mount = f"mount -t tmpfs -o size=$(({used} + {int(size[:-1]) * (1024 if size[-1] == 'm' else 1)}))k tmpfs disk"
        return f"mkdir disk\n{mount}\ncp -a {place}/. disk/\nmount --bind disk {place}"
    mount = f"mount -t tmpfs -o size={size},nr_inodes={inodes} tmpfs disk"
    return f"mkdir disk\n{mount}\nmount --bind disk {place}"


def _read_only(place: str) -> str:
    return f"[ -e {place} ] || touch {place}\nmount --bind {place} {place}\nmount -o remount,ro,bind {place}\ncd ../zoo"


def _run(built: Checkout, good: dict[str, str], work: str, before: str, env: dict[str, str]) -> Outcome:
    checkout = small.copy_small(built)
    for name in _WORK[work]:
        (checkout.root / name).unlink()
    env = {name: value if value.startswith("/") else str(checkout.root / value) for name, value in env.items()}
    done = small.run_doit(checkout, before=before, env=env)
    outcome = small.judge(done, "no space left", "read-only", "no permission", "larger than this", "cannot be read or")
    if outcome is Outcome.RIGHT and work == "nothing" and "artifacts" not in before and NOTHING not in done.stdout:
        return Outcome.WRONG
    if outcome not in (Outcome.RIGHT, Outcome.CLEAR):
        return outcome
    is_away = "--bind disk artifacts" in before  # with the disk, all that was made on it is gone from our view
    missing = set(_WORK[work]) if outcome is Outcome.CLEAR or is_away else set()
    lost = small.check_whole(checkout, {name: digest for name, digest in good.items() if name not in missing})
    if lost and not (missing and not small.check_whole(checkout, good)):
        return lost
    again = small.run_doit(checkout)
    if small.judge(again) is not Outcome.RIGHT:
        return Outcome.WRONG
    return small.check_whole(checkout, good) or outcome
