"""The files of a recipe: recipe.toml, and the code and lists that it names; all regular, bounded, in ``recipes/``."""

from __future__ import annotations

from pathlib import Path

from utils import paths
from utils.errors import RecipeError
from utils.untrusted import as_text, read_bounded

__all__ = ["find_file", "read_file"]


def find_file(folder: str, name: str) -> Path:
    """The file that a recipe names, seen from the recipe's folder; links are followed.

    Raises:
        RecipeError: no file can have this name, or it is outside of ``recipes/``.
    """
    where = f"recipes/{folder}/recipe.toml"
    try:
        file = (paths.RECIPES / folder / name).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # too long, NUL, a circle of links
        what = f"{as_text(name, 80)!r} cannot be a file: {as_text(getattr(error, 'strerror', None) or error, 80)}"
        raise RecipeError(what, where=where, hint="name a file in recipes/") from None
    return _inside(file, where, name)


def read_file(file: Path, most: int, *, what: str, where: str = "") -> bytes:
    """The bytes of a file in ``recipes/``.

    Args:
        file: which.
        most: bytes it may have.
        what: what to call it in a message.
        where: the place that names it; the file itself when empty.

    Raises:
        RecipeError: it is not there, no regular file, larger than ``most``, or outside of ``recipes/``.
    """
    where = where or paths.relative(file)
    try:
        _inside(file.resolve(), where, file.name)
        return read_bounded(file, most)
    except (OSError, RuntimeError) as error:
        raise RecipeError(
            f"{what} cannot be read: {getattr(error, 'strerror', None) or error}",
            where=where,
            hint="make it a file that this user may read, or mend the recipe that names it",
        ) from None


def _inside(file: Path, where: str, name: str) -> Path:
    if not file.is_relative_to(paths.RECIPES.resolve()):
        what = f"{as_text(name, 80)!r} is outside of recipes/"
        raise RecipeError(what, where=where, hint="copy what it needs into recipes/: a link may not lead out of it")
    return file
