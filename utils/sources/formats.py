"""Formats: whether the first bytes and the end of a file fit its name.

This is the only check of a file without a published hash, before its own hash is recorded.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from utils import limits
from utils.errors import DataError
from utils.untrusted import parse_json

__all__ = ["PAGE", "find_misfit", "is_page"]

#: Added to the message about a file that is a web page.
PAGE = "it is a web page, perhaps a login page: open the address in a browser"

_CHUNK = 1 << 20  # bytes

#: First bytes of a web page, in lower case.
_PAGES = (b"<!doctype", b"<html", b"<head", b"<body", b"<script", b"<title", b"<meta", b"<!--", b"<?xml")

#: Names of files that should be web pages.
_MARKUP = (".htm", ".html", ".svg", ".xhtml", ".xml")


def is_page(file: Path) -> bool:
    """Whether a file begins like a web page."""
    with file.open("rb") as stream:
        start = stream.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith(_PAGES)


def find_misfit(file: Path, name: str) -> str:
    """Describe why a file cannot have the format of its name; empty if it can, or if the name has no known format.

    Args:
        file: the bytes; this path's name is ignored.
        name: the file name in the recipe.

    Raises:
        OSError: the file cannot be read.
    """
    name = name.lower()
    if not name.endswith(_MARKUP) and is_page(file):
        return PAGE
    for suffixes, what, fits in _FORMATS:
        if name.endswith(suffixes):
            with file.open("rb") as stream:
                return "" if fits(stream) else f"it is not a complete {what}"
    return ""


def _starts(*magics: bytes) -> Callable[[IO[bytes]], bool]:
    return lambda stream: stream.read(16).startswith(magics)


def _is_hdf5(stream: IO[bytes]) -> bool:
    """Check the end of file that the superblock states; a user block may come before it."""
    size, at = stream.seek(0, 2), 0
    while at < min(size, limits.ARCHIVE_HEADER_BYTES):
        stream.seek(at)
        head = stream.read(64)
        if head.startswith(b"\x89HDF\r\n\x1a\n") and len(head) > 60:
            version = head[8]
            width = head[13] if version < 2 else head[9]
            addresses = {0: 24, 1: 28}.get(version, 12)  # base address, another one, end of file
            begin, end = addresses + 2 * width, addresses + 3 * width
            return width in (4, 8) and 0 < int.from_bytes(head[begin:end], "little") <= size
        at = at * 2 or 512
    return False


def _unpacks(opened: Callable[[IO[bytes]], Any]) -> Callable[[IO[bytes]], bool]:
    """Read to the end: a body without a length may have been cut anywhere."""

    def fits(stream: IO[bytes]) -> bool:
        try:
            with opened(stream) as unpacked:
                left = limits.UNPACKED_BYTES
                while chunk := unpacked.read(_CHUNK):
                    left -= len(chunk)
                    if left < 0:
                        return False
        except OSError as error:
            if error.errno is None:  # raised for damage
                return False
            raise
        except (EOFError, ValueError, zlib.error, lzma.LZMAError):
            return False
        return stream.tell() > 0

    return fits


def _is_idx(stream: IO[bytes]) -> bool:
    magic = stream.read(4)
    return len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in range(8, 15) and 0 < magic[3] < 5


def _is_tar(stream: IO[bytes]) -> bool:
    return stream.read(512)[257:262] == b"ustar"


def _is_tflite(stream: IO[bytes]) -> bool:
    head = stream.read(8)
    return head[4:] == b"TFL3" and int.from_bytes(head[:4], "little") < stream.seek(0, 2)


def _is_jpeg(stream: IO[bytes]) -> bool:
    begins = stream.read(3) == b"\xff\xd8\xff"
    stream.seek(-min(stream.seek(0, 2), 4096), 2)  # some cameras append data after the end
    return begins and b"\xff\xd9" in stream.read()


def _is_png(stream: IO[bytes]) -> bool:
    begins = stream.read(8) == b"\x89PNG\r\n\x1a\n"
    stream.seek(-min(stream.seek(0, 2), 4096), 2)
    return begins and b"IEND" in stream.read()


def _is_json(stream: IO[bytes]) -> bool:
    try:
        parse_json(stream.read(limits.JSON_BYTES + 1), where="", error=DataError)
    except DataError:
        return False
    return True


#: End of a file name, its format, and the check; the first that matches counts.
_FORMATS: tuple[tuple[tuple[str, ...], str, Callable[[IO[bytes]], bool]], ...] = (
    ((".gz", ".tgz"), "gzip file", _unpacks(gzip.open)),
    ((".bz2", ".tbz2"), "bzip2 file", _unpacks(bz2.open)),
    ((".xz", ".txz"), "xz file", _unpacks(lzma.open)),
    ((".tar",), "tar archive", _is_tar),
    ((".zip", ".keras", ".npz"), "zip archive", zipfile.is_zipfile),
    ((".h5", ".hdf5"), "HDF5 file", _is_hdf5),
    ((".tflite", ".lite"), "TFLite file", _is_tflite),
    ((".json",), "JSON document", _is_json),
    ((".npy",), "NumPy file", _starts(b"\x93NUMPY")),
    ((".jpg", ".jpeg"), "JPEG image", _is_jpeg),
    ((".png",), "PNG image", _is_png),
    ((".gif", ".bmp", ".webp"), "image", _starts(b"GIF8", b"BM", b"RIFF")),
    (("-ubyte",), "idx file", _is_idx),
)
