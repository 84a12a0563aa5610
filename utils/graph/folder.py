"""A folder that appears as a whole, with all that a step writes into it: a bundle, and what is compiled for an NPU.

A bundle has a guest, the folder that other steps compile from one of its files. A new bundle keeps its guest as long as
that file has the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from utils import files
from utils.errors import BuildError, DataError

__all__ = ["Folder", "is_compiled_from"]


@dataclass(frozen=True)
class Folder:
    """A step's folder.

    Attributes:
        path: where it belongs; everything in it is replaced.
        guest: the name of a folder in it that other steps write; empty: there is none.
        source: the file that the guest, or else the folder itself, is compiled from.
    """

    path: Path
    guest: str = ""
    source: Path | None = None

    def install(self, staged: Path) -> None:
        """Move the finished folder ``staged`` into its place.

        Raises:
            BuildError: it is compiled from a file that has changed meanwhile.
        """
        if self.guest and self.source:
            old, source = self.path / self.guest, staged / self.source.relative_to(self.path)
            if is_compiled_from(old, source):
                files.copy_folder(old, staged / self.guest)
        elif self.source and not is_compiled_from(staged, self.source):
            raise BuildError("the bundle changed while it was compiled", where=str(self.source), hint="run doit again")
        files.replace_folder(staged, self.path)


def is_compiled_from(folder: Path, source: Path) -> bool:
    """Whether a folder of one BSP, or of several, is compiled from the bytes that ``source`` has now."""
    try:
        made = {files.load_json(file)["input"]["sha256"] for file in folder.rglob("vela.json")}
        return made == {files.sha256(source)}
    except (OSError, DataError, KeyError, TypeError):  # damaged: `doit vela` makes it again
        return False
