"""What "try it" loads: its scripts, and LiteRT.js, which are two packages of npm with pinned hashes.

The packages come from the cache, from ``ZOO_MIRROR``, or from an npm registry: ``ZOO_NPM`` names its address, else
npm's own setting does where npm is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils import limits
from utils.errors import DataError, SourceError
from utils.sources.cache import cached
from utils.sources.fetch import fetch_all
from utils.sources.http import Limits
from utils.sources.source import Source, is_offline
from utils.sources.unpack import unpack
from utils.untrusted import read_untrusted

__all__ = ["FOLDER", "PACKAGES", "SCRIPTS", "Package", "files", "load", "sources"]

#: The folder of the runtime in a site.
FOLDER = "runtime"

#: Scripts of ours, beside ``index.html``.
SCRIPTS = ("pixels.js", "run.js", "show.js", "try.js", "verdict.js")

#: The one build of the WebAssembly that the site has. It needs SIMD, which browsers have had since 2023, and no relaxed
#: SIMD, whose results depend on the processor.
WASM = "litert_wasm_compat_internal"

#: A site does without the runtime where it cannot be had: that must show soon.
_LIMITS = Limits(tries=2)

#: How a module of LiteRT.js names the other package, and what stands there in the site.
_BARE, _RELATIVE = 'from "@litertjs/wasm-utils"', 'from "./wasm-utils.js"'


@dataclass(frozen=True)
class Package:
    """A package of npm at one version.

    Attributes:
        name: as npm knows it.
        version: the one that is pinned.
        size: bytes of its archive.
        sha256: of its archive.
        licence: SPDX id.
        taken: path in the package -> path where it goes.
    """

    name: str
    version: str
    size: int
    sha256: str
    licence: str
    taken: dict[str, str]

    def source(self, registry: str = "") -> Source:
        """The package's archive; without a registry, only the cache and the mirror can have it."""
        file = f"{self.name.rpartition('/')[2]}-{self.version}.tgz"
        urls = (f"{registry.rstrip('/')}/{self.name}/-/{file}",) if registry else ()
        name = self.name.removeprefix("@").replace("/", "-")
        return Source(
            f"{name}-{self.version}.tgz", urls, self.size, self.sha256, None, self.licence, f"{self.name} of npm"
        )


#: LiteRT.js.
PACKAGES = (
    Package(
        "@litertjs/core",
        "2.5.3",
        11_817_097,
        "a97660833e9e7e1063c95e12016718881240b14f7438728a2f62785e912d30fd",
        "Apache-2.0",
        {
            "dist/index.js": f"{FOLDER}/index.js",
            f"wasm/{WASM}.js": f"{FOLDER}/{WASM}.js",
            f"wasm/{WASM}.wasm": f"{FOLDER}/{WASM}.wasm",
        },
    ),
    Package(
        "@litertjs/wasm-utils",
        "2.5.3",
        4698,
        "ce2a1f8379c067be49e59752e5a7f40db6be09f6e497f0f11e59f17b515366a7",
        "Apache-2.0",
        {"dist/index.js": f"{FOLDER}/wasm-utils.js"},
    ),
)


def files() -> dict[str, bytes]:
    """All that "try it" loads but models: path in the site -> content, the same every time.

    Raises:
        SourceError: the runtime cannot be had: a site without it has no "try it".
        DataError: an archive is damaged.
        StorageError: the cache cannot be written.
    """
    found = load(PACKAGES)
    for name in (f"{FOLDER}/index.js", f"{FOLDER}/wasm-utils.js"):
        found[name] = _adapted(found[name], name)
    scripts = {name: (Path(__file__).parent / name).read_bytes() for name in SCRIPTS}
    return {**found, **scripts, f"{FOLDER}/README.txt": _note().encode()}


def load(packages: Sequence[Package]) -> dict[str, bytes]:
    """Fetch packages of npm; give the files that are taken of them: path where each goes -> content.

    Raises:
        SourceError: they cannot be had.
        DataError: an archive is damaged, or lacks a file.
        StorageError: the cache cannot be written.
    """
    found: dict[str, bytes] = {}
    for package, archive in zip(packages, _archives(packages), strict=True):
        with tempfile.TemporaryDirectory() as folder:
            unpacked = unpack(archive, Path(folder) / "archive", max_bytes=limits.RUNTIME_BYTES)
            for inside, to in package.taken.items():
                where = f"{package.name} {package.version}: {inside}"
                found[to] = read_untrusted(
                    unpacked / "package" / inside, where=where, error=DataError, most=limits.RUNTIME_BYTES
                )
    return found


def sources(packages: Iterable[Package] = PACKAGES) -> list[Source]:
    """Where the archives of packages come from: the registry is asked for only if the cache lacks one."""
    found = [package.source() for package in packages]
    if is_offline() or all(cached(source) for source in found):
        return found
    registry = _registry()
    return [package.source(registry) for package in packages]


def _archives(packages: Iterable[Package]) -> list[Path]:
    wanted = sources(packages)
    try:
        return list(fetch_all(wanted, limits=_LIMITS).values())
    except SourceError as error:
        if is_offline() or all(source.urls for source in wanted):
            raise
        hint = "set ZOO_NPM to an npm registry's address, or install npm, or set ZOO_MIRROR to a folder that has them"
        raise SourceError(error.what, where=error.where, hint=hint) from None


def _registry() -> str:
    """The address of the npm registry that this machine uses; empty if nothing says."""
    if given := os.environ.get("ZOO_NPM", ""):
        return given
    npm = shutil.which("npm")
    if not npm:
        return ""
    command = [npm, "config", "get", "registry"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    address = done.stdout.strip()
    return address if done.returncode == 0 and address.startswith(("https://", "http://")) else ""


def _adapted(module: bytes, where: str) -> bytes:
    """A module whose imports are files beside it: a browser knows no names of packages."""
    lines = [line for line in module.decode().splitlines() if not line.startswith("//# sourceMappingURL=")]
    lines = [line.replace(_BARE, _RELATIVE) for line in lines]
    if any(line.startswith("import ") and "./" not in line for line in lines):
        raise DataError("imports what the site does not have", where=where, hint="use the pinned version")
    return ("\n".join(lines) + "\n").encode()


def _note() -> str:
    lines = [
        'What runs the models of "try it" in a browser: LiteRT.js, https://github.com/google-ai-edge/LiteRT',
        "Licence: Apache-2.0, https://www.apache.org/licenses/LICENSE-2.0",
        "Changed: index.js imports ./wasm-utils.js, and neither module names a source map.",
        "",
        *(f"{package.sha256}  {package.name} {package.version}" for package in PACKAGES),
    ]
    return "\n".join(lines) + "\n"
