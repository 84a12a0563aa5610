"""Small releases and layouts, to be killed at: what is there before and after, and how to put it there."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from utils.release import oci, pack
from utils.release.layout import Layout

OLD, NEW = {"sub/file": "old", "release.json": "old"}, {"sub/file": "new", "release.json": "new", "more": "new"}


def fill(folder: Path, content: dict[str, str]) -> None:
    for name, text in content.items():
        pack.write(folder / name, text.encode())


def tree(folder: Path) -> dict[str, str]:
    return {file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*") if file.is_file()}


def put(folder: Path, content: dict[str, str]) -> None:
    pack.put_release(folder, partial(fill, content=content), force=True)


def made(version: str) -> oci.Artifact:
    release: dict[str, Any] = {"version": version, "commit": "0" * 40, "time": 0}
    return oci.build_artifact("m", {"title": "T", "licence": "MIT"}, {"a": version.encode(), "b": b"same"}, release)


def push(folder: Path, version: str) -> None:
    oci.push(Layout(folder), made(version), version, dry_run=False)


def tags(folder: Path) -> dict[str, str]:
    """Tag -> digest of what is there, all of whose blobs are there, whole."""
    if not (folder / "index.json").exists():
        return {}
    found = {}
    for entry in json.loads((folder / "index.json").read_text())["manifests"]:
        manifest = (folder / "blobs" / entry["digest"].replace(":", "/")).read_bytes()
        assert oci.digest_of(manifest) == entry["digest"]
        for part in (json.loads(manifest)["config"], *json.loads(manifest)["layers"]):
            assert Layout(folder).has_blob(part["digest"])
        found[entry["annotations"]["org.opencontainers.image.ref.name"]] = entry["digest"]
    return found
