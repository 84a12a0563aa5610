"""The files of a recipe: recipe.toml, and its code and lists. All are regular, bounded, and in ``recipes/``."""

from __future__ import annotations

from pathlib import Path

from utils import paths
from utils.errors import RecipeError
from utils.untrusted import as_text, read_bounded

__all__ = ["find_file", "read_file"]


def find_file(folder: str, name: str) -> Path:
    """Find the file that a recipe names, relative to the recipe's folder; links are followed.

    Raises:
        RecipeError: no file can have this name, or it is outside ``recipes/``.
    """
    where = f"recipes/{folder}/recipe.toml"
    try:
        file = (paths.RECIPES / folder / name).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # too long, NUL, a loop of links
        what = f"{as_text(name, 80)!r} cannot be a file: {as_text(getattr(error, 'strerror', None) or error, 80)}"
        raise RecipeError(what, where=where, hint="name a file in recipes/") from None
    return _inside(file, where, name)


def read_file(file: Path, most: int, *, what: str, where: str = "") -> bytes:
    """Read a file in ``recipes/``.

    Args:
        file: the file.
        most: most bytes that it may have.
        what: its name in a message.
        where: the place that names it; the file itself when empty.

    Raises:
        RecipeError: it is missing, not a regular file, larger than ``most``, or outside ``recipes/``.
    """
    where = where or paths.relative(file)
    try:
        _inside(file.resolve(), where, file.name)
        return read_bounded(file, most)
    except (OSError, RuntimeError) as error:
        raise RecipeError(
            f"{what} cannot be read: {getattr(error, 'strerror', None) or error}",
            where=where,
            hint="make it a file that this user can read, or correct the recipe that names it",
        ) from None


def _inside(file: Path, where: str, name: str) -> Path:
    if not file.is_relative_to(paths.RECIPES.resolve()):
        what = f"{as_text(name, 80)!r} is outside recipes/"
        raise RecipeError(what, where=where, hint="copy the file into recipes/: a link must not point outside")
    return file
