"""Unpack untrusted archives."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import dropwhile
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from utils import files, limits, paths
from utils.errors import DataError, storage_error
from utils.untrusted import as_text

__all__ = ["unpack"]

_CHUNK = 1 << 20  # bytes

#: Exceptions of the archive modules for a damaged or hostile archive; zlib and zipfile raise no OSError.
_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError,
    ArithmeticError, LookupError, MemoryError, RuntimeError, ValueError,
)  # fmt: skip

#: First bytes of a compressed tar, and the module that unpacks it.
_PACKED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}


def unpack(archive: Path, to: Path, *, max_bytes: int = limits.UNPACKED_BYTES) -> Path:
    """Unpack a tar (also .gz, .bz2, .xz) or zip archive, identified by its content and not by its name.

    The members go into a folder beside ``to``, which is renamed to ``to`` at the end and replaces an older one. So a
    killed run leaves the old folder or the new one.

    Args:
        archive: the file to unpack.
        to: the folder to make.
        max_bytes: most bytes of all members together.

    Returns:
        ``to``.

    Raises:
        DataError: not an archive, or a damaged one, or larger than ``max_bytes``, or with a member that leaves
            the folder (``../``, absolute, through a link), is a device, or has the same path as another.
        StorageError: the members cannot be written.
    """
    with _explained(archive):
        stream = archive.open("rb")
    with stream, _explained(archive, to):
        tar = _open_tar(archive, stream)  # before zip: a tar may end with a zip
        with _explained(archive):
            if tar is None and not zipfile.is_zipfile(stream):
                raise DataError("neither a tar nor a zip archive", where=paths.relative(archive), hint=_HINT)
        with files.staging(to.parent, f".{to.name}.new.") as staging:
            new = staging.folder / "new"  # the staging folder itself is private
            new.mkdir()
            if tar:
                _untar(archive, tar, new, max_bytes)
            else:
                _unzip(archive, _Bounded(archive, stream, limits.ARCHIVE_HEADERS_BYTES), new, max_bytes)
            files.replace_folder(new, to)
    return to


_HINT = (
    "fetch it again (doit refetch source=NAME if its sha256 is not published); "
    "if that does not help, the archive itself is bad: do not use it"
)


@contextmanager
def _explained(archive: Path, to: Path | None = None) -> Iterator[None]:
    """Turn exceptions of the archive modules into errors for users."""
    where = paths.relative(archive)
    try:
        yield
    except _BROKEN as error:
        if member := getattr(error, "tarinfo", None):  # tarfile.FilterError, if this Python has it
            raise _hostile(archive, member.name, "would leave the folder or is not a regular file") from error
        raise DataError(
            f"the archive is damaged: {as_text(error) or type(error).__name__}", where=where, hint=_HINT
        ) from error
    except OSError as error:
        # gzip and bz2 report damage as an OSError without a number.
        if error.errno is None:
            raise DataError(
                f"the archive is damaged: {as_text(error) or type(error).__name__}", where=where, hint=_HINT
            ) from error
        if to is None:
            raise DataError(f"cannot be read: {error.strerror}", where=where) from error
        raise storage_error(error, str(to)) from error


def _hostile(archive: Path, member: str, why: str) -> DataError:
    return DataError(f"member {as_text(member)!r} {why}", where=paths.relative(archive), hint=_HINT)


class _Bounded(io.RawIOBase):
    """An archive whose headers are read into memory only up to a bound.

    Attributes:
        header_bytes: bytes read for the next member; the code that takes a member resets it to 0.
    """

    def __init__(self, archive: Path, stream: IO[bytes], most: int) -> None:
        self._archive, self._stream, self._most = archive, stream, most
        self.header_bytes = self.all_bytes = 0
        self.has_members = False  # from here on, files are read in pieces

    def read(self, size: int | None = -1) -> bytes:
        """Read bytes; a header that asks for more than the bound is refused before it is read."""
        if self.has_members:
            return self._stream.read(-1 if size is None else size)
        left = min(self._most - self.header_bytes, limits.ARCHIVE_HEADERS_BYTES - self.all_bytes)
        data = self._stream.read(left + 1) if size is None or not 0 <= size <= left else self._stream.read(size)
        self.header_bytes, self.all_bytes = self.header_bytes + len(data), self.all_bytes + len(data)
        if len(data) > left:
            most = f"{self._most:,} bytes for one member, {limits.ARCHIVE_HEADERS_BYTES:,} for all"
            what = f"has more metadata about its members than is allowed ({most})"
            raise DataError(what, where=paths.relative(self._archive), hint=_HINT)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Seek; back to the start of a compressed tar means unpacking it again."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._stream.tell()

    def seekable(self) -> bool:
        """For zipfile."""
        return True

    def readable(self) -> bool:
        """For zipfile."""
        return True


def _open_tar(archive: Path, stream: IO[bytes]) -> tarfile.TarFile | None:
    """Open a tar, compressed or not; None if it is not a tar."""
    start = stream.read(8)
    stream.seek(0)
    opened = next((opened for magic, opened in _PACKED.items() if start.startswith(magic)), None)
    inner = _Bounded(archive, opened(stream) if opened else stream, limits.ARCHIVE_HEADER_BYTES)
    try:
        return tarfile.open(fileobj=inner, mode="r:")
    except tarfile.ReadError:
        return None


def _untar(archive: Path, tar: tarfile.TarFile, to: Path, max_bytes: int) -> None:
    inner = cast("_Bounded", tar.fileobj)
    with tar:
        budget = _Budget(archive, max_bytes)
        members: list[tarfile.TarInfo] = []
        links: set[PurePosixPath] = set()
        for member in tar:  # stops at the first bad header, before it unpacks the bytes after it
            inner.header_bytes = 0
            place = _inside(archive, member.name, member.name)
            budget.take(member.name, member.size)
            # Checks by name are valid only if no part of the path is itself a link.
            ways = {place, *place.parents}
            if member.issym():
                # "a/../b" is b only if a is a real folder: ".." is allowed only at the start.
                if ".." in list(dropwhile("..".__eq__, PurePosixPath(member.linkname).parts)):
                    raise _hostile(
                        archive, member.name, f"is a link with .. inside its path, {as_text(member.linkname)!r}"
                    )
                target = member.linkname if member.linkname[:1] == "/" else f"{place.parent}/{member.linkname}"
                ways.update(_inside(archive, member.name, os.path.normpath(target)).parents)
            elif member.islnk():
                target_place = _inside(archive, member.name, member.linkname)
                ways.update((target_place, *target_place.parents))
            elif not member.isfile() and not member.isdir():
                raise _hostile(archive, member.name, "is a device or a pipe")
            elif member.issparse():
                raise _hostile(archive, member.name, "is a sparse file")
            if links & ways:
                raise _hostile(archive, member.name, "goes through a link")
            budget.give_place(member.name, place, is_folder=member.isdir())
            if member.issym():
                links.add(place)
            members.append(member)
        inner.has_members = True
        for _ in range(max_bytes // _CHUNK + 1):  # to the end: gzip checks its CRC there
            if not inner.read(_CHUNK):
                break
        for member in members:  # as filter="data" does
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
            member.mtime = 0  # pax allows infinity
        if hasattr(tarfile, "data_filter"):
            tar.extractall(to, members, filter="data")
        else:  # Debian 12's Python 3.11.2 has no filters: there the checks above are all
            tar.extractall(to, members)


def _unzip(archive: Path, inner: _Bounded, to: Path, max_bytes: int) -> None:
    with zipfile.ZipFile(cast("IO[bytes]", inner)) as file:
        inner.has_members = True
        budget = _Budget(archive, max_bytes)
        for member in file.infolist():
            place = _inside(archive, member.filename, member.filename)
            budget.take(member.filename, member.file_size)
            if member.flag_bits & 1:
                raise _hostile(archive, member.filename, "is encrypted")
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _hostile(archive, member.filename, "is a link, a device or a pipe")
            budget.give_place(member.filename, place, is_folder=member.is_dir())
        file.extractall(to)


def _inside(archive: Path, member: str, name: str) -> PurePosixPath:
    """Return the path of ``name`` (a member, or the target of a link) in the folder, or refuse it."""
    said = "" if name == member else f"links to {as_text(name)!r}, which "
    if name.startswith("/") or "\\" in name or "\0" in name:
        raise _hostile(archive, member, f"{said}is absolute or has a backslash")
    place = PurePosixPath(name)
    if ".." in place.parts:
        raise _hostile(archive, member, f"{said}leaves the folder")
    if len(os.fsencode(name)) > _NAME_BYTES or any(len(os.fsencode(part)) > _PART_BYTES for part in place.parts):
        raise _hostile(archive, member, f"{said}has a name that is too long")
    return place


#: Bytes of a member's path with its folder: Linux allows 4095. And of each part between slashes.
_NAME_BYTES, _PART_BYTES = 2048, 255


class _Budget:
    """The remaining room for an archive, and the paths in use."""

    def __init__(self, archive: Path, max_bytes: int) -> None:
        self.archive, self.max_bytes = archive, max_bytes
        self.bytes = self.members = 0
        self._folders: set[PurePosixPath] = set()
        self._others: set[PurePosixPath] = set()

    def take(self, member: str, size: int) -> None:
        self.bytes, self.members = self.bytes + size, self.members + 1
        if size < 0 or self.bytes > self.max_bytes or self.members > limits.ARCHIVE_MEMBERS:
            most = f"{self.max_bytes} bytes in {limits.ARCHIVE_MEMBERS} members"
            raise _hostile(self.archive, member, f"makes the archive larger than the {most} allowed")

    def give_place(self, member: str, place: PurePosixPath, *, is_folder: bool) -> None:
        folders = {*place.parents, place} if is_folder else {*place.parents}
        if place in self._others or folders & self._others or (not is_folder and place in self._folders):
            raise _hostile(self.archive, member, "has the same path as another member")
        self._folders |= folders
        if not is_folder:
            self._others.add(place)
