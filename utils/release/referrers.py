"""Attach proofs to a published model: provenance, bill of materials, and statements about rebuilds.

Each is a manifest of OCI 1.1 whose ``subject`` is the model's manifest, so that ``oras discover``, ``cosign`` and a
registry's page find them from the model. All that is in one follows from the model's manifest and the file: whoever
attaches it, and whenever, the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field

from utils.attest import statement
from utils.attest.envelope import BUNDLE, PAYLOAD
from utils.errors import PublishError
from utils.release import provenance
from utils.release.oci import CREATED, MANIFEST, TITLE, Referrer, Store, Tally, as_json, digest_of
from utils.untrusted import parse_as

__all__ = ["CYCLONEDX", "attach", "build_referrers"]

#: The media type of a bill of materials.
CYCLONEDX = "application/vnd.cyclonedx+json"

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
    blobs = {digest: data for each in built for digest, data in each.blobs.items()}
    missing = {digest: data for digest, data in blobs.items() if not store.has_blob(digest)}
    tally = Tally(bytes=sum(map(len, missing.values())))
    new = []
    for each in built:
        is_there = each.digest in there and not missing.keys() & each.blobs.keys()
        (tally.there if is_there else tally.sent).append(each.name)
        if each.digest not in there:
            new.append(each)
    if not dry_run:
        for digest, data in missing.items():
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
        return PAYLOAD, {"in-toto.io/predicate-type": provenance.PREDICATE}
    if name.startswith("rebuilds/"):  # as cosign's BUNDLE_SPEC.md says
        return BUNDLE, {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": statement.PREDICATE,
        }
    return CYCLONEDX, {}
