"""Archives: what is unpacked, and every way in which one is refused."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from threading import Thread
from typing import Literal

import pytest

from utils.errors import DataError, StorageError
from utils.sources.unpack import unpack

Mode = Literal["w", "w:gz", "w:bz2"]


def tar(path: Path, *members: tuple[str, bytes | str] | tarfile.TarInfo, mode: Mode = "w:gz") -> Path:
    """Make a tar of files (bytes) and symbolic links (str)."""
    with tarfile.open(path, mode) as file:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                file.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            if isinstance(member[1], bytes):
                info.size = len(member[1])
                file.addfile(info, io.BytesIO(member[1]))
            else:
                info.type, info.linkname = tarfile.SYMTYPE, member[1]
                file.addfile(info)
    return path


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2"])
def test_tar_without_a_suffix(tmp_path: Path, mode: Mode) -> None:
    archive = tar(tmp_path / "0123", ("m/saved_model.pb", b"graph"), ("m/latest", "saved_model.pb"), mode=mode)
    to = tmp_path / "deep" / "out"
    assert unpack(archive, to) == to
    assert tree(to) == {"m/saved_model.pb": b"graph", "m/latest": b"graph"}
    assert (to / "m/latest").is_symlink()
    assert list(to.parent.iterdir()) == [to]
    assert to.stat().st_mode & 0o055  # not the private mode of a temporary folder


def test_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "0123", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/b.txt", b"text" * 1000)
    assert tree(unpack(tmp_path / "0123", tmp_path / "out")) == {"a/b.txt": b"text" * 1000}


def test_modes_and_owners_of_outside_are_dropped(tmp_path: Path) -> None:
    program = special("program", tarfile.REGTYPE)
    program.mode, program.uid, program.gid, program.uname = 0o6777, 12345, 12345, "nobody"
    unpack(tar(tmp_path / "a", program, ("plain", b"x")), tmp_path / "out")
    facts = (tmp_path / "out/program").stat()
    assert (facts.st_mode & 0o7777, facts.st_uid, facts.st_gid) == (0o755, os.getuid(), os.getgid())
    assert (tmp_path / "out/plain").stat().st_mode & 0o7777 == 0o644


def test_takes_the_place_of_an_older_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").write_text("old")
    unpack(tar(tmp_path / "a", ("new", b"new")), tmp_path / "out")
    assert tree(tmp_path / "out") == {"new": b"new"}


def test_the_folder_is_there_at_every_moment(tmp_path: Path) -> None:
    """A kill between two renames would leave none."""
    archive, to = tar(tmp_path / "a", ("new", b"new")), tmp_path / "out"
    unpack(archive, to)
    looked = missing = 0
    work = Thread(target=lambda: [unpack(archive, to) for _ in range(300)])
    work.start()
    while work.is_alive():
        looked += 1
        missing += not to.exists()
    work.join()
    assert looked > 100
    assert missing == 0


def test_what_a_killed_run_left_is_swept(tmp_path: Path) -> None:
    """Killed while it unpacked, and, where folders cannot be exchanged, between its two renames."""
    for left in (".out.new.killed", ".out.old"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "old").write_text("old")
    unpack(tar(tmp_path / "a", ("new", b"new")), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "out"]
    assert tree(tmp_path / "out") == {"new": b"new"}


@pytest.mark.parametrize(
    ("members", "names"),
    [
        ([("../evil", b"x")], "'../evil' leaves the folder"),
        ([("a/../../evil", b"x")], "leaves the folder"),
        ([("/tmp/evil", b"x")], "'/tmp/evil' is absolute"),
        ([("a\\evil", b"x")], "backslash"),
        ([("out", "/etc/passwd")], "links to '/etc/passwd', which is absolute"),
        ([("out", "../secret")], "links to '../secret', which leaves the folder"),
        ([("a/out", "../../secret")], "leaves the folder"),
        ([("d", "."), ("l", "d/../secret")], "is a link with .. inside its path"),
        ([("d", "."), ("d/evil", b"x")], "'d/evil' goes through a link"),
        ([("d", "e"), ("d", b"x")], "'d' goes through a link"),
        ([("a/s", "../x"), special("h", tarfile.LNKTYPE, "a/s")], "'h' goes through a link"),
        ([special("h", tarfile.LNKTYPE, "../../etc/passwd")], "leaves the folder"),
        ([special("null", tarfile.CHRTYPE)], "'null' is a device"),
        ([special("pipe", tarfile.FIFOTYPE)], "'pipe' is a device or a pipe"),
        ([("twice", b"x"), ("twice", b"y")], "'twice' has the same path as another member"),
        ([("a", b"x"), ("a/b", b"y")], "'a/b' has the same path as another member"),
        ([("a/b", b"x"), ("a", b"y")], "'a' has the same path as another member"),
        ([("n" * 256, b"x")], "has a name that is too long"),
        ([("n/" * 2000, b"x")], "has a name that is too long"),
        ([("\x1b[2J\u202e/../x", b"x")], "'\\\\x1b[2J\\\\u202e/../x' leaves the folder"),
    ],
)
def test_hostile_tar(tmp_path: Path, members: list[tuple[str, bytes | str]], names: str) -> None:
    (tmp_path / "box").mkdir()
    archive = tar(tmp_path / "box/archive", ("good", b"x"), *members)
    with pytest.raises(DataError) as caught:
        unpack(archive, tmp_path / "box/out")
    assert names in str(caught.value)
    assert "archive: member" in str(caught.value)
    assert str(caught.value).replace("\n", "").isprintable()
    assert list((tmp_path / "box").iterdir()) == [archive]
    assert list(tmp_path.iterdir()) == [tmp_path / "box"]


@pytest.mark.parametrize(
    ("name", "mode", "names"),
    [
        ("../evil", 0, "leaves the folder"),
        ("/evil", 0, "is absolute"),
        ("link", 0o120777, "is a link, a device or a pipe"),
    ],
)
def test_hostile_zip(tmp_path: Path, name: str, mode: int, names: str) -> None:
    with zipfile.ZipFile(tmp_path / "archive", "w") as file:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        file.writestr(info, b"/etc/passwd")
    with pytest.raises(DataError, match=names):
        unpack(tmp_path / "archive", tmp_path / "out")
    assert list(tmp_path.iterdir()) == [tmp_path / "archive"]


def test_encrypted_zip(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("secret", b"x")
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 8
    data[at : at + 2] = struct.pack("<H", 1)
    path.write_bytes(data)
    with pytest.raises(DataError, match="is encrypted"):
        unpack(path, tmp_path / "out")


def test_bombs(tmp_path: Path) -> None:
    archive = tar(tmp_path / "tar", ("zeros", bytes(1_000_000)))
    with pytest.raises(DataError, match=r"'zeros' makes the archive larger than the 999999 bytes"):
        unpack(archive, tmp_path / "out", max_bytes=999_999)
    with zipfile.ZipFile(tmp_path / "zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(1_000_000))
    with pytest.raises(DataError, match="larger than"):
        unpack(tmp_path / "zip", tmp_path / "out", max_bytes=999_999)
    assert not (tmp_path / "out").exists()
    unpack(archive, tmp_path / "out", max_bytes=1_000_000)


def pax(count: int, value: str, *, name: str = "x") -> bytes:
    """Make a packed tar of one file with so many pax headers before it."""
    block = tarfile.TarInfo._create_pax_generic_header({"comment": value}, tarfile.XHDTYPE, "utf-8")  # type: ignore[attr-defined]
    return gzip.compress(block * count + tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT) + bytes(1024), 1)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (pax(1, "x" * 100_000_000), "has more metadata about its members than is allowed"),
        (pax(1000, "x" * 100_000), "has more metadata about its members than is allowed"),
        (pax(5000, "x"), "damaged|says more"),
    ],
    ids=["pax", "much pax", "pax in pax"],
)
def test_headers_are_not_read_beyond_a_bound(tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "a").write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=why):
            unpack(tmp_path / "a", tmp_path / "out")
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_tar_of_very_many_members(tmp_path: Path) -> None:
    block = tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT)
    (tmp_path / "a").write_bytes(gzip.compress(block * 100_000 + bytes(1024), 1))
    with pytest.raises(DataError, match="has the same path as another"):
        unpack(tmp_path / "a", tmp_path / "out")
    folder = special("d", tarfile.DIRTYPE).tobuf(tarfile.USTAR_FORMAT)
    (tmp_path / "b").write_bytes(gzip.compress(folder * 100_000 + bytes(1024), 1))
    with pytest.raises(DataError, match="10000 members allowed"):
        unpack(tmp_path / "b", tmp_path / "out")


def test_a_zip_that_says_too_much(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as file:
        for number in range(300):
            file.writestr(f"{number}" + "n" * 65_000, b"")
    with pytest.raises(DataError, match="has more metadata about its members than is allowed"):
        unpack(tmp_path / "a", tmp_path / "out")


@pytest.mark.parametrize("time", ["inf", "nan", "1e300", "-1e300"])
def test_times_of_outside_are_dropped(tmp_path: Path, time: str) -> None:
    with tarfile.open(tmp_path / "a", "w:gz", format=tarfile.PAX_FORMAT) as file:
        info = tarfile.TarInfo("x")
        info.pax_headers = {"mtime": time}
        file.addfile(info)
    assert (unpack(tmp_path / "a", tmp_path / "out") / "x").stat().st_mtime == 0


def test_a_file_with_holes(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w", format=tarfile.PAX_FORMAT) as file:
        info = tarfile.TarInfo("x")
        info.pax_headers = {"GNU.sparse.map": "0,1,99,1", "GNU.sparse.size": "100"}
        file.addfile(info)
    with pytest.raises(DataError, match="'x' is a sparse file"):
        unpack(tmp_path / "a", tmp_path / "out")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_cut_short(tmp_path: Path, mode: Mode) -> None:
    whole = tar(
        tmp_path / "whole",
        ("noise", b"".join(struct.pack("<I", i * 2654435761 % 2**32) for i in range(50_000))),
        mode=mode,
    )
    (tmp_path / "cut").write_bytes(whole.read_bytes()[:100_000])
    with pytest.raises(DataError, match="damaged"):
        unpack(tmp_path / "cut", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut", "whole"]


def test_damaged(tmp_path: Path) -> None:
    data = bytearray(tar(tmp_path / "tar", ("a", bytes(range(256)) * 40)).read_bytes())
    data[-8] ^= 1  # the CRC of gzip
    (tmp_path / "tar").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "zip", "w") as file:
        file.writestr("a", b"abcdefgh")
    (tmp_path / "zip").write_bytes((tmp_path / "zip").read_bytes().replace(b"abcdefgh", b"abcdefgX"))
    for name in ("tar", "zip"):
        with pytest.raises(DataError, match="damaged"):
            unpack(tmp_path / name, tmp_path / "out")


def test_not_an_archive(tmp_path: Path) -> None:
    (tmp_path / "page").write_text("<html>404</html>")
    with pytest.raises(DataError, match="neither a tar nor a zip"):
        unpack(tmp_path / "page", tmp_path / "out")
    with pytest.raises(DataError, match="cannot be read: No such file"):
        unpack(tmp_path / "absent", tmp_path / "out")


def test_no_room_for_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="file"):
        unpack(tar(tmp_path / "a", ("new", b"new")), tmp_path / "file/out")
