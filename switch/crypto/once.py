"""Blocks in ECB under a key that is used once, by the OpenSSL that Python itself is linked with, where there is one.

A check value, or a key on its way out, wants a cipher for a block or two: a context of the library of `block` takes 4.5
to 6 us to make and to use, this 2 to 3, and wipes it. Nothing is shared, so it may be called from any thread.
"""

import ctypes
from collections.abc import Callable
from functools import lru_cache

from switch.crypto.errors import CryptoError
from switch.crypto.libcrypto import libcrypto

Once = Callable[[bytes, bytes], bytes]
"""From key and whole blocks to their cipher text."""


@lru_cache(maxsize=1)
def _library() -> ctypes.PyDLL | None:
    library = libcrypto("EVP_CIPHER_fetch", "EVP_CIPHER_CTX_new")
    if library is not None:
        library.EVP_CIPHER_fetch.restype = library.EVP_CIPHER_CTX_new.restype = ctypes.c_void_p
    return library


def encryptor(name: str) -> Once | None:
    """Of a cipher by OpenSSL's name for it ("SM4-ECB"); None where this system has none of it."""
    library = _library()
    found = library.EVP_CIPHER_fetch(None, name.encode(), None) if library is not None else None
    if library is None or not found:
        return None
    new, begin, free = library.EVP_CIPHER_CTX_new, library.EVP_EncryptInit_ex, library.EVP_CIPHER_CTX_free
    update, pointer, cipher = library.EVP_EncryptUpdate, ctypes.c_void_p, ctypes.c_void_p(found)

    def encrypt(key: bytes, data: bytes) -> bytes:
        size = len(data)
        made, written = ctypes.create_string_buffer(size), ctypes.c_int()
        context = pointer(new())
        done = begin(context, cipher, None, key, None) and update(context, made, ctypes.byref(written), data, size)
        free(context)
        if not done or written.value != size:
            raise CryptoError(f"{name} did not encipher {size} bytes")
        return made.raw

    return encrypt
