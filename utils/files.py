"""Files by content, and JSON whose bytes say nothing but its values."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["describe_file", "dump_json", "load_json", "sha256", "sums_hold"]


def sha256(file: Path) -> str:
    """The sha256 of a file, in hex."""
    stat = file.stat()
    return _sha256(str(file), stat.st_size, stat.st_mtime_ns, stat.st_ino)


@lru_cache(maxsize=4096)
def _sha256(file: str, _size: int, _mtime_ns: int, _inode: int) -> str:  # read once in one process
    with Path(file).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def describe_file(file: Path) -> dict[str, Any]:
    """``{"size": bytes, "sha256": hex}`` of a file."""
    return {"size": file.stat().st_size, "sha256": sha256(file)}


def sums_hold(folder: Path) -> bool:
    """Whether every file that the folder's SHA256SUMS names is there and unchanged."""
    try:
        lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
        return all(sha256(folder / name) == digest for digest, name in (line.split("  ", 1) for line in lines))
    except (OSError, ValueError):
        return False


def dump_json(value: Any) -> str:
    """JSON as this project writes it: sorted, indented, one newline at the end; the same bytes for the same value."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def load_json(file: Path) -> dict[str, Any]:
    """The object that ``dump_json`` wrote."""
    value: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return value
