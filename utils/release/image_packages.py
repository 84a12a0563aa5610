"""What the image's build installs, for a mirror: Debian's packages of ``docker/debian.txt``, wheels of other locks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from utils import files, paths
from utils.errors import SourceError
from utils.sources.source import Source

__all__ = ["debs", "wheels"]

_LICENCE_DEB = "in /usr/share/doc of each package"
_LICENCE_WHEEL = "in the METADATA of each package"

#: By the first part of a package's path: the archive that has it, and its name at snapshot.debian.org.
_ARCHIVES = {
    "pool/updates/": ("http://deb.debian.org/debian-security", "debian-security"),
    "pool/": ("http://deb.debian.org/debian", "debian"),
}
_SNAPSHOT = "https://snapshot.debian.org/archive"


def debs() -> list[Source]:
    """Every package of ``docker/debian.txt`` for linux/amd64: those of the base image and of a compiler, too."""
    found, stamp = [], ""
    for line in (paths.DOCKER / "debian.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# snapshot "):
            stamp = line.split()[2]
        if line.startswith("#"):
            continue
        _, package, version, sha256, size, path = line.split()
        if path.endswith("_arm64.deb"):
            continue
        archive, kept = next(place for top, place in _ARCHIVES.items() if path.startswith(top))
        found.append(
            Source(
                name=path.rpartition("/")[2],
                urls=(f"{archive}/{path}", f"{_SNAPSHOT}/{kept}/{stamp}/{path}"),
                size=int(size),
                sha256=sha256,
                md5=None,
                licence=_LICENCE_DEB,
                what=f"Debian's {package} {version}, for the image",
            )
        )
    return found


def wheels(folder: Path) -> dict[Source, Path]:
    """Download the wheels of every lock that the image's build may install, but for Velas that come as source.

    Raises:
        SourceError: pip cannot download one; it has said why.
    """
    names = ["requirements-lock", "requirements", "requirements-release", "requirements-dev", "requirements-engine"]
    locks = [paths.DOCKER / f"{name}.txt" for name in names]
    velas = sorted(paths.DOCKER.glob("requirements-vela-*.txt"))
    locks += [lock for lock in velas if "\nsetuptools==" not in lock.read_text(encoding="utf-8")]
    done = subprocess.run([sys.executable, paths.DOCKER / "get_wheels.py", folder, *locks])
    if done.returncode:
        what = "pip cannot download what the image's build installs; see above"
        raise SourceError(what, hint="no network, or a private index? PIP_INDEX_URL, https_proxy and ZOO_CA")
    return {
        Source(
            name=file.name,
            urls=(),
            size=file.stat().st_size,
            sha256=files.sha256(file),
            md5=None,
            licence=_LICENCE_WHEEL,
            what="a Python package, for the image",
        ): file
        for file in sorted(folder.glob("*.whl"))
    }
