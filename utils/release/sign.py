"""Sign whole folders with a key file, in the format of OpenSSF's model-signing; no network, no account.

ECDSA follows RFC 6979: the nonce is derived from key and message. So signing the same release twice with one key gives
the same bytes, and a bad random number cannot leak the key.
"""

from __future__ import annotations

import base64
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from utils.errors import ReleaseError
from utils.release import statement
from utils.untrusted import as_text

__all__ = ["SIGNATURE", "check_private", "sign", "verify"]

#: The file in a release, or in a published folder, that signs all others in it.
SIGNATURE = "model.sig"

_MAKE = "openssl ecparam -name prime256v1 -genkey -noout -out KEY && chmod 600 KEY"
_PUBLIC = "make it from the private key: openssl ec -in KEY -pubout -out PUBKEY"


#: Curves that model-signing verifies with.
_CURVES = ("secp256r1", "secp384r1", "secp521r1")


def check_private(key: Path) -> None:
    """Refuse a malformed key, or one that others can read, before any work is done.

    Raises:
        ReleaseError: missing, unreadable, wrong permissions, wrong type, a password on it.
    """
    _read_key(key, "key", _MAKE)
    if key.stat().st_mode & 0o077:
        mode = f"{key.stat().st_mode & 0o777:o}"
        raise ReleaseError(f"others can read this key (mode {mode})", where=f"key={key}", hint=f"chmod 600 {key}")
    _load_private(key)


def _read_key(key: Path, option: str, how_to_make: str) -> bytes:
    """Read a key file. Only if it is missing does the hint say how to make one."""
    where = f"{option}={key}"
    try:
        mode = key.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # reading a pipe would block
            raise ReleaseError(
                "is not a regular file", where=where, hint=f"copy the key to a file, and give {option}=FILE"
            )
        return key.read_bytes()
    except FileNotFoundError:
        raise ReleaseError("the key file does not exist", where=where, hint=how_to_make) from None
    except IsADirectoryError:
        raise ReleaseError(
            "is a folder, not a key file", where=where, hint=f"name the key file: {where}/FILE"
        ) from None
    except PermissionError:
        hint = f"make it readable for user id {os.geteuid()}, or run as its owner (ls -ln {key} shows it)"
        raise ReleaseError(f"user id {os.geteuid()} has no permission to read it", where=where, hint=hint) from None
    except OSError as error:
        raise ReleaseError(
            f"cannot be read: {error.strerror}", where=where, hint="check the path and the disk"
        ) from None


def _load_private(key: Path) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    where = f"key={key}"
    try:
        found = serialization.load_pem_private_key(_read_key(key, "key", _MAKE), None)
    except TypeError:
        hint = f"openssl ec -in {key} -out PLAIN && chmod 600 PLAIN"
        raise ReleaseError("this key has a password, and a build cannot ask for it", where=where, hint=hint) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ReleaseError(f"is not a private key in PEM ({str(error)[:80]})", where=where, hint=_MAKE) from None
    if not isinstance(found, ec.EllipticCurvePrivateKey) or found.curve.name != "secp256r1":
        kind = found.curve.name if isinstance(found, ec.EllipticCurvePrivateKey) else type(found).__name__
        raise ReleaseError(f"is a key of another type ({kind.strip('_')}), not EC P-256", where=where, hint=_MAKE)
    return found


def _check_public(public: Path) -> None:
    """Refuse a malformed public key, so that the signature is not blamed."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    where = f"pubkey={public}"
    try:
        found = serialization.load_pem_public_key(_read_key(public, "pubkey", _PUBLIC))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ReleaseError(f"is not a public EC key in PEM ({str(error)[:80]})", where=where, hint=_PUBLIC) from None
    if not isinstance(found, ec.EllipticCurvePublicKey) or found.curve.name not in _CURVES:
        kind = found.curve.name if isinstance(found, ec.EllipticCurvePublicKey) else type(found).__name__
        what = f"is a public key of another type ({kind.strip('_')}), not EC {', '.join(_CURVES)}"
        raise ReleaseError(what, where=where, hint=_PUBLIC)


def sign(folder: Path, signature: Path, key: Path) -> None:
    """Sign every file in ``folder``; verification ignores the signature itself.

    Raises:
        ReleaseError: the key cannot be used.
    """
    from model_signing import hashing, signing

    check_private(key)
    signature.unlink(missing_ok=True)
    # Ignore nothing: model-signing writes the ignored paths into the signature, in random order.
    ordered = hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)
    signing.Config().set_hashing_config(ordered).use_elliptic_key_signer(private_key=key).sign(folder, signature)
    _make_repeatable(signature, _load_private(key))


def _make_repeatable(signature: Path, key: Any) -> None:
    """Sign the same statement again, with sorted keys and a deterministic nonce."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    found = json.loads(signature.read_text(encoding="utf-8"))
    envelope = found["dsseEnvelope"]
    payload = statement.as_written(json.loads(base64.b64decode(envelope["payload"]))).encode()
    message = statement.message_of(envelope["payloadType"], payload)
    signed = key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    envelope["payload"] = base64.b64encode(payload).decode()
    envelope["signatures"] = [{"sig": base64.b64encode(signed).decode(), "keyid": ""}]
    signature.write_text(statement.as_written(found), encoding="utf-8")


def verify(folder: Path, signature: Path, public: Path) -> list[str]:
    """Verify a folder with its signature and the trusted public key; returns what is wrong.

    Raises:
        ReleaseError: ``public`` is not a public key that could have signed.
    """
    from model_signing import hashing, verifying

    _check_public(public)
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
