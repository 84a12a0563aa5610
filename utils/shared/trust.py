"""Trust: signatures over the key of a step's result and the hashes of what the step wrote.

A writer of the cache can store anything. A signature says that the owner of a private key has stored the
result under this key, and that nobody has changed it or moved it to another key since. It does not say that the result
is right: building it again says that (``doit verify``).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from utils import files, keys
from utils.errors import CorruptError, UsageError
from utils.shared.action import Digest
from utils.untrusted import parse_as

__all__ = ["Signer", "Trusted", "digest_of"]

#: Begins every signed message: no other signature of these keys can be taken for one of a step.
_PURPOSE = b"nxp-model-zoo: a step's result, format 1\n"

_HINT = "build it here, or trust the key that signed it (ZOO_STEPS_PUBKEY)"


class _Signature(BaseModel):
    """The file that signs a result."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1]
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    signature: Annotated[str, Field(max_length=200)]


def digest_of(content: bytes) -> Digest:
    """The digest of bytes in memory."""
    return Digest(hashlib.sha256(content).hexdigest(), len(content))


def _message(action: str, written: Mapping[str, Digest]) -> bytes:
    outputs = {path: [digest.sha256, digest.size] for path, digest in written.items()}
    return _PURPOSE + files.dump_json({"action": action, "files": outputs}).encode()


class Signer:
    """Signs with a private key of EC P-256.

    Args:
        key: the key file, in PEM.

    Raises:
        UsageError: it cannot be used.
    """

    def __init__(self, key: Path) -> None:
        keys.check_private(key, "ZOO_STEPS_KEY", UsageError)
        self._key = keys.load_private(key, "ZOO_STEPS_KEY", UsageError)

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the public key in PEM."""
        return keys.fingerprint_of(self._key.public_key())

    def sign(self, action: str, written: Mapping[str, Digest]) -> bytes:
        """Make the file that signs a result; the same for the same key and result (RFC 6979).

        Args:
            action: the key of the result.
            written: path -> content.
        """
        made = keys.sign(self._key, _message(action, written))
        found = {"format": 1, "key": self.fingerprint, "signature": base64.b64encode(made).decode()}
        return files.dump_json(found).encode()


class Trusted:
    """The public keys whose signatures count.

    Args:
        public: a file of one or more keys in PEM.

    Raises:
        UsageError: it cannot be used.
    """

    def __init__(self, public: Path) -> None:
        loaded = keys.load_publics(public, "ZOO_STEPS_PUBKEY", UsageError)
        self._keys: dict[str, Any] = {keys.fingerprint_of(key): key for key in loaded}

    def __contains__(self, fingerprint: str) -> bool:
        return fingerprint in self._keys

    def check(self, signature: bytes, action: str, written: Mapping[str, Digest], where: str) -> str:
        """Check the file that signs a result.

        Args:
            signature: the file.
            action: the key of the result.
            written: path -> content.
            where: for the message.

        Returns:
            The fingerprint of the key that signed it.

        Raises:
            CorruptError: it is malformed, of a key that is not trusted, or of another key or other content.
        """
        found = parse_as(_Signature, signature, where=where, error=CorruptError, hint=_HINT)
        if found.key not in self._keys:
            trusted = ", ".join(name[:16] for name in self._keys)
            what = f"is signed by the key {found.key[:16]}..., which is not trusted; trusted are {trusted}"
            raise CorruptError(what, where=where, hint=_HINT)
        try:
            made = base64.b64decode(found.signature, validate=True)
        except ValueError:
            made = b""
        if not keys.has_signed(self._keys[found.key], _message(action, written), made):
            what = f"has a signature of {found.key[:16]}... for another step or other bytes"
            raise CorruptError(what, where=where, hint="remove it on the server: it was moved or changed")
        return found.key

    @staticmethod
    def refuse_unsigned(where: str) -> CorruptError:
        """The error for a result without a signature."""
        return CorruptError("is not signed, and ZOO_STEPS_PUBKEY takes signed results only", where=where, hint=_HINT)
