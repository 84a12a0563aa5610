"""The archives of a release: they contain only names and bytes, and any other archive is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

from utils import files, limits
from utils.untrusted import as_text

__all__ = ["StoredGzip", "read_archive", "write_archive"]

_SUFFIX = ".tar.gz"

#: Path of a file in a bundle: not hidden, no ``..``, no characters with a meaning for shells or terminals.
_MEMBER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*", re.ASCII)


def write_archive(file: Path, contents: dict[str, bytes], time: int) -> None:
    """Write a .tar.gz whose files are in a folder with the archive's name."""
    with file.open("wb") as stream:
        _write(stream, file.name.removesuffix(_SUFFIX), contents, time)


def _write(stream: Any, top: str, contents: dict[str, bytes], time: int) -> None:
    stored = StoredGzip(stream)
    with tarfile.open(fileobj=cast("BinaryIO", stored), mode="w|", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in sorted(contents.items()):
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mtime, entry.mode = len(data), time, 0o644
            archive.addfile(entry, io.BytesIO(data))
    stored.finish()


class StoredGzip:
    """Writes RFC 1952 with RFC 1951's stored blocks: the same bytes everywhere, because zlib is not used."""

    BLOCK = 0xFFFF  # bytes, the maximum of a stored block

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._waiting, self._crc, self._size = stream, b"", 0, 0
        stream.write(b"\x1f\x8b\x08\0\0\0\0\0\0\xff")  # deflate, no name, no time, no system

    def write(self, data: bytes) -> int:
        """Take some bytes."""
        self._crc, self._size = zlib.crc32(data, self._crc), self._size + len(data)
        self._waiting += data
        while len(self._waiting) > self.BLOCK:
            self._block(self._waiting[: self.BLOCK], last=False)
            self._waiting = self._waiting[self.BLOCK :]
        return len(data)

    def finish(self) -> None:
        """Write the remaining bytes, and the checksums."""
        self._block(self._waiting, last=True)
        self._stream.write(struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))

    def _block(self, data: bytes, *, last: bool) -> None:
        self._stream.write(struct.pack("<BHH", last, len(data), len(data) ^ 0xFFFF) + data)


class _Bounded:
    """Reads a stream up to a bound, whatever its header says about sizes."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream, self._left, self._most = stream, most, most

    def read(self, size: int = -1) -> bytes:
        """Read some bytes.

        Raises:
            ValueError: there are more than the bound.
        """
        data = self._stream.read(self._left + 1 if size < 0 else min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"unpacks to more than {self._most:,} bytes")
        return data


class _Summed:
    """Receives the bytes of an archive, only to hash them."""

    def __init__(self) -> None:
        self.sum = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Take some bytes."""
        self.sum.update(data)
        return len(data)


def read_archive(file: Path) -> dict[str, bytes]:
    """Read an archive of ``write_archive``, of this or any earlier version: file name -> bytes.

    Writing the files again must give the same bytes. So there is one order, one owner and one mode, no duplicate, no
    link, no hole, nothing after the end; and it unpacks to fewer bytes than it has, because nothing is compressed.

    Raises:
        ValueError: it is not such an archive.
    """
    top = file.name.removesuffix(_SUFFIX)
    try:
        with gzip.open(file) as unpacked:
            most = min(limits.ARCHIVE_BYTES, file.stat().st_size)
            found, time = _read_tar(_Bounded(cast("BinaryIO", unpacked), most), top)
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(f"is not a readable archive ({as_text(error)})") from None
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise ValueError(f"is not a readable archive ({as_text(error)})") from None
    again = _Summed()
    _write(again, top, found, time)
    if again.sum.hexdigest() != files.sha256(file):
        why = "compressed, in another order, or with more than files"
        raise ValueError(f"is not written like an archive of a release: {why}")
    return found


def _read_tar(stream: _Bounded, top: str) -> tuple[dict[str, bytes], int]:
    found: dict[str, bytes] = {}
    time = 0
    with tarfile.open(fileobj=cast("BinaryIO", stream), mode="r|") as archive:
        for entry in archive:
            shown = as_text(entry.name, 100)
            place, _, name = entry.name.partition("/")
            if place != top or not _MEMBER.fullmatch(name):
                raise ValueError(f"holds '{shown}', which is not a file of a bundle")
            if entry.type != tarfile.REGTYPE or entry.mode != 0o644:
                raise ValueError(f"holds '{shown}', which is not a regular file of mode 644")
            if name in found:
                raise ValueError(f"holds '{shown}' twice")
            if len(found) == limits.ARCHIVE_FILES:
                raise ValueError(f"holds more than {limits.ARCHIVE_FILES:,} files")
            content = archive.extractfile(entry)
            found[name] = content.read() if content else b""
            time = int(entry.mtime)
    for name in found:
        if found.keys() & {parent.as_posix() for parent in Path(name).parents}:
            raise ValueError(f"holds '{name}' in a folder that is a file")
    return found, time
