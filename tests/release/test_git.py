"""What git says of a checkout, and why it cannot say it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.checkouts import Checkout
from tests.support.releases import git as run_git
from utils import paths
from utils.errors import ReleaseError
from utils.release import clean, git

MISSING = "a" * 40


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """A repository with two commits, in the place of the project's."""
    clone = Checkout(tmp_path / "clone")
    clone.root.mkdir()
    run_git(clone, "init", "-q")
    for text in ("first", "second"):
        (clone.root / "file").write_text(text)
        run_git(clone, "add", "file")
        run_git(clone, "commit", "-q", "-m", text)
    monkeypatch.setattr(paths, "ROOT", clone.root)
    return clone


def refused(commit: str = MISSING) -> str:
    with pytest.raises(ReleaseError) as caught:
        git.require_commit(commit, where="release 1.0.0")
    return str(caught.value)


@pytest.mark.usefixtures("clone")
def test_a_commit_that_is_there_and_one_that_is_not() -> None:
    head = git.commit()
    git.require_commit(head, where="")
    assert git.has_commit(head)
    assert not git.has_commit(MISSING)
    assert refused().startswith(f"release 1.0.0: this clone does not have the commit {MISSING[:12]}")
    assert "-> git fetch --tags, " in refused()


def test_a_shallow_clone_has_to_fetch_more(clone: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_git(clone, "rev-parse", "HEAD~1").strip()
    run_git(clone, "clone", "-q", "--depth=1", clone.root.as_uri(), str(tmp_path / "shallow"))
    monkeypatch.setattr(paths, "ROOT", tmp_path / "shallow")
    assert "this shallow clone does not have the commit" in refused(first)
    assert "-> git fetch --unshallow --tags, " in refused(first)


def test_a_folder_that_is_no_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "not a git repository" in refused()
    assert "-> run it in a git clone" in refused()
    assert "git fetch" not in refused()


def test_a_clone_of_another_user(clone: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    if subprocess.run(["git", "rev-parse"], cwd=clone.root, capture_output=True).returncode == 0:
        pytest.skip("this git does not ask whose clone it is")
    said = refused(run_git_head(clone))
    assert "dubious ownership" in said
    assert f"git config --global --add safe.directory {clone.root}" in said


def run_git_head(clone: Checkout) -> str:
    env = {key: value for key, value in os.environ.items() if key != "GIT_TEST_ASSUME_DIFFERENT_OWNER"}
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, cwd=clone.root, env=env, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.usefixtures("clone")
def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also inside a clean folder, which takes every error of the system for one of the disk."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    assert refused().startswith("git is not installed")

    def fill(place: Path) -> Path:
        git.require_commit(MISSING, where="")
        return place

    with pytest.raises(ReleaseError, match="git is not installed"), clean.folder(fill):
        pass


@pytest.mark.usefixtures("clone")
def test_an_archive_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError) as caught:
        git.archive(git.commit(), tmp_path / "nothing/commit.tar")
    assert f"git cannot write the files of {git.commit()[:12]}: fatal: " in str(caught.value)
    assert "look at the space on this disk" in str(caught.value)
    git.archive(git.commit(), tmp_path / "commit.tar")
    assert (tmp_path / "commit.tar").stat().st_size > 0
