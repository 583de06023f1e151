"""SM3 (GB/T 32905) through OpenSSL."""

from cryptography.hazmat.primitives.hashes import SM3, Hash


def sm3(data: bytes) -> bytes:
    """The 32-byte SM3 digest."""
    digest = Hash(SM3())
    digest.update(data)
    return digest.finalize()
