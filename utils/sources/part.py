"""Part: the bytes of one source that have arrived so far, and the check that they are the right ones."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from utils.errors import storage_error
from utils.sources import cache, formats
from utils.sources.progress import Event, Report
from utils.sources.source import Source
from utils.untrusted import as_text

__all__ = ["CHUNK_BYTES", "Part", "StoppedError", "TryError"]

CHUNK_BYTES = 1 << 16

#: A strong ETag, which can be sent back. A weak one may stay while bytes change: it does not allow a resume.
_ETAG = re.compile(r'"[\x21\x23-\x7e]{1,200}"')


@dataclass(eq=False)
class TryError(Exception):
    """An attempt at one address failed; ``why`` is one line and never repeats text that may contain credentials."""

    why: str
    can_retry: bool = False
    wait_s: float | None = None  # None: back off
    is_corrupt: bool = False
    is_absent: bool = False  # the address does not have the file: no warning
    is_silent: bool = False  # the host did not answer at all: it will not have other files either

    def __post_init__(self) -> None:
        self.why = as_text(self.why)


class StoppedError(Exception):
    """Another thread hit an error that ends the whole fetch."""


class Part:
    """The file that a source grows in.

    Attributes:
        path: the file.
        known: the source, with its recorded hash if it has one.
        key: of the source as in its recipe, without a recorded hash.
        report: receives the progress events.
    """

    def __init__(
        self, source: Source, known: Source, report: Report, stop: threading.Event, *, alone: bool = True
    ) -> None:
        """Begin the file of ``source``, or resume it.

        Args:
            source: as in its recipe.
            known: ``source`` with its recorded hash, if it has one.
            report: receives the progress events.
            stop: ends it with a StoppedError.
            alone: whether no other process can write to this source's file; if not, it gets a separate one.
        """
        self.path, self.known, self.key, self.report = cache.part_path(source, alone=alone), known, source.key, report
        self._is_unproven = source.unpinned and not source.md5
        self._tag, self._stop = "", stop
        with cache.storing(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def resume_point(self) -> tuple[int, str]:
        """Return how many bytes can be kept, and the ETag that they belong to."""
        if not (self._tag or self.known.sha256 or self.known.md5):
            return 0, ""  # without a hash to check the result, a mixture of two files would go unnoticed
        try:
            have = self.path.stat().st_size
        except FileNotFoundError:
            return 0, ""
        except OSError as error:
            raise storage_error(error, str(self.path)) from error
        return (0, "") if self.known.size is not None and have > self.known.size else (have, self._tag)

    def note_etag(self, tag: str) -> None:
        """Note the ETag of the following bytes for a resume; in memory, as a crash may leave other bytes on disk."""
        self._tag = tag if _ETAG.fullmatch(tag) else ""

    def append(self, chunks: Iterator[bytes], start: int, total: int | None, most: int) -> int:
        """Write ``chunks`` from byte ``start`` on; return the file's length in bytes.

        Args:
            chunks: the bytes.
            start: their offset in the file.
            total: size of the complete file in bytes, if known.
            most: most bytes that it may have.

        Raises:
            TryError: there are more than ``most`` bytes.
            StoppedError: the whole fetch ends.
            StorageError: the file cannot be written.
        """
        have = start
        # Only errors of the disk become StorageErrors: those of the network are TryErrors already.
        with cache.storing(self.path), self.path.open("ab" if start else "wb") as file:
            for chunk in chunks:
                if self._stop.is_set():
                    raise StoppedError
                have += len(chunk)
                if have > most:
                    self.path.unlink()
                    raise TryError(f"it continues after the {most} bytes that it may have", is_corrupt=True)
                file.write(chunk)
                self.report(Event("bytes", self.known.name, have, total, key=self.key))
        return have

    def copy_from(self, origin: Path) -> None:
        """Fill it with the file ``origin`` from a mirror folder, and check it."""
        try:
            file = cache.open_plain(origin)
        except FileNotFoundError:
            raise TryError("no such file", is_absent=True) from None
        except OSError as error:
            raise TryError(f"cannot be read: {error.strerror}") from None
        with file:
            if self.known.size not in (None, size := os.fstat(file.fileno()).st_size):
                raise TryError(f"has {size} bytes, not {self.known.size}", is_corrupt=True)
            self.append(_read_chunks(file), 0, size, size)
        self.check()

    def check(self, *, resumed: bool = False) -> None:
        """Refuse and remove bytes that do not have the size and hashes of the source, or without a hash its format."""
        fault = cache.find_fault(self.path, self.known)
        with cache.storing(self.path):
            if fault and formats.is_page(self.path):
                fault += f"; {formats.PAGE}"
            elif self._is_unproven and not fault:
                fault = formats.find_misfit(self.path, self.known.name)
        if fault:
            self.discard()
            # The beginning of a resumed file may come from another address: this one is not to blame.
            raise TryError(fault, can_retry=resumed, wait_s=0, is_corrupt=True)

    def discard(self) -> None:
        """Remove the bytes that have arrived."""
        with cache.storing(self.path):
            self.path.unlink(missing_ok=True)


def _read_chunks(file: BinaryIO) -> Iterator[bytes]:
    try:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
    except OSError as error:
        raise TryError(f"cannot be read: {error.strerror}") from None
