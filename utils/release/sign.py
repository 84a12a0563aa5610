"""Signatures of whole folders with a key file, as OpenSSF's model-signing writes them; no network, no account.

ECDSA is used as RFC 6979 describes it, with a nonce that follows from key and message: the same release signed twice
with one key is the same to the last byte, and a bad random number cannot give the key away.
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
_PUBLIC = "openssl ec -in KEY -pubout -out PUBKEY makes it of a private key"


#: Curves that model-signing verifies with.
_CURVES = ("secp256r1", "secp384r1", "secp521r1")


def check_private(key: Path) -> None:
    """Refuse a key that is none, or that others can read, before any work is done.

    Raises:
        ReleaseError: missing, unreadable, wrong permissions, wrong type, a password on it.
    """
    _read_key(key, "key", _MAKE)
    if key.stat().st_mode & 0o077:
        mode = f"{key.stat().st_mode & 0o777:o}"
        raise ReleaseError(f"others can read this key (mode {mode})", where=f"key={key}", hint=f"chmod 600 {key}")
    _load_private(key)


def _read_key(key: Path, option: str, how_to_make: str) -> bytes:
    """A key file's bytes. Only where there is no file does the hint say how to make one."""
    where = f"{option}={key}"
    try:
        mode = key.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # reading a pipe would wait for ever
            raise ReleaseError("is not a regular file", where=where, hint=f"copy the key to a file: {option}=FILE")
        return key.read_bytes()
    except FileNotFoundError:
        raise ReleaseError("there is no such key file", where=where, hint=how_to_make) from None
    except IsADirectoryError:
        raise ReleaseError(
            "is a folder, not a key file", where=where, hint=f"name the file in it: {where}/FILE"
        ) from None
    except PermissionError:
        hint = f"ls -ln {key} says whose it is: make it readable for user id {os.geteuid()}, or run as its owner"
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
        raise ReleaseError(
            "this key has a password, which nobody could type in a build", where=where, hint=hint
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ReleaseError(f"is no private key in PEM ({str(error)[:80]})", where=where, hint=_MAKE) from None
    if not isinstance(found, ec.EllipticCurvePrivateKey) or found.curve.name != "secp256r1":
        kind = found.curve.name if isinstance(found, ec.EllipticCurvePrivateKey) else type(found).__name__
        raise ReleaseError(f"is a key of another type ({kind.strip('_')}), not EC P-256", where=where, hint=_MAKE)
    return found


def _check_public(public: Path) -> None:
    """Refuse what cannot be the key of a signature, before the signature is blamed."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    where = f"pubkey={public}"
    try:
        found = serialization.load_pem_public_key(_read_key(public, "pubkey", _PUBLIC))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ReleaseError(f"is no public EC key in PEM ({str(error)[:80]})", where=where, hint=_PUBLIC) from None
    if not isinstance(found, ec.EllipticCurvePublicKey) or found.curve.name not in _CURVES:
        kind = found.curve.name if isinstance(found, ec.EllipticCurvePublicKey) else type(found).__name__
        what = f"is a public key of another type ({kind.strip('_')}), not EC {', '.join(_CURVES)}"
        raise ReleaseError(what, where=where, hint=_PUBLIC)


def sign(folder: Path, signature: Path, key: Path) -> None:
    """Sign every file in ``folder``; whoever verifies leaves out the signature itself.

    Raises:
        ReleaseError: the key will not do.
    """
    from model_signing import hashing, signing

    check_private(key)
    signature.unlink(missing_ok=True)
    # Nothing to ignore: model-signing writes what it ignores into the signature, in an order that chance gives.
    ordered = hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)
    signing.Config().set_hashing_config(ordered).use_elliptic_key_signer(private_key=key).sign(folder, signature)
    _make_repeatable(signature, _load_private(key))


def _make_repeatable(signature: Path, key: Any) -> None:
    """Sign the same statement again, with its keys sorted and without chance."""
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
    """Hold a folder against its signature and the key of whom the caller trusts; returns what is wrong.

    Raises:
        ReleaseError: ``public`` is no public key that could have signed.
    """
    from model_signing import hashing, verifying

    _check_public(public)
    try:
        statement.read(signature)
        config = verifying.Config().use_elliptic_key_verifier(public_key=public)
        config.set_hashing_config(hashing.Config().set_ignored_paths(paths=[signature.relative_to(folder)]))
        config.verify(folder, signature)
    except Exception as error:  # of JSON, protobuf, pydantic, cryptography: whatever a damaged signature makes them say
        why = error.what if isinstance(error, ReleaseError) else str(error).strip()
        others = re.findall(r"Hash mismatch for \\?'([^'\\]+)|(?:Extra|Missing) files [^:]+: ([^\"']+)", why)
        if others:  # it says so with the raw bytes of every digest
            why = f"signs other bytes than there are in {', '.join(one or more for one, more in others)}"
        return [f"{signature.name}: {as_text(why or 'is not of this key, or was damaged')}"]
    return []
