"""Read the content of a model.sig without a key: a sigstore bundle of a DSSE envelope of an in-toto statement.

Only one form is accepted, with one signature. Verifying the signer takes ``sign.verify`` and a key.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from utils.errors import ReleaseError
from utils.untrusted import as_text, parse_as, parse_json, read_untrusted

__all__ = ["Signed", "as_written", "compare", "message_of", "read"]

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _PublicKey(_Closed):
    hint: _Sha256  # of the PEM key


class _Material(_Closed):
    publicKey: _PublicKey  # noqa: N815  # its name in the bundle
    tlogEntries: Annotated[list[Any], Field(max_length=0)]  # noqa: N815


class _Signature(_Closed):
    sig: str
    keyid: Literal[""]


class _Envelope(_Closed):
    payload: str
    payloadType: Literal["application/vnd.in-toto+json"]  # noqa: N815
    signatures: Annotated[list[_Signature], Field(min_length=1, max_length=1)]


class _Bundle(_Closed):
    mediaType: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"]  # noqa: N815
    verificationMaterial: _Material  # noqa: N815
    dsseEnvelope: _Envelope  # noqa: N815


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


def as_written(value: Any) -> str:
    """Write JSON as in a signature: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def message_of(kind: str, payload: bytes) -> bytes:
    """Get the bytes that a DSSE signature signs: https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md."""
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)


def read(signature: Path) -> Signed:
    """Parse a signature in the exact form of ``sign.sign``.

    Raises:
        ReleaseError: it has another form.
    """
    where = signature.name
    text = read_untrusted(signature, where=where, error=ReleaseError)
    bundle = parse_as(_Bundle, text, where=where, error=ReleaseError)
    payload = _decode(bundle.dsseEnvelope.payload, where)
    signed = _decode(bundle.dsseEnvelope.signatures[0].sig, where)
    found = parse_as(_Statement, payload, where=where, error=ReleaseError)
    for written in (text, payload):
        if as_written(parse_json(written, where=where, error=ReleaseError)).encode() != written:
            raise ReleaseError("is not as it was written", where=where)
    resources = found.predicate.resources
    if len({resource.name for resource in resources}) < len(resources):
        raise ReleaseError("names a file twice", where=where)
    digests = b"".join(bytes.fromhex(resource.digest) for resource in resources)
    if hashlib.sha256(digests).hexdigest() != found.subject[0].digest.sha256:
        raise ReleaseError("its subject does not match its list of files", where=where)
    hint = bundle.verificationMaterial.publicKey.hint
    return Signed(
        key=hint,
        files={resource.name: resource.digest for resource in resources},
        message=message_of(bundle.dsseEnvelope.payloadType, payload),
        signature=signed,
    )


def compare(signed: Signed, actual: Mapping[str, str]) -> list[str]:
    """Compare files (name -> sha256) with those of a signature; empty if they match."""
    names = signed.files.keys() | actual.keys()
    differ = sorted(as_text(name, 100) for name in names if signed.files.get(name) != actual.get(name))
    return [f"does not match the bytes of {', '.join(differ)}"] if differ else []


def _decode(text: str, where: str) -> bytes:
    """Decode base64 without unused bits.

    Raises:
        ReleaseError: it is malformed, or has unused bits.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise ReleaseError("is not as it was written: no base64", where=where) from None
    if base64.b64encode(data).decode() != text:
        raise ReleaseError("is not as it was written", where=where)
    return data
