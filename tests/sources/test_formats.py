"""What a file name promises, and files that hold it, are cut, or are something else."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from utils.sources.formats import PAGE, find_misfit, is_page


def hdf5(version: str) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w", libver=version) as file:
        file["a"] = np.arange(1000)
    return stream.getvalue()


def archive(kind: str) -> bytes:
    stream = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=stream, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("x"))
    else:
        with zipfile.ZipFile(stream, "w") as file:
            file.writestr("x", b"x" * 1000)
    return stream.getvalue()


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.arange(30_000, dtype=np.uint8).reshape(100, 100, 3)).save(stream, kind)
    return stream.getvalue()


NOISE = np.random.default_rng(0).bytes(50_000)
WHOLE = {
    "a.h5": hdf5("earliest"),
    "new.h5": hdf5("latest"),
    "a.tgz": gzip.compress(archive("tar")),
    "a-ubyte.gz": gzip.compress(NOISE),
    "a.bz2": bz2.compress(NOISE),
    "a.xz": lzma.compress(NOISE),
    "a.zip": archive("zip"),
    "a.jpg": picture("JPEG"),
    "a.png": picture("PNG"),
    "a.json": b'{"a": [1, 2]}',
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_fits_and_a_cut_or_another_one_does_not(tmp_path: Path, name: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(WHOLE[name])
    assert find_misfit(file, name.upper()) == ""
    for wrong in (WHOLE[name][: len(WHOLE[name]) // 2], b"", b"No such file.\n", NOISE):
        file.write_bytes(wrong)
        assert find_misfit(file, name).startswith("it is not a complete ")


def test_a_block_of_the_users_may_stand_before_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a", "w", userblock_size=1024) as file:
        file["a"] = np.arange(1000)
    assert find_misfit(tmp_path / "a", "a.h5") == ""


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.tar", archive("tar"), ""),
        ("a.tar", NOISE, "it is not a complete tar archive"),
        ("a.tflite", b"\x1c\0\0\0TFL3" + bytes(100), ""),
        ("a.tflite", b"\x1c\0\0\0TFL3", "it is not a complete TFLite file"),
        ("labels-idx1-ubyte", b"\0\0\x08\x01\0\0\0\x01x", ""),
        ("labels-idx1-ubyte", NOISE, "it is not a complete idx file"),
        ("labels.txt", b"cat\ndog\n", ""),
        ("labels.txt", b"\xef\xbb\xbf <!DOCTYPE HTML>", PAGE),
        ("weights", b"<html>", PAGE),
        ("a.json", b"[" * 100, "it is not a complete JSON document"),
        ("page.html", b"<html>", ""),
    ],
)
def test_formats_and_pages(tmp_path: Path, name: str, data: bytes, why: str) -> None:
    (tmp_path / "file").write_bytes(data)
    assert find_misfit(tmp_path / "file", name) == why
    assert is_page(tmp_path / "file") == (why == PAGE or name == "page.html")
