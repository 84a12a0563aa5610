"""What goes to OCI registries (registry.py) and OCI layout folders (layout.py): one artifact a model, as ModelPack.

https://github.com/modelpack/model-spec: every file is a raw layer, so a layer's digest is the file's sha256, and
whatever speaks OCI can pull it.

A client of our own: oras (PyPI, 0.2.43) leaves redirects and ~/.netrc to requests, so a Location may take the token to
http or to another host, and it fills no layout folder from memory. Two stores share one push here.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel, Field

from utils.errors import PublishError
from utils.release.sbom import stamp
from utils.release.versions import why_not_latest
from utils.untrusted import parse_as

__all__ = ["Artifact", "Store", "Tagged", "Tally", "as_json", "build_artifact", "digest_of", "push", "version_of"]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
CONFIG = "application/vnd.cncf.model.config.v1+json"
_LAYER = "application/vnd.cncf.model.{}.v1.raw"

_VERSION = "org.opencontainers.image.version"


class _Described(BaseModel):
    """What is needed of a manifest that somebody else may have put there."""

    annotations: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Artifact:
    """What is pushed: blobs by digest, the config's among them, and the manifest that names them."""

    blobs: dict[str, bytes]
    manifest: bytes

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return digest_of(self.manifest)


@dataclass(frozen=True)
class Tagged:
    """The manifest that a tag names."""

    digest: str
    version: str  # of what it describes; empty where it does not say


@dataclass
class Tally:
    """What a push did, or would do."""

    sent: list[str] = field(default_factory=list)  # digests
    there: list[str] = field(default_factory=list)  # digests
    bytes: int = 0  # sent
    latest: str = ""  # what became of the tag `latest`


class Store(Protocol):
    """Where blobs and tagged manifests go."""

    def has_blob(self, digest: str) -> bool:
        """Whether the blob is there, whole."""

    def put_blob(self, digest: str, data: bytes) -> None:
        """Leave a blob there."""

    def find_tag(self, tag: str) -> Tagged | None:
        """What has that tag."""

    def setting_tags(self) -> AbstractContextManager[None]:
        """Keep others from deciding what tags name, and from setting them, where the store can."""

    def put_manifest(self, tag: str, manifest: bytes) -> None:
        """Leave a manifest there under a tag, inside ``setting_tags``."""


def digest_of(data: bytes) -> str:
    """The digest of a blob, as OCI writes it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def build_artifact(model: str, facts: dict[str, Any], contents: dict[str, bytes], release: dict[str, Any]) -> Artifact:
    """One model as ModelPack: ``contents`` are its files by name, ``release`` and ``facts`` what release.json says."""
    created = stamp(release["time"])
    digests = {name: digest_of(data) for name, data in contents.items()}
    config = as_json(
        {
            "descriptor": {
                "name": model,
                "title": facts["title"],
                "version": release["version"],
                "revision": release["commit"],
                "createdAt": created,
                "licenses": [facts["licence"]],
            },
            "config": {"format": "tflite"},
            "modelfs": {"type": "layers", "diffIds": [digests[name] for name in contents]},
        }
    )
    manifest = as_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": ARTIFACT_TYPE,
            "config": {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config)},
            "layers": [
                {
                    "mediaType": _LAYER.format(_kind(name)),
                    "digest": digests[name],
                    "size": len(data),
                    "annotations": {"org.opencontainers.image.title": name, "org.cncf.model.filepath": name},
                }
                for name, data in contents.items()
            ],
            "annotations": {
                "org.opencontainers.image.created": created,
                "org.opencontainers.image.licenses": facts["licence"],
                "org.opencontainers.image.revision": release["commit"],
                "org.opencontainers.image.title": facts["title"],
                _VERSION: release["version"],
            },
        }
    )
    return Artifact({digest_of(config): config, **{digests[name]: data for name, data in contents.items()}}, manifest)


def as_json(value: Any) -> bytes:
    """JSON that is the same for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def version_of(manifest: bytes) -> str:
    """The version that a manifest names; empty where it names none, or is none."""
    try:
        return parse_as(_Described, manifest, where="", error=PublishError).annotations.get(_VERSION, "")
    except PublishError:
        return ""


def _kind(name: str) -> str:
    if name.endswith(".tflite"):
        return "weight"
    if name.endswith(".py"):
        return "code"
    return "dataset" if name.endswith(".npz") else "doc"


def push(store: Store, what: Artifact, version: str, *, dry_run: bool) -> Tally:
    """Bring an artifact to a store: blobs first, then the manifest under each tag, so that no tag lacks a blob.

    The tag ``latest`` moves only forward: an older version or a pre-release leaves it where it is.

    Raises:
        PublishError: the version is there with other content, the store cannot be reached, or refuses.
    """
    tally = Tally()
    _find_version(store, what, version)  # refuses before anything is sent
    for digest, data in what.blobs.items():
        if store.has_blob(digest):
            tally.there.append(digest)
            continue
        tally.sent.append(digest)
        tally.bytes += len(data)
        if not dry_run:
            store.put_blob(digest, data)
    with nullcontext() if dry_run else store.setting_tags():
        tags, latest = {version: _find_version(store, what, version)}, store.find_tag("latest")
        if reason := why_not_latest(version, latest.version if latest else None):
            tally.latest = f"latest stays: {reason}" if latest else f"no latest: {reason}"
        else:
            tags["latest"] = latest
            tally.latest = f"latest {'would be' if dry_run else 'is'} {version}"
        for tag, found in tags.items():
            if found is None or found.digest != what.digest:
                tally.sent.append(f"{tag} = {what.digest}")
                if not dry_run:
                    store.put_manifest(tag, what.manifest)
    return tally


def _find_version(store: Store, what: Artifact, version: str) -> Tagged | None:
    there = store.find_tag(version)
    if there and there.digest != what.digest:
        hint = "a published version does not change: publish a new one"
        raise PublishError("this version is there, with other files", where=f"{store}:{version}", hint=hint)
    return there
