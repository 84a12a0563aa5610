"""What git knows of the checkout."""

from __future__ import annotations

import subprocess

from utils import paths
from utils.errors import ReleaseError

__all__ = ["changed", "commit", "time", "tracked"]


def commit() -> str:
    """The commit that is checked out, in hex."""
    return _git("rev-parse", "--verify", "HEAD").strip()


def time() -> int:
    """When that commit was made, in seconds since 1970: the time of everything in a release."""
    return int(_git("show", "-s", "--format=%ct", "HEAD"))


def changed() -> dict[str, bool]:
    """Files that are not as the commit has them -> whether the commit has them at all."""
    lines = _git("status", "--porcelain", "--no-renames", "--untracked-files=all", "-z").split("\0")
    return {line[3:]: line[0] not in "?A" for line in lines if line[3:]}


def tracked() -> list[str]:
    """Every file that git keeps, from the project's root."""
    return [name for name in _git("ls-files", "-z").split("\0") if name]


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
            hint="a release is made in a git clone with at least one commit",
        )
    return done.stdout
