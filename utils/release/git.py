"""Read the state of the checkout from git."""

from __future__ import annotations

import subprocess
from pathlib import Path

from utils import paths
from utils.errors import ReleaseError

__all__ = ["archive", "changed", "commit", "has_commit", "time", "tracked"]


def commit() -> str:
    """Get the checked-out commit, in hex."""
    return _git("rev-parse", "--verify", "HEAD").strip()


def time() -> int:
    """Get the time of that commit, in seconds since 1970: the time of everything in a release."""
    return int(_git("show", "-s", "--format=%ct", "HEAD"))


def changed() -> dict[str, bool]:
    """List files that differ from the commit -> whether the commit has them."""
    lines = _git("status", "--porcelain", "--no-renames", "--untracked-files=all", "-z").split("\0")
    return {line[3:]: line[0] not in "?A" for line in lines if line[3:]}


def tracked() -> list[str]:
    """List every file that git tracks, relative to the project's root."""
    return [name for name in _git("ls-files", "-z").split("\0") if name]


def has_commit(commit: str) -> bool:
    """Whether the clone has a commit.

    Args:
        commit: in hex.
    """
    command = ["git", "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(command, cwd=paths.ROOT, capture_output=True).returncode == 0


def archive(commit: str, to: Path) -> None:
    """Write the files of a commit, in hex, as a tar."""
    _git("archive", "--format=tar", f"--output={to}", commit)


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=paths.ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        raise ReleaseError("git is not installed", hint="apt-get install git, or use the image") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise ReleaseError(
            f"git cannot tell the state of the checkout: {said[0] if said else 'no reason given'}",
            where=str(paths.ROOT),
            hint="make the release in a git clone with at least one commit",
        )
    return done.stdout
