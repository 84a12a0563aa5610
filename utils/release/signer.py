"""Recover the possible keys of an ECDSA signature from the signature and the signed message (SEC 1, section 4.1.6).

A signature names its key by a hash. So a signature can be checked against its message without the key; whether to trust
that key is a separate question.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec, utils

from utils.keys import fingerprint_of

__all__ = ["find_keys"]

#: Of P-256: the field, and the order of its points (SEC 2, section 2.4.2).
_FIELD = 2**256 - 2**224 + 2**192 + 2**96 - 1
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

_Point = tuple[int, int] | None  # None: the point at infinity


def find_keys(message: bytes, signature: bytes) -> set[str]:
    """Find the sha256 of every EC P-256 public key (in PEM) that can have made this signature over this message.

    Args:
        message: the signed bytes; ECDSA signs their SHA-256.
        signature: in DER.
    """
    try:
        r, s = utils.decode_dss_signature(signature)
    except ValueError:
        return set()
    if not (0 < r < _ORDER and 0 < s < _ORDER):
        return set()
    digest = int.from_bytes(hashlib.sha256(message).digest())
    inverse = pow(r, -1, _ORDER)
    found = set()
    for sign in (b"\2", b"\3"):  # parity of y of the nonce's point, whose x is r
        try:
            nonce = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sign + r.to_bytes(32)).public_numbers()
        except ValueError:  # no point of the curve has this x
            continue
        key = _add(_times(s * inverse % _ORDER, (nonce.x, nonce.y)), _times(-digest * inverse % _ORDER, _generator()))
        if key is not None:
            found.add(_digest_of(key))
    return found


def _digest_of(key: tuple[int, int]) -> str:
    return fingerprint_of(ec.EllipticCurvePublicNumbers(*key, ec.SECP256R1()).public_key())


def _generator() -> _Point:
    numbers = ec.derive_private_key(1, ec.SECP256R1()).public_key().public_numbers()
    return numbers.x, numbers.y


def _times(scalar: int, point: _Point) -> _Point:
    found: _Point = None
    while scalar:
        found = _add(found, point) if scalar & 1 else found
        point, scalar = _add(point, point), scalar >> 1
    return found


def _add(one: _Point, other: _Point) -> _Point:
    if one is None or other is None:
        return one or other
    (x, y), (u, v) = one, other
    if x == u and (y + v) % _FIELD == 0:
        return None
    over, under = (3 * x * x - 3, 2 * y) if one == other else (v - y, u - x)
    slope = over * pow(under, -1, _FIELD) % _FIELD
    across = (slope * slope - x - u) % _FIELD
    return across, (slope * (x - across) - y) % _FIELD
