"""Sign whole folders with a key file, in the format of OpenSSF's model-signing; no network, no account.

ECDSA follows RFC 6979: the nonce is derived from key and message. So signing the same release twice with one key gives
the same bytes, and a bad random number cannot leak the key.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from utils import keys
from utils.attest import envelope
from utils.errors import ReleaseError
from utils.release import statement
from utils.untrusted import as_text

__all__ = ["SIGNATURE", "check_private", "sign", "verify"]

#: The file in a release, or in a published folder, that signs all others in it.
SIGNATURE = "model.sig"


def check_private(key: Path) -> Any:
    """Load a key; refuse a malformed one, or one that others can read, before any work is done.

    Raises:
        ReleaseError: missing, unreadable, wrong permissions, wrong type, a password on it.
    """
    return keys.check_private(key, "key", ReleaseError)


def sign(folder: Path, signature: Path, key: Path) -> None:
    """Sign every file in ``folder``; verification ignores the signature itself.

    Raises:
        ReleaseError: the key cannot be used.
    """
    from model_signing import hashing, signing

    private = check_private(key)
    signature.unlink(missing_ok=True)
    # Ignore nothing: model-signing writes the ignored paths into the signature, in random order.
    ordered = hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)
    signing.Config().set_hashing_config(ordered).use_elliptic_key_signer(private_key=key).sign(folder, signature)
    _make_repeatable(signature, private)


def _make_repeatable(signature: Path, key: Any) -> None:
    """Sign the same statement again, with sorted keys and a deterministic nonce."""
    found = json.loads(signature.read_text(encoding="utf-8"))
    statement = json.loads(base64.b64decode(found["dsseEnvelope"]["payload"]))
    signature.write_bytes(envelope.seal(statement, key))


def verify(folder: Path, signature: Path, public: Path) -> list[str]:
    """Verify a folder with its signature and the trusted public key; returns what is wrong.

    Raises:
        ReleaseError: ``public`` is not a public key that could have signed.
    """
    from model_signing import hashing, verifying

    keys.load_publics(public, "pubkey", ReleaseError, keys.CURVES)
    try:
        statement.read(signature)
        config = verifying.Config().use_elliptic_key_verifier(public_key=public)
        config.set_hashing_config(hashing.Config().set_ignored_paths(paths=[signature.relative_to(folder)]))
        config.verify(folder, signature)
    except (
        Exception
    ) as error:  # from JSON, protobuf, pydantic, cryptography: whatever a damaged signature makes them raise
        why = error.what if isinstance(error, ReleaseError) else str(error).strip()
        others = re.findall(r"Hash mismatch for \\?'([^'\\]+)|(?:Extra|Missing) files [^:]+: ([^\"']+)", why)
        if others:  # its own message has the raw bytes of every digest
            why = f"does not match the bytes of {', '.join(one or more for one, more in others)}"
        return [f"{signature.name}: {as_text(why or 'was made with another key, or is damaged')}"]
    return []
