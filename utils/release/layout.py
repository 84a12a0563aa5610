"""OCI image layout folders: the content of a registry, as files."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from utils import files, limits
from utils.errors import STORAGE, PublishError, storage_error
from utils.release.oci import (
    ARTIFACT_TYPE,
    MANIFEST,
    Referrer,
    Tagged,
    as_json,
    digest_of,
    new_index,
    parse_index,
    version_of,
)
from utils.untrusted import as_text, read_untrusted

__all__ = ["Layout"]


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
                return new_index()
        where, hint = f"{file}: is not an OCI layout", "name another folder"
        return parse_index(read_untrusted(file, where=where, error=PublishError, hint=hint), where, hint)

    def _digest(self, tag: str) -> str:
        """The digest under a tag; empty if there is none."""
        found = (str(entry["digest"]) for entry in self._index()["manifests"] if _tag_of(entry) == tag)
        return next(found, "")

    def find_tag(self, tag: str) -> Tagged | None:
        """Get the manifest with that tag."""
        found = self._digest(tag)
        if not found:
            return None
        manifest = self._blob(found).read_bytes() if self._is_small(found) and self.has_blob(found) else b""
        return Tagged(found, version_of(manifest))

    def get_manifest(self, tag: str) -> bytes | None:
        """Get the bytes of the manifest with that tag."""
        found = self._digest(tag)
        return self.get_blob(found) if found else None

    def get_blob(self, digest: str) -> bytes:
        """Get a small blob, and check its bytes.

        Raises:
            PublishError: it is missing, damaged or too large.
        """
        where, hint = f"{self}: {as_text(digest, 100)}", "get the layout again from where it was published"
        file = self._blob(digest)
        data = read_untrusted(file, where=where, error=PublishError, hint=hint, most=limits.ANSWER_BYTES)
        if digest_of(data) != digest:
            raise PublishError("is damaged: its bytes have another digest", where=where, hint=hint)
        return data

    def find_referrers(self, subject: str, digests: Collection[str]) -> set[str]:
        """Find which of these manifests the index names, and are whole."""
        named = {str(entry["digest"]) for entry in self._index()["manifests"]}
        return {digest for digest in digests if digest in named and self.has_blob(digest)}

    def put_referrers(self, subject: str, referrers: Sequence[Referrer]) -> None:
        """Add manifests to the index, without a tag, inside ``setting_tags``."""
        for each in referrers:
            self.put_blob(each.digest, each.manifest)
        index = self._index()
        named = {str(entry["digest"]) for entry in index["manifests"]}
        new = [each.entry for each in referrers if each.digest not in named]
        self._write_index(index, [*index["manifests"], *new])

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
        self._write_index(index, [e for e in index["manifests"] if _tag_of(e) != tag] + [entry])

    def _write_index(self, index: dict[str, Any], manifests: list[dict[str, Any]]) -> None:
        index["manifests"] = sorted(manifests, key=_place_of)
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


def _place_of(entry: dict[str, Any]) -> tuple[bool, str]:
    """Where an entry stands in the index: tags first, then what has none, by digest."""
    tag = _tag_of(entry)
    return not tag, tag or str(entry["digest"])
