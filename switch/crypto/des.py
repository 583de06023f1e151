"""Single DES chained over a message, by the OpenSSL that Python itself is linked with, where there is one.

The library of `block` has no single DES, only 3DES under the same key thrice: three times the work in each of the 17
blocks of a network's MAC (5.0 us; here 2.0, `shoudan bench switch`). One call does the whole chain, fills the last
block up with zeros, and nothing is kept between two messages. Without the library `mac` does as it always did.
"""

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

_NAMES: Final = ("libcrypto.so.3", "libcrypto.3.dylib", "libcrypto.so.1.1", "libcrypto.1.1.dylib")
_BLOCK: Final = 8
_SCHEDULE: Final = 128
"""Bytes of an expanded key: sixteen rounds of eight."""
_PROOF: Final = ("0123456789abcdef", b"7654321 Now is the time for ", "f1d30f6849312ca4")
"""Key, text and checksum of FIPS 113's example."""
_ENCRYPT: Final = 1
_ZEROS: Final = bytes(_BLOCK)

LastBlock = Callable[[bytes], bytes]


@lru_cache(maxsize=1)
def _library() -> ctypes.PyDLL | None:
    """The system's libcrypto, once it has proved itself on a known answer."""
    place, length, text = ctypes.c_void_p, ctypes.c_long, ctypes.c_char_p
    for name in _NAMES:
        try:
            library = ctypes.PyDLL(name)  # not CDLL: handing the interpreter's lock back and forth costs more than DES
            library.DES_set_key_unchecked.argtypes = [text, place]
            library.DES_cbc_cksum.argtypes = [text, place, length, place, text]
            library.DES_ede3_cbc_encrypt.argtypes = [text, place, length, place, place, place, place, ctypes.c_int]
        except (OSError, AttributeError):
            continue
        key, data, checksum = _PROOF
        if _chain(library, bytes.fromhex(key))(data).hex() == checksum:
            return library
    return None


def _schedule(library: ctypes.PyDLL, key: bytes) -> "ctypes.Array[ctypes.c_char]":
    schedule = ctypes.create_string_buffer(_SCHEDULE)
    library.DES_set_key_unchecked(key, schedule)
    return schedule


def _chain(library: ctypes.PyDLL, key: bytes) -> LastBlock:
    schedule, out = _schedule(library, key), ctypes.create_string_buffer(_BLOCK)
    checksum, zeros = library.DES_cbc_cksum, bytes(_BLOCK)
    where, keyed = ctypes.addressof(out), ctypes.addressof(schedule)

    def last_block(data: bytes, held: object = schedule) -> bytes:
        checksum(data, where, len(data), keyed, zeros)
        return out.raw

    return last_block


def chain(key: bytes) -> LastBlock | None:
    """A function from data to the last block of its DES CBC from a zero vector, under a key of 8 bytes, the data filled
    up with zeros to whole blocks; None where this system has no such library."""
    library = _library()
    return _chain(library, key) if library is not None else None


def retail(key: bytes) -> LastBlock | None:
    """ISO 9797-1 algorithm 3 with padding method 1, under a key of 16 bytes, as a function of the data; None where this
    system has no such library.

    The chain under the left half ends one block early and is the vector of the last, under 3DES.
    """
    library = _library()
    if library is None:
        return None
    room = (ctypes.c_char * (2 * _SCHEDULE + 2 * _BLOCK))()
    left = ctypes.addressof(room)
    right, vector, last = left + _SCHEDULE, left + 2 * _SCHEDULE, left + 2 * _SCHEDULE + _BLOCK
    library.DES_set_key_unchecked(key[:_BLOCK], left)
    library.DES_set_key_unchecked(key[_BLOCK:], right)
    checksum, triple, zeros = library.DES_cbc_cksum, library.DES_ede3_cbc_encrypt, bytes(_BLOCK)

    def mac(data: bytes, held: Any = room) -> bytes:
        length = len(data) or 1  # no data are one block of zeros, as one zero is: the byte that ends every bytes
        at = (length - 1) & ~7
        checksum(data, vector, at, left, zeros)
        triple(data[at:], last, length - at, left, right, left, vector, _ENCRYPT)
        made: bytes = held[-_BLOCK:]
        return made

    return mac


def retail_once(key: bytes, data: bytes) -> bytes | None:
    """The same MAC under a key that makes but this one, as a chip's session key does: no room is taken for it and no
    function made (3 us; `retail` and its function 4, two contexts of `block` 15). None where this system has no such
    library."""
    library = _library()
    if library is None:
        return None
    _, out, left, vector = _bench()
    right, length = left + _SCHEDULE, len(data) or 1
    library.DES_set_key_unchecked(key[:_BLOCK], left)
    library.DES_set_key_unchecked(key[_BLOCK:], right)
    at = (length - 1) & ~7
    library.DES_cbc_cksum(data, vector, at, left, _ZEROS)
    library.DES_ede3_cbc_encrypt(data[at:], vector, length - at, left, right, left, vector, _ENCRYPT)
    ctypes.memset(left, 0, 2 * _SCHEDULE)
    return out.raw


@lru_cache(maxsize=1)
def _bench() -> tuple["ctypes.Array[ctypes.c_char]", "ctypes.Array[ctypes.c_char]", int, int]:
    """Room for two schedules and a block, and where they are."""
    schedules, out = ctypes.create_string_buffer(2 * _SCHEDULE), ctypes.create_string_buffer(_BLOCK)
    return schedules, out, ctypes.addressof(schedules), ctypes.addressof(out)
