"""The project's folders and files; `utils/graph/plan.py` names the files of each step."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from utils.errors import StorageError

#: The checkout: the folder that holds dodo.py.
ROOT = Path(__file__).resolve().parent.parent

RECIPES = ROOT / "recipes"
DOCKER = ROOT / "docker"
UTILS = ROOT / "utils"

#: What users take: one bundle for each model.
ARTIFACTS = ROOT / "artifacts"

#: The expected hash of every artifact, in git.
ARTIFACTS_LOCK = ROOT / "artifacts.lock"

#: Finished releases, one folder for each version; git-ignored.
RELEASES = ROOT / "release"

#: Signed statements of who has rebuilt what artifacts.lock says, and the keys of known rebuilders; in git.
REBUILDS = ROOT / "rebuilds"

#: The folder of these keys in it, and in any folder of statements; the others are called by models.
REBUILD_KEYS = "keys"

#: The catalogue: pages about all bundles; git-ignored.
SITE = ROOT / "site"

#: Everything that can be rebuilt; git-ignored.
BUILD = ROOT / "build"

#: The hash-locked requirements of the image and of the local venv.
LOCK = DOCKER / "requirements.txt"

#: The program that runs on the board.
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
    """``path`` relative to the project's root, as a user would type it."""
    # Not Path.relative_to, which takes ten times as long: a large zoo's no-op asks for 40,000 names.
    name, root = str(path), str(ROOT)
    return "." if name == root else name.removeprefix(root.rstrip("/") + "/")


def require_plain_root() -> None:
    """Refuse a checkout whose path breaks tools: some read paths as lines, and files store them as UTF-8.

    Raises:
        StorageError: the path has a control character, or is not UTF-8.
    """
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in str(ROOT)):
        raise StorageError(
            "the checkout's path has a newline, another control character or bytes that are not UTF-8",
            where=ascii(str(ROOT)),
            hint="move the checkout to a folder with a plain name",
        )
