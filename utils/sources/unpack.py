"""Unpack archives from outside without trusting them."""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import dropwhile
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from utils import files, paths
from utils.errors import DataError, storage_error

__all__ = ["unpack"]

#: More than any archive of the recipes, less than a usual disk.
MAX_BYTES = 8_000_000_000
MAX_MEMBERS = 200_000

_CHUNK = 1 << 20  # bytes

_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError, NotImplementedError)


def unpack(archive: Path, to: Path, *, max_bytes: int = MAX_BYTES) -> Path:
    """Unpack a tar (also .gz, .bz2, .xz) or zip archive; its content tells which, not its name.

    The members go into a folder beside ``to`` that gets its name at the end, in the place of an older
    ``to``: a killed run leaves the old folder or the new one there.

    Args:
        archive: the file to unpack.
        to: the folder to make.
        max_bytes: the most bytes that all members may hold together.

    Returns:
        ``to``.

    Raises:
        DataError: no archive, or damaged, or larger than ``max_bytes``, or with a member that leaves
            the folder (``../``, absolute, through a link) or is a device.
        StorageError: the members cannot be written.
    """
    with _explained(archive), archive.open("rb"):
        tar = tarfile.is_tarfile(archive)  # before zip: a tar may end with a zip
        if not tar and not zipfile.is_zipfile(archive):
            raise DataError("neither a tar nor a zip archive", where=paths.relative(archive), hint=_HINT)
    with _explained(archive, to), files.staging(to.parent, f".{to.name}.new.") as staging:
        new = staging.folder / "new"  # the staging folder itself is private
        new.mkdir()
        (_untar if tar else _unzip)(archive, new, max_bytes)
        files.replace_folder(new, to)
    return to


_HINT = "fetch it again; if it stays so, the archive itself is at fault: do not use it"


@contextmanager
def _explained(archive: Path, to: Path | None = None) -> Iterator[None]:
    """Turn what the archive modules raise into errors for a person."""
    where = paths.relative(archive)
    try:
        yield
    except _BROKEN as error:
        if member := getattr(error, "tarinfo", None):  # tarfile.FilterError, where there is one
            raise _hostile(archive, member.name, "would leave the folder or is no plain file") from error
        raise DataError(f"the archive is damaged: {error}", where=where, hint=_HINT) from error
    except OSError as error:
        # gzip and bz2 tell of damage by an OSError without a number.
        if error.errno is None:
            raise DataError(f"the archive is damaged: {error}", where=where, hint=_HINT) from error
        if to is None:
            raise DataError(f"cannot be read: {error.strerror}", where=where) from error
        raise storage_error(error, str(to)) from error


def _hostile(archive: Path, member: str, why: str) -> DataError:
    return DataError(f"member {member!r} {why}", where=paths.relative(archive), hint=_HINT)


def _untar(archive: Path, to: Path, max_bytes: int) -> None:
    with tarfile.open(archive) as tar:
        budget = _Budget(archive, max_bytes)
        members: list[tarfile.TarInfo] = []
        links: set[PurePosixPath] = set()
        for member in tar:  # stops at the first bad header, before the bytes after it are unpacked
            place = _inside(archive, member.name, member.name)
            budget.take(member.name, member.size)
            # Checks by name hold only while no part of the way is a link itself.
            ways = {place, *place.parents}
            if member.issym():
                # "a/../b" is b only if a is a real folder: ".." may stand at the start alone.
                if ".." in list(dropwhile("..".__eq__, PurePosixPath(member.linkname).parts)):
                    raise _hostile(archive, member.name, f"is a link by a detour, {member.linkname!r}")
                target = member.linkname if member.linkname[:1] == "/" else f"{place.parent}/{member.linkname}"
                ways.update(_inside(archive, member.name, os.path.normpath(target)).parents)
            elif member.islnk():
                target_place = _inside(archive, member.name, member.linkname)
                ways.update((target_place, *target_place.parents))
            elif not member.isfile() and not member.isdir():
                raise _hostile(archive, member.name, "is a device or a pipe")
            if links & ways:
                raise _hostile(archive, member.name, "goes through a link")
            if member.issym():
                links.add(place)
            members.append(member)
        for _ in range(max_bytes // _CHUNK + 1):  # to the end: gzip checks its CRC only there
            if not tar.fileobj or not tar.fileobj.read(_CHUNK):
                break
        for member in members:  # as filter="data" has it
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
        if hasattr(tarfile, "data_filter"):
            tar.extractall(to, members, filter="data")
        else:  # Debian 12's Python 3.11.2 has no filters: there the checks above stand alone
            tar.extractall(to, members)


def _unzip(archive: Path, to: Path, max_bytes: int) -> None:
    with zipfile.ZipFile(archive) as file:
        budget = _Budget(archive, max_bytes)
        for member in file.infolist():
            _inside(archive, member.filename, member.filename)
            budget.take(member.filename, member.file_size)
            if member.flag_bits & 1:
                raise _hostile(archive, member.filename, "is encrypted")
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _hostile(archive, member.filename, "is a link, a device or a pipe")
        file.extractall(to)


def _inside(archive: Path, member: str, name: str) -> PurePosixPath:
    """Return the place of ``name`` (the member's own, or what it links to) in the folder, or refuse it."""
    said = "" if name == member else f"links to {name!r}, which "
    if name.startswith("/") or "\\" in name or "\0" in name:
        raise _hostile(archive, member, f"{said}is absolute or has a backslash")
    if ".." in PurePosixPath(name).parts:
        raise _hostile(archive, member, f"{said}leaves the folder")
    return PurePosixPath(name)


class _Budget:
    """What an archive may still unpack to."""

    def __init__(self, archive: Path, max_bytes: int) -> None:
        self.archive, self.max_bytes = archive, max_bytes
        self.bytes = self.members = 0

    def take(self, member: str, size: int) -> None:
        self.bytes, self.members = self.bytes + size, self.members + 1
        if self.bytes > self.max_bytes or self.members > MAX_MEMBERS:
            most = f"{self.max_bytes} bytes in {MAX_MEMBERS} members"
            raise _hostile(self.archive, member, f"makes the archive larger than the {most} allowed")
