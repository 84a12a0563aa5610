"""Boards: a bundle runs where it has to work, and what was seen is kept.

A target is ``virtual`` (an aarch64 Debian under qemu-user, ``utils/board/virtual.py``) or what ssh calls a host:
``[USER@]HOST[:PORT]``, also an alias of ``~/.ssh/config`` (``utils/board/ssh.py``). ``utils/board/__main__.py`` is the
program behind ``doit board``; ``utils/board/remote.py`` is what it sends to a board beside the bundle. A board is not
believed: what it says is bounded, held against the schemas of ``answers.py`` and ``utils/bundle/board_report.py``, and
only then kept.

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

#: What example.py is asked on a board.
ARGUMENTS = ("--compare", "--json")

#: How a board tells how far it is.
Say = Callable[[str], None]


@dataclass(frozen=True)
class Bundle:
    """A finished bundle of ``artifacts/``.

    Attributes:
        model: its name.
        folder: where it is.
        files: what example.py reads, by sha256: all but the card, which changes when a board was measured.
    """

    model: str
    folder: Path
    files: dict[str, str]

    @classmethod
    def of(cls, recipe: Recipe) -> Bundle:
        """The bundle of a recipe, every byte of it checked.

        Raises:
            BuildError: there is none, or it is damaged.
        """
        folder = paths.bundle(recipe.name)
        build = f"doit {recipe.name} makes it"
        try:
            summed = _sums(folder)
            wrong = sorted(name for name, digest in summed.items() if files.sha256(_plain_file(folder, name)) != digest)
        except FileNotFoundError as error:
            raise BuildError(
                "no whole bundle is here", where=paths.relative(Path(error.filename)), hint=build
            ) from None
        except (OSError, ValueError) as error:
            raise BuildError(f"the bundle cannot be read: {error}", where=paths.relative(folder), hint=build) from None
        if wrong:
            raise BuildError(f"{', '.join(wrong)} is not as it was built", where=paths.relative(folder), hint=build)
        card = layout.card_files(recipe)
        return cls(recipe.name, folder, {name: digest for name, digest in summed.items() if name not in card})

    @property
    def models(self) -> dict[str, str]:
        """The files that example.py runs, by sha256; what is in folders is compiled, and runs when it is named."""
        return {name: digest for name, digest in self.files.items() if name.endswith(".tflite") and "/" not in name}

    def size(self, name: str) -> int:
        """Bytes of one of its files."""
        return (self.folder / name).stat().st_size


@dataclass(frozen=True)
class Outcome:
    """What a board gave back.

    Attributes:
        bsp: the facts that ``remote.py`` found; None where they were not asked for.
        code: exit code of example.py.
        out: what it printed, one JSON object when all is well.
        err: what it complained of.
        peak: most bytes of memory that it took; 0 where that is not measured.
    """

    bsp: Bsp | None
    code: int
    out: str
    err: str
    peak: int = 0


class Board(Protocol):
    """Somewhere to run a bundle."""

    target: str
    emulated: bool
    limit: int

    def prepare(self, say: Say) -> None:
        """Look, before any bundle, whether what is needed on this side is there."""

    def measure(self, bundle: Bundle, say: Say) -> Outcome:
        """Bring the bundle there, run its example.py, bring back what it said."""


def _sums(folder: Path) -> dict[str, str]:
    """The sha256 of every file that the SHA256SUMS of the bundle, and of a folder in it, name."""
    found = {}
    for sums in (folder / files.SUMS, *sorted(folder.glob(f"*/{files.SUMS}"))):
        for name, digest in files.parse_sums(sums.read_text(encoding="utf-8")).items():
            found[(sums.parent / name).relative_to(folder).as_posix()] = digest
    return found


def _plain_file(folder: Path, name: str) -> Path:
    """A file of the bundle.

    Raises:
        ValueError: a link leads to it, or it is no file.
    """
    file = folder / name
    linked = any(path.is_symlink() for path in (file, *file.parents) if path.is_relative_to(folder) and path != folder)
    if linked or (file.exists() and not file.is_file()):
        raise ValueError(f"{as_text(name)} is a link, or no file")
    return file


def file_name_of(target: str) -> str:
    """The target as a file name."""
    return re.sub(r"[^A-Za-z0-9@._-]", "_", target)
