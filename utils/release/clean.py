"""Build in a folder that has nothing but the files of the project: no earlier result, and no step cache."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from utils import files, paths
from utils.errors import ReleaseError, storage_error

__all__ = ["Clean", "folder"]


@dataclass(frozen=True)
class Clean:
    """A clean checkout.

    Attributes:
        root: its folder.
        lock: a file descriptor; a build that inherits it keeps the folder alive.
    """

    root: Path
    lock: int

    def bundle(self, model: str) -> Path:
        """Where the bundle of a model is made."""
        return self.root / "artifacts" / model

    def build(self, names: list[str], *, takes_restored: bool = False, takes_weights: bool = True) -> None:
        """Build models; what the build says goes to the terminal.

        Args:
            names: the models.
            takes_restored: take from the step cache what it has.
            takes_weights: let the variables of the environment name user-supplied weights.

        Raises:
            ReleaseError: the build failed.
        """
        verb = "building or restoring" if takes_restored else "building"
        print(f"{verb} {', '.join(names)} in {paths.relative(self.root)}", flush=True)
        command = [sys.executable, "-m", "doit", *names]
        env = _environment(takes_restored=takes_restored, takes_weights=takes_weights)
        done = subprocess.run(command, cwd=self.root, env=env, pass_fds=(self.lock,))  # in use while it builds
        if done.returncode:
            raise ReleaseError("the build in a clean folder failed; see above", where=paths.relative(self.root))


@contextlib.contextmanager
def folder(fill: Callable[[Path], Path]) -> Iterator[Clean]:
    """Make a clean checkout; it is kept if what is done with it fails.

    Args:
        fill: puts the project's files into a folder, and returns the folder of the checkout.

    Raises:
        StorageError: it cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            staging = stack.enter_context(files.staging(paths.BUILD, "verify."))
            root = fill(staging.folder)
        except OSError as error:
            raise storage_error(error) from error
        staging.keep = True
        yield Clean(root, staging.lock)
        staging.keep = False


def _environment(*, takes_restored: bool, takes_weights: bool) -> dict[str, str]:
    """Make the paths of cache and mirror absolute; all steps run here.

    A step cache is only read, and only when it was asked for. What signs a release is no build's business.
    """
    left_out = [] if takes_restored else ["ZOO_STEPS"]
    left_out += [] if takes_weights else ["ZOO_WEIGHTS", "ZOO_LICENCE_"]
    found = {
        key: value
        for key, value in os.environ.items()
        if key not in ("ZOO_PARENT", "ZOO_ENGINE", "ZOO_STEPS_WRITE", "ZOO_STEPS_KEY", "ZOO_KEY")
        and not key.startswith(tuple(left_out))
    }
    for name in ("ZOO_STEPS_PUBKEY", "ZOO_TLS"):
        if found.get(name):
            found[name] = str(Path(found[name]).expanduser().absolute())
    found["ZOO_CACHE"] = str(paths.cache().absolute())
    mirror = found.get("ZOO_MIRROR", "")
    if mirror and not mirror.lower().startswith(("http://", "https://")):
        found["ZOO_MIRROR"] = str(Path(mirror).absolute())
    return found
