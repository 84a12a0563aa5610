"""Key files of EC P-256 in PEM, for signing and verifying: read, and refused with a reason."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Any

from utils import limits
from utils.errors import ZooError

__all__ = ["CURVES", "check_private", "fingerprint_of", "has_signed", "load_private", "load_publics", "sign"]

#: How to make a key file.
_MAKE = "openssl ecparam -name prime256v1 -genkey -noout -out KEY && chmod 600 KEY"
_PUBLIC = "make it from the private key: openssl ec -in KEY -pubout -out PUBKEY"

#: Curves that model-signing verifies with.
CURVES = ("secp256r1", "secp384r1", "secp521r1")

_BLOCK = re.compile(rb"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----\n?", re.DOTALL)


def check_private(key: Path, option: str, error: type[ZooError]) -> Any:
    """Load a private key; refuse a malformed one, or one that others can read, before any work is done.

    Args:
        key: the file.
        option: what named it, for the message: ``key``, or a variable.
        error: what to raise.

    Raises:
        error: missing, unreadable, wrong permissions, wrong type, a password on it.
    """
    _read_key(key, option, _MAKE, error)
    if key.stat().st_mode & 0o077:
        mode = f"{key.stat().st_mode & 0o777:o}"
        raise error(f"others can read this key (mode {mode})", where=f"{option}={key}", hint=f"chmod 600 {key}")
    return load_private(key, option, error)


def _read_key(key: Path, option: str, how_to_make: str, error: type[ZooError]) -> bytes:
    """Read a key file. Only if it is missing does the hint say how to make one."""
    where = f"{option}={key}"
    try:
        mode = key.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # reading a pipe would block
            raise error("is not a regular file", where=where, hint=f"copy the key to a file, and give {option}=FILE")
        with key.open("rb") as stream:
            return stream.read(limits.CREDENTIALS_BYTES)
    except FileNotFoundError:
        raise error("the key file does not exist", where=where, hint=how_to_make) from None
    except IsADirectoryError:
        raise error("is a folder, not a key file", where=where, hint=f"name the key file: {where}/FILE") from None
    except PermissionError:
        hint = f"make it readable for user id {os.geteuid()}, or run as its owner (ls -ln {key} shows it)"
        raise error(f"user id {os.geteuid()} has no permission to read it", where=where, hint=hint) from None
    except OSError as problem:
        raise error(f"cannot be read: {problem.strerror}", where=where, hint="check the path and the disk") from None


def load_private(key: Path, option: str, error: type[ZooError]) -> Any:
    """Load a private key of EC P-256; the arguments are those of ``check_private``.

    Raises:
        error: as ``check_private``, but for the permissions.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    where = f"{option}={key}"
    try:
        found = serialization.load_pem_private_key(_read_key(key, option, _MAKE, error), None)
    except TypeError:
        hint = f"openssl ec -in {key} -out PLAIN && chmod 600 PLAIN"
        raise error("this key has a password, and a build cannot ask for it", where=where, hint=hint) from None
    except (ValueError, UnsupportedAlgorithm) as problem:
        raise error(f"is not a private key in PEM ({str(problem)[:80]})", where=where, hint=_MAKE) from None
    if not isinstance(found, ec.EllipticCurvePrivateKey) or found.curve.name != "secp256r1":
        kind = found.curve.name if isinstance(found, ec.EllipticCurvePrivateKey) else type(found).__name__
        raise error(f"is a key of another type ({kind.strip('_')}), not EC P-256", where=where, hint=_MAKE)
    return found


def load_publics(
    public: Path, option: str, error: type[ZooError], curves: tuple[str, ...] = ("secp256r1",)
) -> list[Any]:
    """Load every public key of a file, one after the other in PEM.

    Raises:
        error: missing, unreadable, or a block in it is not a public EC key of these curves.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    where = f"{option}={public}"
    content = _read_key(public, option, _PUBLIC, error)
    keys = []
    for block in _BLOCK.findall(content) or [content]:
        try:
            found = serialization.load_pem_public_key(block)
        except (ValueError, UnsupportedAlgorithm) as problem:
            raise error(f"is not a public EC key in PEM ({str(problem)[:80]})", where=where, hint=_PUBLIC) from None
        if not isinstance(found, ec.EllipticCurvePublicKey) or found.curve.name not in curves:
            kind = found.curve.name if isinstance(found, ec.EllipticCurvePublicKey) else type(found).__name__
            what = f"is a public key of another type ({kind.strip('_')}), not EC {', '.join(curves)}"
            raise error(what, where=where, hint=_PUBLIC)
        keys.append(found)
    return keys


def fingerprint_of(public: Any) -> str:
    """The sha256 of a public key in PEM: the name that signatures give it."""
    from cryptography.hazmat.primitives import serialization

    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def sign(private: Any, message: bytes) -> bytes:
    """Sign with ECDSA over SHA-256; returns DER. The same key and message give the same bytes (RFC 6979)."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    signed: bytes = private.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    return signed


def has_signed(public: Any, message: bytes, signature: bytes) -> bool:
    """Whether the owner of a public key has made this signature (in DER) of this message."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        public.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
