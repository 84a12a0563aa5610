"""Lists: what a row becomes, and each mistake refused with its line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from utils import paths
from utils.errors import RecipeError
from utils.recipe import lists

ONE, TWO, THREE = (hashlib.sha256(text).hexdigest() for text in (b"1", b"2", b"3"))
URLS = ("https://example.invalid/a/{file}", "http://mirror.invalid/{file}?raw={file}")


@pytest.fixture(autouse=True)
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are in recipes/."""
    monkeypatch.setattr(paths, "RECIPES", tmp_path)


def write(folder: Path, text: str | bytes) -> Path:
    file = folder / "list.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def read(file: Path, truth: lists.Truth = "label") -> tuple[lists.Row, ...]:
    return lists.read(file, truth, URLS, URLS[:1], "MIT", "a picture")


def test_labels(tmp_path: Path) -> None:
    first, second = read(write(tmp_path, f"file,label,sha256,size\na.JPEG,7,{ONE},12\nb.JPEG,0,{TWO},9\n"))
    assert (first.label, first.truth, first.sources) == (7, None, (first.source,))
    assert (second.label, second.source.name, second.source.what) == (0, "b.JPEG", "a picture")
    assert (first.source.name, first.source.size, first.source.sha256) == ("a.JPEG", 12, ONE)
    assert (first.source.md5, first.source.licence, first.source.what) == (None, "MIT", "a picture")
    assert not first.source.unpinned


def test_masks(tmp_path: Path) -> None:
    """Columns may stand in any order, lines end as on Windows."""
    text = f"mask,size,sha256,mask_size,file,mask_sha256\r\na.png,12,{ONE},3,a.jpg,{TWO}\r\n"
    (row,) = read(write(tmp_path, text), "mask")
    assert row.label is None
    assert row.truth is not None
    assert (row.truth.name, row.truth.size, row.truth.sha256) == ("a.png", 3, TWO)
    assert row.truth.urls == ("https://example.invalid/a/a.png",)  # by its own template
    assert (row.source.name, row.source.size, row.source.sha256) == ("a.jpg", 12, ONE)
    assert row.sources == (row.source, row.truth)


def test_recipes_of_several_tasks_share_a_list(tmp_path: Path) -> None:
    """Each takes, and fetches, what its own task is measured with."""
    file = write(tmp_path, f"file,sha256,size,label,boxes,boxes_sha256,boxes_size\na.jpg,{ONE},1,5,a.txt,{TWO},0\n")
    (labelled,), (boxed,), (masked,) = (read(file, truth) for truth in ("label", "boxes", "mask"))
    assert (labelled.label, labelled.sources) == (5, (labelled.source,))
    assert boxed.truth is not None
    assert (boxed.label, boxed.truth.name, len(boxed.sources)) == (None, "a.txt", 2)
    assert (masked.label, masked.truth) == (None, None)


def test_a_file_may_stand_in_a_folder(tmp_path: Path) -> None:
    """The same name in two folders is two files."""
    first, second = read(write(tmp_path, f"{HEAD}yes/a_1.wav,0,{ONE},1\n_noise_/a_1.wav,1,{TWO},1\n"))
    assert first.source.urls[0] == "https://example.invalid/a/yes/a_1.wav"
    assert second.source.name == "_noise_/a_1.wav"


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("n01440764_tench.JPEG", "n01440764_tench.JPEG"),
        ("jack-o'-lantern.JPEG", "jack-o%27-lantern.JPEG"),
        ("2007_004189.jpg", "2007_004189.jpg"),
    ],
)
def test_names_are_quoted_in_addresses(tmp_path: Path, name: str, quoted: str) -> None:
    (row,) = read(write(tmp_path, f"file,label,sha256,size\n{name},1,{ONE},12\n"))
    assert row.source.name == name
    assert row.source.urls == (
        f"https://example.invalid/a/{quoted}",
        f"http://mirror.invalid/{quoted}?raw={quoted}",
    )


HEAD = "file,label,sha256,size\n"
MASKS = "file,sha256,size,mask,mask_sha256,mask_size\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # the file
        (b"file,label,sha256,size\n\xff,1,2,3\n", "list.csv: the list cannot be read: 'utf-8' codec"),
        (HEAD + f'"a.jpg,1,{ONE},12\n', "list.csv: the list cannot be read: unexpected end of data"),
        ("", "list.csv: the list is empty"),
        (HEAD, "list.csv: the list has no files"),
        # its columns
        (f"file,label,sha256\na.jpg,1,{ONE}\n", "list.csv: the columns are file, label, sha256\n"),
        (f"file,sha256,size\na.jpg,{ONE},12\n", "list.csv: the columns are file, sha256, size\n"),
        (f"file,label,sha256,size,x\na.jpg,1,{ONE},12,y\n", "list.csv: the columns are file, label, sha256, size, x\n"),
        ("file,sha256,size,mask\n", "list.csv: the columns are file, mask, sha256, size\n"),
        (f"File,label,sha256,size\na.jpg,1,{ONE},12\n", "list.csv: the columns are File, label, sha256, size\n"),
        (f"{MASKS[:-1]},boxes\na.jpg,{ONE},1,a.png,{TWO},1,0\n", "list.csv: the columns are boxes, file, mask"),
        # its lines
        (f"{HEAD}a.jpg,1,{ONE}\n", "list.csv, line 2: the line has fewer values than the header has columns"),
        (f"{HEAD}a.jpg,1,{ONE},12,9\n", "list.csv, line 2: the line has more values than the header has columns"),
        (f"{HEAD}a.jpg\n", "list.csv, line 2: the line has fewer values than the header has columns"),
        (f"{HEAD}a.jpg,1,{ONE},12\n../b.jpg,1,{TWO},12\n", "list.csv, line 3: a malformed file name or sha256"),
        (f"{HEAD}a/../b.jpg,1,{ONE},12\n", "list.csv, line 2: a malformed file name"),
        (f"{HEAD}/b.jpg,1,{ONE},12\n", "list.csv, line 2: a malformed file name"),
        (f"{HEAD}a//b.jpg,1,{ONE},12\n", "list.csv, line 2: a malformed file name"),
        (f"{HEAD}a/b/c/d/e.jpg,1,{ONE},12\n", "list.csv, line 2: a malformed file name"),
        (f"{HEAD}.hidden,1,{ONE},12\n", "list.csv, line 2: a malformed file name"),
        (f"{HEAD},1,{ONE},12\n", "list.csv, line 2: a malformed file name"),
        (f"{HEAD}a.jpg,1,{ONE[:-1]},12\n", "list.csv, line 2: a malformed file name or sha256"),
        (f"{HEAD}a.jpg,1,{ONE.upper()},12\n", "list.csv, line 2: a malformed file name or sha256"),
        (f"{HEAD}a.jpg,1,,12\n", "list.csv, line 2: a malformed file name or sha256"),
        (f"{MASKS}a.jpg,{ONE},1,a.png,,1\n", "list.csv, line 2: a malformed file name or sha256"),
        (f"{HEAD}a.jpg,dog,{ONE},12\n", "list.csv, line 2: 'dog' is not a whole number"),
        (f"{HEAD}a.jpg,-1,{ONE},12\n", "list.csv, line 2: '-1' is not a whole number"),
        (f"{HEAD}a.jpg,²,{ONE},12\n", "list.csv, line 2: '²' is not a whole number"),
        (f"{HEAD}a.jpg,{'1' * 5000},{ONE},12\n", "is not a whole number"),
        (f"{HEAD}a.jpg,1,{ONE},1.5\n", "list.csv, line 2: '1.5' is not a whole number"),
        (f"{HEAD}a.jpg,1,{ONE},\n", "list.csv, line 2: '' is not a whole number"),
        (f"{MASKS}a.jpg,{ONE},1,a.png,{TWO},x\n", "list.csv, line 2: 'x' is not a whole number"),
        # its lines together
        (f"{HEAD}a.jpg,1,{ONE},12\nb.jpg,1,{ONE},12\n", "list.csv, line 3: the same content as in line 2"),
        (
            f"{HEAD}a.jpg,1,{ONE},12\nb.jpg,1,{TWO},12\na.jpg,1,{THREE},12\n",
            "list.csv, line 4: the same file name as in line 2",
        ),
        (
            f"{MASKS}a.jpg,{ONE},1,a.jpg,{TWO},1\n",
            "list.csv, line 2: the same file name as in line 2",
        ),
    ],
)
def test_broken(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read(write(tmp_path, text))
    assert said in str(caught.value)
    assert "\n  -> " in str(caught.value)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.csv: the list cannot be read: .*No such file.*\n  -> "):
        read(tmp_path / "none.csv")
