"""Read the manifest of a published model, which any tool may have written: its files, its version and its commit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from utils import limits
from utils.errors import PublishError
from utils.release.oci import REVISION, TITLE, VERSION, WEIGHT
from utils.untrusted import as_text, parse_as

__all__ = ["Layer", "Manifest", "is_artifact", "read_manifest"]

_HINT = "name a model that `doit publish` has sent"

#: The name of a file in a bundle, and of the folders above it; not hidden.
_Title = Annotated[
    str, Field(pattern=r"^([A-Za-z0-9_][A-Za-z0-9._-]*/){0,4}[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=300)
]


class _Titled(BaseModel):
    title: Annotated[_Title, Field(alias=TITLE)]


class _Layer(BaseModel):
    mediaType: str  # noqa: N815  # its name
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0, le=2**62)]
    annotations: _Titled


class _Annotations(BaseModel):
    revision: Annotated[str, Field(alias=REVISION, pattern=r"^[0-9a-f]{40,64}$")]
    version: Annotated[str, Field(alias=VERSION, max_length=limits.VERSION_CHARS)]


class _Manifest(BaseModel):
    """The keys of a manifest that are used; another tool may have written more."""

    schemaVersion: Literal[2]  # noqa: N815
    artifactType: Literal["application/vnd.cncf.model.manifest.v1+json"]  # noqa: N815
    layers: Annotated[list[_Layer], Field(max_length=limits.ARCHIVE_FILES)]
    annotations: _Annotations


@dataclass(frozen=True)
class Layer:
    """One file of a published model.

    Attributes:
        sha256: of the file.
        size: in bytes, as the manifest states it.
    """

    sha256: str
    size: int

    @property
    def digest(self) -> str:
        """The sha256, as OCI writes it."""
        return f"sha256:{self.sha256}"


@dataclass(frozen=True)
class Manifest:
    """What a manifest says of a model.

    Attributes:
        version: of the release.
        commit: that it was built from.
        layers: file name -> file.
        artifacts: name -> sha256 of the model's artifacts: what is compiled from them for an NPU is none.
    """

    version: str
    commit: str
    layers: dict[str, Layer]
    artifacts: dict[str, str]


def read_manifest(text: bytes, *, where: str, version: str) -> Manifest:
    """Read the manifest that a store has under a version.

    Raises:
        PublishError: it is not a model's, names a file twice, has no weights, or is of another version.
    """
    found = parse_as(_Manifest, text, where=where, error=PublishError, hint=_HINT)
    layers = {
        layer.annotations.title: Layer(layer.digest.removeprefix("sha256:"), layer.size) for layer in found.layers
    }
    if len(layers) < len(found.layers):
        raise PublishError("names a file twice", where=where, hint=_HINT)
    if found.annotations.version != version:
        what = f"is version {as_text(found.annotations.version)}, under the tag {version}"
        raise PublishError(what, where=where, hint="ask who moved the tag")
    kinds = {layer.annotations.title: layer.mediaType for layer in found.layers}
    models = {name: kind for name, kind in kinds.items() if is_artifact(name)}
    foreign = [name for name, kind in models.items() if kind != WEIGHT]
    if foreign:
        raise PublishError(f"{foreign[0]} has another media type than {WEIGHT}", where=where, hint=_HINT)
    if not models:
        raise PublishError("has no artifact: no layer is a .tflite file", where=where, hint=_HINT)
    artifacts = {name: layers[name].sha256 for name in sorted(models)}
    return Manifest(version, found.annotations.revision, layers, artifacts)


def is_artifact(name: str) -> bool:
    """Whether a file of a bundle is an artifact: a TFLite file, however its suffix is spelt, and in no folder."""
    return name.lower().endswith(".tflite") and "/" not in name
