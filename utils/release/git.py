"""Read the state of the checkout from git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from utils import paths
from utils.errors import ReleaseError
from utils.untrusted import as_text

__all__ = ["archive", "changed", "commit", "has_commit", "require_commit", "time", "tracked"]


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


def require_commit(commit: str, where: str) -> None:
    """Refuse a commit that the clone does not have.

    Args:
        commit: in hex.
        where: who needs it, for the message.

    Raises:
        ReleaseError: this is no git clone, git is not installed, or the clone does not have the commit.
    """
    if has_commit(commit):
        return
    is_shallow = _git("rev-parse", "--is-shallow-repository").strip() == "true"
    fetch = f"git fetch{' --unshallow' if is_shallow else ''} --tags"
    raise ReleaseError(
        f"this {'shallow ' if is_shallow else ''}clone does not have the commit {commit[:12]}",
        where=where,
        hint=f"{fetch}, from where the release was made",
    )


def has_commit(commit: str) -> bool:
    """Whether the clone has a commit.

    Args:
        commit: in hex.

    Raises:
        ReleaseError: this is no git clone, or git is not installed.
    """
    _git("rev-parse", "--git-dir")  # where it fails, git gives the same exit code as for an unknown commit
    return _run("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0


def archive(commit: str, to: Path) -> None:
    """Write the files of a commit, in hex, as a tar.

    Raises:
        ReleaseError: git cannot write it, or cannot read the files of the commit.
    """
    done = _run("archive", "--format=tar", f"--output={to}", commit)
    if done.returncode:
        raise ReleaseError(
            f"git cannot write the files of {commit[:12]}: {_reason_of(done)}",
            where=paths.relative(to.parent),
            hint="look at the space on this disk (df -h .) and at the clone (git fsck), then run it again",
        )


def _git(*arguments: str) -> str:
    done = _run(*arguments)
    if done.returncode:
        reason = _reason_of(done)
        hint = "run it in a git clone with at least one commit"
        if "dubious ownership" in reason:
            hint = f"make a clone of your own, or trust this one: git config --global --add safe.directory {paths.ROOT}"
        what = f"git cannot tell the state of the checkout: {reason}"
        raise ReleaseError(what, where=str(paths.ROOT), hint=hint)
    return done.stdout


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git; never raises on an exit code.

    Raises:
        ReleaseError: git is not installed.
    """
    # Reasons in English; and `git status` would write an index, which fails on a full disk.
    env = {**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        return subprocess.run(["git", *arguments], cwd=paths.ROOT, env=env, capture_output=True, text=True)
    except (FileNotFoundError, PermissionError):  # the latter: a file of this name that is no program
        raise ReleaseError("git is not installed", hint="apt-get install git, or use the image") from None


def _reason_of(done: subprocess.CompletedProcess[str]) -> str:
    said = done.stderr.strip().splitlines()
    return as_text(said[0]) if said else f"no reason given (exit code {done.returncode})"
