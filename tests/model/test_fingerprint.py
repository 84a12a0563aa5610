"""Fingerprints of weights: the same content gives the same hash anywhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkouts import ROOT
from utils import files
from utils.errors import DataError
from utils.model.fingerprint import fingerprint_weights as fingerprint


def test_fingerprint_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.h5"
    path.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert fingerprint(path) == {"name": "mine.h5", "size": 3, "sha256": digest}
    (tmp_path / "link.h5").symlink_to(path)  # the user's own; what it points to is what counts
    assert fingerprint(tmp_path / "link.h5") == {"name": "link.h5", "size": 3, "sha256": digest}


def test_fingerprint_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"abc")
    (folder / "variables" / "x").write_bytes(b"defg")
    first = fingerprint(folder)
    assert (first["name"], first["size"]) == ("mine", 7)
    shutil.copytree(folder, tmp_path / "copy" / "mine")
    assert fingerprint(tmp_path / "copy" / "mine") == first
    assert files.sha256(folder / "saved_model.pb") != first["sha256"]
    (folder / "variables" / "x").rename(folder / "variables" / "y")
    second = fingerprint(folder)
    assert second["sha256"] != first["sha256"]
    (folder / "variables" / "y").write_bytes(b"defh")
    assert fingerprint(folder)["sha256"] != second["sha256"]
    (folder / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match='"passwd" is a symbolic link'):
        fingerprint(folder)


def test_fingerprint_needs_no_heavy_module() -> None:
    heavy = ("tensorflow", "keras", "h5py", "numpy")
    code = f"import sys, utils.model.fingerprint; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
