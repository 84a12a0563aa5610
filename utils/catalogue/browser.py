"""The runtime of "try it": LiteRT.js, two packages of npm with pinned hashes, as files of the site's ``runtime/``.

They come from the cache, from ``ZOO_MIRROR``, or from an npm registry: ``ZOO_NPM`` names its address, else npm's own
setting does where npm is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from utils import limits
from utils.errors import BuildError, SourceError
from utils.sources.cache import cached
from utils.sources.fetch import fetch_all
from utils.sources.source import Source, is_offline
from utils.sources.unpack import unpack
from utils.untrusted import read_untrusted

__all__ = ["FOLDER", "NOTE", "Package", "files", "packages"]

#: The folder of the runtime in a site, and the file in it that says what it is.
FOLDER = "runtime"
NOTE = "README.txt"

#: The one build of the WebAssembly that the site has. It needs SIMD, which browsers have had since 2023, and no relaxed
#: SIMD, whose results depend on the processor.
WASM = "litert_wasm_compat_internal"

#: How the package's module names the other package, and what stands there in the site.
_BARE, _RELATIVE = 'from "@litertjs/wasm-utils"', 'from "./wasm-utils.js"'

_LICENCE = "Apache-2.0"


class Package:
    """A package of npm: its source, and which of its files go where in ``runtime/``."""

    def __init__(self, name: str, version: str, size: int, sha256: str, taken: dict[str, str]) -> None:
        self.name, self.version, self.taken = name, version, taken
        self._size, self._sha256 = size, sha256

    def source(self, registry: str = "") -> Source:
        """The package's archive; without a registry, only the cache and the mirror can have it."""
        file = f"{self.name.rpartition('/')[2]}-{self.version}.tgz"
        urls = (f"{registry.rstrip('/')}/{self.name}/-/{file}",) if registry else ()
        what = f"{self.name} {self.version}, what runs models in a browser"
        return Source(f"litertjs-{file}", urls, self._size, self._sha256, None, _LICENCE, what)


#: What "try it" loads.
PACKAGES = (
    Package(
        "@litertjs/core", "2.5.3", 11_817_097, "a97660833e9e7e1063c95e12016718881240b14f7438728a2f62785e912d30fd",
        {"dist/index.js": "index.js", f"wasm/{WASM}.js": f"{WASM}.js", f"wasm/{WASM}.wasm": f"{WASM}.wasm"},
    ),
    Package(
        "@litertjs/wasm-utils", "2.5.3", 4698, "ce2a1f8379c067be49e59752e5a7f40db6be09f6e497f0f11e59f17b515366a7",
        {"dist/index.js": "wasm-utils.js"},
    ),
)  # fmt: skip


def packages() -> list[Source]:
    """The sources of the runtime, with the addresses that this machine's settings give them."""
    bare = [package.source() for package in PACKAGES]
    if is_offline() or all(cached(source) for source in bare):
        return bare
    registry = _registry()
    return [package.source(registry) for package in PACKAGES]


def files() -> dict[str, bytes]:
    """The files of the runtime: path in the site -> content, the same every time.

    Raises:
        SourceError: they cannot be had: a site without them has no "try it".
        DataError: an archive is damaged.
        StorageError: the cache cannot be written.
    """
    sources = packages()
    try:
        archives = fetch_all(sources)
    except SourceError as error:
        if all(source.urls for source in sources):
            raise
        hint = (
            "set ZOO_NPM to the address of an npm registry, or install npm, or set ZOO_MIRROR to a folder that has them"
        )
        raise SourceError(error.what, where=error.where, hint=hint) from None
    found: dict[str, bytes] = {}
    for package, source in zip(PACKAGES, sources, strict=True):
        with tempfile.TemporaryDirectory() as folder:
            unpacked = unpack(archives[source], Path(folder) / "archive", max_bytes=limits.RUNTIME_BYTES)
            for inside, name in package.taken.items():
                where = f"{source.name}: {inside}"
                content = read_untrusted(
                    unpacked / "package" / inside, where=where, error=BuildError, most=limits.RUNTIME_BYTES
                )
                found[f"{FOLDER}/{name}"] = _adapted(content, where) if inside.endswith("index.js") else content
    return {**found, f"{FOLDER}/{NOTE}": _note(sources).encode()}


def _adapted(module: bytes, where: str) -> bytes:
    """A module whose imports are files beside it: a browser knows no names of packages."""
    lines = [line for line in module.decode().splitlines() if not line.startswith("//# sourceMappingURL=")]
    text = "\n".join(lines).replace(_BARE, _RELATIVE) + "\n"
    if "@litertjs/" in "".join(line for line in text.splitlines() if line.startswith(("import ", "export "))):
        raise BuildError("imports a package that the site does not have", where=where, hint="use the pinned version")
    return text.encode()


def _note(sources: list[Source]) -> str:
    lines = [
        'What runs the models of "try it" in a browser: LiteRT.js, https://github.com/google-ai-edge/LiteRT',
        "Licence: Apache-2.0, https://www.apache.org/licenses/LICENSE-2.0",
        "Changed: index.js imports ./wasm-utils.js; both modules name no source map.",
        "",
        *(f"{package.name} {package.version}" for package in PACKAGES),
        "",
        *(f"{source.sha256}  {source.name}" for source in sources),
    ]
    return "\n".join(lines) + "\n"


def _registry() -> str:
    """The address of the npm registry that this machine uses; empty if nothing says."""
    if given := os.environ.get("ZOO_NPM", ""):
        return given
    npm = shutil.which("npm")
    if not npm:
        return ""
    try:
        done = subprocess.run(
            [npm, "config", "get", "registry"], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    address = done.stdout.strip()
    return address if done.returncode == 0 and address.startswith(("https://", "http://")) else ""
