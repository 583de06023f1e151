"""Digests: SM3 (GB/T 32905) through OpenSSL; keyed hashes for the HSM."""

from collections.abc import Callable
from hashlib import sha256

from cryptography.hazmat.primitives.hashes import SM3, Hash


def sm3(data: bytes) -> bytes:
    """The 32-byte SM3 digest."""
    digest = Hash(SM3())
    digest.update(data)
    return digest.finalize()


def keyed_digest(key: bytes) -> Callable[[bytes], bytes]:
    """HMAC-SHA-256 under one key, cut to 16 bytes (RFC 2104).

    On two states that hold the key already: no objects of Python's hmac in between (0.5 us).
    """
    block = key.ljust(64, b"\0") if len(key) <= 64 else sha256(key).digest().ljust(64, b"\0")
    inner = sha256(bytes(byte ^ 0x36 for byte in block))
    outer = sha256(bytes(byte ^ 0x5C for byte in block))

    def digest(data: bytes) -> bytes:
        inside, outside = inner.copy(), outer.copy()
        inside.update(data)
        outside.update(inside.digest())
        return outside.digest()[:16]

    return digest
