"""Read the content of a model.sig without a key: the files that it signs (``utils/attest/envelope.py`` has its form).

Verifying the signer takes ``sign.verify`` and a key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from utils.attest.envelope import read as read_envelope
from utils.errors import ReleaseError
from utils.untrusted import as_text, parse_as, read_untrusted

__all__ = ["Signed", "compare", "read"]

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Digest(_Closed):
    sha256: _Sha256


class _Subject(_Closed):
    name: str
    digest: _Digest


class _Resource(_Closed):
    name: str
    algorithm: Literal["sha256"]
    digest: _Sha256


class _Serialization(_Closed):
    method: Literal["files"]
    hash_type: Literal["sha256"]
    allow_symlinks: Literal[False]


class _Predicate(_Closed):
    resources: list[_Resource]
    serialization: _Serialization


class _Statement(_Closed):
    type: Annotated[Literal["https://in-toto.io/Statement/v1"], Field(alias="_type")]
    subject: Annotated[list[_Subject], Field(min_length=1, max_length=1)]
    predicateType: Literal["https://model_signing/signature/v1.0"]  # noqa: N815
    predicate: _Predicate


class Signed(BaseModel):
    """The content of a signature.

    Attributes:
        key: sha256 of the public key that it claims.
        files: file name -> sha256.
        message: the signed bytes, by DSSE.
        signature: in DER.
    """

    key: str
    files: dict[str, str]
    message: bytes
    signature: bytes


def read(signature: Path) -> Signed:
    """Parse a signature in the exact form of ``sign.sign``.

    Raises:
        ReleaseError: it has another form.
    """
    where = signature.name
    text = read_untrusted(signature, where=where, error=ReleaseError)
    envelope = read_envelope(text, where)
    found = parse_as(_Statement, envelope.payload, where=where, error=ReleaseError)
    resources = found.predicate.resources
    if len({resource.name for resource in resources}) < len(resources):
        raise ReleaseError("names a file twice", where=where)
    digests = b"".join(bytes.fromhex(resource.digest) for resource in resources)
    if hashlib.sha256(digests).hexdigest() != found.subject[0].digest.sha256:
        raise ReleaseError("its subject does not match its list of files", where=where)
    return Signed(
        key=envelope.key,
        files={resource.name: resource.digest for resource in resources},
        message=envelope.message,
        signature=envelope.signature,
    )


def compare(signed: Signed, actual: Mapping[str, str]) -> list[str]:
    """Compare files (name -> sha256) with those of a signature; empty if they match."""
    names = signed.files.keys() | actual.keys()
    differ = sorted(as_text(name, 100) for name in names if signed.files.get(name) != actual.get(name))
    return [f"does not match the bytes of {', '.join(differ)}"] if differ else []
