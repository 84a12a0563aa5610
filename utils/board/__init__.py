"""Boards: run a bundle where it has to work, and keep the results.

A target is ``virtual`` (an aarch64 Debian under qemu-user, ``utils/board/virtual.py``) or an ssh host:
``[USER@]HOST[:PORT]``, or an alias of ``~/.ssh/config`` (``utils/board/ssh.py``). ``utils/board/__main__.py`` is the
program behind ``doit board``; ``utils/board/remote.py`` is what it sends to a board beside the bundle. A board is not
trusted: its output is bounded and checked against the schemas of ``answers.py`` and ``utils/bundle/board_report.py``
before it is kept.

Each run leaves ``build/<model>/board/<target>.json``, which the card shows and copies to ``artifacts/<model>/board/``::

    {"format": 1, "target": as typed, "date": UTC day, "emulated": bool,
     "bsp": {"os": /etc/os-release, "kernel", "machine", "model", "python", "delegates": {library: sha256}},
     "memory": {"peak": bytes, "limit": bytes},          virtual board only
     "files": {model file: sha256},
     "report": what example.py --json printed}

(``Record`` of ``utils/bundle/board_report.py``.)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from utils import files, paths
from utils.bundle.board_report import Bsp
from utils.errors import BuildError
from utils.graph import layout
from utils.recipe.schema import Recipe
from utils.untrusted import as_text

__all__ = ["ARGUMENTS", "Board", "Bundle", "Outcome", "file_name_of"]

#: Arguments of example.py on a board.
ARGUMENTS = ("--compare", "--json")

#: Reports a board's progress.
Say = Callable[[str], None]


@dataclass(frozen=True)
class Bundle:
    """A finished bundle of ``artifacts/``.

    Attributes:
        model: its name.
        folder: its path.
        files: name -> sha256 of what example.py reads: all but the card, which changes after a measurement.
    """

    model: str
    folder: Path
    files: dict[str, str]

    @classmethod
    def of(cls, recipe: Recipe) -> Bundle:
        """Load the bundle of a recipe, and check every byte of it.

        Raises:
            BuildError: it does not exist, or is damaged.
        """
        folder = paths.bundle(recipe.name)
        build = f"doit {recipe.name} builds it"
        try:
            summed = _sums(folder)
            wrong = sorted(name for name, digest in summed.items() if files.sha256(_plain_file(folder, name)) != digest)
        except FileNotFoundError as error:
            raise BuildError(
                "there is no complete bundle", where=paths.relative(Path(error.filename)), hint=build
            ) from None
        except (OSError, ValueError) as error:
            raise BuildError(f"the bundle cannot be read: {error}", where=paths.relative(folder), hint=build) from None
        if wrong:
            raise BuildError(f"{', '.join(wrong)} changed after the build", where=paths.relative(folder), hint=build)
        card = layout.card_files(recipe)
        return cls(recipe.name, folder, {name: digest for name, digest in summed.items() if name not in card})

    @property
    def models(self) -> dict[str, str]:
        """The model files that example.py runs by default, with their sha256; compiled ones are in folders."""
        return {name: digest for name, digest in self.files.items() if name.endswith(".tflite") and "/" not in name}

    def size(self, name: str) -> int:
        """Size of one of its files in bytes."""
        return (self.folder / name).stat().st_size


@dataclass(frozen=True)
class Outcome:
    """The result of a board.

    Attributes:
        bsp: the facts that ``remote.py`` found; None if they were not requested.
        code: exit code of example.py.
        out: its stdout, one JSON object on success.
        err: its stderr.
        peak: peak memory in bytes; 0 if not measured.
    """

    bsp: Bsp | None
    code: int
    out: str
    err: str
    peak: int = 0


class Board(Protocol):
    """A place that runs a bundle."""

    target: str
    emulated: bool
    limit: int

    def prepare(self, say: Say) -> None:
        """Check, before any bundle, that this machine has what is needed."""

    def measure(self, bundle: Bundle, say: Say) -> Outcome:
        """Copy the bundle there, run its example.py, return its result."""


def _sums(folder: Path) -> dict[str, str]:
    """Collect the sha256 of every file in the SHA256SUMS of the bundle, and of the folders in it."""
    found = {}
    for sums in (folder / files.SUMS, *sorted(folder.glob(f"*/{files.SUMS}"))):
        for name, digest in files.parse_sums(sums.read_text(encoding="utf-8")).items():
            found[(sums.parent / name).relative_to(folder).as_posix()] = digest
    return found


def _plain_file(folder: Path, name: str) -> Path:
    """Find a file of the bundle.

    Raises:
        ValueError: it is a link or reached through one, or not a file.
    """
    file = folder / name
    linked = any(path.is_symlink() for path in (file, *file.parents) if path.is_relative_to(folder) and path != folder)
    if linked or (file.exists() and not file.is_file()):
        raise ValueError(f"{as_text(name)} is a link, or not a file")
    return file


def file_name_of(target: str) -> str:
    """The target as a file name."""
    return re.sub(r"[^A-Za-z0-9@._-]", "_", target)
