"""Part: the bytes of one source that have arrived so far, and whether they are the right ones."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from utils.errors import storage_error
from utils.sources import cache
from utils.sources.progress import Event, Report
from utils.sources.source import Source, hash_url

__all__ = ["CHUNK_BYTES", "Part", "StoppedError", "TryError"]

CHUNK_BYTES = 1 << 16


@dataclass(eq=False)
class TryError(Exception):
    """One try at one address came to nothing; ``why`` never repeats text that may hold credentials."""

    why: str
    can_retry: bool = False
    wait_s: float | None = None  # None backs off
    is_corrupt: bool = False
    is_absent: bool = False  # the address does not have the file: nothing to warn about


class StoppedError(Exception):
    """Another thread met an error that ends the whole fetch."""


class Part:
    """The file that a source grows in.

    Attributes:
        path: the file.
        known: the source, with its recorded hash where there is one.
        key: of the source as its recipe has it, without a recorded hash.
        report: takes the progress events.
    """

    def __init__(self, source: Source, known: Source, report: Report, stop: threading.Event) -> None:
        """Begin the file of ``source``, or go on with it; ``stop`` ends it with a StoppedError."""
        self.path, self.known, self.key, self.report = cache.part_path(source), known, source.key, report
        self._note, self._stop = self.path.with_suffix(".json"), stop
        with cache.storing(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def resume_point(self, url: str) -> tuple[int, str]:
        """Return how many bytes are of use with ``url``, and the ETag that vouches for them."""
        try:
            kept = json.loads(self._note.read_text(encoding="utf-8"))
            tag = str(kept["etag"]) if kept["url"] == hash_url(url) else ""
        except (OSError, ValueError, KeyError, TypeError):
            tag = ""
        if not (tag or self.known.sha256 or self.known.md5):
            return 0, ""  # with no hash to check the result, a mixture would go unnoticed
        try:
            have = self.path.stat().st_size
        except FileNotFoundError:
            return 0, ""
        except OSError as error:
            raise storage_error(error, str(self.path)) from error
        return (0, "") if self.known.size is not None and have > self.known.size else (have, tag)

    def note_etag(self, url: str, tag: str) -> None:
        """Note whose bytes follow, for a resume."""
        # A weak ETag may stay while bytes change: it cannot vouch for a resume.
        kept = json.dumps({"url": hash_url(url), "etag": tag if tag.startswith('"') else ""})
        with cache.storing(self._note):
            self._note.write_text(kept, encoding="utf-8")

    def append(self, chunks: Iterator[bytes], start: int, limit: int | None) -> int:
        """Write ``chunks`` from byte ``start`` on; return the file's length in bytes.

        Raises:
            TryError: there is more than ``limit`` bytes.
            StoppedError: the whole fetch ends.
            StorageError: the file cannot be written.
        """
        have = start
        # Only the disk's errors become StorageErrors: those of the network are TryErrors by now.
        with cache.storing(self.path), self.path.open("ab" if start else "wb") as file:
            for chunk in chunks:
                if self._stop.is_set():
                    raise StoppedError
                have += len(chunk)
                if limit is not None and have > limit:
                    self.path.unlink()
                    raise TryError(f"it goes on after the {limit} bytes it should have", is_corrupt=True)
                file.write(chunk)
                self.report(Event("bytes", self.known.name, have, limit, key=self.key))
        return have

    def copy_from(self, origin: Path) -> None:
        """Fill it with the file ``origin`` of a mirror folder, and check it."""
        try:
            file = origin.open("rb")
        except FileNotFoundError:
            raise TryError("no such file", is_absent=True) from None
        except OSError as error:
            raise TryError(f"cannot be read: {error.strerror}") from None
        with file:
            if self.known.size not in (None, size := os.fstat(file.fileno()).st_size):
                raise TryError(f"has {size} bytes, not {self.known.size}", is_corrupt=True)
            self.append(_read_chunks(file), 0, size)
        self.check()

    def check(self, *, resumed: bool = False) -> None:
        """Refuse, and remove, bytes that do not have the size and hashes of the source."""
        if fault := cache.find_fault(self.path, self.known):
            self.discard()
            # The beginning of a resumed file may be another address's: that is not this one's fault.
            raise TryError(fault, can_retry=resumed, wait_s=0, is_corrupt=True)

    def discard(self) -> None:
        """Remove what has arrived."""
        with cache.storing(self.path):
            self.path.unlink(missing_ok=True)


def _read_chunks(file: BinaryIO) -> Iterator[bytes]:
    try:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
    except OSError as error:
        raise TryError(f"cannot be read: {error.strerror}") from None
