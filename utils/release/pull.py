"""Read a published model from a registry or a layout folder: what its artifacts are, and the provenance of each.

No artifact is fetched: a digest says what it is. Everything that is read is untrusted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from utils import limits
from utils.catalogue.facts import is_name
from utils.errors import PublishError, ReleaseError
from utils.release import provenance
from utils.release.layout import Layout
from utils.release.manifest import Manifest, read_manifest
from utils.release.oci import Store
from utils.release.registry import Registry
from utils.release.versions import precedence_of
from utils.untrusted import as_text

__all__ = ["Published", "pull_model"]

_FORMS = "oci:FOLDER/MODEL:VERSION or oci://HOST/REPO/MODEL:VERSION"

#: How a reference to a manifest ends that names no version.
_DIGEST = re.compile(r"@sha(256|512):[0-9a-f]*$")

_DOUBT = "do not use it; ask who published it"


@dataclass(frozen=True)
class Published:
    """A model as it is published.

    Attributes:
        model: its name.
        version: of the release.
        commit: that it was built from.
        artifacts: file name -> sha256.
        provenance: ``provenance/FILE.json`` -> its bytes, one for each artifact; each was checked.
    """

    model: str
    version: str
    commit: str
    artifacts: dict[str, str]
    provenance: dict[str, bytes]


def pull_model(reference: str) -> Published:
    """Read a published model.

    Args:
        reference: ``oci:FOLDER/MODEL:VERSION`` or ``oci://HOST/REPO/MODEL:VERSION``.

    Raises:
        PublishError: the reference is malformed, nothing is published there, it cannot be reached, or it is damaged.
        ReleaseError: the provenance of an artifact is missing, malformed, or about something else.
    """
    store, model, version = _find_store(reference)
    where = f"{store}:{version}"
    text = store.get_manifest(version)
    if text is None:
        raise PublishError("this version is not published", where=where, hint="name a version that is there")
    found = read_manifest(text, where=where, version=version)
    proofs = {
        f"provenance/{file}.json": _read_provenance(store, model, found, file, where=where) for file in found.artifacts
    }
    return Published(model, version, found.commit, found.artifacts, proofs)


def _find_store(reference: str) -> tuple[Store, str, str]:
    """Take a reference apart: the store, the model and the version.

    Raises:
        PublishError: it is malformed, has a user in it, or has a digest in place of a version.
    """
    kind, _, rest = reference.partition(":")
    place, _, version = rest.rpartition(":")
    folder, _, model = place.rpartition("/")
    if _DIGEST.search(reference):
        hint = f"name the model by its version: {_FORMS}"
        raise PublishError("the reference names the model by a digest", where="release=", hint=hint)
    if "@" in reference and rest.startswith("//"):  # the part before it may be a password: not printed
        hint = "remove the part before the @, and run `docker login HOST`"
        raise PublishError("the reference has a user in it", where="release=", hint=hint)
    if kind != "oci" or not folder.strip("/") or not is_name(model) or precedence_of(version) is None:
        raise PublishError(f"'{as_text(reference, 200)}' is not a published model", where="release=", hint=_FORMS)
    if not rest.startswith("//"):
        return Layout(Path(place)), model, version
    host, _, repository = place.removeprefix("//").partition("/")
    return Registry(host, repository, access="pull"), model, version


def _read_provenance(store: Store, model: str, found: Manifest, file: str, *, where: str) -> bytes:
    """Fetch and check the statement about one artifact.

    Raises:
        PublishError: it cannot be fetched, or has other bytes than its digest says.
        ReleaseError: it is missing, malformed, too large, or about something else.
    """
    name = f"provenance/{file}.json"
    where = f"{where}: {name}"
    layer = found.layers.get(name)
    if layer is None:
        raise ReleaseError("is missing", where=where, hint=_DOUBT)
    if layer.size > limits.ANSWER_BYTES:
        what = f"has {layer.size:,} bytes; at most {limits.ANSWER_BYTES:,} are allowed"
        raise ReleaseError(what, where=where, hint=_DOUBT)
    text = store.get_blob(layer.digest)
    if len(text) != layer.size:
        raise ReleaseError("has another size than the manifest says", where=where, hint=_DOUBT)
    try:
        statement = provenance.check(text)
    except ReleaseError as error:
        raise ReleaseError(error.what, where=where, hint=_DOUBT) from None
    wrong = provenance.find_faults(statement, file, found.artifacts[file], found.commit)
    if provenance.model_of(statement) != model:
        wrong.append(f"is about another model than {model}")
    if wrong:
        raise ReleaseError("; ".join(wrong), where=where, hint=_DOUBT)
    return text
