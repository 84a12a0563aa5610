"""The runtime of "try it": found by its hash, unpacked, and made to import files and not packages."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from tests.support.servers import Server, full
from utils.catalogue import browser
from utils.errors import CorruptError, DataError, OfflineError, SourceError

INDEX = b"""import { createWasmLib } from "@litertjs/wasm-utils";
export const made = createWasmLib;
//# sourceMappingURL=index.js.map"""


def packed(files: dict[str, bytes]) -> bytes:
    """An archive as npm packs them."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def package(data: bytes, name: str = "@made/core", **taken: str) -> browser.Package:
    return browser.Package(
        name, "1.2.3", len(data), hashlib.sha256(data).hexdigest(), "MIT", taken or {"a.js": "to/a.js"}
    )


@pytest.fixture
def own_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty mirror and an empty cache; no npm, and no variable of this machine."""
    for name in [name for name in os.environ if name.startswith("ZOO_")]:
        monkeypatch.delenv(name)
    (tmp_path / "mirror").mkdir()
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("ZOO_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "mirror"


def put(mirror: Path, data: bytes) -> None:
    (mirror / hashlib.sha256(data).hexdigest()).write_bytes(data)


def npm(tmp_path: Path, script: str) -> None:
    """A program that answers as npm does."""
    (tmp_path / "bin/npm").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "bin/npm").chmod(0o755)


def test_files_come_from_the_mirror(own_mirror: Path) -> None:
    one, other = packed({"a.js": b"a", "b.js": b"b"}), packed({"c.wasm": b"\0asm"})
    put(own_mirror, one)
    put(own_mirror, other)
    packages = [package(one), package(other, "plain", **{"c.wasm": "c.wasm"})]
    assert browser.load(packages) == {"to/a.js": b"a", "c.wasm": b"\0asm"}


@pytest.mark.usefixtures("own_mirror")
def test_a_registry_is_asked_by_the_name_of_the_package(upstream: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    data = packed({"a.js": b"from afar"})
    upstream.routes["/npm/@made/core/-/core-1.2.3.tgz"] = [full(data)]
    monkeypatch.setenv("ZOO_NPM", f"{upstream.base}/npm/")
    assert browser.load([package(data)]) == {"to/a.js": b"from afar"}
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    assert browser.load([package(data)]) == {"to/a.js": b"from afar"}  # from the cache


@pytest.mark.usefixtures("own_mirror")
def test_npm_s_own_setting_names_the_registry(upstream: Server, tmp_path: Path) -> None:
    data = packed({"a.js": b"as npm says"})
    upstream.routes["/own/@made/core/-/core-1.2.3.tgz"] = [full(data)]
    npm(tmp_path, f'[ "$*" = "config get registry" ] && echo {upstream.base}/own/')
    assert browser.load([package(data)]) == {"to/a.js": b"as npm says"}


@pytest.mark.parametrize("script", ["exit 1", "echo undefined", "echo file:///etc; exit 0", "printf '\\377'", ""])
@pytest.mark.usefixtures("own_mirror")
def test_without_a_registry_the_message_says_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    if script:
        npm(tmp_path, script)
    else:
        monkeypatch.setenv("PATH", str(tmp_path))  # no npm
    with pytest.raises(SourceError) as caught:
        browser.load([package(packed({"a.js": b""}))])
    assert "made-core-1.2.3.tgz" in str(caught.value)
    assert "-> set ZOO_NPM to an npm registry's address, or install npm, or set ZOO_MIRROR" in str(caught.value)


@pytest.mark.usefixtures("own_mirror")
def test_offline_no_npm_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm(tmp_path, f": >{tmp_path}/asked")
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(OfflineError):
        browser.load([package(packed({"a.js": b""}))])
    assert not (tmp_path / "asked").exists()


@pytest.mark.usefixtures("own_mirror")
def test_other_bytes_are_refused(upstream: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    data = packed({"a.js": b"right"})
    upstream.routes["/bad/@made/core/-/core-1.2.3.tgz"] = [full(packed({"a.js": b"wrong"}))]
    monkeypatch.setenv("ZOO_NPM", f"{upstream.base}/bad")
    with pytest.raises(CorruptError):
        browser.load([package(data)])


def test_a_package_without_the_file_is_damaged(own_mirror: Path) -> None:
    data = packed({"b.js": b""})
    put(own_mirror, data)
    with pytest.raises(DataError, match=r"@made/core 1.2.3: a.js: cannot be read"):
        browser.load([package(data)])


def made_up(monkeypatch: pytest.MonkeyPatch, mirror: Path, index: bytes) -> None:
    """Let two small archives be the runtime."""
    contents = [dict.fromkeys(found.taken, index) for found in browser.PACKAGES]
    archives = [packed(files) for files in contents]
    for data in archives:
        put(mirror, data)
    made = [package(data, found.name, **found.taken) for data, found in zip(archives, browser.PACKAGES, strict=True)]
    monkeypatch.setattr(browser, "PACKAGES", tuple(made))


def test_the_modules_import_files_and_name_no_source_map(own_mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up(monkeypatch, own_mirror, INDEX)
    files = browser.files()
    assert files["runtime/index.js"].startswith(b'import { createWasmLib } from "./wasm-utils.js";\nexport ')
    assert b"sourceMappingURL" not in files["runtime/index.js"] + files["runtime/wasm-utils.js"]
    assert files[f"runtime/{browser.WASM}.wasm"] == INDEX
    assert set(browser.SCRIPTS) < set(files)
    assert b"Apache-2.0" in files["runtime/README.txt"]
    for found in browser.PACKAGES:
        assert f"{found.sha256}  {found.name} 1.2.3".encode() in files["runtime/README.txt"]
    assert browser.files() == files


def test_a_module_that_imports_more_is_refused(own_mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up(monkeypatch, own_mirror, INDEX + b'\nimport more from "elsewhere";')
    with pytest.raises(DataError, match="imports what the site does not have"):
        browser.files()


def test_our_scripts_import_each_other_alone() -> None:
    import re

    for name in browser.SCRIPTS:
        text = (Path(browser.__file__).parent / name).read_text()
        for imported in re.findall(r'from "([^"]+)"', text):
            assert imported.removeprefix("./") in browser.SCRIPTS
        assert not re.search(r"https?://", text)  # nothing from another host
