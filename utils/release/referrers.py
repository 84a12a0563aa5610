"""Attach proofs to a published model: provenance, bill of materials, and statements about rebuilds.

Each is a manifest of OCI 1.1 whose ``subject`` is the model's manifest, so that ``oras discover``, ``cosign`` and a
registry's page find them from the model. All that is in one follows from the model's manifest and the file: whoever
attaches it, and whenever, the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field

from utils.errors import PublishError
from utils.release.oci import CREATED, MANIFEST, TITLE, Referrer, Store, Tally, as_json, digest_of
from utils.release.provenance import PREDICATE
from utils.untrusted import parse_as

__all__ = ["BUNDLE", "CYCLONEDX", "IN_TOTO", "SUMMARY", "attach", "build_referrers"]

#: Media types of what is attached.
IN_TOTO = "application/vnd.in-toto+json"
CYCLONEDX = "application/vnd.cyclonedx+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"

#: The predicate of a statement about a rebuild.
SUMMARY = "https://slsa.dev/verification_summary/v1"

#: A referrer has no configuration.
_EMPTY, _NOTHING = "application/vnd.oci.empty.v1+json", b"{}"


class _Annotations(BaseModel):
    created: Annotated[str, Field(alias=CREATED, max_length=64)]


class _Subject(BaseModel):
    annotations: _Annotations


def attach(store: Store, manifest: bytes, proofs: Mapping[str, bytes], *, dry_run: bool) -> Tally:
    """Attach proofs to a model's manifest; what is attached already is not sent again.

    Args:
        store: that has, or will have, the manifest.
        manifest: of the model.
        proofs: ``provenance/FILE.json``, ``bom.json`` or ``rebuilds/KEY.json`` -> content.
        dry_run: count what would be sent, and send nothing.

    Raises:
        PublishError: the store cannot be reached, or refuses; or the manifest has no time.
    """
    subject, built = digest_of(manifest), build_referrers(manifest, proofs)
    there = store.find_referrers(subject, [each.digest for each in built]) if built else set()
    new = [each for each in built if each.digest not in there]
    tally = Tally(sent=[each.name for each in new], there=[each.name for each in built if each.digest in there])
    blobs = {digest: data for each in new for digest, data in each.blobs.items()}
    for digest, data in blobs.items():
        if not store.has_blob(digest):
            tally.bytes += len(data)
            if not dry_run:
                store.put_blob(digest, data)
    if new and not dry_run:
        with store.setting_tags():
            store.put_referrers(subject, new)
    return tally


def build_referrers(manifest: bytes, proofs: Mapping[str, bytes]) -> list[Referrer]:
    """Build the manifests that hold proofs of a model, in the order of their names.

    Raises:
        PublishError: the model's manifest has no time.
    """
    where = digest_of(manifest)
    created = parse_as(_Subject, manifest, where=where, error=PublishError).annotations.created
    subject = {"mediaType": MANIFEST, "digest": where, "size": len(manifest)}
    return [_build(name, data, subject, created) for name, data in sorted(proofs.items())]


def _build(name: str, data: bytes, subject: dict[str, Any], created: str) -> Referrer:
    kind, named = _kind_of(name)
    title = {TITLE: name.rpartition("/")[2]}
    annotations = {CREATED: created, **title, **named}
    manifest = as_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": {"mediaType": _EMPTY, "digest": digest_of(_NOTHING), "size": len(_NOTHING)},
            "layers": [
                {"mediaType": kind, "digest": digest_of(data), "size": len(data), "annotations": {**title, **named}}
            ],
            "subject": subject,
            "annotations": annotations,
        }
    )
    entry = {
        "mediaType": MANIFEST,
        "artifactType": kind,
        "digest": digest_of(manifest),
        "size": len(manifest),
        "annotations": annotations,
    }
    return Referrer(name, {digest_of(_NOTHING): _NOTHING, digest_of(data): data}, manifest, entry)


def _kind_of(name: str) -> tuple[str, dict[str, str]]:
    """The media type of a proof, and the annotations by which other tools find it."""
    if name.startswith("provenance/"):
        return IN_TOTO, {"in-toto.io/predicate-type": PREDICATE}
    if name.startswith("rebuilds/"):  # as cosign's BUNDLE_SPEC.md says
        return BUNDLE, {"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": SUMMARY}
    return CYCLONEDX, {}
