"""A signed statement as one file: a sigstore bundle v0.3 of a DSSE envelope of an in-toto statement.

Only one form is accepted, with one signature; ``seal`` writes it. Reading takes no key: whose signature it is,
``is_signed_by`` says.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from utils import keys
from utils.errors import ReleaseError
from utils.untrusted import parse_as, parse_json

__all__ = ["BUNDLE", "PAYLOAD", "Envelope", "as_written", "is_signed_by", "message_of", "read", "seal"]

#: Media types: of the file, and of the statement in it.
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD = "application/vnd.in-toto+json"


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _PublicKey(_Closed):
    hint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # of the PEM key


class _Material(_Closed):
    publicKey: _PublicKey  # noqa: N815  # its name in the bundle
    tlogEntries: Annotated[list[Any], Field(max_length=0)]  # noqa: N815


class _Signature(_Closed):
    sig: str
    keyid: Literal[""]


class _Dsse(_Closed):
    payload: str
    payloadType: Literal["application/vnd.in-toto+json"]  # noqa: N815
    signatures: Annotated[list[_Signature], Field(min_length=1, max_length=1)]


class _Bundle(_Closed):
    mediaType: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"]  # noqa: N815
    verificationMaterial: _Material  # noqa: N815
    dsseEnvelope: _Dsse  # noqa: N815


@dataclass(frozen=True)
class Envelope:
    """The content of a signed statement.

    Attributes:
        key: sha256 of the public key that it claims.
        payload: the statement.
        message: the signed bytes, by DSSE.
        signature: in DER.
    """

    key: str
    payload: bytes
    message: bytes
    signature: bytes


def as_written(value: Any) -> str:
    """Write JSON as in a signature: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def message_of(kind: str, payload: bytes) -> bytes:
    """Get the bytes that a DSSE signature signs: https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md."""
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)


def seal(statement: Any, private: Any) -> bytes:
    """Sign a statement; the same statement and key give the same bytes (RFC 6979).

    Args:
        statement: as JSON has it.
        private: of ``keys.load_private``.
    """
    payload = as_written(statement).encode()
    signature = keys.sign(private, message_of(PAYLOAD, payload))
    bundle = {
        "mediaType": BUNDLE,
        "verificationMaterial": {
            "publicKey": {"hint": keys.fingerprint_of(private.public_key())},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return as_written(bundle).encode()


def read(text: bytes, where: str) -> Envelope:
    """Parse a signed statement in the exact form of ``seal``; the statement itself is read by its own schema.

    Raises:
        ReleaseError: it has another form.
    """
    bundle = parse_as(_Bundle, text, where=where, error=ReleaseError)
    payload = _decode(bundle.dsseEnvelope.payload, where)
    for written in (text, payload):
        if as_written(parse_json(written, where=where, error=ReleaseError)).encode() != written:
            raise ReleaseError("is not as it was written", where=where)
    return Envelope(
        key=bundle.verificationMaterial.publicKey.hint,
        payload=payload,
        message=message_of(bundle.dsseEnvelope.payloadType, payload),
        signature=_decode(bundle.dsseEnvelope.signatures[0].sig, where),
    )


def is_signed_by(envelope: Envelope, public: Any) -> bool:
    """Whether this key has signed the statement; what the envelope claims does not matter."""
    return keys.has_signed(public, envelope.message, envelope.signature)


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
