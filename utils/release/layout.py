"""OCI image layout folders: what a registry holds, as files."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from utils import files
from utils.errors import STORAGE, PublishError, storage_error
from utils.release.oci import ARTIFACT_TYPE, INDEX, MANIFEST, Tagged, as_json, digest_of, version_of

__all__ = ["Layout"]


class Layout:
    """An OCI image layout folder: no registry, no network; `skopeo copy oci:FOLDER:TAG ...` takes it on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return f"oci:{self.folder}"

    def _blob(self, digest: str) -> Path:
        return self.folder / "blobs" / digest.replace(":", "/")

    def has_blob(self, digest: str) -> bool:
        """Whether the blob is there, whole."""
        file = self._blob(digest)
        return file.is_file() and digest_of(file.read_bytes()) == digest

    def put_blob(self, digest: str, data: bytes) -> None:
        """Leave a blob there."""
        self._write(self._blob(digest), data)

    def _index(self) -> dict[str, Any]:
        file = self.folder / "index.json"
        try:
            with self._storing():
                text = file.read_text(encoding="utf-8")
            index: dict[str, Any] = json.loads(text)
            if index["schemaVersion"] != 2 or not isinstance(index["manifests"], list):
                raise ValueError("no image index")
            return index
        except FileNotFoundError:
            return {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
        except (KeyError, TypeError, ValueError) as error:
            raise PublishError(f"is no OCI layout ({error})", where=str(file), hint="name another folder") from None

    def find_tag(self, tag: str) -> Tagged | None:
        """What has that tag."""
        found = [str(entry["digest"]) for entry in self._index()["manifests"] if _tag_of(entry) == tag]
        if not found:
            return None
        manifest = self._blob(found[0]).read_bytes() if self.has_blob(found[0]) else b""
        return Tagged(found[0], version_of(manifest))

    @contextlib.contextmanager
    def setting_tags(self) -> Iterator[None]:
        """Let one process at a time decide what tags name, and set them."""
        with self._storing():
            self.folder.mkdir(parents=True, exist_ok=True)
            with files.locked_folder(self.folder):
                yield

    def put_manifest(self, tag: str, manifest: bytes) -> None:
        """Leave a manifest there under a tag, inside ``setting_tags``: two at once would lose one of their tags."""
        self.put_blob(digest_of(manifest), manifest)
        index = self._index()
        entry = {
            "mediaType": MANIFEST,
            "artifactType": ARTIFACT_TYPE,
            "digest": digest_of(manifest),
            "size": len(manifest),
            "annotations": {"org.opencontainers.image.ref.name": tag},
        }
        index["manifests"] = sorted([e for e in index["manifests"] if _tag_of(e) != tag] + [entry], key=_tag_of)
        self._write(self.folder / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        self._write(self.folder / "index.json", as_json(index))

    def _write(self, file: Path, data: bytes) -> None:
        with self._storing():
            file.parent.mkdir(parents=True, exist_ok=True)
            files.write_whole(file, data)

    @staticmethod
    @contextlib.contextmanager
    def _storing() -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (*STORAGE, errno.EEXIST, errno.ENOTDIR):  # a file where a folder should be
                raise
            raise storage_error(error) from error


def _tag_of(entry: dict[str, Any]) -> str:
    return str(entry.get("annotations", {}).get("org.opencontainers.image.ref.name", ""))
