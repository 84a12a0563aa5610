"""Push to OCI registries (registry.py) and OCI layout folders (layout.py): one ModelPack artifact for each model.

https://github.com/modelpack/model-spec: every file is a raw layer, so a layer's digest is the file's sha256, and
every OCI client can pull it.

This is our own client: oras (PyPI, 0.2.43) leaves redirects and ~/.netrc to requests, so a redirect may send the token
to http or to another host, and it cannot fill a layout folder from memory. Both stores share one push.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, Field

from utils.errors import PublishError
from utils.release.sbom import stamp
from utils.release.versions import why_not_latest
from utils.untrusted import parse_as, parse_json

__all__ = [
    "CREATED",
    "REVISION",
    "TITLE",
    "VERSION",
    "WEIGHT",
    "Artifact",
    "Referrer",
    "Store",
    "Tagged",
    "Tally",
    "as_json",
    "build_artifact",
    "digest_of",
    "new_index",
    "parse_index",
    "push",
    "version_of",
]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
CONFIG = "application/vnd.cncf.model.config.v1+json"
_LAYER = "application/vnd.cncf.model.{}.v1.raw"

#: The media type of a file of weights.
WEIGHT = _LAYER.format("weight")

#: Annotations.
CREATED = "org.opencontainers.image.created"
REVISION = "org.opencontainers.image.revision"
TITLE = "org.opencontainers.image.title"
VERSION = "org.opencontainers.image.version"


class _Described(BaseModel):
    """The keys of a manifest that are used; another tool may have written it."""

    annotations: dict[str, str] = Field(default_factory=dict)


class _Entry(BaseModel):
    digest: Annotated[str, Field(pattern=r"^sha(256|512):[0-9a-f]{64,128}$")]  # it becomes a path
    annotations: dict[str, str] = Field(default_factory=dict)


class _Index(BaseModel):
    """The keys of an index that are used; other tools may add more."""

    schemaVersion: Literal[2]  # noqa: N815  # its name
    manifests: list[_Entry]


@dataclass(frozen=True)
class Artifact:
    """The content of a push: blobs by digest, the config included, and the manifest that names them."""

    blobs: dict[str, bytes]
    manifest: bytes

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return digest_of(self.manifest)


@dataclass(frozen=True)
class Tagged:
    """The manifest with a tag."""

    digest: str
    version: str  # of the content; empty if not stated


@dataclass(frozen=True)
class Referrer:
    """A manifest that is attached to another one, its subject (OCI 1.1), and the blobs that it names."""

    name: str  # of the file that it holds
    blobs: dict[str, bytes]
    manifest: bytes
    entry: dict[str, Any]  # what an index says of it

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return digest_of(self.manifest)


@dataclass
class Tally:
    """The result of a push, or of a dry run."""

    sent: list[str] = field(default_factory=list)  # digests; of referrers: names
    there: list[str] = field(default_factory=list)  # as above
    bytes: int = 0  # sent
    latest: str = ""  # the state of the tag `latest`


class Store(Protocol):
    """A store for blobs and tagged manifests."""

    def has_blob(self, digest: str) -> bool:
        """Whether the blob exists and is complete."""

    def put_blob(self, digest: str, data: bytes) -> None:
        """Store a blob."""

    def find_tag(self, tag: str) -> Tagged | None:
        """Get the manifest with that tag."""

    def setting_tags(self) -> AbstractContextManager[None]:
        """Keep other processes from reading and setting tags, if the store can."""

    def put_manifest(self, tag: str, manifest: bytes) -> None:
        """Store a manifest under a tag, inside ``setting_tags``."""

    def get_manifest(self, tag: str) -> bytes | None:
        """Get the bytes of the manifest with that tag."""

    def get_blob(self, digest: str) -> bytes:
        """Get a small blob, and check its bytes."""

    def find_referrers(self, subject: str, digests: Collection[str]) -> set[str]:
        """Find which of these manifests are attached to a subject already."""

    def put_referrers(self, subject: str, referrers: Sequence[Referrer]) -> None:
        """Attach manifests whose blobs are there to a subject, inside ``setting_tags``."""


def digest_of(data: bytes) -> str:
    """Get the digest of a blob, as OCI writes it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def build_artifact(model: str, facts: dict[str, Any], contents: dict[str, bytes], release: dict[str, Any]) -> Artifact:
    """Pack one model as ModelPack: ``contents`` are its files by name, ``release`` and ``facts`` of release.json."""
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
                    "annotations": {TITLE: name, "org.cncf.model.filepath": name},
                }
                for name, data in contents.items()
            ],
            "annotations": {
                CREATED: created,
                "org.opencontainers.image.licenses": facts["licence"],
                REVISION: release["commit"],
                TITLE: facts["title"],
                VERSION: release["version"],
            },
        }
    )
    return Artifact({digest_of(config): config, **{digests[name]: data for name, data in contents.items()}}, manifest)


def as_json(value: Any) -> bytes:
    """Write JSON with equal bytes for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def version_of(manifest: bytes) -> str:
    """Get the version in a manifest; empty if it has none, or is malformed."""
    try:
        return parse_as(_Described, manifest, where="", error=PublishError).annotations.get(VERSION, "")
    except PublishError:
        return ""


def new_index() -> dict[str, Any]:
    """An index of nothing."""
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}


def parse_index(text: bytes, where: str, hint: str) -> dict[str, Any]:
    """Parse an index; the keys of other tools stay in it.

    Raises:
        PublishError: it is not an index.
    """
    parse_as(_Index, text, where=where, error=PublishError, hint=hint)
    index: dict[str, Any] = parse_json(text, where=where, error=PublishError, hint=hint)
    return index


def _kind(name: str) -> str:
    if name.endswith(".tflite"):
        return "weight"
    if name.endswith(".py"):
        return "code"
    return "dataset" if name.endswith(".npz") else "doc"


def push(store: Store, what: Artifact, version: str, *, dry_run: bool) -> Tally:
    """Push an artifact to a store: blobs first, then the manifest under each tag, so that no tag lacks a blob.

    The tag ``latest`` moves only forward: an older version or a pre-release leaves it where it is.

    Raises:
        PublishError: the version exists with other content, or the store cannot be reached, or refuses.
    """
    tally = Tally()
    _find_version(store, what, version)  # refuses before it sends anything
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
        hint = "publish a new version: a published one does not change"
        raise PublishError("this version is already published, with other files", where=f"{store}:{version}", hint=hint)
    return there
