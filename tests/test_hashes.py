"""Hashes of files: each is read once, and again as soon as it may have changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from utils import files, hashes


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file, and no hash known."""
    monkeypatch.setattr(hashes, "known", {})
    (tmp_path / "file").write_bytes(b"one")
    return tmp_path / "file"


def test_a_file_is_described_by_size_and_sha256(file: Path) -> None:
    assert files.sha256(file) == digest_of(b"one")
    assert files.describe_file(file) == {"size": 3, "sha256": digest_of(b"one")}


def test_it_is_read_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = files.sha256(file)
    monkeypatch.setattr(hashlib, "file_digest", pytest.fail)
    assert files.sha256(file) == files.describe_file(file)["sha256"] == found


def test_what_is_known_of_a_file_that_looks_the_same_is_believed(file: Path) -> None:
    hashes.known[hashes.look_at(str(file), file.stat())] = "0" * 64
    assert files.sha256(file) == "0" * 64


@pytest.mark.parametrize("change", ["content", "time", "another file", "ctime"])
def test_each_sign_of_a_change_has_it_read_again(file: Path, change: str) -> None:
    before = file.stat()
    hashes.known[hashes.look_at(str(file), before)] = "0" * 64
    if change == "content":
        file.write_bytes(b"other")
    elif change == "time":
        os.utime(file, ns=(0, 0))
    elif change == "another file":
        (file.parent / "new").write_bytes(b"two")
        (file.parent / "new").replace(file)
    else:  # the same size, and the old time: as an edit looks that does not want to be seen
        while file.stat().st_ctime_ns == before.st_ctime_ns:
            file.write_bytes(b"two")
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (file.stat().st_mtime_ns, file.stat().st_size) == (before.st_mtime_ns, before.st_size)
    assert files.sha256(file) == digest_of(file.read_bytes())


def test_a_pipe_is_refused_and_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is not a regular file"):
        files.sha256(tmp_path / "pipe")
    with pytest.raises(OSError, match="is not a regular file"):
        files.sha256(tmp_path)


def test_a_process_that_runs_for_weeks_begins_anew(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "_MOST_KNOWN", 2)
    for number in range(7):
        (file.parent / str(number)).write_text(str(number))
        assert files.sha256(file.parent / str(number)) == digest_of(str(number).encode())
        assert len(hashes.known) <= 2
