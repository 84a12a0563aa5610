"""Where everything is; `utils/graph/plan.py` names the files of each step in it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from utils.errors import storage_error

#: The checkout: the folder that holds dodo.py.
ROOT = Path(__file__).resolve().parent.parent

RECIPES = ROOT / "recipes"
DOCKER = ROOT / "docker"
UTILS = ROOT / "utils"

#: What a user takes away: one bundle a model.
ARTIFACTS = ROOT / "artifacts"

#: What every artifact has to be, in git.
ARTIFACTS_LOCK = ROOT / "artifacts.lock"

#: Finished releases, one folder a version; git-ignored.
RELEASES = ROOT / "release"

#: What can be made again; git-ignored as a whole.
BUILD = ROOT / "build"

#: The hash-locked requirements of the image and of the local venv.
LOCK = DOCKER / "requirements.txt"

#: The one program that leaves for the board.
EXAMPLE = UTILS / "example.py"


def cache() -> Path:
    """The folder of sources, each named by its sha256 (``ZOO_CACHE`` moves it)."""
    return Path(os.environ.get("ZOO_CACHE") or BUILD / "cache")


def work(model: str) -> Path:
    """The folder of one model's intermediate files."""
    return BUILD / model


def bundle(model: str) -> Path:
    """The folder of one model's finished bundle."""
    return ARTIFACTS / model


def relative(path: Path) -> str:
    """``path`` as a person would type it from the project's root."""
    try:
        return path.relative_to(ROOT).as_posix()
    except ValueError:
        return str(path)


def state() -> Path:
    """Doit's database in ``build/``; a damaged one is taken away, for the records tell what is up to date.

    Raises:
        StorageError: the checkout cannot be written.
    """
    database = BUILD / "doit.db"
    try:
        BUILD.mkdir(exist_ok=True)
        if database.is_file():
            with contextlib.closing(sqlite3.connect(database)) as connection:
                connection.execute("select count(*) from sqlite_master")
    except sqlite3.DatabaseError:
        database.unlink()
    except OSError as error:
        raise storage_error(error) from None
    return database
