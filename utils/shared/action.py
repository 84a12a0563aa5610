"""Action: the key of a step's result in a step cache, and the result itself, which is an untrusted document.

A result is an ActionResult of Bazel's Remote Execution API in proto3 JSON: the files that a step wrote, by path in the
checkout, size and sha256. A signature is one more of these files, ``.signature``: servers that check a result keep
every file that it names, and rewrite nothing in it. A field of the result itself would not do: a server may fill in
``executionMetadata``, drop inlined bytes, refuse types that it does not know, and format the JSON anew.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from utils import files, limits
from utils.errors import CorruptError
from utils.untrusted import as_text, parse_as

__all__ = ["SIGNATURE", "ActionResult", "Digest", "action_key", "compare_files", "parse_result"]

#: Of the cache: another number finds no entry of the old one.
FORMAT = 1

#: The path of the signature among a result's files.
SIGNATURE = ".signature"

#: Of a file that a result names, in a message.
_SHOWN = 5


@dataclass(frozen=True)
class Digest:
    """A file by its content.

    Attributes:
        sha256: in lower-case hex.
        size: in bytes.
    """

    sha256: str
    size: int


@dataclass(frozen=True)
class ActionResult:
    """What a step left.

    Attributes:
        files: path in the checkout -> content.
        signature: the file that signs them; None: unsigned.
        worker: who made it, as it says itself; only to be shown.
    """

    files: Mapping[str, Digest]
    signature: Digest | None = None
    worker: str = ""

    def dump(self) -> bytes:
        """The document, as a server stores it."""
        signed = {SIGNATURE: self.signature} if self.signature else {}
        outputs = [
            {"path": path, "digest": {"hash": digest.sha256, "sizeBytes": str(digest.size)}, "isExecutable": False}
            for path, digest in sorted({**self.files, **signed}.items())
        ]
        metadata = {"executionMetadata": {"worker": self.worker}} if self.worker else {}
        return files.dump_json({"outputFiles": outputs, "exitCode": 0, **metadata}).encode()


def action_key(step_key: str, locks: Sequence[str]) -> str:
    """The key under which a step's result is stored.

    The step's own key leaves out the machine, and whether its environment has the promise of identical bytes. Who calls
    this has that promise: without it a result is neither read nor written.

    Args:
        step_key: of the step (``Step.key``).
        locks: sha256 of the locks that its environments were made from (``Step.made_from``).
    """
    parts = {"format": FORMAT, "step": step_key, "machine": platform.machine(), "promise": True, "locks": [*locks]}
    return hashlib.sha256(files.dump_json(parts).encode()).hexdigest()


class _Digest(BaseModel):
    """proto3 JSON writes 64-bit numbers as text, and leaves out what is 0 or empty."""

    model_config = ConfigDict(extra="ignore")

    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    sizeBytes: int | Annotated[str, Field(pattern=r"^[0-9]{1,18}$")] = 0  # noqa: N815  # its name in the API


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore")

    path: Annotated[str, Field(min_length=1, max_length=4096)]
    digest: _Digest
    isExecutable: bool = False  # noqa: N815


class _Metadata(BaseModel):
    model_config = ConfigDict(extra="ignore")

    worker: str = ""


class _Result(BaseModel):
    model_config = ConfigDict(extra="ignore")

    outputFiles: Annotated[list[_File], Field(max_length=limits.STEP_FILES)] = []  # noqa: N815
    outputDirectories: Annotated[list[Any], Field(max_length=0)] = []  # noqa: N815
    outputSymlinks: Annotated[list[Any], Field(max_length=0)] = []  # noqa: N815
    outputFileSymlinks: Annotated[list[Any], Field(max_length=0)] = []  # noqa: N815
    outputDirectorySymlinks: Annotated[list[Any], Field(max_length=0)] = []  # noqa: N815
    exitCode: int = 0  # noqa: N815
    executionMetadata: _Metadata = _Metadata()  # noqa: N815


def parse_result(data: bytes, expected: Collection[str], where: str) -> ActionResult:
    """Parse a result that a server sent.

    Args:
        data: the document, at most ``limits.STEP_RESULT_BYTES`` bytes.
        expected: the paths that the step writes; it has to name exactly these, and may name ``SIGNATURE``.
        where: its address, for the message.

    Raises:
        CorruptError: it is no result of this step.
    """
    hint = f"remove it on the server; who wrote it? ({where})"
    found = parse_as(_Result, data, where=where, error=CorruptError, hint=hint)
    named: dict[str, Digest] = {}
    for file in found.outputFiles:
        if file.path in named:
            raise CorruptError(f"names {as_text(file.path, 100)!r} twice", where=where, hint=hint)
        size = int(file.digest.sizeBytes)
        if not 0 <= size <= limits.STEP_FILE_BYTES:
            what = f"{as_text(file.path, 100)!r} has {size:,} bytes; at most {limits.STEP_FILE_BYTES:,} are allowed"
            raise CorruptError(what, where=where, hint=hint)
        named[file.path] = Digest(file.digest.hash, size)
    signature = named.pop(SIGNATURE, None)
    strange = sorted(named.keys() - {*expected})
    missing = sorted({*expected} - named.keys())
    if strange or missing:
        kind, paths = ("names files that the step does not write", strange) if strange else ("lacks files", missing)
        shown = ", ".join(repr(as_text(path, 100)) for path in paths[:_SHOWN])
        raise CorruptError(f"{kind}: {shown}", where=where, hint=hint)
    if found.exitCode:
        raise CorruptError(f"is of a step that failed (exit code {found.exitCode})", where=where, hint=hint)
    if any(file.isExecutable for file in found.outputFiles):
        raise CorruptError("names an executable file, and no step writes one", where=where, hint=hint)
    return ActionResult(named, signature, as_text(found.executionMetadata.worker, 100))


def compare_files(ours: Mapping[str, Digest], theirs: Mapping[str, Digest]) -> list[str]:
    """Describe where two results of one step differ, a line a file with both hashes; empty: they are equal."""
    lines = []
    for path in sorted(ours.keys() | theirs.keys()):
        here, there = ours.get(path), theirs.get(path)
        if here != there:
            told = [
                f"{digest.sha256} ({digest.size:,} bytes)" if digest else "no such file" for digest in (here, there)
            ]
            lines.append(f"{as_text(path, 200)}: here {told[0]}, there {told[1]}")
    return lines
