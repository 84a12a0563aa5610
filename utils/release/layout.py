"""OCI image layout folders: the content of a registry, as files."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from utils import files, limits
from utils.errors import STORAGE, PublishError, storage_error
from utils.release.oci import ARTIFACT_TYPE, INDEX, MANIFEST, Tagged, as_json, digest_of, version_of
from utils.untrusted import parse_as, parse_json, read_untrusted

__all__ = ["Layout"]


class _Entry(BaseModel):
    digest: Annotated[str, Field(pattern=r"^sha(256|512):[0-9a-f]{64,128}$")]  # it becomes a path
    annotations: dict[str, str] = Field(default_factory=dict)


class _Index(BaseModel):
    """The keys of an index.json that are used; other tools may add more."""

    schemaVersion: Literal[2]  # noqa: N815  # its name
    manifests: list[_Entry]


class Layout:
    """An OCI image layout folder: no registry, no network; `skopeo copy oci:FOLDER:TAG ...` reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return f"oci:{self.folder}"

    def _blob(self, digest: str) -> Path:
        return self.folder / "blobs" / digest.replace(":", "/")

    def has_blob(self, digest: str) -> bool:
        """Whether the blob exists and is complete."""
        file = self._blob(digest)
        return file.is_file() and f"sha256:{files.sha256(file)}" == digest

    def _is_small(self, digest: str) -> bool:
        """Whether a blob can be a manifest, and not weights."""
        file = self._blob(digest)
        return file.is_file() and file.stat().st_size <= limits.ANSWER_BYTES

    def put_blob(self, digest: str, data: bytes) -> None:
        """Store a blob."""
        self._write(self._blob(digest), data)

    def _index(self) -> dict[str, Any]:
        file = self.folder / "index.json"
        with self._storing():
            if not file.exists():
                return {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
        where, hint = f"{file}: is not an OCI layout", "name another folder"
        text = read_untrusted(file, where=where, error=PublishError, hint=hint)
        parse_as(_Index, text, where=where, error=PublishError, hint=hint)
        index: dict[str, Any] = parse_json(text, where=where, error=PublishError, hint=hint)  # keys of other tools stay
        return index

    def find_tag(self, tag: str) -> Tagged | None:
        """Get the manifest with that tag."""
        found = [str(entry["digest"]) for entry in self._index()["manifests"] if _tag_of(entry) == tag]
        if not found:
            return None
        manifest = self._blob(found[0]).read_bytes() if self._is_small(found[0]) and self.has_blob(found[0]) else b""
        return Tagged(found[0], version_of(manifest))

    @contextlib.contextmanager
    def setting_tags(self) -> Iterator[None]:
        """Let one process at a time read and set tags."""
        with self._storing():
            self.folder.mkdir(parents=True, exist_ok=True)
            with files.locked_folder(self.folder):
                yield

    def put_manifest(self, tag: str, manifest: bytes) -> None:
        """Store a manifest under a tag, inside ``setting_tags``: two processes at once would lose a tag."""
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
            if error.errno not in (*STORAGE, errno.EEXIST, errno.ENOENT):  # a file in place of a folder
                raise
            raise storage_error(error) from error


def _tag_of(entry: dict[str, Any]) -> str:
    return str(entry.get("annotations", {}).get("org.opencontainers.image.ref.name", ""))
